import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chatllm_cli.formats.foreign.chatgpt import is_one
from chatllm_cli.formats.reading.source import Imported
from chatllm_cli.ids import stable_id
from chatllm_cli.models import Attachment, Conversation, Message, Role, Status
from tests.documents import PNG
from tests.imports import conversations, faults, fixture, outcomes

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TIDES, BOAT = "6956a1a5-0001", "6956a1a5-0002"
SHA256 = hashlib.sha256(PNG).hexdigest()
FILE = fixture("chatgpt", "conversations.json")


def tide(node: str) -> str:
    return stable_id("chatgpt", TIDES, node)


def boat(node: str) -> str:
    return stable_id("chatgpt", BOAT, node)


def after(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def asked(made: str, text: str, seconds: float, parent: str | None, *attached: Attachment) -> Message:
    return Message(made, Role.USER, text, after(seconds), parent, attachments=attached)


def told(made: str, text: str, seconds: float, parent: str) -> Message:
    return Message(made, Role.SYSTEM, text, after(seconds), parent)


def answered(
    made: str,
    text: str,
    seconds: float,
    parent: str | None,
    model: str | None,
    reason: str | None = "stop",
    status: Status = Status.COMPLETE,
    reasoning: str = "",
) -> Message:
    return Message(
        made, Role.ASSISTANT, text, after(seconds), parent, status, model,
        finish_reason=reason, reasoning=reasoning, cost=0.0,
    )  # fmt: skip


TREE = Conversation(
    stable_id("chatgpt", TIDES),
    "Tide tables",
    BEGIN,
    "openai/gpt-4o",
    "I sail.\n\nBe brief.",
    (
        asked(tide("u1"), "When is high water?", 1, None),
        answered(tide("a1"), "At noon.", 2.5, tide("u1"), "openai/gpt-4o"),
        asked(tide("u2"), "Are you sure?", 20, tide("a1")),
        answered(tide("a4"), "No.", 22, tide("u2"), "openai/gpt-4o"),
        answered(
            tide("a2"), "At one o'clock, and", 60, tide("u1"), "openai/gpt-4o", "interrupted", Status.INTERRUPTED
        ),
        answered(tide("a3"), "At 12:24.", 90, tide("u1"), "openai/gpt-5"),
        asked(tide("u3"), "Thanks — „Grüße“ 😀", 120, tide("a3")),
        answered(tide("a5"), "Fair winds!", 121, tide("u3"), "openai/gpt-5", "max_tokens", Status.TRUNCATED),
    ),
    tide("a5"),
)
PICTURE = Attachment("boat.png", "image/png", len(PNG), sha256=SHA256)
TOOLS = Conversation(
    stable_id("chatgpt", BOAT),
    "A sketch of a boat",
    after(1000),
    "openai/o3",
    "",
    (
        asked(boat("q1"), "[image]\nWhat boat is this?\n\n[file: plan.pdf]", 1001, None, PICTURE),
        told(boat("co"), "[call python]\n\n```python\nprint(6 * 7)\n```", 1004, boat("q1")),
        told(boat("ou"), "```\n42\n```", 1005, boat("co")),
        told(boat("qu"), "Sloop https://example.org/sloop\n\nA sloop has one mast.", 1006, boat("ou")),
        answered(
            boat("an"), "A sloop.", 1007, boat("qu"), "openai/o3", None,
            reasoning="Looking\n\nIt has one mast.\n\nThought for 4 seconds",
        ),
        asked(boat("vo"), "And this?", 1008, boat("an")),
        answered(boat("ne"), "[unsupported: hologram]", 1009, boat("vo"), None, None),
    ),
    boat("ou"),  # the nearest that is kept to what is in use there
)  # fmt: skip


def test_every_branch_is_kept_and_images_come_from_beside() -> None:
    found = outcomes("chatgpt", FILE, beside={"file-AbC123": PNG}.get)
    assert found == [Imported(TREE), Imported(TOOLS, {SHA256: PNG})]


def test_an_image_that_is_missing_is_named() -> None:
    (_, boats) = conversations("chatgpt", FILE)
    assert boats.messages[0] == asked(
        boat("q1"), "[image: boat.png]\n[image]\nWhat boat is this?\n\n[file: plan.pdf]", 1001, None
    )


def test_what_is_no_image_is_not_taken_for_one() -> None:
    _, boats = outcomes("chatgpt", FILE, beside=lambda _: b"<svg/>")
    assert isinstance(boats, Imported)
    assert boats.files == {}
    assert boats.conversation.messages[0].attachments == ()


def test_a_file_beside_is_asked_for_by_its_id_alone_and_once() -> None:
    wanted: list[str] = []
    parts = [
        {"content_type": "image_asset_pointer", "asset_pointer": f"file-service://{name}"}
        for name in ("file-1", "file-1", "../etc/passwd", "file-", "", "file-2/../../x")
    ]
    one = tree([message("u", "user", {"content_type": "multimodal_text", "parts": parts})])
    list(outcomes("chatgpt", json.dumps(one).encode(), beside=wanted.append))
    assert wanted == ["file-1", "file-2"]


def message(node: str, role: Any, content: Any, **fields: Any) -> dict[str, Any]:
    return {"id": node, "author": {"role": role}, "content": content, **fields}


def text(*parts: Any) -> dict[str, Any]:
    return {"content_type": "text", "parts": [*parts]}


def tree(messages: list[Any], current: str | None = None) -> dict[str, Any]:
    """Return a conversation in which each message hangs on the one before."""
    names = [each["id"] for each in messages]
    mapping = {
        name: {"id": name, "message": each, "parent": above, "children": [below] if below else []}
        for name, each, above, below in zip(names, messages, [None, *names], [*names[1:], None], strict=False)
    }
    return {"conversation_id": "c", "title": "t", "mapping": mapping, "current_node": current}


def contents(*messages: Any) -> list[tuple[str, str]]:
    (found,) = conversations("chatgpt", tree([*messages]))
    return [(each.role.value, each.content) for each in found.messages]


def said(content: Any, **fields: Any) -> list[tuple[str, str]]:
    return contents(message("q", "user", text("?")), message("n", "tool", content, **fields))[1:]


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ({"content_type": "code", "language": "unknown", "text": "a ``` b"}, "````\na ``` b\n````"),
        ({"content_type": "system_error", "name": "E", "text": "denied"}, "E\n\ndenied"),
        ({"content_type": "tether_browsing_display", "result": "# 1", "summary": "s"}, "# 1"),
        ({"content_type": "sonic_webpage", "title": "T", "url": "u", "text": "page"}, "T u\n\npage"),
        ({"content_type": "computer_output", "screenshot": {"content_type": "image_asset_pointer"}}, "[image]"),
        ({"content_type": "new", "text": "its text"}, "its text"),
        ({"content_type": "new", "parts": ["one", {"content_type": "x"}]}, "one\n[unsupported: x]"),
        (text("one", "", "two"), "one\ntwo"),
        ({"content_type": "model_editable_context", "model_set_context": "You like tea."}, "You like tea."),
    ],
)
def test_every_type_of_content_has_a_text(content: Any, shown: str) -> None:
    assert said(content) == [("system", shown)]


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (text(""), {}),
        (text(" \n"), {}),
        (text("x"), {"metadata": {"is_visually_hidden_from_conversation": True}}),
        ({}, {}),
        (None, {}),
        ({"content_type": "thoughts", "thoughts": []}, {}),
    ],
)
def test_what_is_empty_or_hidden_is_left_out_and_what_hung_on_it_hangs_above(content: Any, fields: Any) -> None:
    (found,) = conversations(
        "chatgpt",
        tree(
            [message("q", "user", text("?")), message("n", "tool", content, **fields), message("a", "x", text("!"))]
        ),
    )
    assert [(each.content, each.parent) for each in found.messages] == [("?", None), ("!", found.messages[0].id)]


