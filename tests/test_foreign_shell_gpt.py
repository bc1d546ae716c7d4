import json
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.foreign import shell_gpt
from chatllm_cli.formats.reading import json_values
from chatllm_cli.formats.reading.source import Imported, Source
from chatllm_cli.models import Conversation, Message, Role

PLACE = Path(__file__).parent / "data" / "imports" / "shell_gpt"
SYSTEM = {"role": "system", "content": "Be brief."}
HELLO = {"role": "user", "content": "Hello"}
HI = {"role": "assistant", "content": "Hi"}


def load(data: bytes, name: str = "chat") -> Conversation:
    [outcome] = shell_gpt.load(Source(name, data))
    assert isinstance(outcome, Imported)
    assert outcome.files == {}
    return outcome.conversation


def written(*entries: Any) -> bytes:
    return json.dumps(entries).encode()


def told(message: Message) -> tuple[str, str]:
    return message.role, message.content


def test_a_chat_is_read_with_its_role_as_system_prompt() -> None:
    conversation = load((PLACE / "harbour").read_bytes(), "harbour")

    assert conversation.system_prompt == "You are Pilot\nAnswer as a harbour pilot would."
    assert [told(each) for each in conversation.messages] == [
        ("user", "How do I come in?"),
        ("assistant", "Slow ahead ⚓."),
        ("user", "And now?\nThere is a mole."),
        ("assistant", "Hard to port!"),
    ]
    assert conversation.thread() == conversation.messages
    assert [each.cost for each in conversation.messages] == [None, 0.0, None, 0.0]


def test_each_chat_is_one_and_the_same_however_often_it_is_read() -> None:
    files = [(path.name, path.read_bytes()) for path in sorted(PLACE.iterdir())]
    once, again = ([load(data, name) for name, data in files] for _ in range(2))

    assert once == again
    assert len({each.id for each in once}) == 2


def test_what_goes_on_is_known_by_what_was_there_before() -> None:
    before, after = load(written(SYSTEM, HELLO, HI)), load(written(SYSTEM, HELLO, HI, HELLO, HI), "folder/chat")

    assert after.id == before.id
    assert after.messages[:2] == before.messages


def test_a_chat_of_the_same_name_that_began_anew_is_another() -> None:
    other = {"role": "user", "content": "Good morning"}
    assert load(written(SYSTEM, HELLO, HI)).id != load(written(SYSTEM, other, HI)).id


def test_tools_are_told_by_what_was_called_and_what_came_back() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "run", "arguments": '{"command": "ls"}'}}
    conversation = load(
        written(
            SYSTEM,
            HELLO,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "a.txt", "tool_call_id": "1"},
            {"role": "assistant", "content": "", "function_call": {"name": "run", "arguments": "{}"}},
            {"role": "function", "name": "run", "content": "b.txt"},
            {"role": "assistant", "content": ""},
            HI,
        )
    )
    assert [told(each) for each in conversation.messages] == [
        ("user", "Hello"),
        ("assistant", '[called run {"command": "ls"}]'),
        ("system", "a.txt"),
        ("assistant", "[called run {}]"),
        ("system", "b.txt"),
        ("assistant", "Hi"),
    ]


def test_a_chat_without_a_role_has_no_system_prompt() -> None:
    conversation = load(written(HELLO, HI))
    assert conversation.system_prompt == ""
    assert conversation.messages[0].role is Role.USER


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it ends too early"),
        (b"[", "it is no JSON: Expecting value"),
        (b"{}", "it is no list of messages"),
        (b"[]", "nothing was said in it"),
        (written(SYSTEM), "nothing was said in it"),
        (written(1), "an object was expected, not 1"),
        (written({"role": 1}), "a text was expected, not 1"),
        (written({"role": "user", "content": ["a"]}), "a text was expected, not a list"),
        (written({"role": "assistant", "tool_calls": 1}), "a list was expected, not 1"),
        (written({"role": "assistant", "tool_calls": [{}]}), "an object was expected, not None"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b"\xff", "it is not UTF-8 (byte 1)"),
    ],
)
def test_what_cannot_be_read_is_refused_whole(data: bytes, message: str) -> None:
    with pytest.raises(FormatError) as refused:
        list(shell_gpt.load(Source("chat", data)))
    assert refused.value.message == message


@pytest.mark.parametrize("name", ["harbour", "greeting"])
def test_a_chat_is_told_by_its_first_entry(name: str) -> None:
    assert shell_gpt.is_one(json_values.first((PLACE / name).read_bytes()))


@pytest.mark.parametrize(
    "value",
    [None, 1, [], {}, {"role": "system"}, {"role": ["system"], "content": ""}, {"role": "system", "content": None},
     {"role": "assistant", "content": ""}, {"role": "user", "content": "", "timestamp": "2026-01-01"}],
)  # fmt: skip
def test_another_first_entry_is_none_of_its(value: Any) -> None:
    assert not shell_gpt.is_one(value)
