"""Changing the text of a TOML file; its comments, its order and its looks stay. The only module that knows tomlkit.

What tomlkit adds to a table it puts behind the comments of the next one, and in tables that are scattered over a
file it may lose it. So new lines are put where a person would, and tomlkit replaces values and does what lines
cannot (tables in braces). Whatever did it, the result has to say what was wanted, and nothing else.
"""

import copy
import re
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import takewhile
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from chatllm_cli.config.setting_keys import Key, is_there, spell_key
from chatllm_cli.config.toml_lines import Statement, statements
from chatllm_cli.errors import ChatllmError, ConfigError

BY_HAND = "`chatllm config edit`"


def with_value(text: str, key: Key, value: Any) -> str:
    """Return the text of a file with a value at a key. Raises `ConfigError`."""
    values = tomllib.loads(text)
    wanted = copy.deepcopy(values)
    level = wanted
    for length, part in enumerate(key[:-1], start=1):
        level = level.setdefault(part, {})
        if not isinstance(level, dict):
            raise ConfigError(f"{spell_key(key[:length])} is no section in the file", hint=BY_HAND)
    level[key[-1]] = value
    ways = (_replaced,) if is_there(values, key) else (_inserted, _appended, _replaced)
    return _first_right(text, key, wanted, [partial(way, text, key, value) for way in ways])


def without(text: str, key: Key) -> str:
    """Return the text of a file without a key, or a table. Raises `ChatllmError`."""
    wanted = copy.deepcopy(tomllib.loads(text))
    level: Any = wanted
    for part in key[:-1]:
        level = level.get(part) if isinstance(level, dict) else None
    if not isinstance(level, dict) or key[-1] not in level:
        raise ChatllmError(f"{spell_key(key)} is not set")
    del level[key[-1]]
    return _first_right(text, key, wanted, [partial(way, text, key) for way in (_cut_out, _deleted)])


