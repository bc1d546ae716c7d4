"""Loading the settings, saying where each came from, and what is wrong with one that cannot be used."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from chatllm_cli.config.addresses import origin_of
from chatllm_cli.config.faults import complaints
from chatllm_cli.config.known_providers import KNOWN, OPENAI, UNKNOWN, KnownProvider
from chatllm_cli.config.secrets import KeyOrigin, KeyOrigins, secrets_of
from chatllm_cli.config.setting_keys import Key, parse_key, spell_key
from chatllm_cli.config.settings import Settings
from chatllm_cli.config.shape import is_setting_of_a_table, is_table, kind_at, nearest
from chatllm_cli.config.sources import (
    ENV_PREFIX,
    FOREIGN_VARIABLES,
    FROM_VARIABLE,
    file_layers,
    flatten,
    foreign_variables,
    key_of,
    nest,
    own_variables,
)
from chatllm_cli.errors import ConfigError


def load_settings(flags: Mapping[str, Any] | None = None) -> Settings:
    """Merge flags (dotted keys; None is not given), environment, config file and defaults.

    Raises `ConfigError` with one line that names where the fault stands, its key and what is expected.
    """
    if unusable := unusable_variables():
        raise next(iter(unusable.values()))
    try:
        return Settings(**nest({key: value for key, value in (flags or {}).items() if value is not None}))
    except ValidationError as error:
        raise _explain(error, flags or {}) from None


def known_secrets() -> list[str]:
    """Return every key in force, so that it can be kept out of what is shown; none if the settings are at fault."""
    try:
        return secrets_of(load_settings())
    except ConfigError:
        return []


def setting_origins() -> dict[str, str]:
    """Return where each value that is not a default came from, by dotted key."""
    return _origins(_flat_layers())


def _flat_layers() -> list[tuple[str, dict[str, Any]]]:
    return [(where, flatten(values)) for where, values in file_layers()]


def _origins(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    origins: dict[str, str] = {}
    for where, values in reversed(layers):
        origins |= dict.fromkeys(values, where)
    return origins | variable_origins()


def variable_origins(values: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return which environment variable sets what, by dotted key; of those `values` if not all can be read."""
    foreign = foreign_variables()
    origins = {key: f"{FROM_VARIABLE}{name}" for name, key in FOREIGN_VARIABLES.items() if key in foreign}
    variables = {key_of(name): name for name in own_variables() if os.environ[name]}
    for key in flatten(EnvSettingsSource(Settings)() if values is None else values):
        parts = parse_key(key)
        holders = [parts[:length] for length in range(len(parts), 0, -1)]  # any table may be given whole, as JSON
        variable = next((variables[holder] for holder in holders if holder in variables), None)
        origins[key] = f"{FROM_VARIABLE}{variable}" if variable else "environment"
    return origins


def key_origins(settings: Settings) -> dict[str, KeyOrigins]:
    """Return where the keys in the settings came from, by provider."""
    layers = _flat_layers()
    origins, places = _origins(layers), [where for where, _ in layers]

    def origin(*paths: Key, setting: str, known: str) -> KeyOrigin | None:
        place = origins.get(spell_key((*paths[0], setting)))
        if place not in places:
            return KeyOrigin(place) if place else None
        below = places.index(place)
        named = [
            str(found)
            for _, values in (*layers[below:], *([] if known else layers[:below]))
            for path in paths
            if (found := values.get(spell_key((*path, "base_url"))))
        ]
        return KeyOrigin(place, origin_of(next(iter(named), known)))

    def both(*paths: Key, known: KnownProvider) -> KeyOrigins:
        key, command = (origin(*paths, setting=name, known=known.base_url) for name in ("api_key", "api_key_cmd"))
        if key and command and {key.place, command.place} <= {*places}:
            # A key of a profile stands in the place of a command below it.
            command = None if places.index(key.place) < places.index(command.place) else command
        return KeyOrigins(key, command)

    found = {name: both(("providers", name), known=KNOWN.get(name, UNKNOWN)) for name in settings.providers}
    if settings.base_url:
        found["default"] = both((), known=UNKNOWN)
    elif settings.api_key.get_secret_value() or settings.api_key_cmd:
        own, general = found.get(OPENAI, KeyOrigins()), both((), ("providers", OPENAI), known=KNOWN[OPENAI])
        found[OPENAI] = KeyOrigins(general.key or own.key, general.command or own.command)
    return found


def unusable_variables() -> dict[str, ConfigError]:
    """Return what is wrong with our variables that pydantic-settings passes over, or tells in its own words."""
    found = {}
    for name in own_variables():
        path = key_of(name)
        if not (kind_at(path) or is_setting_of_a_table(path[:1])):
            error = ConfigError(f"environment variable {name} is not a setting", hint=_nearest_variable(path))
        elif os.environ[name] and len(path) == 1 and is_table(kind_at(path)) and not _is_json_object(name):
            error = ConfigError(f"environment variable {name}: expected a section, as JSON")
        else:
            continue
        found[name] = error
    return found


def _is_json_object(variable: str) -> bool:
    try:
        return isinstance(json.loads(os.environ[variable]), dict)
    except (ValueError, RecursionError):
        return False


def _explain(error: ValidationError, flags: Mapping[str, Any]) -> ConfigError:
    """Turn pydantic's first complaint into one line that names place, key and expectation."""
    first = complaints(error)[0]
    key = spell_key(first.key)
    origins = setting_origins() | {name: "command line" for name, value in flags.items() if value is not None}
    origin = next((where for name, where in origins.items() if f"{name}.".startswith(f"{key}.")), "settings")
    return ConfigError(f"{origin}: {first.line()}", hint=first.hint)


def _nearest_variable(key: Key) -> str:
    if near := nearest(key):
        return f"did you mean {ENV_PREFIX}{near.upper().replace('.', '__')}?"
    return f"the settings and sections are {', '.join(Settings.model_fields)}"
