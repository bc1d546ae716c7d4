import json
import tempfile
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from time import monotonic
from typing import Any

import pytest

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.reading.json_values import MOST_VALUES, WINDOW, first, parse, values
from chatllm_cli.formats.reading.source import MOST_BYTES


def read(data: bytes | mmap) -> list[Any]:
    """Return all values, an error as its message in a set."""
    return [{each.message} if isinstance(each, FormatError) else each for each in values(data)]


NO_VALUE = {"it is no JSON: Expecting value"}


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"[]", []),
        (b' \n[1, "a", null, {"b": [2]}] \n', [1, "a", None, {"b": [2]}]),
        (b"[[1], [2]]", [[1], [2]]),
        (b"[1][2]", [1, 2]),
        (b'{"a": 1}', [{"a": 1}]),
        (b'{\n  "a": [\n    {"b": 1}\n  ]\n}\n', [{"a": [{"b": 1}]}]),
        (b'{"a": 1}\n{"b": 2}\n', [{"a": 1}, {"b": 2}]),
        (b'{"a": 1}\r\n\r\n  {"b": 2}', [{"a": 1}, {"b": 2}]),
        (b'{"a": 1}{"b": 2} {"c": 3}', [{"a": 1}, {"b": 2}, {"c": 3}]),
        (b'{\n"a": 1\n}\n{\n"b": 2\n}', [{"a": 1}, {"b": 2}]),
        (b'\xef\xbb\xbf{"a": 1}\n\xef\xbb\xbf{"b": 2}\n', [{"a": 1}, {"b": 2}]),
        (b"[1,, 2,]", [1, 2]),
        (b"[1 2]", [1, 2]),
        (b'["]", "\\"[", "\\\\"]', ["]", '"[', "\\"]),
        (b"[1.5, -2e3, 1234567890123456789012345]", [1.5, -2000.0, 1234567890123456789012345]),
        ('["\\ud83d\\ude00", "grün", "\\ud83d"]'.encode(), ["😀", "grün", "\ud83d"]),
    ],
)
def test_values_come_one_by_one_however_they_stand_there(data: bytes, found: list[Any]) -> None:
    assert read(data) == found


@pytest.mark.parametrize(
    ("data", "found"),
    [
        pytest.param(b'[{"a": 1}, {"b": 2', [{"a": 1}, {"it is no JSON: Expecting ',' delimiter"}], id="array cut"),
        pytest.param(b'[{"a": 1},\n', [{"a": 1}, {"it ends too early"}], id="array cut between"),
        pytest.param(b'["a", "b', ["a", {"it is no JSON: Unterminated string starting at"}], id="string cut"),
        pytest.param(b"[1, nope, 2]", [1, NO_VALUE, 2], id="no value"),
        pytest.param(b"[1, NaN, 2]", [1, {"it is no JSON: NaN is no number"}, 2], id="NaN"),
        pytest.param(b"[1, -Infinity, 2]", [1, {"it is no JSON: -Infinity is no number"}, 2], id="infinity"),
        pytest.param(
            b"[1, " + b"9" * 26 + b", 2]", [1, {"it is no JSON: a number has too many digits"}, 2], id="huge integer"
        ),
        pytest.param(b'[1, "\xff", 2]', [1, {"it is not UTF-8 (byte 2)"}, 2], id="not UTF-8"),
        pytest.param(b'["a\nb", 1]', [{"it is no JSON: Invalid control character at"}], id="broken string"),
        pytest.param(b'{"a": 1}]\n', [{"a": 1}, NO_VALUE], id="stray bracket"),
        pytest.param(b'{"a": 1}]}\n{"b": 2}', [{"a": 1}, NO_VALUE, {"b": 2}], id="stray brackets"),
        pytest.param(b"[1] what [2]", [1, NO_VALUE, 2], id="words between"),
        pytest.param(
            b'{"a": [\n{"b": 1}\n{"c": 2}\n', [NO_VALUE, {"b": 1}, {"c": 2}], id="first line cut"
        ),
        pytest.param(
            b'{"a": "x\n{"b": "\\"}"}\n',
            [{"it is no JSON: Unterminated string starting at"}, {"b": '"}'}],
            id="first line cut in a string",
        ),
        pytest.param(b'torn"}\n{"b": 1}\n', [NO_VALUE, {"b": 1}], id="first line without its beginning"),
        pytest.param(
            b'{"a": 1}\n{"b": \n{"c": 3}\n', [{"a": 1}, NO_VALUE, {"c": 3}], id="a line cut"
        ),
    ],
)  # fmt: skip
def test_what_is_whole_of_a_damaged_file_comes_and_an_error_for_the_rest(data: bytes, found: list[Any]) -> None:
    assert read(data) == found


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "it is no JSON"),
        (b" \n", "it is no JSON"),
        (b"hello", "it is no JSON"),
        (b'"text"', "it is no JSON"),
        (b"\0" * 100, "it is no JSON"),
        ('[{"a": 1}]'.encode("utf-16"), "it is not UTF-8 (byte 1)"),
        (b"\xfe\xff\0{\0}", "it is not UTF-8 (byte 1)"),
    ],
)
def test_what_is_no_json_is_refused(data: bytes, fault: str) -> None:
    with pytest.raises(FormatError) as caught:
        read(data)
    assert caught.value.message == fault
    assert first(data) is None


