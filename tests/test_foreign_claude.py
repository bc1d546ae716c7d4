import json
from datetime import UTC, datetime
from typing import Any

import pytest

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.foreign.claude import is_one
from chatllm_cli.formats.reading.source import Imported
from chatllm_cli.ids import stable_id
from chatllm_cli.models import Attachment, Conversation, Message, Role, Status
from tests.imports import conversations, faults, fixture, outcomes

FILE = fixture("claude", "conversations.json")
KNOTS, OLD = "c1a0de00-0001", "c1a0de00-0002"
SONNET = "anthropic/claude-sonnet-4"
BEGIN = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)

SEARCHED = """\
Make a loop.

[call web_search: {"query": "bowline"}]

```
King of knots

{"type": "knowledge", "title": "Bowline", "url": "https://example.org"}
```

Then through it."""


def knot(uuid: str) -> str:
    return stable_id("claude", KNOTS, uuid)


def minute(number: int) -> datetime:
    return datetime(2026, 1, 2, 3, number, tzinfo=UTC)


BRANCHES = Conversation(
    stable_id("claude", KNOTS),
    "Knots",
    BEGIN,
    SONNET,
    "",
    (
        Message(
            knot("h1"),
            Role.USER,
            "How do I tie a bowline?\n\n[file: scan.pdf]\n\n[file: photo.jpg]",
            BEGIN,
            attachments=(
                Attachment("rope.txt", "text/plain", 12, "Hemp, 10 mm."),
                Attachment("pasted text", "text/markdown", 7, "# Rope\n"),
            ),
        ),
        Message(
            knot("r1"), Role.ASSISTANT, SEARCHED, minute(5), knot("h1"), model=SONNET,
            reasoning="The rabbit comes out of its hole.", cost=0.0,
        ),
        Message(knot("h2"), Role.USER, "Thanks", minute(7), knot("r1")),
        Message(
            knot("r3"), Role.ASSISTANT, "[unsupported: hologram]", minute(8), knot("h2"), model=SONNET,
            finish_reason="stop_sequence", cost=0.0,
        ),
        Message(
            knot("r2"), Role.ASSISTANT, "Like this", minute(6), knot("h1"), Status.TRUNCATED, SONNET,
            finish_reason="max_tokens", cost=0.0,
        ),
    ),
    knot("r3"),
)  # fmt: skip

OLD_AT = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
OLDER = Conversation(
    stable_id("claude", OLD),
    "",
    OLD_AT,
    messages=(
        Message(stable_id("claude", OLD, "m1"), Role.USER, "Old", OLD_AT),
        Message(
            stable_id("claude", OLD, "m3"), Role.ASSISTANT, "Oldest", OLD_AT.replace(second=7),
            stable_id("claude", OLD, "m1"), cost=0.0,
        ),
    ),
    head=stable_id("claude", OLD, "m3"),
)  # fmt: skip


def test_branches_attachments_thoughts_and_tools_are_kept() -> None:
    assert outcomes("claude", FILE) == [Imported(BRANCHES), Imported(OLDER)]


def said(uuid: str, text: str, **fields: Any) -> dict[str, Any]:
    return {"uuid": uuid, "sender": "human", "text": text, **fields}


def chat(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"uuid": "c", "name": "n", "chat_messages": [*messages], **fields}


def test_an_export_that_has_grown_keeps_the_ids_it_had() -> None:
    grown = json.loads(FILE)
    grown[0]["chat_messages"].append(said("h9", "More?", parent_message_uuid="r3", created_at="2026-01-03T00:00:00Z"))
    grown[0]["current_leaf_message_uuid"] = "h9"
    found = conversations("claude", grown)[0]
    assert found.id == BRANCHES.id
    assert {each.id for each in found.messages} == {knot("h9"), *(each.id for each in BRANCHES.messages)}
    assert found.head == knot("h9")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param(
            [said("a", "A", parent_message_uuid="b"), said("b", "B", parent_message_uuid="a")],
            [("A", None), ("B", "A")],
            id="circle",
        ),
        pytest.param([said("a", "A", parent_message_uuid="a")], [("A", None)], id="itself"),
        pytest.param(
            [said("a", "A"), said("b", "B", parent_message_uuid="lost")], [("A", None), ("B", "A")], id="lost"
        ),
        pytest.param(
            [
                said("b", "B", parent_message_uuid="a"),
                said("a", "A", parent_message_uuid="00000000-0000-4000-8000-000000000000"),
            ],
            [("A", None), ("B", "A")],
            id="parent after its child",
        ),
        pytest.param(
            [said("a", "A"), said("e", ""), said("b", "B")], [("A", None), ("B", "A")], id="empty one between"
        ),
    ],
)
def test_a_damaged_tree_is_taken_along_whole(messages: list[Any], expected: list[tuple[str, str | None]]) -> None:
    (found,) = conversations("claude", chat(*messages))
    names = {each.id: each.content for each in found.messages}
    assert [(each.content, each.parent and names[each.parent]) for each in found.messages] == expected
    assert found.head in names


