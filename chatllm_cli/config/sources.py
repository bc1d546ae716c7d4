"""Where settings come from: the config file and environment variables.

Nothing is read from the current folder: a cloned repository must not be able to send a key elsewhere.
"""

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chatllm_cli.config.addresses import passwords_in
from chatllm_cli.config.known_providers import KNOWN
from chatllm_cli.config.places import HOME_VARIABLE, find_places
from chatllm_cli.config.profiles import PROFILE_TABLE, PROFILE_VARIABLE, chosen_profile
from chatllm_cli.config.setting_keys import Key, spell_key
from chatllm_cli.errors import ConfigError
from chatllm_cli.quick_imports import PLAIN_IMPORTS_VARIABLE

ENV_PREFIX = "CHATLLM_"
FROM_VARIABLE = "environment variable "  # and its name: where a value came from
BYTE_ORDER_MARK = "\ufeff"  # Windows editors begin a file with it
DEEPEST = 100  # tables in each other; a thousand are more than Python's stack takes
_ALIAS = re.compile(r"(profile\.[^.]+\.)?aliases\.")
NO_SETTINGS = {HOME_VARIABLE, PROFILE_VARIABLE, PLAIN_IMPORTS_VARIABLE}
# Variables of other programs that are honoured, and the setting each stands for.
FOREIGN_VARIABLES = {
    **{known.key_variable: f"providers.{name}.api_key" for name, known in KNOWN.items() if known.key_variable},
    "OPENAI_BASE_URL": "providers.openai.base_url",
    "HF_ENDPOINT": "local.hub_url",
}


def read_config_file(path: Path) -> dict[str, Any]:
    """Parse the config file; a missing one is empty, one that shows a key, or that others can write, is refused."""
    if (read := read_config_text(path)) is None:
        return {}
    text, mode = read
    values = parse_config(text, path)
    if complaint := complaint_about_mode(values, mode):
        raise ConfigError(f"{path} {complaint}", hint=f"chmod 600 {path}")
    return values


def read_config_text(path: Path) -> tuple[str, int] | None:
    """Return the text of a config file and its mode; None if there is no such file. Raises `ConfigError`."""
    read = read_config_bytes(path)
    return read and (decoded(read[0], path), read[1])


def decoded(data: bytes, path: Path) -> str:
    """Return the text that a config file holds. Raises `ConfigError`."""
    try:
        return data.decode("utf-8").removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start + 1})") from None


def read_config_bytes(path: Path) -> tuple[bytes, int] | None:
    """Return what is in a config file, whatever it is, and its mode; None if there is no such file."""
    try:
        is_redirection = str(path).startswith(("/dev/", "/proc/"))
        if stat.S_ISFIFO(path.stat().st_mode) and not is_redirection:  # it would wait for a writer for ever
            raise ConfigError(f"{path} cannot be read: it is no file")
        with path.open("rb") as file:
            return file.read(), os.fstat(file.fileno()).st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def parse_config(text: str, path: Path) -> dict[str, Any]:
    """Parse the text of a config file. Raises `ConfigError`."""
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number may have more digits than Python takes, too
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    if _is_too_deep(values):
        raise ConfigError(f"{path} holds more than {DEEPEST} tables in each other")
    return values


def _is_too_deep(values: object) -> bool:
    level = [values]
    for _ in range(DEEPEST):
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = [each for several in inner for each in several]
    return any(isinstance(each, dict | list) for each in level)


def read_value(text: str) -> list[Any]:
    """Return what `text` is in TOML, or nothing if it is no value there, a value and a comment, or too deep."""
    try:
        found = tomllib.loads(f"value = {text}")
        tomllib.loads(f"value = [{text.strip()}]")  # which a comment would leave open
    except (ValueError, RecursionError):
        return []
    return list(found.values()) if len(found) == 1 and not _is_too_deep(found) else []


def complaint_about_mode(values: Mapping[str, Any], mode: int) -> str | None:
    """Return what others may do with a file of these values and this mode, and must not.

    Who can write it runs what they like as its owner, by api_key_cmd.
    """
    flat = flatten(values)
    keys = [key for key in flat if key.endswith("api_key") and not _ALIAS.match(key)]
    passwords = [key for key, value in flat.items() if key.endswith("cache.url") and passwords_in(str(value))]
    if (keys or passwords) and mode & 0o077:
        return f"holds a {'key' if keys else 'password'} and others can read it"
    return "can be written by others" if stat.S_ISREG(mode) and mode & 0o022 else None


def file_layers() -> list[tuple[str, dict[str, Any]]]:
    """Return what the config file says and where, the strongest first: the profile in force, and the rest of it."""
    path = find_places().config_file
    values = read_config_file(path)
    profiles = profiles_of(values, path)
    name = chosen_profile()
    rest = [(place_in_file(path, ""), without_profiles(values))]
    if not name:
        return rest
    if name not in profiles:
        raise ConfigError(unknown_profile(name, profiles, path))
    if complaint := complaint_about_profile(name, profiles[name]):
        raise ConfigError(f"{path}: {complaint}")
    return [(place_in_file(path, name), profiles[name]), *rest]


def place_in_file(path: Path, profile: str) -> str:
    """Return how to call the part of a config file that a profile is; "" is the rest."""
    return f"{path} [{spell_key((PROFILE_TABLE, profile))}]" if profile else str(path)


def profiles_of(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the profiles in a config file, by name, as they are. Raises `ConfigError`."""
    profiles = values.get(PROFILE_TABLE, {})
    if not isinstance(profiles, dict):
        raise ConfigError(f"{path}: {PROFILE_TABLE}: expected profiles, such as [profile.work]")
    return profiles


def unknown_profile(name: str, profiles: Mapping[str, Any], path: Path) -> str:
    """Return what to say of a profile that does not exist."""
    there_are = f"there are {', '.join(profiles)}" if profiles else f"there are none in {path}"
    return f"there is no profile {name}; {there_are}"


def without_profiles(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a config file says whatever profile is in force."""
    return {key: value for key, value in values.items() if key != PROFILE_TABLE}


def complaint_about_profile(name: str, profile: object) -> str | None:
    """Return what is wrong with a profile as such, its settings apart."""
    key = spell_key((PROFILE_TABLE, name))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        return f"{key}: expected a name of letters, digits, _ and -"
    if not isinstance(profile, dict):
        return f"{key}: expected a section"
    return f"{key}.{PROFILE_TABLE}: a profile cannot hold profiles" if PROFILE_TABLE in profile else None


def foreign_variables() -> dict[str, str]:
    """Return the values of variables of other programs, by the dotted key each stands for."""
    return {key: os.environ[name] for name, key in FOREIGN_VARIABLES.items() if os.environ.get(name)}


def own_variables() -> list[str]:
    """Return the names of the variables that are meant for us."""
    return sorted(name for name in os.environ if name.upper().startswith(ENV_PREFIX) and name not in NO_SETTINGS)


def key_of(variable: str) -> Key:
    """Return the key that a variable of ours sets; its parts may hold anything, dots too."""
    return tuple(variable[len(ENV_PREFIX) :].lower().split("__"))


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{spell_key((key,))}.")
        else:
            flat[f"{prefix}{spell_key((key,))}"] = value
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted key as nested ones."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        level = nested
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = value
    return nested


def merged(values: Mapping[str, Any], stronger: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values with those on top that outweigh them."""
    result = dict(values)
    for key, value in stronger.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result