def test_what_follows_on_a_thousand_faults_is_not_looked_at() -> None:
    assert read(b"[1," + b"x," * 999 + b"2]") == [1, NO_VALUE, 2]
    assert read(b"[1," + b"x," * 1_000 + b"2]") == [1, NO_VALUE]


def test_utf_16_without_a_mark_is_an_error_and_no_value() -> None:
    assert all(isinstance(each, FormatError) for each in values('{"a": 1}'.encode("utf-16-le")))


def test_values_longer_than_the_part_that_is_looked_at_come_as_well() -> None:
    long = "ü" * (WINDOW // 2)
    found = [{"a": long}, 1, {"b": long, "c": "]"}, "end", [long]]
    assert read(json.dumps(found, ensure_ascii=False).encode()) == found
    assert read(json.dumps(found[0], ensure_ascii=False).encode()) == [found[0]]


def test_a_file_that_is_mapped_is_read_as_one_in_memory() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b'[{"a": "b"}, 1, x]')
        file.flush()
        with mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:
            assert read(mapped) == [{"a": "b"}, 1, NO_VALUE]


@pytest.mark.parametrize(
    ("data", "found"),
    [(b'[x, {"a": 1}]', {"a": 1}), (b"[x]", None), (b"[]", None), (b'{"a": 1}\n{"b": 2}', {"a": 1})],
)
def test_the_first_value_that_can_be_read_tells_the_format(data: bytes, found: Any) -> None:
    assert first(data) == found


def test_a_format_is_not_looked_for_in_all_of_a_damaged_file() -> None:
    assert first(b"[" + b"x,[NaN]," * 1_000 + b"1]") is None


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"[" * 5_000 + b"]" * 5_000, "it is nested too deeply"),
        (b'{"a":' * 5_000, "it is nested too deeply"),
        (b"[" + b"1," * MOST_VALUES + b"1]", f"it has more than {MOST_VALUES:,} values"),
        (bytes(MOST_BYTES + 1), "it is larger than 256 MiB"),
    ],
    ids=["deep list", "deep object", "many", "large"],
)
def test_a_value_that_is_too_deep_or_too_large_is_refused(data: bytes, fault: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse(data)
    assert caught.value.message == fault


def hostile() -> Iterator[tuple[str, bytes]]:
    """Yield what makes a careless reader look at the same bytes again and again."""
    size = 2**20
    yield "string that does not end", b'["' + b'\\"' * (size // 2)
    yield "strings that do not end", b'["' + b'"\\' * (size // 2)
    yield "open brackets", b"{" * (size // 8)
    yield "open brackets in lines", b"{\n" * (size // 8)
    yield "closed brackets", b"[" + b"}" * 10_000
    yield "space", b"[" + b" \n," * (size // 3)
    yield "lines without objects", b"{" + b"\n[" * (size // 8)


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in hostile()])
def test_time_grows_with_the_size_only(data: bytes) -> None:
    begun = monotonic()
    assert sum(isinstance(each, FormatError) for each in values(data))
    assert monotonic() - begun < 5
