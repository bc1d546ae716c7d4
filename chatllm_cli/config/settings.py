"""Settings: flag > environment > config.toml > default."""

from typing import Annotated

from pydantic import BaseModel, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from chatllm_cli.config.places import find_places
from chatllm_cli.config.sections import (
    ApiKey,
    BaseUrl,
    BudgetSettings,
    CacheSettings,
    HistorySettings,
    LimitSettings,
    LocalSettings,
    ModelAddress,
    Models,
    OutputSettings,
    PriceSettings,
    PrivacySettings,
    ProviderName,
    ProviderSettings,
    RetrySettings,
    TimeoutSettings,
)
from chatllm_cli.config.sources import ENV_PREFIX, foreign_variables, nest, read_config_file
from chatllm_cli.models import TrimMode


class Settings(BaseSettings):
    """Every setting, validated."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
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
    system_prompt: str = ""
    """The standing instruction that every new conversation begins with."""
    temperature: Annotated[float | None, Field(ge=0, le=2, examples=[0.7])] = None
    """How freely words are chosen, 0 to 2; the provider's own default unless set."""
    max_tokens: Annotated[int | None, Field(ge=1, examples=[1000])] = None
    """The longest answer, in tokens; no limit of ours unless set."""
    fallback: Models = ()
    """Models to ask in turn when the one before is unreachable, over its limit or out of quota."""
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
    privacy: PrivacySettings = PrivacySettings()
    providers: dict[ProviderName, ProviderSettings] = {}
    """Providers by name, addressed as NAME/model."""
    prices: dict[ModelAddress, PriceSettings] = {}
    """Prices by model, named as provider/model."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (a .env of the current folder is never read)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources; the first that knows a value wins."""
        return (
            init_settings,
            env_settings,
            InitSettingsSource(settings_cls, nest(foreign_variables())),
            InitSettingsSource(settings_cls, read_config_file(find_places().config_file)),
        )


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
