"""A real Redis server on a free port of loopback, for as long as a block lasts."""

import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection

PROGRAM = shutil.which("redis-server")
IS_MISSING = "redis-server is not installed (Debian's package has that name)"
needs_redis = pytest.mark.skipif(PROGRAM is None, reason=IS_MISSING)
LONGEST_START = 10.0


class RedisServer:
    """Keeps nothing on the disk; `options` are those of its command line."""

    def __init__(self, folder: Path, *options: str, password: str = "") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        login = f":{password}@" if password else ""
        self.url = f"redis://{login}127.0.0.1:{self.port}/0"
        secret = ["--requirepass", password] if password else []
        self._command = [
            PROGRAM or "redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "",
            "--appendonly", "no", "--dir", str(folder), *secret, *options,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + LONGEST_START
        while True:
            try:
                self.client().ping()
            except NoConnection:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
        self._process = None

    def client(self) -> Redis:
        return Redis.from_url(self.url, protocol=2)
