"""Which provider answers, and where: turns `provider/model` into an endpoint."""

from collections.abc import Mapping
from dataclasses import dataclass

from chatllm_cli.config.sections import ProviderSettings
from chatllm_cli.config.settings import Settings
from chatllm_cli.errors import AuthenticationError, ChatllmError, ConfigError, UsageError
from chatllm_cli.models import Endpoint
from chatllm_cli.services.local.pulled import PulledModels
from chatllm_cli.services.local.weights import find_weights, local_names

LOCAL = "local"
DEFAULT = "default"  # the provider that base_url and api_key describe
OPENAI = "openai"


@dataclass(frozen=True, slots=True)
class KnownProvider:
    """What is known of a provider beforehand."""

    base_url: str
    default_model: str
    max_tokens_field: str
    marks_end: bool = False  # whether it always says why an answer ended
    takes_schema: bool = False  # whether it can hold the model to a JSON Schema


KNOWN: Mapping[str, KnownProvider] = {
    OPENAI: KnownProvider(
        "https://api.openai.com/v1", "gpt-4o-mini", "max_completion_tokens", marks_end=True, takes_schema=True
    ),
}
UNKNOWN = KnownProvider("", "", "max_tokens")  # the name that nearly every compatible server understands


class Providers:
    """The providers that the settings know, by name."""

    def __init__(self, settings: Settings, local_models: PulledModels | None = None) -> None:
        self._settings = settings
        self._local_models = local_models
        self._providers = {name: settings.providers.get(name, ProviderSettings()) for name in KNOWN}
        self._providers |= settings.providers
        if settings.base_url:
            self._providers[DEFAULT] = ProviderSettings(base_url=settings.base_url, api_key=settings.api_key)
        elif settings.api_key.get_secret_value():
            self._providers[OPENAI] = self._providers[OPENAI].model_copy(update={"api_key": settings.api_key})

    def configured(self) -> list[str]:
        """Return the names of the providers that could be asked now, the embedded model apart."""
        return [name for name in self._providers if self._is_usable(name)]

    def endpoint(self, address: str = "") -> Endpoint:
        """Return where the model at `address` is reached; an empty one is the default model.

        Raises `UsageError` for a name that cannot be one, `ConfigError` for a provider without an address and
        `AuthenticationError` for one without its key.
        """
        provider, model = self._split(address.strip() or self._settings.model.strip() or self._default_address())
        if not model and provider != LOCAL:
            raise UsageError(f"'{address}' names no model", hint="`chatllm models list` shows what there is")
        return self.local(model) if provider == LOCAL else self._remote(provider, model)

    def fallbacks(self, first: Endpoint) -> list[Endpoint]:
        """Return who is asked after `first`, in order. Raises as `endpoint` does."""
        endpoints = [self._fallback(address) for address in self._settings.fallback]
        others = {endpoint.address: endpoint for endpoint in endpoints if endpoint.address != first.address}
        return list(others.values())

    def _fallback(self, address: str) -> Endpoint:
        try:
            return self.endpoint(address)
        except ChatllmError as error:
            error.message = f"the fallback {address} cannot be asked: {error.message}"
            raise

    def resumed(self, address: str) -> Endpoint:
        """Return the endpoint of a model that a stored conversation was held with.

        Raises `ConfigError` if its provider is not set up any more: the conversation must not go to another.
        """
        provider = address.partition("/")[0]
        if provider != LOCAL and provider not in self._providers:
            raise ConfigError(
                f"the conversation was held with {address}, and there is no provider '{provider}' now",
                hint="set it up again, or name another model with -m",
            )
        return self.endpoint(address)

    def stands_in(self, endpoint: Endpoint, address: str = "") -> bool:
        """Tell whether the embedded model answers only because nobody chose one."""
        chosen = address.strip() or self._settings.model.strip() or self._settings.local.model_path
        return endpoint.is_embedded and not chosen

    def local(self, name: str = "") -> Endpoint:
        """Return the embedded model's endpoint, or a pulled one's. Raises `ConfigError` or `UsageError`."""
        weights = find_weights(self._settings.local, self._local_models, name)
        return Endpoint(
            LOCAL, weights.name, base_url="", weights=weights.fingerprint, marks_end=True, takes_schema=True
        )

    def catalogue(self, provider: str) -> Endpoint:
        """Return the endpoint of `provider` without a model, to ask it which ones it has."""
        return self._remote(provider, "")

    def _default_address(self) -> str:
        if DEFAULT in self._providers:
            raise ConfigError(
                f"no model is chosen for {self._settings.base_url}",
                hint="set CHATLLM_MODEL or give -m; `chatllm models list` shows what it has",
            )
        return f"{OPENAI}/{KNOWN[OPENAI].default_model}" if self._is_usable(OPENAI) else f"{LOCAL}/"

    def _split(self, address: str) -> tuple[str, str]:
        """Split `provider/model`; a first part that is no provider belongs to the model's id."""
        provider, slash, model = address.partition("/")
        if provider == DEFAULT and DEFAULT not in self._providers:
            raise ConfigError(f"'{address}' needs the default provider's address", hint="set CHATLLM_BASE_URL")
        if slash and (provider == LOCAL or provider in self._providers):
            return provider, model
        for name in (DEFAULT, OPENAI):
            if name in self._providers and self._is_usable(name):
                return name, address
        if address in local_names(self._settings.local, self._local_models):
            return LOCAL, address
        missing = f"provider '{provider}'" if slash else f"model '{address}' without a provider that could have it"
        raise UsageError(
            f"there is no {missing}",
            hint=f"write provider/model; the providers are {', '.join([LOCAL, *self._providers])}",
        )

    def _remote(self, name: str, model: str) -> Endpoint:
        provider, known = self._providers[name], KNOWN.get(name, UNKNOWN)
        base_url, key = provider.base_url or known.base_url, provider.api_key.get_secret_value()
        if not base_url:
            raise ConfigError(f"provider '{name}' has no address", hint=f"set providers.{name}.base_url")
        if not self._is_usable(name):
            raise AuthenticationError(
                f"there is no key for {name}",
                hint=f"set {name.upper()}_API_KEY, or use the embedded model with -m {LOCAL}/",
            )
        # Behind another address under a known name may be anything.
        marks_end = (
            provider.end_marker == "required" if provider.end_marker else (known.marks_end and not provider.base_url)
        )
        return Endpoint(
            name,
            model,
            base_url,
            key or None,
            max_tokens_field=known.max_tokens_field,
            marks_end=marks_end,
            takes_schema=known.takes_schema and not provider.base_url,
        )

    def _is_usable(self, name: str) -> bool:
        """Tell whether `name` can be asked: an address of the user's own needs no key, a well-known one does."""
        provider = self._providers[name]
        return bool(provider.base_url or (name in KNOWN and provider.api_key.get_secret_value()))
