import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from chatllm_cli.formats import openai
from chatllm_cli.message_content import content_of
from chatllm_cli.models import Attachment, Conversation, Message, Role, Status
from tests.documents import PNG
from tests.trees import AT, CONVERSATION

IMAGE = Attachment("a.png", "image/png", len(PNG), sha256="a" * 64)
CODE = Attachment("a.py", "text/plain", 8, "print(1)")
U, A, S = Role.USER, Role.ASSISTANT, Role.SYSTEM


def talk(*said: tuple[Role, str] | tuple[Role, str, Status], system_prompt: str = "") -> Conversation:
    messages: list[Message] = []
    for number, (role, content, *status) in enumerate(said):
        parent = messages[-1].id if messages else None
        messages.append(Message(f"m{number}", role, content, AT, parent, status=(status or [Status.COMPLETE])[0]))
    head = messages[-1].id if messages else None
    return Conversation("c1", "t", AT, system_prompt=system_prompt, messages=tuple(messages), head=head)


def dumped(conversation: Conversation, files: dict[str, bytes] | None = None) -> list[dict[str, Any]]:
    (line,) = openai.dump(conversation, files or {}).splitlines()
    document = json.loads(line)
    assert list(document) == ["messages"]
    return list(document["messages"])


def plain(*said: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in said]


def test_the_system_prompt_and_the_whole_turns_of_the_thread_are_one_line() -> None:
    assert openai.dump(CONVERSATION, {}) == (
        '{"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "again"}, '
        '{"role": "assistant", "content": "done"}]}\n'
    )


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.COMPLETE])
def test_an_answer_that_is_not_whole_is_left_out_with_its_prompt(status: Status) -> None:
    conversation = talk((U, "a"), (A, "b"), (U, "c"), (A, "half", status), (U, "d"), (A, "e"))
    assert dumped(conversation) == plain(("user", "a"), ("assistant", "b"), ("user", "d"), ("assistant", "e"))


@pytest.mark.parametrize(
    "said",
    [[], [(U, "a")], [(A, "a")], [(U, "a"), (A, "")], [(U, "a"), (A, " \n")], [(U, "a"), (A, "b", Status.ERROR)]],
)
def test_a_conversation_without_a_whole_turn_gives_no_line(said: Sequence[tuple[Role, str]]) -> None:
    assert openai.dump(talk(*said, system_prompt="Be kind."), {}) == ""


def test_a_prompt_without_an_answer_is_left_out_and_what_came_within_a_turn_stays() -> None:
    conversation = talk((S, "before"), (U, "a"), (U, "b"), (A, "looks it up"), (S, "found"), (A, "c"), (U, "d"))
    assert dumped(conversation) == plain(
        ("user", "b"), ("assistant", "looks it up"), ("system", "found"), ("assistant", "c")
    )


def test_what_was_attached_is_sent_as_a_turn_sends_it() -> None:
    asked = Message("u1", U, "What?", AT, attachments=(CODE, IMAGE))
    answered = Message("a1", A, "That.", AT, "u1")
    conversation = Conversation("c1", "t", AT, messages=(asked, answered), head="a1")
    content = content_of(asked)
    assert not isinstance(content, str)
    named, image, said = content
    assert image == IMAGE
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert dumped(conversation, {IMAGE.sha256: PNG}) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": named},
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "text", "text": said},
            ],
        },
        {"role": "assistant", "content": "That."},
    ]
    assert openai.dump(conversation, {}) == ""  # its bytes are gone
    text_only = replace(conversation, messages=(replace(asked, attachments=(CODE,)), answered))
    assert dumped(text_only)[0]["content"] == '<document name="a.py">\nprint(1)\n</document>\n\nWhat?'


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert dumped(talk((U, "caf\udce9"), (A, "b")))[0]["content"] == "caf\ufffd"
