"""JSON that nobody vouches for: read value by value, within bounds."""

import json
import re
from collections.abc import Iterator
from itertools import islice
from mmap import mmap
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.source import MOST_BYTES

# Each value becomes an object of some 60 bytes, or 200: what is all commas and brackets takes many times its size.
MOST_VALUES = 2_000_000
LOOKED_AT = 100  # values, to tell a format by
HEAD_LINES = 10  # that are looked at to tell whether each stands for itself
SPACE = b" \t\r\n"
BOM = b"\xef\xbb\xbf"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
# What is no bracket, and then one, or the end of all. It fits everywhere: nothing is looked at twice, a string that
# never ends included.
_BRACKET = re.compile(rb'(?:[^][{}"]++|"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z))*+(?:([][{}])|\Z)', re.DOTALL)
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BLANK = re.compile(rb"[ \t\r\n,]*+")
_SCALAR = re.compile(rb'[^][{}", \t\r\n]++')


def parse(data: bytes) -> Any:
    """Return the value that JSON spells. Raises `FormatError`, also for what is too large or too deep."""
    if len(data) > MOST_BYTES:
        raise FormatError(f"it is larger than {MOST_BYTES // 2**20} MiB")
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MOST_VALUES:
        raise FormatError(f"it has more than {MOST_VALUES:,} values")
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_refused, parse_int=_number)
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

    One that cannot be read comes as the error. Raises `FormatError` for what is no JSON at all.
    """
    for piece in pieces(data):
        try:
            yield parse(piece)
        except FormatError as error:
            yield error


def pieces(data: bytes | mmap) -> Iterator[bytes]:
    """Yield the JSON of each value, as `values` takes them.

    A piece that is too long to be read comes cut, and last unless each stands in a line of its own. What is missing
    at the end of an array that was cut is an empty piece.
    """
    begin = _begin(data)
    yield from _lines(data, begin, len(data)) if _is_in_lines(data, begin) else _in_a_row(data, begin)


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


def _in_a_row(data: bytes | mmap, place: int) -> Iterator[bytes]:
    if data[place : place + 1] not in {b"[", b"{"}:
        raise FormatError("it is no JSON")
    is_in_array = False
    while place < len(data):
        sign = data[place : place + 1]
        if sign == (b"]" if is_in_array else b"["):
            is_in_array = not is_in_array
            place = _after_blank(data, place + 1)
            continue
        end = _end(data, place)
        yield data[place : min(end or len(data), place + MOST_BYTES + 1)]
        if end is None:
            return
        place = _after_blank(data, end)
    if is_in_array:
        yield b""


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
    is_one_value = data[begin : begin + 1] == b"{" and _end(data, begin) is not None
    return not is_one_value and any(map(_is_object, head))


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
