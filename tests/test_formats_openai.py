import hashlib
import json
from typing import Any

import pytest

from chatllm_cli.formats.openai import is_one
from chatllm_cli.formats.reading.source import LONG_AGO, Imported
from chatllm_cli.ids import stable_id
from chatllm_cli.models import Attachment, Conversation, Message, Role
from tests.documents import PNG
from tests.imports import conversations, faults, fixture, outcomes

FILE = fixture("openai", "training.jsonl")
LINES = FILE.splitlines()
SHA256 = hashlib.sha256(PNG).hexdigest()
IMAGE = Attachment("image", "image/png", len(PNG), sha256=SHA256)


def expected(
    line: bytes, system: str, *said: tuple[Role, str, tuple[Attachment, ...]], model: str = ""
) -> Conversation:
    key = stable_id("openai", json.dumps(json.loads(line), sort_keys=True))
    messages: list[Message] = []
    for role, content, images in said:
        parent = messages[-1].id if messages else None
        reply = {"model": model or None, "cost": 0.0} if role is Role.ASSISTANT else {}
        made = stable_id(key, parent, role, content)
        messages.append(Message(made, role, content, LONG_AGO, parent, attachments=images, **reply))  # type: ignore[arg-type]
    return Conversation(key, "", LONG_AGO, model, system, tuple(messages), messages[-1].id)


MARV = expected(
    LINES[0],
    "Marv is a factual chatbot that is also sarcastic.",
    (Role.USER, "What's the capital of France?", ()),
    (Role.ASSISTANT, "Paris, as if everyone doesn't know that already.", ()),
)
PARTS = expected(
    LINES[1],
    "",
    (Role.USER, "What is this?\n\n[image: https://example.org/a.png]\n\n[unsupported: input_audio]", (IMAGE,)),
    (Role.ASSISTANT, "I won't say.", ()),
    (Role.USER, "The weather, then.", ()),
    (Role.SYSTEM, '[call weather: {"place": "Kiel"}]', ()),
    (Role.SYSTEM, "rain", ()),
    (Role.ASSISTANT, "It rains.", ()),
    (Role.SYSTEM, "Be kind.", ()),
    (Role.SYSTEM, "[call old: {}]", ()),
)
REQUEST = expected(
    LINES[2],
    "Answer in one word.",
    (Role.USER, "Sky?", ()),
    (Role.ASSISTANT, "Blue.", ()),
    model="gpt-4o-mini",
)


def test_each_line_is_a_conversation_and_equal_ones_are_one() -> None:
    assert outcomes("openai", FILE) == [
        Imported(MARV),
        Imported(PARTS, {SHA256: PNG}),
        Imported(REQUEST),
        Imported(MARV),
    ]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"[" + b",".join(LINES[:3]) + b"]", [MARV, PARTS, REQUEST]),
        (LINES[2], [REQUEST]),
        (json.dumps(json.loads(LINES[0]), indent=2).encode(), [MARV]),
        (b'{"messages": [{"role": "us\n' + FILE, [MARV, PARTS, REQUEST, MARV]),
    ],
    ids=["array", "request", "pretty-printed", "first line damaged"],
)
def test_arrays_single_objects_and_what_is_whole_of_damaged_files_are_read(
    data: bytes, found: list[Conversation]
) -> None:
    assert [each.conversation for each in outcomes("openai", data) if isinstance(each, Imported)] == found


def test_the_order_of_fields_makes_no_other_conversation() -> None:
    value = json.loads(LINES[2])
    assert conversations("openai", dict(reversed(value.items()))) == [REQUEST]
    assert conversations("openai", value | {"temperature": 1})[0].id != REQUEST.id


@pytest.mark.parametrize(
    "value", [{"messages": []}, {"messages": [{"role": "user", "content": " "}]}, {"messages": None}]
)
def test_a_line_in_which_nothing_is_said_is_passed_over(value: Any) -> None:
    assert conversations("openai", value) == []


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"prompt": "a", "completion": "b"}, "conversation 1: it has no messages"),
        ({"messages": {}}, "conversation 1: a list was expected, not an object"),
        ({"messages": ["a"]}, "conversation 1: an object was expected, not 'a'"),
        ({"messages": [{"role": 1, "content": "a"}]}, "conversation 1: a text was expected, not 1"),
        ({"messages": [{"role": "user", "content": {}}]}, "conversation 1: a text was expected, not an object"),
        ({"messages": [{"role": "user", "content": [1]}]}, "conversation 1: an object was expected, not 1"),
        (
            {"messages": [{"role": "a", "tool_calls": [{"function": 1}]}]},
            "conversation 1: an object was expected, not 1",
        ),
        ({"model": [], "messages": []}, "conversation 1: a text was expected, not a list"),
    ],
)
def test_what_cannot_be_read_is_named(value: Any, fault: str) -> None:
    assert faults("openai", value) == [fault]


def test_a_file_of_which_nothing_can_be_read_is_left_after_a_thousand_faults() -> None:
    found = faults("openai", [1] * 5_000)
    assert len(found) == 1_001
    assert found[-1] == "more than 1,000 conversations cannot be read: the rest is left out"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (json.loads(LINES[0]), True),
        ({"messages": []}, False),
        ({"messages": [{"role": "user"}], "head": "m1"}, False),  # our own JSON
        ({"role": "user", "content": "a"}, False),
        ([], False),
        (None, False),
    ],
)
def test_the_format_is_told_by_its_messages(value: Any, told: bool) -> None:
    assert is_one(value) is told
