"""Dotted keys, such as `temperature` or `models."openai/gpt-4o".temperature`, as text and as their parts."""

import json
import re
import tomllib
from typing import Any

from chatllm_cli.errors import ConfigError

Key = tuple[str, ...]

_PART = re.compile(r"""\s*("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s."'=\[\]{}#,]+)\s*(\.|$)""")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def parse_key(text: str) -> Key:
    """Return the parts of a dotted key; those in quotes may hold anything. Raises `ConfigError`."""
    parts: list[str] = []
    place, more = 0, True
    while more:
        if not (match := _PART.match(text, place)):
            raise ConfigError(
                f"'{text}' is not the key of a setting",
                hint='keys are such as temperature or providers."my.name".base_url',
            )
        parts.append(_unquoted(match[1], text))
        place, more = match.end(), bool(match[2])
    return tuple(parts)


def _unquoted(part: str, text: str) -> str:
    if part[0] not in "\"'":
        return part
    try:
        return str(tomllib.loads(f"part = {part}")["part"])
    except ValueError:
        raise ConfigError(f"'{text}' is not the key of a setting: there is an odd character in its quotes") from None


def spell_key(key: Key) -> str:
    """Return a key as it stands in the config file."""
    return ".".join(part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False) for part in key)


def is_there(values: Any, key: Key) -> bool:
    """Tell whether values, in tables as a config file has them, hold one at a key."""
    for part in key:
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True


def value_at(values: Any, key: Key) -> Any:
    """Return what values hold at a key that is there."""
    for part in key:
        values = values[part]
    return values
