"""Settings: flag > environment > profile > config.toml > default."""

import json
from typing import Any, Literal

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from chatllm_cli.config.sections import (
    Alias,
    ApiKey,
    BaseUrl,
    BudgetSettings,
    CacheSettings,
    HistorySettings,
    LimitSettings,
    LocalSettings,
    ModelAddress,
    Models,
    ModelSettings,
    OptionSettings,
    OutputSettings,
    PriceSettings,
    PrivacySettings,
    ProviderName,
    ProviderSettings,
    ReplSettings,
    RetrySettings,
    TimeoutSettings,
)
from chatllm_cli.config.sources import ENV_PREFIX, file_layers, foreign_variables, nest
from chatllm_cli.models import TrimMode


class Settings(OptionSettings, BaseSettings):
    """Every setting, validated."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # pydantic would print a mistyped key in the clear
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
    )

    model: str = ""
    """The model, as provider/model; empty takes OpenAI's if there is a key for it, else the embedded one."""
    base_url: BaseUrl = ""
    """The default provider's address, for any OpenAI-compatible server, up to and including /v1."""
    api_key: ApiKey = SecretStr("")
    """The default provider's key; better kept in the environment, as CHATLLM_API_KEY."""
    api_key_cmd: str = ""
    """A command that prints the default provider's key."""
    insecure_http: bool = False
    """Let keys go over plain http to other machines, where anyone on the way can read them; as --insecure-http."""
    system_prompt: str = ""
    """The standing instruction that every new conversation begins with."""
    fallback: Models = ()
    """Models to ask in turn when the one before is unreachable, over its limit or out of quota."""
    redact: Literal["warn", "replace", "off"] = "warn"
    """What is done about a prompt with a key or password in it: tell it on a terminal, replace it, or nothing."""
    trim: TrimMode = "never"
    """What to do if a conversation does not fit the model: refuse it (never), leave out the oldest, or summarise."""
    timeouts: TimeoutSettings = TimeoutSettings()
    retries: RetrySettings = RetrySettings()
    limits: LimitSettings = LimitSettings()
    local: LocalSettings = LocalSettings()
    cache: CacheSettings = CacheSettings()
    history: HistorySettings = HistorySettings()
    budget: BudgetSettings = BudgetSettings()
    output: OutputSettings = OutputSettings()
    repl: ReplSettings = ReplSettings()
    privacy: PrivacySettings = PrivacySettings()
    providers: dict[ProviderName, ProviderSettings] = {}
    """Providers by name, addressed as NAME/model."""
    models: dict[str, ModelSettings] = {}
    """Options by model, named as provider/model."""
    prices: dict[ModelAddress, PriceSettings] = {}
    """Prices by model, named as provider/model."""
    aliases: dict[Alias, str] = {}
    """Short names for models, to be used where a model is named."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (`_Variables` takes its place)
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (a .env of the current folder is never read)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources; the first that knows a value wins."""
        return (
            init_settings,
            _Variables(settings_cls),
            InitSettingsSource(settings_cls, nest(foreign_variables())),
            *(InitSettingsSource(settings_cls, values) for _, values in file_layers()),
        )


class _Variables(EnvSettingsSource):
    """Our environment variables; an option of a request is JSON there, or the text itself, as after --option."""

    def __call__(self) -> dict[str, Any]:
        """Return their values."""
        values = super().__call__()
        if isinstance(options := values.get("options"), dict):
            values["options"] = {name: _read(value) for name, value in options.items()}
        return values


def _read(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def all_fields(section: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    """Return the settings of a section and of those in it, by dotted key."""
    fields: dict[str, FieldInfo] = {}
    for name, info in section.model_fields.items():
        if nested := section_of(info):
            fields |= all_fields(nested, f"{prefix}{name}.")
        else:
            fields[f"{prefix}{name}"] = info
    return fields


def section_of(info: FieldInfo | None) -> type[BaseModel] | None:
    """Return the section that a field holds, if it holds one."""
    kind = info and info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
