"""Settings (flag > environment > config.toml > default) and the folders that everything lives in.

Nothing is read from the current folder: a cloned repository must not be able to send a key elsewhere.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from chatllm_cli.errors import ConfigError

ENV_PREFIX = "CHATLLM_"
HOME_VARIABLE = "CHATLLM_HOME"
# Variables of other programs that are honoured, and the setting each stands for.
FOREIGN_VARIABLES = {
    "OPENAI_API_KEY": "providers.openai.api_key",
    "OPENAI_BASE_URL": "providers.openai.base_url",
}

RESERVED_PROVIDERS = ("local", "default")  # the embedded model, and the provider that base_url describes


@dataclass(frozen=True)
class Places:
    """The folders and the config file of one user."""

    config_file: Path
    data: Path
    cache: Path
    state: Path

    @property
    def conversations(self) -> Path:
        """Where the history lies."""
        return self.data / "conversations"

    @property
    def responses(self) -> Path:
        """Where the response cache lies."""
        return self.cache / "responses"


def find_places() -> Places:
    """Return the folders: all under `CHATLLM_HOME` if that is set, else the platform's own."""
    if home := os.environ.get(HOME_VARIABLE):
        root = expand_user(home, HOME_VARIABLE)
        return Places(root / "config.toml", root / "data", root / "cache", root / "state")
    dirs = platformdirs.PlatformDirs("chatllm", appauthor=False)
    return Places(
        dirs.user_config_path / "config.toml", dirs.user_data_path, dirs.user_cache_path, dirs.user_state_path
    )


def _check_base_url(value: str) -> str:
    if not value:
        return value
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port  # a bad port raises only when it is looked at
    except ValueError:
        host, parts = None, urlsplit("")
    is_clean = value.isprintable() and " " not in value and not parts.query and not parts.fragment
    if parts.scheme not in {"http", "https"} or not host or not is_clean:
        raise ValueError("expected an address such as https://host/v1")
    if "@" in parts.netloc:
        raise ValueError("expected an address without a user name or password in it")
    return value.rstrip("/")


def _check_provider_name(name: str) -> str:
    if name in RESERVED_PROVIDERS or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ValueError("expected a name of letters, digits, _ and -, other than local and default")
    return name


def _check_key(key: SecretStr) -> SecretStr:
    value = key.get_secret_value().strip()  # files and secret stores add a newline
    if not (value.isascii() and value.isprintable()):
        raise ValueError("expected a key of printable ASCII characters")
    return SecretStr(value)


