import base64
import hashlib
import json as standard_json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import pytest

from chatllm_cli.errors import FormatError
from chatllm_cli.formats import json
from chatllm_cli.formats.reading.source import Imported, Source
from chatllm_cli.models import Attachment, Conversation, Message, Role
from tests.documents import PNG
from tests.trees import AT, CONVERSATION, titled

Data = dict[str, Any]
SHA256 = hashlib.sha256(PNG).hexdigest()
IMAGE = Attachment("a.png", "image/png", len(PNG), sha256=SHA256)
COPY = f"{'c' * 16}-2"  # as a sync tool names it
SHOWN = replace(titled("Seen"), messages=(Message("u1", Role.USER, "What?", AT, attachments=(IMAGE,)),), head="u1")

JSON = """\
{
  "format": "chatllm 1",
  "id": "c1",
  "title": "Grüße",
  "created_at": "2026-01-02T03:04:05+00:00",
  "model": "openai/gpt",
  "system_prompt": "Be kind.",
  "messages": [
    {
      "id": "u1",
      "role": "user",
      "content": "Say *hello*\\n\\nin 日本",
      "at": "2026-01-02T03:04:05+00:00",
      "parent": null,
      "status": "complete",
      "model": null,
      "usage": null,
      "finish_reason": null,
      "cached": false,
      "error": null,
      "instead_of": null,
      "reasoning": "",
      "continues": null,
      "cost": null,
      "attachments": []
    },
    {
      "id": "a1",
      "role": "assistant",
      "content": "left out",
      "at": "2026-01-02T03:05:05+00:00",
      "parent": "u1",
      "status": "complete",
      "model": "openai/gpt",
      "usage": null,
      "finish_reason": null,
      "cached": true,
      "error": null,
      "instead_of": null,
      "reasoning": "",
      "continues": null,
      "cost": null,
      "attachments": []
    },
    {
      "id": "a2",
      "role": "assistant",
      "content": "こんにちは",
      "at": "2026-01-02T03:06:05+00:00",
      "parent": "u1",
      "status": "truncated",
      "model": "hub/other",
      "usage": {
        "input_tokens": 3,
        "output_tokens": 4,
        "cached_tokens": 0
      },
      "finish_reason": "length",
      "cached": false,
      "error": null,
      "instead_of": null,
      "reasoning": "",
      "continues": null,
      "cost": null,
      "attachments": []
    }
  ],
  "head": "a2",
  "tags": []
}
"""


def loaded(document: str | bytes) -> list[Imported | FormatError]:
    data = document.encode() if isinstance(document, str) else document
    return list(json.load(Source("a.json", data)))


def refused(document: str | bytes) -> str:
    (outcome,) = loaded(document)
    assert isinstance(outcome, FormatError)
    return outcome.message


def test_json_holds_everything_every_branch_included() -> None:
    assert json.dump(replace(CONVERSATION, messages=CONVERSATION.messages[:3], head="a2")) == JSON


def test_a_line_is_the_same_object_without_blanks() -> None:
    line = json.dump_line(CONVERSATION)
    assert (line.count("\n"), line[-1]) == (1, "\n")
    assert standard_json.loads(line) == standard_json.loads(json.dump(CONVERSATION))


@pytest.mark.parametrize(
    ("title", "quoted"),
    [
        ('Why "no"?', r'"Why \"no\"?"'),
        ("a: b # c", '"a: b # c"'),
        ("- [x] {y} & *z", '"- [x] {y} & *z"'),
        ("back\\slash", r'"back\\slash"'),
        ("two\nlines\ttab", r'"two\nlines\ttab"'),
        ("---\n", r'"---\n"'),
        ("\x1b]0;owned\x07", r'"\u001b]0;owned\u0007"'),
        ("null", '"null"'),
        ("", '""'),
        ("日本 \U0001f600", '"日本 \U0001f600"'),
    ],
)
def test_a_title_is_quoted(title: str, quoted: str) -> None:
    assert json.dump(titled(title)).splitlines()[3] == f'  "title": {quoted},'


def test_half_a_surrogate_pair_is_escaped_in_json() -> None:
    document = json.dump(replace(titled("日本"), messages=(Message("u1", Role.USER, "caf\udce9", AT),)))
    assert '"content": "caf\\udce9"' in document
    assert '"title": "\\u65e5\\u672c"' in document
    assert document.isascii()