def test_a_last_message_without_words_does_not_take_the_head_away() -> None:
    (found,) = conversations("claude", chat(said("e", ""), said("a", "A"), said("f", "", parent_message_uuid="e")))
    assert found.head == found.messages[-1].id


@pytest.mark.parametrize(
    ("block", "shown"),
    [
        ({"type": "tool_use", "input": None}, "[call a tool: null]"),
        ({"type": "tool_result", "content": "plain"}, "```\nplain\n```"),
        ({"type": "voice_note", "title": "t", "text": "spoken"}, "spoken"),
        ({"type": "text"}, "fallback"),
        ({}, "[unsupported: block]"),
    ],
)
def test_every_block_has_a_text(block: Any, shown: str) -> None:
    (found,) = conversations("claude", chat(said("a", "fallback", content=[block])))
    assert [each.content for each in found.messages] == [shown]


@pytest.mark.parametrize("size", [-1, 2**70, "12", None, True])
def test_a_size_that_cannot_be_is_that_of_the_text(size: Any) -> None:
    attachment = {"file_name": "a", "file_size": size, "file_type": "txt", "extracted_content": "grün"}
    (found,) = conversations("claude", chat(said("a", "A", attachments=[attachment])))
    assert found.messages[0].attachments == (Attachment("a", "text/plain", 5, "grün"),)


def test_what_a_tool_was_given_is_read_or_refused_however_deep_it_is() -> None:
    said = set()
    for depth in range(850, 1_010, 2):  # where it becomes too deep differs with what is called by what
        block = f'{{"type": "tool_use", "input": {"[" * depth}{"]" * depth}}}'
        data = f'{{"uuid": "c", "chat_messages": [{{"uuid": "a", "content": [{block}]}}]}}'.encode()
        (found,) = outcomes("claude", data)
        said.add(found.message if isinstance(found, FormatError) else "read")
    assert said == {"read", "conversation 1: it is nested too deeply"}


def test_thoughts_without_an_answer_are_a_message() -> None:
    block = {"type": "thinking", "thinking": "Hm."}
    (found,) = conversations("claude", chat(said("a", "", sender="assistant", content=[block])))
    assert [(each.content, each.reasoning) for each in found.messages] == [("", "Hm.")]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (chat(said("a", "A"), said("a", "B")), "conversation 1 (n): the message a stands there twice"),
        (chat(1), "conversation 1 (n): an object was expected, not 1"),
        (chat(said("a", "A", content="x")), "conversation 1 (n): a list was expected, not 'x'"),
        (chat(said("a", "A", content=[1])), "conversation 1 (n): an object was expected, not 1"),
        (chat(said("a", "A", created_at="soon")), "conversation 1 (n): a time was expected, not 'soon'"),
        (chat(said("a", "A", attachments=[1])), "conversation 1 (n): an object was expected, not 1"),
        (chat(uuid=1), "conversation 1 (n): a text was expected, not 1"),
        (chat(name=["x"]) | {"chat_messages": [said("a", "A")]}, "conversation 1: a text was expected, not a list"),
    ],
)
def test_what_cannot_be_read_is_named(value: Any, fault: str) -> None:
    assert faults("claude", value) == [fault]


def test_a_conversation_that_cannot_be_read_does_not_keep_the_others_from_it() -> None:
    good = chat(said("a", "A"))
    found = outcomes("claude", json.dumps([good, chat(1), good]).encode())
    assert [isinstance(each, Imported) for each in found] == [True, False, True]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(chat(), True), ({"chat_messages": []}, False), ({"uuid": "c", "chat_messages": {}}, False), ([], False)],
)
def test_the_format_is_told_by_its_messages(value: Any, expected: bool) -> None:
    assert is_one(value) is expected


def test_one_without_an_id_is_told_as_all_that_have_none_would_be_one() -> None:
    value = {"uuid": "", "name": "Knots", "chat_messages": []}
    assert faults("claude", value) == ["conversation 1 (Knots): it has no id"]