def test_only_the_first_system_message_is_the_system_prompt() -> None:
    older = {"user_context_message_data": {"about_user_message": "Me.", "about_model_message": "You."}}
    (found,) = conversations(
        "chatgpt",
        tree(
            [
                message("s", "system", text(""), metadata=older),
                message("t", "system", text("More.")),
                message("u", "user", text("?")),
            ]
        ),
    )
    assert found.system_prompt == "Me.\n\nYou."
    assert [(each.role, each.content, each.parent) for each in found.messages] == [
        (Role.SYSTEM, "More.", None),
        (Role.USER, "?", found.messages[0].id),
    ]


def test_thoughts_before_a_prompt_are_no_part_of_its_reply() -> None:
    thoughts = {"content_type": "thoughts", "thoughts": "Hm."}
    (found,) = conversations(
        "chatgpt",
        tree(
            [
                message("t", "assistant", thoughts),
                message("u", "user", text("?")),
                message("a", "assistant", text("!")),
            ]
        ),
    )
    assert [(each.content, each.reasoning) for each in found.messages] == [("?", ""), ("!", "")]


def test_thoughts_go_to_one_reply_however_many_hang_on_them() -> None:
    value = tree([message("t", "assistant", {"content_type": "thoughts", "thoughts": "Hm."})])
    value["mapping"]["t"]["children"] = ["a", "b"]
    for name in "ab":
        value["mapping"][name] = {"parent": "t", "message": message(name, "assistant", text(name))}
    (found,) = conversations("chatgpt", value)
    assert [(each.content, each.reasoning) for each in found.messages] == [("a", "Hm."), ("b", "")]


