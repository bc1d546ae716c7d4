from datetime import UTC, datetime
from typing import Any

import pytest

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.reading.fields import Said, as_list, as_moment, as_object, as_text, chained
from chatllm_cli.formats.reading.source import LONG_AGO
from chatllm_cli.ids import stable_id
from chatllm_cli.models import Attachment, Message, Role

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def deep() -> Any:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1, "1"),
        (None, "None"),
        (1e300, "1e+300"),
        ([1], "a list"),
        (deep(), "a list"),
        ({"a": deep()}, "an object"),
        ("two\nlines \x1b[31m", r"'two\nlines \x1b[31m'"),
        ("x" * 10**7, "'" + "x" * 39 + "…"),
        ("\udc00", r"'\udc00'"),
    ],
)
def test_what_was_not_expected_is_shown_in_one_short_line(value: Any, shown: str) -> None:
    checks = [
        check
        for check, kind in ((as_object, dict), (as_list, list | None), (as_text, str | None))
        if not isinstance(value, kind)
    ]
    for check in checks:
        with pytest.raises(FormatError) as caught:
            check(value)
        assert caught.value.message.endswith(f" was expected, not {shown}")
    assert checks


def test_what_was_expected_is_returned_and_nothing_stands_for_an_empty_one() -> None:
    assert (as_object({"a": 1}), as_list([1]), as_text("a")) == ({"a": 1}, [1], "a")
    assert (as_list(None), as_text(None)) == ([], "")


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (1767323045, AT),
        (1767323045.0004, AT),
        (1767323045.5, AT.replace(microsecond=500_000)),
        ("2026-01-02T03:04:05Z", AT),
        ("2026-01-02T03:04:05.678901+00:00", AT.replace(microsecond=678_000)),
        ("2026-01-02T04:04:05+01:00", AT),
        ("2026-01-02 03:04:05", AT),
        ("20260102T030405", AT),
        (-1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (None, LONG_AGO),
        ("", LONG_AGO),
    ],
)
def test_a_time_is_read_in_whichever_form_it_has(value: Any, moment: datetime) -> None:
    assert as_moment(value) == moment


def test_what_has_no_time_has_another() -> None:
    assert as_moment(None, AT) == AT


@pytest.mark.parametrize(
    "value",
    [
        True,
        [],
        {},
        "noon",
        1e300,
        -1e300,
        10**25,
        float("inf"),
        "0001-01-01",
        "9999-12-31T23:59:59-12:00",
        "1767323045",
    ],
)
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(FormatError, match=r"^a time was expected, not "):
        as_moment(value)


def test_each_message_hangs_on_the_one_before_and_has_its_time() -> None:
    image = Attachment("a", "image/png", 1, sha256="0" * 64)
    first = stable_id("key", None, "user", "a")
    second = stable_id("key", first, "assistant", "b")
    said = [Said(Role.USER, "a", attachments=(image,)), Said(Role.ASSISTANT, "b", AT, "m"), Said(Role.SYSTEM, "c")]
    assert chained("key", said) == (
        Message(first, Role.USER, "a", LONG_AGO, attachments=(image,)),
        Message(second, Role.ASSISTANT, "b", AT, first, model="m", cost=0.0),
        Message(stable_id("key", second, "system", "c"), Role.SYSTEM, "c", AT, second),
    )


def test_what_goes_on_keeps_its_ids_and_what_goes_on_otherwise_is_a_branch() -> None:
    said = [Said(Role.USER, word) for word in "abc"]
    before, after = chained("key", said[:2]), chained("key", said)
    assert after[:2] == before
    other = chained("key", [said[0], said[2], said[2]])
    assert other[0] == before[0]
    assert not {each.id for each in other[1:]} & {each.id for each in after}
    assert not {each.id for each in chained("other", said)} & {each.id for each in after}