ApiKey = Annotated[SecretStr, AfterValidator(_check_key)]
BaseUrl = Annotated[str, AfterValidator(_check_base_url)]
Seconds = Annotated[float, Field(gt=0, le=86400)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


class TimeoutSettings(_Section):
    """How long to wait for a provider, in seconds."""

    connect: Seconds = 10.0
    """To reach it."""
    first_token: Seconds = 120.0
    """Until the first piece of the answer."""
    idle: Seconds = 60.0
    """Between two pieces of the answer."""


class LocalSettings(_Section):
    """The embedded model, which answers without a key and without a network."""

    model_path: str = ""
    """A GGUF file to run instead of the model that comes along."""
    context_size: Annotated[int, Field(ge=256, le=2**30)] = 8192
    """Tokens that the prompt, the history and the answer may take together."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """Processor threads; 0 takes half of the processors."""


class CacheSettings(_Section):
    """Answers kept so that an identical request is not sent, or paid, twice."""

    mode: Literal["auto", "always", "never"] = "auto"
    """When `ask` uses it: auto (at temperature 0 only), always or never."""
    ttl_days: Annotated[float, Field(gt=0, le=36500)] = 30.0
    """Days after which an answer is forgotten."""
    size_mb: Annotated[int, Field(ge=1, le=2**20)] = 256
    """Megabytes on disk above which the oldest answers are forgotten."""


class HistorySettings(_Section):
    """What is kept of your conversations."""

    enabled: bool = True
    """Keep every conversation; false is the same as --no-history."""


class OutputSettings(_Section):
    """What a terminal shows."""

    plain: bool = False
    """Show answers as plain text instead of rendered markdown; the same as --plain."""


class PrivacySettings(_Section):
    """What leaves this machine besides the request itself: nothing, unless you say so here."""

    tracing: bool = False
    """Let LangSmith tracing send your prompts where the LANGSMITH_ variables say."""


class ProviderSettings(_Section):
    """One provider: any service with an OpenAI-compatible API."""

    base_url: BaseUrl = ""
    """Its address, up to and including /v1."""
    api_key: ApiKey = SecretStr("")
    """Its key; empty for a server that asks for none."""


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
    timeouts: TimeoutSettings = TimeoutSettings()
    local: LocalSettings = LocalSettings()
    cache: CacheSettings = CacheSettings()
    history: HistorySettings = HistorySettings()
    output: OutputSettings = OutputSettings()
    privacy: PrivacySettings = PrivacySettings()
    providers: dict[Annotated[str, AfterValidator(_check_provider_name)], ProviderSettings] = {}
    """Providers by name, addressed as NAME/model."""

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
            InitSettingsSource(settings_cls, _nest(_foreign_variables())),
            InitSettingsSource(settings_cls, read_config_file(find_places().config_file)),
        )


def load_settings(flags: Mapping[str, Any] | None = None) -> Settings:
    """Merge flags (dotted keys; None is not given), environment, config file and defaults.

    Raises `ConfigError` with one line that names where the fault stands, its key and what is expected.
    """
    _refuse_unusable_variables()
    try:
        return Settings(**_nest({key: value for key, value in (flags or {}).items() if value is not None}))
    except ValidationError as error:
        raise _explain(error, flags or {}) from None


def expand_user(path: str, setting: str) -> Path:
    """Return `path` made absolute, its ~ replaced. Raises `ConfigError` if there is no such user."""
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:
        raise ConfigError(f"{setting}: there is no home folder for {path.partition('/')[0]}") from None


def known_secrets() -> list[str]:
    """Return every key in force, so that it can be kept out of what is shown; none if the settings are at fault."""
    try:
        values = flatten(load_settings().model_dump()).values()
    except ConfigError:
        return []
    return [secret for value in values if isinstance(value, SecretStr) and (secret := value.get_secret_value())]


def setting_origins() -> dict[str, str]:
    """Return where each value that is not a default came from, by dotted key."""
    config_file = find_places().config_file
    origins = dict.fromkeys(flatten(read_config_file(config_file)), str(config_file))
    for name, key in FOREIGN_VARIABLES.items():
        if key in _foreign_variables():
            origins[key] = f"environment variable {name}"
    variables = {_key_of(name): name for name in _own_variables() if os.environ[name]}
    for key in flatten(EnvSettingsSource(Settings)()):
        variable = variables.get(key) or variables.get(key.partition(".")[0])  # a section may be given whole, as JSON
        origins[key] = f"environment variable {variable}"
    return origins


def read_config_file(path: Path) -> dict[str, Any]:
    """Parse the config file; one that is missing is empty, one that shows a key to others is refused."""
    try:
        with path.open("rb") as file:
            values = tomllib.loads(file.read().decode("utf-8"))
            others_can_read = os.fstat(file.fileno()).st_mode & 0o077
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start + 1})") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    if others_can_read and any(key.endswith("api_key") for key in flatten(values)):
        raise ConfigError(f"{path} holds a key and others can read it", hint=f"chmod 600 {path}")
    return values


def _foreign_variables() -> dict[str, str]:
    return {key: os.environ[name] for name, key in FOREIGN_VARIABLES.items() if os.environ.get(name)}


def _own_variables() -> list[str]:
    return sorted(name for name in os.environ if name.upper().startswith(ENV_PREFIX) and name != HOME_VARIABLE)


def _key_of(variable: str) -> str:
    return variable[len(ENV_PREFIX) :].lower().replace("__", ".")


def _refuse_unusable_variables() -> None:
    """Refuse what pydantic-settings would pass over in silence, or complain of in its own words."""
    for name in _own_variables():
        key = _key_of(name)
        if not (key in all_fields(Settings) or key in Settings.model_fields or key.startswith("providers.")):
            raise ConfigError(f"environment variable {name} is not a setting", hint=_nearest(key, as_variable=True))
        if os.environ[name] and (key == "providers" or section_of(Settings.model_fields.get(key))):
            _check_is_json_object(name)


def _check_is_json_object(variable: str) -> None:
    try:
        is_object = isinstance(json.loads(os.environ[variable]), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise ConfigError(f"environment variable {variable}: expected a section, as JSON")


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        level = nested
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = value
    return nested


def _explain(error: ValidationError, flags: Mapping[str, Any]) -> ConfigError:
    """Turn pydantic's first complaint into one line that names place, key and expectation, never the value."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    key = ".".join(str(part) for part in first["loc"]).removesuffix(".[key]")
    origins = setting_origins() | {name: "command line" for name, value in flags.items() if value is not None}
    origin = next((where for name, where in origins.items() if f"{name}.".startswith(f"{key}.")), "settings")
    if first["type"] == "extra_forbidden":
        return ConfigError(f"{origin}: {key} is not a setting", hint=_nearest(key))
    return ConfigError(f"{origin}: {key}: {_expectation(first['msg'])}")


def _expectation(pydantic_message: str) -> str:
    text = pydantic_message.removeprefix("Value error, ").partition(", unable to")[0]
    text = text.replace("Input should be", "expected")
    text = re.sub(r"a valid dictionary or instance of \w+", "a section", text)
    return re.sub(r"expected (less|greater)", r"expected a number \1", text)


def _nearest(key: str, *, as_variable: bool = False) -> str:
    if not (near := get_close_matches(key, [*all_fields(Settings), *Settings.model_fields], n=1)):
        return f"the settings and sections are {', '.join(Settings.model_fields)}"
    name = f"{ENV_PREFIX}{near[0].upper().replace('.', '__')}" if as_variable else near[0]
    return f"did you mean {name}?"


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
