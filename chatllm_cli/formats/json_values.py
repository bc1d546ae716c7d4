"""JSON that nobody vouches for: read value by value, within bounds."""

import json
import re
from collections.abc import Iterator
from mmap import mmap
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.source import MOST_BYTES

# Each value becomes an object of some 60 bytes: what is all commas and brackets takes twenty times its size.
MOST_VALUES = 4_000_000
SPACE = b" \t\r\n"
BOM = b"\xef\xbb\xbf"
# Possessive: a string that never ends is looked at once, and nothing is kept of it.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[][{}]', re.DOTALL)
_BLANK = re.compile(rb"[ \t\r\n,]*+")
_SCALAR = re.compile(rb'[^][{}", \t\r\n]++')


def parse(data: bytes) -> Any:
    """Return the value that JSON spells. Raises `FormatError`, also for what is too large or too deep."""
    if len(data) > MOST_BYTES:
        raise FormatError(f"it is larger than {MOST_BYTES // 2**20} MiB")
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MOST_VALUES:
        raise FormatError(f"it has more than {MOST_VALUES:,} values")
    try:
        return json.loads(data, parse_constant=_refused, parse_int=_number)
    except RecursionError:
        raise FormatError("it is nested too deeply") from None
    except (ValueError, UnicodeDecodeError) as error:
        what = error.msg if isinstance(error, json.JSONDecodeError) else error
        raise FormatError(f"it is no JSON: {what}") from None


def values(data: bytes | mmap) -> Iterator[Any | FormatError]:
    """Yield each value of an array; of what is none, each value that stands there: one in all, or one a line.

    One that cannot be read comes as the error. Raises `FormatError` for what is no JSON at all.
    """
    for piece in pieces(data):
        try:
            yield parse(piece)
        except FormatError as error:
            yield error


def pieces(data: bytes | mmap) -> Iterator[bytes]:
    """Yield the JSON of each value, as `values` takes them; a piece that is too long to be read comes cut."""
    begin = _begin(data)
    is_array = data[begin : begin + 1] == b"["
    if not is_array and _is_in_lines(data, begin):
        yield from _lines(data, begin)
        return
    place = _after_blank(data, begin + is_array)
    while place < len(data) and data[place : place + 1] != b"]":
        end = _end(data, place)
        yield data[place : min(end, place + MOST_BYTES + 1)]
        place = _after_blank(data, end)


def first(data: bytes | mmap) -> Any:
    """Return the first of its values, to tell a format by; None if there is none, or it cannot be read."""
    try:
        return next((value for value in values(data) if not isinstance(value, FormatError)), None)
    except FormatError:
        return None


def _begin(data: bytes | mmap) -> int:
    begin = _after_blank(data, len(BOM) if data[: len(BOM)] == BOM else 0)
    if data[begin : begin + 1] not in {b"[", b"{"}:
        raise FormatError("it is no JSON")
    return begin


def _after_blank(data: bytes | mmap, place: int) -> int:
    found = _BLANK.match(data, place)
    return found.end() if found else place


def _end(data: bytes | mmap, begin: int) -> int:
    """Return where the value ends that begins there; where all ends, if it does not."""
    if scalar := _SCALAR.match(data, begin):
        return scalar.end()
    depth = 0
    for token in _TOKEN.finditer(data, begin):
        sign = token[0][:1]
        if sign in b"[{":
            depth += 1
        elif sign in b"]}":
            depth -= 1
        if depth <= 0:
            return token.end()
    return len(data)


def _is_in_lines(data: bytes | mmap, begin: int) -> bool:
    """Tell whether a value ends where its line does, and more follow: each line stands for itself then."""
    end = data.find(b"\n", begin)
    if end < 0 or end - begin > MOST_BYTES:
        return False
    line = data[begin:end].strip(SPACE)
    return bool(_after_blank(data, end) < len(data) and line[-1:] == b"}" and _end(line, 0) == len(line))


def _lines(data: bytes | mmap, begin: int) -> Iterator[bytes]:
    while begin < len(data):
        end = data.find(b"\n", begin)
        end = len(data) if end < 0 else end
        if line := data[begin : min(end, begin + MOST_BYTES + 1)].strip(SPACE):
            yield line
        begin = end + 1


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _number(digits: str) -> int:
    if len(digits) > 25:  # noqa: PLR2004  (no date, count or size has as many)
        raise ValueError("a number has too many digits")
    return int(digits)