def _first_right(text: str, key: Key, wanted: dict[str, Any], ways: Sequence[Callable[[], str]]) -> str:
    """Return what the first way makes that says what is wanted; tables that are empty do not count."""
    for way in ways:
        with suppress(TOMLKitError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            changed = _with_newlines_of(text, way())
            changed.encode()
            if _pruned(tomllib.loads(changed)) == _pruned(wanted):
                return changed
    raise ConfigError(f"{spell_key(key)} cannot be changed where it is", hint=BY_HAND)


def _with_newlines_of(text: str, changed: str) -> str:
    """Return a changed text with CRLF throughout, if that is how it was: tomlkit puts in a bare LF here and there."""
    is_crlf = "\r\n" in text and not re.search(r"(?<!\r)\n", text)
    return re.sub(r"(?<!\r)\n", "\r\n", changed) if is_crlf else changed


def _pruned(values: dict[str, Any]) -> dict[str, Any]:
    """Return values so that those of two types differ, and without tables that are empty."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(value, dict):
            result[name] = repr(value)
        elif inner := _pruned(value):
            result[name] = inner
    return result


def _replaced(text: str, key: Key, value: Any) -> str:
    document = tomlkit.parse(text)
    level: Any = document
    for part in key[:-1]:
        if part not in level:
            level[part] = {}
        level = level[part]
    level[key[-1]] = value
    return tomlkit.dumps(document)


def _inserted(text: str, key: Key, value: Any) -> str:
    """Put a line into a table that has a heading, behind the comment that shows it, or the last one of its kind."""
    parts = statements(text)
    block = [number for number, each in enumerate(parts) if each.table == key[:-1]]
    if key[:-1] and not block:
        raise LookupError
    shown = re.compile(rf"\s*#\s?{re.escape(spell_key(key[-1:]))}\s*=")
    examples = [number for number in _before_example(parts, block) if shown.match(parts[number].text)]
    lines = [number for number in block if parts[number].key or parts[number].is_header]
    place = max(examples or lines or [_before_first_line(parts)]) + 1
    before = "".join(each.text for each in parts[:place])
    return _joined(before, _line(key[-1:], value), "".join(each.text for each in parts[place:]))


def _before_example(parts: Sequence[Statement], block: Sequence[int]) -> list[int]:
    """Return the statements of a table up to a heading that is commented out, which begins something else."""
    return list(takewhile(lambda number: not re.match(r"\s*#\s?\[", parts[number].text), block))


def _before_first_line(parts: Sequence[Statement]) -> int:
    """Return the last statement of what a file says of itself: comments at its top, up to a blank line."""
    top = next((number for number, each in enumerate(parts) if not each.is_comment), len(parts))
    return top if top and top < len(parts) and parts[top].is_blank else -1


def _appended(text: str, key: Key, value: Any) -> str:
    if not key[:-1]:
        raise LookupError
    gap = "\n" if text.strip() else ""
    return _joined(text, f"{gap}[{spell_key(key[:-1])}]\n{_line(key[-1:], value)}", "")


def _joined(before: str, lines: str, after: str) -> str:
    newline = "\r\n" if "\r\n" in before + after else "\n"
    if before and not before.endswith("\n"):
        before += newline
    return before + lines.replace("\n", newline) + after


def _line(key: Key, value: Any) -> str:
    return f"{spell_key(key)} = {tomlkit.item(value).as_string()}\n"


def _cut_out(text: str, key: Key) -> str:
    """Take the lines of a key, or of a table with all in it, and then the headings that nothing is left under."""
    parts = statements(text)
    tables = _blocks(parts)
    gone = {number for number, each in enumerate(parts) if each.key[: len(key)] == key}
    for table, block in tables:
        gone |= set(_own(parts, block)) if table[: len(key)] == key else set()
    if not gone:
        raise LookupError
    for table, block in tables:
        left = [number for number in block if number not in gone]
        bare = all(parts[number].is_blank or _is_bare_heading(parts[number]) for number in left)
        if table and left and len(left) < len(block) and bare:
            gone |= set(left)
    return "".join(each.text for number, each in enumerate(parts) if number not in gone | _blank_end(parts, gone))


def _own(parts: Sequence[Statement], block: Sequence[int]) -> Sequence[int]:
    """Return a table up to the blank lines behind its last key: comments after those are about something else."""
    last = max(place for place, number in enumerate(block) if parts[number].key or parts[number].is_header)
    end = next((place for place in range(last, len(block)) if parts[block[place]].is_blank), len(block))
    while end < len(block) and parts[block[end]].is_blank:
        end += 1
    return block[:end]


def _is_bare_heading(statement: Statement) -> bool:
    return statement.is_header and "#" not in statement.text


def _blank_end(parts: Sequence[Statement], gone: set[int]) -> set[int]:
    """Return the blank lines that would be left at the end of a file whose last table is gone."""
    end = len(parts)
    while end and (end - 1 in gone or parts[end - 1].is_blank):
        end -= 1
    has_lost_table = any(parts[number].is_header for number in gone if number >= end)
    return {number for number in range(end, len(parts)) if has_lost_table}


def _blocks(parts: Sequence[Statement]) -> list[tuple[Key, list[int]]]:
    """Return the tables of a file, each with its statements; a comment right above a heading belongs to that."""
    blocks: list[tuple[Key, list[int]]] = [((), [])]
    for number, each in enumerate(parts):
        if each.is_header:
            above = []
            while blocks[-1][1] and parts[blocks[-1][1][-1]].is_comment:
                above.append(blocks[-1][1].pop())
            blocks.append((each.table, [*reversed(above)]))
        blocks[-1][1].append(number)
    return blocks


def _deleted(text: str, key: Key) -> str:
    document = tomlkit.parse(text)
    levels: list[Any] = [document]
    for part in key[:-1]:
        levels.append(levels[-1][part])
    for level, part in zip(reversed(levels), reversed(key), strict=True):
        del level[part]
        if level:
            break
    return tomlkit.dumps(document)
