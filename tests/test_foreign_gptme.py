import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.foreign import gptme
from chatllm_cli.formats.reading import json_values
from chatllm_cli.formats.reading.source import Imported, Source
from chatllm_cli.models import Conversation, Message, TokenUsage

PLACE = Path(__file__).parent / "data" / "imports" / "gptme"
FILES = ["conversation.jsonl", "branches/main-undo-0.jsonl", "branches/main-undo-1.jsonl"]
AT = "2026-01-02T03:04:05.678901+00:00"
SYSTEM = {"role": "system", "content": "Be terse.", "timestamp": AT}
HELLO = {"role": "user", "content": "Hello", "timestamp": AT}
HI = {"role": "assistant", "content": "Hi", "timestamp": AT}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A clock on the wall that is three hours ahead."""
    monkeypatch.setenv("TZ", "Etc/GMT-3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def fixture(file: str) -> Source:
    path = PLACE / "harbour-walk" / file
    return Source(f"harbour-walk/{file}", path.read_bytes(), path)


def load(source: Source) -> Conversation:
    [outcome] = gptme.load(source)
    assert isinstance(outcome, Imported)
    assert outcome.files == {}
    return outcome.conversation


def written(*entries: Any, name: str = "walk/conversation.jsonl") -> Source:
    return Source(name, b"".join(json.dumps(entry).encode() + b"\n" for entry in entries))


def told(message: Message) -> tuple[str, ...]:
    return (message.role, message.content, message.model or "")


def test_a_conversation_is_read_with_its_model_tokens_and_dates() -> None:
    conversation = load(fixture("conversation.jsonl"))
    reply = conversation.messages[1]
    lines = [json.loads(line) for line in fixture("conversation.jsonl").all().splitlines()]

    assert (conversation.title, conversation.model) == ("harbour-walk", "local/deltas")
    assert conversation.system_prompt == f"{lines[0]['content']}\n\n{lines[1]['content']}"
    assert conversation.system_prompt.startswith("Be a terse guide.\n\n# Tools Overview")
    assert [told(each) for each in conversation.messages] == [
        ("user", "Where to?", ""),
        ("assistant", "Go straight on 🧭.", "local/deltas"),
        ("user", "Und die Flut, ümläut?", ""),
        ("user", "Another way?", ""),
        ("assistant", "Along the quay.", "local/deltas"),
    ]
    assert conversation.thread() == conversation.messages
    assert (reply.usage, reply.cost) == (TokenUsage(7, 3), 0.0)
    assert conversation.created_at == conversation.messages[0].at


def test_its_branches_are_of_the_same_conversation_and_begin_with_the_same_messages() -> None:
    main, first, second = (load(fixture(file)) for file in FILES)
    tool = first.messages[4]

    assert main.id == first.id == second.id
    assert first.messages[:3] == main.messages[:3]
    assert second.messages == first.messages[:5]
    assert [told(each)[0] for each in first.messages[3:]] == ["assistant", "system", "assistant"]
    assert tool.content.endswith("`echo 'tide: 4 m'`\n\n`tide: 4 m`\n\n")
    assert first.messages[5].content == "The tide is 4 m."


def test_two_that_begin_otherwise_are_two_though_their_folders_have_the_same_name() -> None:
    one, other = (load(written(HELLO | {"content": text}, HI, name="Downloads/conversation.jsonl")) for text in "ab")
    assert one.id != other.id
    assert not {each.id for each in one.messages} & {each.id for each in other.messages}


@pytest.mark.parametrize("file", FILES)
def test_a_file_read_twice_is_the_same(file: str) -> None:
    assert load(fixture(file)) == load(fixture(file))


@pytest.mark.parametrize(
    ("name", "path", "title"),
    [
        ("walk/conversation.jsonl", None, "walk"),
        ("logs/walk/branches/main-edit-0.jsonl", None, "walk"),
        ("conversation.jsonl", "/logs/walk/conversation.jsonl", "walk"),
        ("branches/x.jsonl", "/logs/walk/branches/x.jsonl", "walk"),
        ("../conversation.jsonl", "/logs/walk/conversation.jsonl", "walk"),
        ("/conversation.jsonl", None, "conversation"),
        ("branches/x.jsonl", None, "x"),
        ("saved.jsonl", None, "saved"),
    ],
)
def test_its_name_is_its_folder_or_else_that_of_the_file(name: str, path: str | None, title: str) -> None:
    conversation = load(Source(name, written(HELLO).all(), Path(path) if path else None))
    same = load(written(HELLO, name=f"{title}/conversation.jsonl"))
    assert (conversation.title, conversation.id) == (title, same.id)


def test_a_view_is_refused_as_it_leaves_things_out() -> None:
    with pytest.raises(FormatError, match="it is a view, with parts left out"):
        load(written(HELLO, name="walk/views/compact.jsonl"))


def test_a_time_without_a_zone_is_the_clocks_on_the_wall() -> None:
    bare = HELLO | {"timestamp": "2026-01-02T03:04:05.678901"}
    none = {"role": "assistant", "content": "Hi"}
    assert [each.at for each in load(written(bare, none, HELLO)).messages] == [
        datetime(2026, 1, 2, 0, 4, 5, 678000, UTC),
        datetime(2026, 1, 2, 0, 4, 5, 678000, UTC),
        datetime(2026, 1, 2, 3, 4, 5, 678000, UTC),
    ]


def test_a_message_whose_time_is_empty_has_that_of_the_one_before() -> None:
    found = load(written(HELLO, HI | {"timestamp": ""}))
    assert [message.at for message in found.messages] == [found.messages[0].at] * 2


def test_usage_and_cost_are_read_in_their_old_place_too_and_what_was_cached_counts() -> None:
    counts = {"input_tokens": 10, "output_tokens": 5, "cache_read_tokens": 80, "cache_creation_tokens": 7}
    replies = [HI | {"metadata": {"model": "a/b", "cost": 0.25, "usage": counts}}, HI | {"metadata": counts}]
    messages = load(written(HELLO, *replies)).messages

    assert [(each.model, each.usage, each.cost) for each in messages[1:]] == [
        ("a/b", TokenUsage(97, 5, 80), 0.25),
        (None, TokenUsage(97, 5, 80), 0.0),
    ]


def test_files_are_told_by_their_names_and_what_says_nothing_is_left_out() -> None:
    entries = [SYSTEM, HELLO | {"files": ["a.png", "https://b.example/"]}, HI | {"content": ""}, SYSTEM, HI]
    assert [told(each) for each in load(written(*entries)).messages] == [
        ("user", "Hello\n\n[attached: a.png]\n\n[attached: https://b.example/]", ""),
        ("system", "Be terse.", ""),
        ("assistant", "Hi", ""),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is no JSON"),
        (b"\xff", "it is no JSON"),
        (written(SYSTEM).all(), "nothing was said in it"),
        (written(HELLO, 1).all(), "message 2: an object was expected, not 1"),
        (written(HELLO).all() + b'{"role": "assist', "message 2: it is no JSON: Unterminated string starting at"),
        (written(HELLO).all() + b"\0\0\n" + written(HI).all(), "message 2: it is no JSON: Expecting value"),
        (written(HELLO).all() + b"[" * 100_000, "message 2: it is nested too deeply"),
        (written(HELLO | {"role": None, "content": 1}).all(), "message 1: a text was expected, not 1"),
        (written(HELLO | {"timestamp": "soon"}).all(), "message 1: a time was expected, not 'soon'"),
        (written(HELLO | {"timestamp": 1}).all(), "message 1: a text was expected, not 1"),
        (written(HELLO | {"files": "a"}).all(), "message 1: a list was expected, not 'a'"),
        (written(HI | {"metadata": [1]}).all(), "message 1: an object was expected, not a list"),
        (written(HI | {"metadata": {"cost": -1}}).all(), "message 1: an amount of money was expected"),
        (written(HI | {"metadata": {"cost": True}}).all(), "message 1: an amount of money was expected"),
        (b'{"role": "assistant", "metadata": {"cost": 1e999}}', "message 1: an amount of money was expected"),
        (written(HI | {"metadata": {"input_tokens": 2**40}}).all(),
         "message 1: a number of tokens was expected, not 1099511627776"),
    ],
)  # fmt: skip
def test_a_file_of_which_one_message_cannot_be_read_is_refused_whole(data: bytes, message: str) -> None:
    with pytest.raises(FormatError) as refused:
        list(gptme.load(Source("walk/conversation.jsonl", data)))
    assert refused.value.message == message


@pytest.mark.parametrize("file", FILES)
def test_it_is_told_by_its_first_message(file: str) -> None:
    assert gptme.is_one(json_values.first(fixture(file).data))


@pytest.mark.parametrize(
    "value",
    [None, 1, [], {}, {"role": "user", "content": "a"}, HELLO | {"role": ["user"]}, HELLO | {"role": "tool"},
     HELLO | {"content": None}, HELLO | {"timestamp": 1.5}],
)  # fmt: skip
def test_another_first_value_is_none_of_its(value: Any) -> None:
    assert not gptme.is_one(value)
