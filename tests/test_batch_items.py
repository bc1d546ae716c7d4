import json
from typing import Any

import pytest

from chatllm_cli.errors import UsageError
from chatllm_cli.models import ChatOptions
from chatllm_cli.services.batch.items import BadLine, Item, Items, Kind, key_of, prompt_hash


def read(*lines: str | bytes, kind: Kind | None = None) -> list[Item | BadLine | None]:
    items = Items(kind)
    return [items.read(line.encode() if isinstance(line, str) else line) for line in lines]


def test_lines_are_prompts_as_they_are() -> None:
    assert read("one", "", ' {"prompt": "x"}') == [Item(1, 1, "one"), None, Item(3, 3, ' {"prompt": "x"}')]


def test_the_first_line_that_is_not_blank_tells_what_they_are() -> None:
    assert read("", '\t{"prompt": "x"}', "y") == [
        None,
        Item(2, 2, "x"),
        BadLine(3, "it is not valid JSON: Expecting value: line 1 column 1 (char 0)"),
    ]


@pytest.mark.parametrize("first", ['{"id": 1}', '{"prompt": "x"', "{" * 100_000])
def test_what_looks_like_an_object_and_is_none_is_asked_about(first: str) -> None:
    with pytest.raises(UsageError, match="line 1 looks like a JSON object, and "):
        read(first)
    assert read(first, kind="lines") == [Item(1, 1, first)]


def test_all_fields_of_an_object_are_taken() -> None:
    options = {"temperature": 0, "top_p": 0.5, "max_tokens": 3, "seed": 1, "stop": ["a"], "reasoning_effort": "low"}
    line = {"prompt": "x", "id": "a", "system": "s", "model": "m", **options, "options": {"k": [1]}}
    expected = ChatOptions(0.0, 3, "", 0.5, 1, ("a",), "low", (("k", "[1]"),))
    assert read(json.dumps(line)) == [Item(1, "a", "x", "s", "m", expected, has_own_id=True)]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"prompt": 1}, "prompt: expected a text"),
        ({"prompt": " "}, "it has no prompt"),
        ({"prompt": "x", "model": []}, "model: expected a text"),
        ({"prompt": "x", "id": True}, "id: expected a text or a whole number"),
        ({"prompt": "x", "id": ""}, "id: expected a text or a whole number"),
        ({"prompt": "x", "id": 1.5}, "id: expected a text or a whole number"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens: "),
        ({"prompt": "x", "seed": "many"}, "seed: "),
        ({"prompt": "x", "options": [1]}, "options: "),
        ({"prompt": "x", "temprature": 1}, "there is no field 'temprature'; there is id, prompt, "),
        ([], "it is not a JSON object"),
    ],
)
def test_what_is_wrong_with_an_object_is_told(fields: Any, why: str) -> None:
    (bad,) = read(json.dumps(fields), kind="jsonl")
    assert isinstance(bad, BadLine)
    assert bad.why.startswith(why)


def test_a_line_that_is_no_text_or_too_long_is_told() -> None:
    assert Items().read(None) == BadLine(1, "it is longer than a prompt may be, 16 MB")
    assert read("one", b"a\xff") == [Item(1, 1, "one"), BadLine(2, "it is not UTF-8 (byte 2)")]


def test_an_id_stands_once_and_a_number_is_another_than_its_spelling() -> None:
    lines = [{"prompt": "x", "id": each} for each in ("7", 7, "a", "a")] + [{"prompt": "x"}, {"prompt": "x", "id": 5}]
    told = [each.why if isinstance(each, BadLine) else each.id for each in read(*map(json.dumps, lines)) if each]
    assert told == [
        "7", 7, "a", 'another line before it has the id "a"', 5, "another line before it has the id 5",
    ]  # fmt: skip
    assert key_of("7") != key_of(7)


def test_a_hash_tells_prompts_apart_whatever_they_hold() -> None:
    assert len({prompt_hash(each) for each in ("", "a", "a ", "ä", "\ud800")}) == 5
