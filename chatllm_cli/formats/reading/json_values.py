"""JSON that nobody vouches for: read value by value, within bounds."""

import codecs
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from mmap import mmap
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.reading.source import MOST_BYTES

# Each value becomes an object of some 60 bytes, or 200: what is all commas and brackets takes many times its size.
MOST_VALUES = 2_000_000
WINDOW = 4 * 2**20
MOST_FAULTS = 1000  # one after another: what follows on as many is not looked at
LOOKED_AT = 100  # values, to tell a format by
HEAD_LINES = 10  # that are looked at to tell whether each stands for itself
SPACE = b" \t\r\n"
BOM = b"\xef\xbb\xbf"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
# What is no bracket, and then one, or the end. It fits everywhere, so that nothing is looked at twice. A string
# ends with its line at the latest: no JSON has line breaks within one, and what is damaged ends there.
_BRACKET = re.compile(rb'(?:[^][{}"]++|"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+(?:"|\\?(?:\n|\Z)))*+(?:([][{}])|\Z)')
_STRING = re.compile(rb'"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+"')
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
    except MemoryError:  # what is not ASCII takes four times its size
        raise FormatError("it takes more memory than there is") from None
    except UnicodeDecodeError as error:
        raise FormatError(f"it is not UTF-8 (byte {error.start + 1})") from None
    except ValueError as error:
        what = error.msg if isinstance(error, json.JSONDecodeError) else error
        raise FormatError(f"it is no JSON: {what}" if data else "it ends too early") from None


def values(data: bytes | mmap) -> Iterator[Any | FormatError]:
    """Yield each value of an array; of what is none, each value that stands there: one in all, or one a line.

    One that cannot be read comes as the error, and so do several one after another; it is the last if it is too long,
    unless each stands in a line of its own. Raises `FormatError` for what is no JSON at all.
    """
    begin = _begin(data)
    yield from map(_parsed, _lines(data, begin, len(data))) if _is_in_lines(data, begin) else _in_a_row(data, begin)


def first(data: bytes | mmap) -> Any:
    """Return the first of its values, to tell a format by; None if there is none, or it cannot be read."""
    try:
        found = islice(values(data), LOOKED_AT)
        return next((value for value in found if not isinstance(value, FormatError)), None)
    except FormatError:
        return None


def _begin(data: bytes | mmap) -> int:
    if data[:2] in UTF_16:
        raise FormatError("it is not UTF-8 (byte 1)")
    return _after_blank(data, len(BOM) if data[: len(BOM)] == BOM else 0)


def _after_blank(data: bytes | mmap, place: int) -> int:
    found = _BLANK.match(data, place)
    return found.end() if found else place


def _in_a_row(data: bytes | mmap, place: int) -> Iterator[Any | FormatError]:
    if data[place : place + 1] not in {b"[", b"{"}:
        raise FormatError("it is no JSON")
    window = _Window(data)
    is_in_array, faults = False, 0
    end: int | None
    while place < len(data) and faults < MOST_FAULTS:
        if data[place : place + 1] == (b"]" if is_in_array else b"["):
            is_in_array = not is_in_array
            place = _after_blank(data, place + 1)
            continue
        if (found := window.value(place)) is not None:
            value, end = found
        else:
            end = _end(data, place)
            value = _parsed(data[place : min(end or len(data), place + MOST_BYTES + 1)])
        faults = faults + 1 if isinstance(value, FormatError) else 0
        if faults < 2:  # noqa: PLR2004  (the pieces of one that is damaged are one fault)
            yield value
        if end is None:
            return
        place = _after_blank(data, end)
    if is_in_array and not faults:
        yield _parsed(b"")


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
            if self._begin == place or self._end == len(self._data):
                break  # another part would show no more of it
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


def _end(data: bytes | mmap, begin: int) -> int | None:
    """Return where the value ends that begins there; None if it does not, or is too large to be read."""
    most = begin + MOST_BYTES + 1
    if plain := _SCALAR.match(data, begin, most) or _STRING.match(data, begin, most):
        return plain.end()
    depth = 0
    for bracket in islice(_BRACKET.finditer(data, begin, most), MOST_VALUES):
        if bracket[1] is None:
            return None
        depth += 1 if bracket[1] in b"[{" else -1
        if depth <= 0:
            return bracket.end()
    return None


def _is_in_lines(data: bytes | mmap, begin: int) -> bool:
    """Tell whether each line stands for itself.

    It does where an object ends with the first line, and more follow. If the first is damaged, the next ones tell.
    """
    if data[begin : begin + 1] == b"[" or data.find(b"\n", begin, begin + MOST_BYTES) < 0:
        return False
    head = islice(_lines(data, begin, begin + MOST_BYTES), HEAD_LINES)
    if _is_object(next(head, b"")):
        return next(head, None) is not None
    return not _is_value(data, begin) and any(map(_is_object, head))


def _is_value(data: bytes | mmap, begin: int) -> bool:
    if data[begin : begin + 1] != b"{":
        return False
    return _Window(data).value(begin) is not None or _end(data, begin) is not None


def _is_object(line: bytes) -> bool:
    return line[:1] == b"{" and _end(line, 0) == len(line)


def _lines(data: bytes | mmap, begin: int, most: int) -> Iterator[bytes]:
    """Yield each line that is not blank, cut where it is too long to be read, of those up to `most`."""
    while begin < min(most, len(data)):
        end = data.find(b"\n", begin, most)
        end = min(most, len(data)) if end < 0 else end
        if line := data[begin : min(end, begin + MOST_BYTES + 1)].rstrip(SPACE):
            yield line
        begin = end + 1


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _number(digits: str) -> int:
    if len(digits) > 25:  # noqa: PLR2004  (no date, count or size has as many)
        raise ValueError("a number has too many digits")
    return int(digits)


_DECODER = json.JSONDecoder(parse_constant=_refused, parse_int=_number)
