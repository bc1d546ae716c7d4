"""Which provider answers, and where: turns `provider/model` into an endpoint."""

import json
from collections.abc import Collection
from dataclasses import field, replace
from typing import TYPE_CHECKING

from chatllm_cli.config.addresses import is_loopback
from chatllm_cli.config.known_providers import KNOWN, OPENAI, UNKNOWN, KnownProvider
from chatllm_cli.errors import AuthenticationError, ChatllmError, ConfigError, UsageError
from chatllm_cli.frozen import frozen
from chatllm_cli.models import ChatOptions, Conversation, Endpoint
from chatllm_cli.services.local.pulled import PulledModels
from chatllm_cli.services.local.weights import find_weights, local_names

if TYPE_CHECKING:
    from chatllm_cli.config.sections import OptionSettings, ProviderSettings
    from chatllm_cli.config.settings import Settings

LOCAL = "local"
DEFAULT = "default"  # the provider that base_url and api_key describe
LIST = "`chatllm models providers` lists the providers"


@frozen
class Provider:
    """What is set of a provider; empty takes what is known of it."""

    base_url: str = ""
    api_key: str = field(default="", repr=False)
    api_key_cmd: str = ""
    max_tokens_field: str = ""
    end_marker: str = ""


class Providers:
    """The providers that the settings know, by name; `stored` are those whose key is kept elsewhere."""

    def __init__(
        self, settings: "Settings", stored: Collection[str] = (), local_models: PulledModels | None = None
    ) -> None:
        self._settings = settings
        self._stored = stored
        self._local_models = local_models
        self._providers = dict.fromkeys(KNOWN, Provider())
        self._providers |= {name: _provider(each) for name, each in settings.providers.items()}
        own = {"api_key": settings.api_key.get_secret_value(), "api_key_cmd": settings.api_key_cmd}
        key = {name: value for name, value in own.items() if value}
        if settings.base_url:
            self._providers[DEFAULT] = replace(Provider(settings.base_url), **key)
        elif key:
            self._providers[OPENAI] = replace(self._providers[OPENAI], **key)

    def names(self) -> list[str]:
        """Return the names of all providers, the embedded model apart."""
        return list(self._providers)

    def settings(self, name: str) -> Provider:
        """Return what is set of a provider."""
        return self._providers[name]

    def base_url(self, name: str) -> str:
        """Return a provider's address. Raises `UsageError` for an unknown one, `ConfigError` if it has none."""
        if name not in self._providers:
            hint = "set CHATLLM_BASE_URL, or base_url in the config file" if name == DEFAULT else LIST
            raise UsageError(f"there is no provider '{name}'", hint=hint)
        if base_url := self._providers[name].base_url or KNOWN.get(name, UNKNOWN).base_url:
            return base_url
        raise ConfigError(f"provider '{name}' has no address", hint=f"set providers.{name}.base_url")

    def keys_for_this_machine(self) -> set[str]:
        """Return the keys in the settings that go to servers on this machine alone: they stand in for one, mostly."""
        here: set[str] = set()
        elsewhere: set[str] = set()
        for name, provider in self._providers.items():
            is_here = is_loopback(provider.base_url or KNOWN.get(name, UNKNOWN).base_url)
            (here if is_here else elsewhere).add(provider.api_key)
        return here - elsewhere

    def configured(self) -> list[str]:
        """Return the names of the providers that are set up and could be asked now, the embedded model apart."""
        return [name for name, provider in self._providers.items() if self._is_set_up(name, provider)]

    def endpoint(self, address: str = "") -> Endpoint:
        """Return where the model at `address`, or of that alias, is reached; an empty one is the default model.

        Raises `UsageError` for a name that cannot be one, `ConfigError` for a provider without an address and
        `AuthenticationError` for one without its key.
        """
        address = address.strip() or self._settings.model.strip() or self._default_address()
        if alias := self._settings.aliases.get(address):
            try:
                return self._endpoint(alias.strip())
            except ChatllmError as error:
                error.message = f"the alias {address} names {alias}: {error.message}"
                raise
        return self._endpoint(address)

    def _endpoint(self, address: str) -> Endpoint:
        provider, model = self._split(address)
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

    def resumed(self, conversation: Conversation) -> Endpoint:
        """Return the endpoint of the model that a stored conversation was held with.

        Raises `ConfigError` if its provider is not set up any more: the conversation must not go to another. One that
        came from elsewhere goes to the default model then: its own may never have been set up here.
        """
        address = conversation.last_model
        if not conversation.imported_at:
            return self._resumed(address)
        try:
            return self._resumed(address) if "/" in address else self.endpoint(address)
        except ChatllmError:
            return self.endpoint()

    def _resumed(self, address: str) -> Endpoint:
        provider, _, model = address.partition("/")
        if provider == LOCAL:
            return self.local(model)
        if provider not in self._providers:
            raise ConfigError(
                f"the conversation was held with {address}, and there is no provider '{provider}' now",
                hint="set it up again, or name another model with -m",
            )
        return self._remote(provider, model)

    def stands_in(self, endpoint: Endpoint, address: str = "") -> bool:
        """Tell whether the embedded model answers only because nobody chose one."""
        chosen = address.strip() or self._settings.model.strip() or self._settings.local.model_path
        return endpoint.is_embedded and not chosen

    def local(self, name: str = "") -> Endpoint:
        """Return the embedded model's endpoint, or a pulled one's. Raises `ConfigError` or `UsageError`."""
        weights = find_weights(self._settings.local, self._local_models, name)
        return Endpoint(
            LOCAL,
            weights.name,
            base_url="",
            weights=weights.fingerprint,
            marks_end=True,
            takes_schema=True,
            options=self._options(f"{LOCAL}/{weights.name}"),
            context_length=weights.context_length,
        )

    def catalogue(self, name: str) -> Endpoint:
        """Return the endpoint of a provider, to ask it which models it has. Raises as `endpoint` does."""
        return self._remote(name, "")

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
        if slash and (provider == LOCAL or self._is_meant(provider)):
            return provider, model
        for name in (DEFAULT, OPENAI, *([] if slash else self._only_one())):
            if name in self._providers and self._is_usable(name):
                return name, address
        if address in local_names(self._settings.local, self._local_models):
            return LOCAL, address
        missing = f"provider '{provider}'" if slash else f"model '{address}' without a provider that could have it"
        raise UsageError(f"there is no {missing}", hint=f"write provider/model; {LIST}")

    def _is_meant(self, name: str) -> bool:
        """Tell whether `name` before a slash is that provider: a gateway has models of such names, too."""
        if name in {DEFAULT, OPENAI} or DEFAULT not in self._providers:
            return name in self._providers
        return name in self._settings.providers or (name in self._providers and self._has_key(name))

    def _only_one(self) -> list[str]:
        """Return the provider that is set up, if it is the only one."""
        configured = self.configured()
        return configured if len(configured) == 1 else []

    def _remote(self, name: str, model: str) -> Endpoint:
        base_url = self.base_url(name)
        provider, known = self._providers[name], KNOWN.get(name, UNKNOWN)
        if not self._is_usable(name):
            raise AuthenticationError(
                f"there is no key for {name}",
                hint=f"`chatllm keys set {name}` stores one, or set {known.key_variable}; -m {LOCAL}/ needs none",
            )
        is_theirs = known.is_local or not provider.base_url  # behind another address may be anything
        listing = not model
        return Endpoint(
            name,
            model,
            base_url,
            provider.api_key or None,
            max_tokens_field=provider.max_tokens_field or known.max_tokens_field,
            seed_field=known.seed_field,
            marks_end=_marks_end(provider, known, is_theirs=is_theirs),
            takes_schema=known.takes_schema and is_theirs,
            takes_usage_wish=known.takes_usage_wish,
            headers=known.lists_with if listing else (),
            has_key_command=bool(provider.api_key_cmd),
            key_header=known.lists_by if listing else "Authorization",
            options=self._options(f"{name}/{model}"),
        )

    def _options(self, address: str) -> ChatOptions:
        """Return what the settings ask of a model: its own options, and the general ones."""
        general = chat_options(self._settings)
        own = self._settings.models.get(address)
        return chat_options(own).over(general) if own else general

    def _is_set_up(self, name: str, provider: Provider) -> bool:
        return bool(provider.base_url) or (name in KNOWN and self._has_key(name))

    def _is_usable(self, name: str) -> bool:
        """Tell whether `name` can be asked: one of the user's own, or on this machine, needs no key."""
        provider = self._providers[name]
        return self._is_set_up(name, provider) or (name in KNOWN and KNOWN[name].is_local)

    def _has_key(self, name: str) -> bool:
        provider = self._providers[name]
        return bool(provider.api_key or provider.api_key_cmd or name in self._stored)


def _provider(settings: "ProviderSettings") -> Provider:
    key = settings.api_key.get_secret_value()
    return Provider(settings.base_url, key, settings.api_key_cmd, settings.max_tokens_field, settings.end_marker)


def _marks_end(provider: Provider, known: KnownProvider, *, is_theirs: bool) -> bool:
    return provider.end_marker == "required" if provider.end_marker else known.marks_end and is_theirs


def chat_options(settings: "OptionSettings") -> ChatOptions:
    """Return what settings ask of a reply."""
    return ChatOptions(
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        top_p=settings.top_p,
        seed=settings.seed,
        stop=settings.stop,
        reasoning_effort=settings.reasoning_effort,
        extra=tuple((name, json.dumps(value)) for name, value in settings.options.items()),
    )
