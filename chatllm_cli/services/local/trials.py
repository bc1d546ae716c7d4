"""Whether llama.cpp survives a model file: over some it ends the process, so each is tried in another one first."""

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from chatllm_cli.errors import ConfigError
from chatllm_cli.private_files import note_json, read_json
from chatllm_cli.services.local.weights import BUNDLED_SHA256, Weights

MOST_REMEMBERED = 100
FAULTS = {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGKILL, signal.SIGSEGV, signal.SIGTRAP}
WORKS = 0
# Loads a model as `LocalModel` does, and asks it for one token: some break down only then. It leaves no core file,
# and does not outlive whoever started it for long.
TRIAL = """
import os, resource, signal, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
signal.alarm(300)
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
params.n_parallel, params.cache_ram_mib, params.warmup, params.verbosity, params.port = 1, 0, False, -1, 0
server = xllamacpp.Server(params)
try:
    server.handle_chat_completions({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1})
finally:
    os._exit(0)
"""


class Trials:
    """Tries model files; `record` remembers which did well, as long as they and llama.cpp stay what they are."""

    def __init__(self, record: Path | None) -> None:
        self._record = record

    def check(self, weights: Weights, *, window: int, threads: int, engine: str) -> None:
        """Raise `ConfigError` if llama.cpp, of the version `engine`, ends its process over these weights.

        What it refuses, or what nobody could try, passes: whoever loads it hears of that.
        """
        status = weights.path.stat()
        key = f"{engine}:{weights.path}:{status.st_size}:{status.st_mtime_ns}"
        if weights.sha256 == BUNDLED_SHA256 or key in self._good():
            return
        ending = _try(weights.path, window, threads)
        if -ending in FAULTS:
            raise ConfigError(
                f"llama.cpp breaks down over {weights.path} ({signal.Signals(-ending).name})",
                hint="the file may be damaged or need a newer llama.cpp, or local.context_size too much memory",
            )
        if ending == WORKS:
            self._remember(key)

    def _good(self) -> list[str]:
        told = read_json(self._record) if self._record else []
        return [key for key in told if isinstance(key, str)] if isinstance(told, list) else []

    def _remember(self, key: str) -> None:
        if self._record:
            with suppress(OSError):  # then it is tried again
                note_json(self._record, [*self._good(), key][-MOST_REMEMBERED:])


def _try(path: Path, window: int, threads: int) -> int:
    """Return how a process ends that asks this model for a token, as `subprocess` tells it."""
    command = [
        sys.executable,
        "-P",
        "-c",
        TRIAL,
        str(path),
        str(window),
        str(threads),
    ]  # -P: no module of this folder
    nowhere = subprocess.DEVNULL
    try:
        return subprocess.run(  # noqa: S603  (this Python)
            command, stdin=nowhere, stdout=nowhere, stderr=nowhere, check=False, start_new_session=True
        ).returncode
    except OSError:
        return 1