@pytest.mark.parametrize(
    "conversation",
    [
        titled("caf\udce9"),
        replace(titled("Half"), model="caf\udce9"),
        replace(titled("Half"), system_prompt="caf\udce9"),
        replace(titled("Half"), messages=(Message("u1", Role.USER, "caf\udce9", AT),), head="u1"),
        replace(titled("Half"), messages=(Message("a1", Role.ASSISTANT, "", AT, error="caf\udce9"),), head="a1"),
    ],
    ids=["title", "model", "system prompt", "content", "error"],
)
def test_half_a_surrogate_pair_anywhere_can_be_written_and_read_back(conversation: Conversation) -> None:
    written = json.dump(conversation).encode("utf-8", "backslashreplace")  # as `history export` writes it
    stored = standard_json.dumps(asdict(conversation), default=datetime.isoformat)
    expected = {"format": "chatllm 1", **standard_json.loads(stored)}
    del expected["damaged_lines"], expected["imported_at"]
    assert standard_json.loads(written) == expected


def test_json_has_all_of_what_was_attached() -> None:
    attached = Attachment("a.md", "text/plain", 20, "text")
    asked = Message("u1", Role.USER, "hi", AT, attachments=(attached,))
    found = standard_json.loads(json.dump(Conversation("c1", "t", AT, messages=(asked,), head="u1")))
    assert found["messages"][0]["attachments"] == [asdict(attached)]


def test_the_bytes_of_an_image_come_along_and_are_brought_back() -> None:
    document = json.dump(SHOWN, {SHA256: PNG})
    assert standard_json.loads(document)["files"] == {SHA256: base64.b64encode(PNG).decode()}
    assert loaded(document) == [Imported(SHOWN, {SHA256: PNG})]
    assert loaded(json.dump(SHOWN)) == [Imported(SHOWN)]


def test_a_file_may_hold_one_conversation_an_array_of_them_or_a_line_each() -> None:
    other = replace(CONVERSATION, id="c2", damaged_lines=0)
    both = [Imported(SHOWN), Imported(other)]
    assert loaded(json.dump(SHOWN) + json.dump(other)) == both
    assert loaded(f"[\n{json.dump(SHOWN)},\n{json.dump(other)}]\n") == both
    assert loaded(json.dump_line(SHOWN) + json.dump_line(other)) == both


def test_its_files_are_told_from_others_by_their_first_value() -> None:
    assert json.is_one(standard_json.loads(JSON))
    assert json.is_one({"format": "chatllm 99"})
    others: list[object] = [
        None,
        [],
        "chatllm 1",
        {},
        {"format": 1},
        {"format": "chatllm"},
        {"format": "chatllm 1x"},
        {"id": "c1"},
    ]
    assert [value for value in others if json.is_one(value)] == []


def test_what_a_newer_version_wrote_is_refused_by_name() -> None:
    (outcome,) = loaded(JSON.replace("chatllm 1", "chatllm 2"))
    assert isinstance(outcome, FormatError)
    assert outcome.message == "number 1: it was written by a newer version of chatllm (format 2)"
    assert outcome.hint == "update chatllm to read it"


def test_what_cannot_be_read_is_named_and_the_others_are_read() -> None:
    lines = [json.dump_line(SHOWN), "{broken}\n", '{"format": "other"}\n', json.dump_line(replace(SHOWN, id="c2"))]
    first, broken, other, last = loaded("".join(lines))
    assert (first, last) == (Imported(SHOWN), Imported(replace(SHOWN, id="c2")))
    assert [str(broken).partition(": it is no JSON")[0], str(other)] == [
        "number 2",
        "number 3: it is no conversation as chatllm writes it: the field 'format' does not say so",
    ]


def change(name: str, value: object) -> Callable[[Data], object]:
    return lambda data: data.__setitem__(name, value)


