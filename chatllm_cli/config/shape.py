"""What may stand at a key of the config file: a setting of some type, a section, or nothing that is known."""

from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from chatllm_cli.config.addresses import passwords_in
from chatllm_cli.config.profiles import PROFILE_TABLE
from chatllm_cli.config.setting_keys import Key, spell_key
from chatllm_cli.config.settings import Settings, all_fields
from chatllm_cli.config.sources import complaint_about_profile
from chatllm_cli.errors import ConfigError


def split_profile(key: Key) -> tuple[str, Key]:
    """Return the profile that a key of the config file belongs to, "" for none, and the key in it."""
    return (key[1], key[2:]) if key[:1] == (PROFILE_TABLE,) and len(key) > 1 else ("", key)


def kind_at(key: Key) -> Any | None:
    """Return the type of what stands at a key of the settings; None if there is no such setting."""
    kind: Any = Settings
    for part in key:
        if is_section(kind):
            info = kind.model_fields.get(part)
            kind = _plain(info.annotation) if info else None
        elif get_origin(kind) is dict:
            kind = _plain(get_args(kind)[1])
        else:
            kind = kind if kind is Any else None
    return kind


def is_section(kind: Any) -> bool:
    """Tell whether a type is a section with settings of fixed names."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def is_table(kind: Any) -> bool:
    """Tell whether a type is a section, or a table whose names are the user's own."""
    return is_section(kind) or get_origin(kind) is dict


def check_can_be_set(key: Key, *, several: bool = False) -> None:
    """Raise `ConfigError` unless a key of the config file is that of one setting, or of an entry for several."""
    name, inner = split_profile(key)
    if name and (complaint := complaint_about_profile(name, dict.fromkeys(inner[:1]))):
        raise ConfigError(complaint)
    kind: Any = dict[str, Settings] if key == (PROFILE_TABLE,) else kind_at(inner)
    if kind is None:
        raise unknown_setting(key)
    if several and is_entry(inner):
        return
    if is_section(kind):
        names = ", ".join(kind.model_fields)
        raise ConfigError(f"{spell_key(key)} is a section", hint=f"its settings are {names}")
    if is_table(kind):
        raise ConfigError(f"{spell_key(key)} is a section", hint=f"a name follows: {spell_key(key)}.NAME")


def unknown_setting(key: Key) -> ConfigError:
    """Return what to say of a key of the config file that is no setting."""
    name, inner = split_profile(key)
    near = nearest(inner)
    within = f"{spell_key((PROFILE_TABLE, name))}." if name else ""
    return ConfigError(f"{spell_key(key)} is not a setting", hint=near and f"did you mean {within}{near}?")


def is_secret(key: Key) -> bool:
    """Tell whether what stands at a key must not be seen."""
    return kind_at(key) is SecretStr or (key[-1:] == ("api_key",) and key[:-1] != ("aliases",))


def holds_secret(key: Key, value: Any) -> bool:
    """Tell whether a value at a key is, or has in it, what must not be seen."""
    if key[-2:] == ("cache", "url") and isinstance(value, str):  # an address: only what is in it can be secret
        return bool(passwords_in(value))
    if isinstance(value, dict):
        return is_secret(key) or any(holds_secret((*key, name), each) for name, each in value.items())
    return is_secret(key) or (isinstance(value, list) and any(holds_secret(key, each) for each in value))


def is_entry(key: Key) -> bool:
    """Tell whether a key is that of a section whose name is the user's own, such as a provider."""
    return bool(key) and is_section(kind_at(key)) and get_origin(kind_at(key[:-1])) is dict


def is_setting_of_a_table(key: Key) -> bool:
    """Tell whether a key stands in, or is, a table whose names are the user's own."""
    return bool(key) and get_origin(kind_at(key[:1])) is dict


@cache
def _all_settings() -> tuple[str, ...]:
    return tuple(all_fields(Settings))


def nearest(key: Key) -> str | None:
    """Return the setting or section whose key is most like this one."""
    known = [*_all_settings(), *Settings.model_fields, *_beside(key)]
    return next(iter(get_close_matches(spell_key(key), known, n=1)), None)


def _beside(key: Key) -> list[str]:
    """Return the settings in the innermost section that a key is right about."""
    for length in range(len(key) - 1, 0, -1):
        kind = kind_at(key[:length])
        if kind is not None and is_section(kind):
            return [f"{spell_key(key[:length])}.{name}" for name in all_fields(kind)]
    return []


def _plain(annotation: Any) -> Any:
    """Return a type without what is said about it, and without None."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        kinds = [each for each in get_args(annotation) if each is not type(None)]
        return _plain(kinds[0]) if len(kinds) == 1 else annotation
    return annotation
