"""The embedded model: llama.cpp in this process, behind the same OpenAI API as any provider."""

import asyncio
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatllm_cli.errors import ConfigError
from chatllm_cli.services.local.pulled import PulledModels
from chatllm_cli.services.local.trials import Trials
from chatllm_cli.services.local.weights import BUNDLED_SHA256, Weights, check_hash, find_weights

if TYPE_CHECKING:
    from chatllm_cli.config.sections import LocalSettings

BUNDLED_LONGEST_ANSWER = 1024  # tokens, unless a request says otherwise: past that it only repeats itself

# Servers live until the process ends, which must not wait for them (`cli.app` leaves without a final collection):
# the destructor of one whose loop has not begun yet hangs for good, 1 time in 30 right after loading.
_running: list[Any] = []


class LocalModel:
    """Runs models; each one's server starts with the first request to it and lives as long as the process.

    In the file `tried` it is remembered which models llama.cpp survived.
    """

    def __init__(
        self, settings: "LocalSettings", models: PulledModels | None = None, tried: Path | None = None
    ) -> None:
        self._settings = settings
        self._models = models
        self._trials = Trials(tried)
        self._loading: dict[str, asyncio.Future[Any]] = {}
        # The port is open to every user of the machine, the model is not.
        self._api_key = secrets.token_urlsafe(24)

    async def start(self, name: str = "") -> tuple[str, str]:
        """Return the base URL and key of a model's running server. Raises as `find_weights`, or `ConfigError`."""
        loading = self._loading.get(name)
        if loading is None or (loading.done() and loading.exception()):
            loading = self._loading[name] = asyncio.ensure_future(asyncio.to_thread(self._load, name))
            loading.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may wait any more
        server = await asyncio.shield(loading)  # whoever stops waiting finds it loaded the next time
        return f"{server.listening_address}/v1", self._api_key

    def _load(self, name: str) -> Any:
        weights = find_weights(self._settings, self._models, name)
        os.environ["GGML_NO_BACKTRACE"] = "1"  # it would call a debugger, whose words land on stdout
        try:
            import xllamacpp  # noqa: PLC0415  (an extra: missing is a message, not a crash)
        except ImportError:
            raise ConfigError(
                "the embedded model needs the package xllamacpp, which is not installed",
                hint="pip install 'chatllm-cli[local]', or set CHATLLM_BASE_URL to use a provider",
            ) from None
        check_hash(weights, self._models)
        window, engine = weights.window(self._settings.context_size), str(xllamacpp.__version__)
        self._trials.check(weights, window=window, threads=self._threads, engine=engine)
        params = self._parameters(xllamacpp.CommonParams(), weights)
        try:
            server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise ConfigError(
                f"llama.cpp cannot run {weights.path}: {error}",
                hint="the file may be damaged or need a newer llama.cpp, or local.context_size too much memory",
            ) from error
        _running.append(server)
        return server

    @property
    def _threads(self) -> int:
        """Half of the processors: as fast for one, and two that take all spin against each other, 15 times slower."""
        return self._settings.threads or max(1, (os.cpu_count() or 1) // 2)

    def _parameters(self, params: Any, weights: Weights) -> Any:
        params.model.path = str(weights.path)
        params.model_alias = {weights.name}
        params.n_ctx = weights.window(self._settings.context_size)
        params.n_parallel = 1  # one person talks to it
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self._threads
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