def change_message(name: str, value: object) -> Callable[[Data], object]:
    return lambda data: data["messages"][1].__setitem__(name, value)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (lambda data: data.pop("id"), "conversation None: the field 'id' is missing"),
        (change("id", "../../etc"), "conversation '../../etc': id: expected an id, not '../../etc'"),
        (change("id", ""), "conversation '': id: expected an id, not ''"),
        (change("id", "a\0b"), "conversation 'a\\x00b': id: expected an id, not 'a\\x00b'"),
        (change("id", "x" * 101), f"conversation '{'x' * 39}…: id: expected an id, not '{'x' * 39}…"),
        (change("id", 7), "conversation 7: id: expected text"),
        (change("title", None), "conversation 'c1': title: expected text"),
        (change("created_at", "yesterday"), "conversation 'c1': created_at: expected something else"),
        (change("created_at", "0001-01-01T00:00:00+14:00"), "created_at: expected a moment that every time zone has"),
        (change("messages", {}), "conversation 'c1': messages: expected a list"),
        (change("tags", "ab"), "conversation 'c1': tags: expected a list"),
        (change("tags", [1]), "conversation 'c1': tags: expected text"),
        (change("id", "-x"), "conversation '-x': id: expected an id of its own, not '-x'"),
        (change("id", COPY), f"conversation '{COPY}': id: expected an id of its own, not '{COPY}'"),
        (change("head", "a b"), "conversation 'c1': head: expected an id, not 'a b'"),
        (change("note", "mine"), "conversation 'c1': there is no field 'note'"),
        (change("imported_at", None), "conversation 'c1': there is no field 'imported_at'"),
        (change("damaged_lines", 0), "conversation 'c1': there is no field 'damaged_lines'"),
        (change("messages", [3]), "conversation 'c1', message 1: expected an object"),
        (change_message("id", "u1"), "conversation 'c1', message 2: another message has the id 'u1'"),
        (change_message("role", "tool"), "message 2: role: expected something else ('tool' is not"),
        (change_message("status", []), "conversation 'c1', message 2: status: expected something else"),
        (change_message("content", ["a"]), "conversation 'c1', message 2: content: expected text"),
        (change_message("contnet", "a"), "conversation 'c1', message 2: there is no field 'contnet'"),
        (change_message("parent", 1), "conversation 'c1', message 2: parent: expected text"),
        (change_message("cached", 1), "conversation 'c1', message 2: cached: expected true or false"),
        (change_message("cost", -1), "conversation 'c1', message 2: cost: expected an amount of money"),
        (change_message("cost", 1e13), "conversation 'c1', message 2: cost: expected an amount of money"),
        (change_message("usage", {"input_tokens": 1}), "message 2: usage: 'output_tokens' is missing"),
        (change_message("usage", {"input_tokens": 2**40, "output_tokens": 0}), "usage: expected a number of tokens"),
        (change_message("usage", [1]), "conversation 'c1', message 2: usage: expected something else"),
        (change_message("attachments", [{}]), "conversation 'c1', message 2: attachments: 'size' is missing"),
        (
            change_message("attachments", [{"name": "a", "media_type": "b", "size": 1, "sha256": "../a"}]),
            "conversation 'c1', message 2: attachments: expected a SHA-256",
        ),
        (change("files", []), "the field 'files' is no object"),
        (change("files", {"a" * 64: ""}), f"files: nothing that is attached has the SHA-256 '{'a' * 64}'"),
    ],
)  # fmt: skip
def test_what_is_not_as_it_should_be_is_refused_and_named(changed: Callable[[Data], object], told: str) -> None:
    data = standard_json.loads(JSON)
    changed(data)
    message = refused(standard_json.dumps(data))
    assert message.startswith("number 1: ")
    assert told in message


@pytest.mark.parametrize(
    ("spelled", "told"),
    [
        ("=", f"files: what stands at {SHA256} is no base64"),
        (5, f"files: what stands at {SHA256} is no base64"),
        ("AAAA", f"files: what stands at {SHA256} has another SHA-256: it is damaged"),
    ],
)
def test_bytes_that_are_others_than_their_hash_says_are_refused(spelled: object, told: str) -> None:
    data = standard_json.loads(json.dump(SHOWN, {SHA256: PNG}))
    data["files"][SHA256] = spelled
    assert refused(standard_json.dumps(data)) == f"number 1: {told}"


@pytest.mark.parametrize("data", [b"", b"hello", b"---\n", b"1"])
def test_what_is_no_json_at_all_is_an_error_of_the_file(data: bytes) -> None:
    with pytest.raises(FormatError, match="it is no JSON"):
        loaded(data)


def test_half_of_a_pair_in_an_id_is_refused() -> None:
    assert "expected an id" in refused(re.sub('"id": "u1"', r'"id": "\\ud800"', JSON))