def test_thoughts_that_no_reply_came_of_are_kept() -> None:
    thoughts = {"content_type": "thoughts", "thoughts": [{"summary": "", "content": "Hm."}]}
    (found,) = conversations("chatgpt", tree([message("u", "user", text("?")), message("a", "assistant", thoughts)]))
    last = found.messages[-1]
    assert (last.content, last.reasoning, last.status) == ("", "Hm.", Status.INTERRUPTED)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"status": "in_progress"}, Status.INTERRUPTED),
        ({"status": "error"}, Status.ERROR),
        ({"metadata": {"finish_details": {"type": "content_filter"}}}, Status.FILTERED),
        ({"metadata": {"finish_details": "odd"}}, Status.COMPLETE),
        ({"metadata": []}, Status.COMPLETE),
        ({"status": ["odd"]}, Status.COMPLETE),
    ],
)
def test_how_a_reply_ended_is_taken_from_where_it_is_said(fields: Any, status: Status) -> None:
    (found,) = conversations("chatgpt", tree([message("a", "assistant", text("!"), **fields)]))
    assert found.messages[0].status is status


def test_an_export_that_has_grown_keeps_the_ids_it_had() -> None:
    grown = json.loads(FILE)
    mapping = grown[0]["mapping"]
    mapping["u9"] = {"id": "u9", "parent": "a5", "children": [], "message": message("u9", "user", text("More?"))}
    mapping["a5"]["children"].append("u9")
    grown[0] |= {"current_node": "u9", "title": "Renamed"}
    (before, after_that) = (conversations("chatgpt", value)[0] for value in (FILE, grown))
    assert after_that.id == before.id
    assert after_that.messages[:-1] == before.messages
    assert after_that.head == after_that.messages[-1].id


def test_a_conversation_without_an_id_is_known_by_its_first_node() -> None:
    value = tree([message("u", "user", text("?"))])
    del value["conversation_id"]
    assert [each.id for each in conversations("chatgpt", value)] == [stable_id("chatgpt", "u")]


