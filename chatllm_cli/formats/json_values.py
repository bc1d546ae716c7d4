"""JSON that nobody vouches for: read value by value, within bounds."""

import codecs
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from mmap import mmap
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.source import MOST_BYTES

# Each value becomes an object of some 60 bytes: what is all commas and brackets takes twenty times its size.
MOST_VALUES = 4_000_000
WINDOW = 4 * 2**20
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
        return _DECODER.decode(data.decode("utf-8-sig"))
    except RecursionError:
        raise FormatError("it is nested too deeply") from None
    except ValueError as error:
        what = error.msg if isinstance(error, json.JSONDecodeError) else error
        raise FormatError(f"it is no JSON: {what}") from None


def values(data: bytes | mmap) -> Iterator[Any | FormatError]:
    """Yield each value of an array; of what is none, each value that stands there: one in all, or one a line.

    One that cannot be read comes as the error. Raises `FormatError` for what is no JSON at all.
    """
    begin = _begin(data)
    is_array = data[begin : begin + 1] == b"["
    if not is_array and _is_in_lines(data, begin):
        for line in _lines(data, begin):
            yield _parsed(line)
        return
    window = _Window(data)
    place = _after_blank(data, begin + is_array)
    while place < len(data) and data[place : place + 1] != b"]":
        if (found := window.value(place)) is not None:
            value, end = found
        else:
            end = _end(data, place)
            value = _parsed(data[place : min(end, place + MOST_BYTES + 1)])
        yield value
        place = _after_blank(data, end)


def _parsed(data: bytes) -> Any | FormatError:
    try:
        return parse(data)
    except FormatError as error:
        return error


class _Window:
    """A part of the data as text, to read values from one by one: seven times as fast as to find each end first."""

    def __init__(self, data: bytes | mmap) -> None:
        self._data = data
        self._text = ""
        self._begin = self._end = -1  # of the part
        self._place = (0, 0)  # one and the same: in bytes of the data, in characters of the text

    def value(self, place: int) -> tuple[Any, int] | None:
        """Return the value that begins at a place, and where it ends; None if there is none, or it is long."""
        if self._data[place : place + 1] not in {b"{", b"[", b'"'}:  # of a number a part is one, too
            return None
        for is_fresh in (False, True):
            if is_fresh or not self._begin <= place < self._end:
                self._move_to(place)
            with suppress(ValueError, RecursionError):
                value, end = _DECODER.raw_decode(self._text, self._in_text(place))
                at, character = self._place
                return value, at + len(self._text[character:end].encode())
        return None

    def _move_to(self, place: int) -> None:
        part = self._data[place : place + WINDOW]
        self._begin, self._place = place, (place, 0)
        try:
            self._text, length = codecs.utf_8_decode(part, "strict", place + WINDOW >= len(self._data))
        except UnicodeDecodeError:
            self._text, length = "", len(part)
        self._end = place + length

    def _in_text(self, place: int) -> int:
        at, character = self._place
        self._place = place, character + len(self._data[at:place].decode())
        return self._place[1]


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


_DECODER = json.JSONDecoder(parse_constant=_refused, parse_int=_number)
