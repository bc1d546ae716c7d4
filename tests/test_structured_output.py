import json
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.errors import AnswerFormatError, UsageError
from chatllm_cli.services.structured_output import fitted, read_schema

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def test_the_short_form_says_names_types_and_what_they_are_about() -> None:
    assert read_schema("name, age int") == PERSON
    assert read_schema(" a str,b integer , c number, d bool, e list: its topics")["properties"] == {
        "a": {"type": "string"},
        "b": {"type": "integer"},
        "c": {"type": "number"},
        "d": {"type": "boolean"},
        "e": {"type": "array", "items": {"type": "string"}, "description": "its topics"},
    }


def test_a_schema_is_taken_from_a_file_or_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "schema"
    file.write_text(json.dumps(PERSON))
    assert read_schema(str(file)) == read_schema(json.dumps(PERSON)) == PERSON


@pytest.mark.parametrize(
    "text", ["5", "null", "[]", '{"$schema":5}', '{"$schema":["a"]}', '{"type":3}', "{", "[" * 100_000]
)
def test_what_is_no_schema_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "schema.json"
    file.write_text(text)
    with pytest.raises(UsageError, match="the schema"):
        read_schema(str(file))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"name": "Ann", "age": 3}', {"name": "Ann", "age": 3}),
        ('\n{"name": "Ann", "age": 3}\n', {"name": "Ann", "age": 3}),
        ('```json\n{"name": "Ann", "age": 3}\n```', {"name": "Ann", "age": 3}),
        ('```json \r\n{"name": "Ann", "age": 3}\r\n```\n', {"name": "Ann", "age": 3}),
    ],
)
def test_an_answer_may_stand_in_a_fence(text: str, value: Any) -> None:
    assert fitted(text, PERSON) == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Here you are", "the answer is not JSON"),
        ('{"name": "Ann", "age": NaN}', "the answer is not JSON"),
        ('{"name": "Ann", "age": 1e999}', "the answer is not JSON"),
        ("[" * 100_000, "the answer is not JSON"),
        ('{"name": "Ann"}', "the answer does not fit the schema: at $: 'age' is a required property"),
        (
            '{"name": "Ann", "age": "x"}',
            "the answer does not fit the schema: at $.age: 'x' is not of type 'integer'",
        ),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(AnswerFormatError) as raised:
        fitted(text, PERSON)
    assert raised.value.message == told


def test_an_empty_schema_takes_any_json() -> None:
    assert fitted('{"a": 1}', read_schema("{}")) == {"a": 1}


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"properties": {"n": {"$ref": "#/properties/n"}}}])
def test_a_schema_that_refers_to_itself_without_end_is_told(schema: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="refers to itself"):
        fitted('{"n": 1}', schema)


def test_nothing_is_fetched() -> None:
    with pytest.raises(UsageError, match="which is not in it"):
        fitted("1", {"$ref": "http://127.0.0.1:9/schema.json"})


def test_a_number_that_is_too_large_does_not_fit() -> None:
    with pytest.raises(AnswerFormatError):
        fitted("9" * 400, {"multipleOf": 0.1})