def node(key: str, parent: str | None, children: Any = ()) -> dict[str, Any]:
    return {"id": key, "parent": parent, "children": [*children], "message": message(key, "user", text(key))}


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        pytest.param({"a": node("a", "b"), "b": node("b", "a")}, [("a", None), ("b", "a")], id="circle"),
        pytest.param({"a": node("a", "a", ["a", "a"])}, [("a", None)], id="itself"),
        pytest.param({"a": node("a", "lost")}, [("a", None)], id="lost parent"),
        pytest.param(
            {"r": node("r", None, ["b", "lost", "a"]), "a": node("a", "r"), "b": node("b", "r"), "c": node("c", "r")},
            [("r", None), ("b", "r"), ("a", "r"), ("c", "r")],
            id="siblings as listed, then as they stand",
        ),
        pytest.param({"r": node("r", None, ["a"]), "a": node("a", None)}, [("r", None), ("a", "r")], id="no parent"),
    ],
)
def test_a_damaged_tree_is_taken_along_whole(mapping: Any, expected: list[tuple[str, str | None]]) -> None:
    (found,) = conversations("chatgpt", {"id": "c", "mapping": mapping, "current_node": "lost"})
    names = {each.id: each.content for each in found.messages}
    assert [(each.content, each.parent and names[each.parent]) for each in found.messages] == expected
    assert found.head == found.messages[-1].id


def test_thirty_thousand_nodes_below_each_other_are_no_matter() -> None:
    mapping = {
        str(number): {
            "parent": str(number - 1),
            "message": None if number % 1000 else node(str(number), None)["message"],
        }
        for number in range(30_000)
    }
    (found,) = conversations("chatgpt", {"id": "c", "mapping": mapping, "current_node": "29999"})
    assert [each.content for each in found.thread()] == [str(number) for number in range(0, 30_000, 1000)]


def test_a_long_chain_of_thoughts_takes_no_more_than_its_size() -> None:
    thought = {"content_type": "thoughts", "thoughts": "x" * 500}
    messages = [message(str(number), "assistant", thought) for number in range(5_000)]
    (found,) = conversations("chatgpt", tree([*messages, message("a", "assistant", text("!"))]))
    assert [len(each.reasoning) for each in found.messages] == [5_000 * 502 - 2]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"mapping": []}, "conversation 1: an object was expected, not a list"),
        ({"mapping": {"a": 1}, "title": "Tea\ntime"}, "conversation 1 (Tea time): an object was expected, not 1"),
        ({"mapping": {"a": {"children": 1}}}, "conversation 1: a list was expected, not 1"),
        ({"mapping": {"a": {"message": []}}}, "conversation 1: an object was expected, not a list"),
        (
            tree([message("u", "user", text("?"), create_time="noon")]),
            "conversation 1 (t): a time was expected, not 'noon'",
        ),
        (
            tree([message("u", "user", text("?"), create_time=1e300)]),
            "conversation 1 (t): a time was expected, not 1e+300",
        ),
        (tree([message("u", 5, text("?"))]), "conversation 1 (t): a text was expected, not 5"),
        (
            tree([message("u", "user", {"content_type": "text", "parts": "?"})]),
            "conversation 1 (t): a list was expected, not '?'",
        ),
        (tree([message("u", "user", text(["?"]))]), "conversation 1 (t): an object was expected, not a list"),
        ([1], "conversation 1: an object was expected, not 1"),
        ("x", "it is no JSON"),
    ],
)
def test_what_cannot_be_read_is_named(value: Any, fault: str) -> None:
    assert faults("chatgpt", value) == [fault]


def test_a_conversation_in_which_nothing_was_said_is_passed_over() -> None:
    assert conversations("chatgpt", tree([message("u", "user", text(""))])) == []


@pytest.mark.parametrize(
    ("value", "expected"), [({"mapping": {}}, True), ({"mapping": []}, False), ([], False), (None, False), (1, False)]
)
def test_the_format_is_told_by_its_mapping(value: Any, expected: bool) -> None:
    assert is_one(value) is expected
