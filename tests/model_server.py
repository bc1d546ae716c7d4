"""A file server on loopback, as models are fetched from: real HTTP, one behaviour per path, and it remembers."""

import gzip
import hashlib
import re
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

HEADER = struct.pack("<4sIQQ", b"GGUF", 3, 1, 1)


def a_model(size: int = 100_000, seed: int = 0) -> bytes:
    """Return what may pass for a model file until llama.cpp sees it."""
    return HEADER + bytes((seed + number * 7) % 251 for number in range(size - len(HEADER)))


def a_model_that_says(facts: dict[str, Any]) -> bytes:
    """Return the beginning of a model file with these facts in its header, and no numbers."""
    said = b"".join(_text(name) + _value(value) for name, value in facts.items())
    return struct.pack("<4sIQQ", b"GGUF", 3, 1, len(facts)) + said + bytes(100)


def _value(value: str | list[str] | float) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, list):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
    return struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


@dataclass
class Asked:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str:
        return self.headers.get("Range", "")


@dataclass
class ModelServer:
    """Serves `content` under any name; the path's first part says how.

    `/whole/…` as it should be · `/cut-N/…` ends after N bytes, each time · `/cut-once-N/…` only at first ·
    `/no-ranges-N/…` ends after N bytes at first, and always begins anew · `/no-tag-N/…` the same, without an ETag ·
    `/wrong-range-N/…` sends another range than it was asked for · `/unfit-N/…` answers 416 to any range, and
    `/stuck-N/…` ends after N bytes each time besides · `/changed-N/…` has another file after the first N bytes, and
    `/heedless-N/…` sends the rest of that one besides, whatever If-Range says · `/slow-N/…` waits after N bytes
    until `go_on` is set · `/moved/…` redirects to `target` · `/around/…` to itself · `/status-N/…` answers so ·
    `/gzip/…`, `/no-length/…`, `/page/…` are what they say. `/ORG/REPO/resolve/main/…` redirects, as a hub
    does, to `/whole/…`, with `linked_hash`, or the right one.
    """

    content: bytes = field(default_factory=a_model)
    target: str = ""
    linked_hash: str = ""
    asked: list[Asked] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def ranges(self) -> list[str]:
        """The ranges that were asked for, in order."""
        return [asked.range for asked in self.asked]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fake: ModelServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fake = fake


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def do_GET(self) -> None:
        fake = self.server.fake
        is_first = not any(asked.path == self.path for asked in fake.asked)
        fake.asked.append(Asked(self.path, dict(self.headers)))
        mode = urlsplit(self.path).path.split("/")[1]
        name, number = re.fullmatch(r"(.+?)-?(\d*)", mode).groups()  # type: ignore[union-attr]
        if "/resolve/main/" in self.path:
            self._redirect(f"/whole/{self.path.rsplit('/', 1)[-1]}", fake.linked_hash or fake.sha256)
        elif name == "moved":
            self._redirect(fake.target)
        elif name == "around":
            self._redirect(self.path)
        else:
            self._serve(name, int(number or 0), is_first=is_first)

    def _serve(self, name: str, number: int, *, is_first: bool) -> None:
        content = self.server.fake.content
        if name == "status":
            self._send(number, b"no", {})
        elif name == "page":
            self._send(200, b"<!doctype html><title>Log in</title>" * 9, {"Content-Type": "text/html"})
        elif name == "gzip":
            self._send(200, gzip.compress(content), {"Content-Encoding": "gzip", "ETag": '"zipped"'})
        elif name == "no-length":
            self._endless()
        elif name in {"unfit", "stuck"} and "Range" in self.headers:
            self._send(416, b"", {})
        elif name in {"changed", "heedless"}:
            other = content if is_first else a_model(len(content), seed=1)
            self._file(other, name, cut=number if is_first else None)
        else:
            cuts = name in {"cut", "stuck"} or (
                is_first and name in {"cut-once", "no-ranges", "no-tag", "wrong-range", "unfit"}
            )
            self._file(content, name, cut=number if cuts else None, pause=number if name == "slow" else None)

    def _file(self, content: bytes, name: str = "", *, cut: int | None = None, pause: int | None = None) -> None:
        tag = f'"{hashlib.md5(content).hexdigest()}"'  # noqa: S324  (a name, not a seal)
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        headers = {} if name == "no-tag" else {"ETag": tag}
        start = 0
        is_same = self.headers.get("If-Range") == tag or name == "heedless"
        if match and name != "no-ranges" and is_same:
            start = int(match[1]) - (name == "wrong-range")
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._head(206 if start else 200, headers | {"Content-Length": str(len(content) - start)})
        end = len(content) if cut is None else min(start + cut, len(content))
        if pause is not None:
            self.wfile.write(content[start : start + pause])
            self.server.fake.go_on.wait(20)
            start += pause
        self.wfile.write(content[start:end])
        self.close_connection = self.close_connection or end < len(content)

    def _endless(self) -> None:
        self._head(200, {"Transfer-Encoding": "chunked"})
        while True:
            self.wfile.write(f"{len(HEADER):x}\r\n".encode() + HEADER + b"\r\n")

    def _redirect(self, target: str, linked_hash: str = "") -> None:
        linked = {"X-Linked-Etag": f'"{linked_hash}"', "X-Linked-Size": str(len(self.server.fake.content))}
        self._send(302, b"", {"Location": target} | (linked if linked_hash else {}))

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self._head(status, headers | {"Content-Length": str(len(body))})
        self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
