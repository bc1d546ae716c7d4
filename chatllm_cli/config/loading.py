"""Loading the settings, saying where each came from, and what is wrong with one that cannot be used."""

import json
import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import EnvSettingsSource

from chatllm_cli.config.places import find_places
from chatllm_cli.config.settings import Settings, all_fields, section_of
from chatllm_cli.config.sources import (
    ENV_PREFIX,
    FOREIGN_VARIABLES,
    flatten,
    foreign_variables,
    key_of,
    nest,
    own_variables,
    read_config_file,
)
from chatllm_cli.errors import ConfigError


def load_settings(flags: Mapping[str, Any] | None = None) -> Settings:
    """Merge flags (dotted keys; None is not given), environment, config file and defaults.

    Raises `ConfigError` with one line that names where the fault stands, its key and what is expected.
    """
    _refuse_unusable_variables()
    try:
        return Settings(**nest({key: value for key, value in (flags or {}).items() if value is not None}))
    except ValidationError as error:
        raise _explain(error, flags or {}) from None


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
        if key in foreign_variables():
            origins[key] = f"environment variable {name}"
    variables = {key_of(name): name for name in own_variables() if os.environ[name]}
    for key in flatten(EnvSettingsSource(Settings)()):
        variable = variables.get(key) or variables.get(key.partition(".")[0])  # a section may be given whole, as JSON
        origins[key] = f"environment variable {variable}"
    return origins


def _refuse_unusable_variables() -> None:
    """Refuse what pydantic-settings would pass over in silence, or complain of in its own words."""
    for name in own_variables():
        key = key_of(name)
        if not (key in all_fields(Settings) or key in Settings.model_fields or key.startswith("providers.")):
            raise ConfigError(f"environment variable {name} is not a setting", hint=_nearest(key, as_variable=True))
        if os.environ[name] and (key in {"providers", "prices"} or section_of(Settings.model_fields.get(key))):
            _check_is_json_object(name)


def _check_is_json_object(variable: str) -> None:
    try:
        is_object = isinstance(json.loads(os.environ[variable]), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise ConfigError(f"environment variable {variable}: expected a section, as JSON")


def _explain(error: ValidationError, flags: Mapping[str, Any]) -> ConfigError:
    """Turn pydantic's first complaint into one line that names place, key and expectation, never the value."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    key = ".".join(part for part in first["loc"] if isinstance(part, str)).removesuffix(".[key]")
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
