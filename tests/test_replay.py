from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO

from chatllm_cli.models import Conversation, Message, Role, Status
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.replay import show_last_turns

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def conversation(*texts: str, status: Status = Status.COMPLETE) -> Conversation:
    """Return a conversation of prompts and answers in turn; the last one ended so."""
    messages = [
        Message(str(place), Role.ASSISTANT if place % 2 else Role.USER, text, NOW, str(place - 1) if place else None)
        for place, text in enumerate(texts)
    ]
    messages[-1] = replace(messages[-1], status=status)
    return Conversation("c", "t", NOW, messages=tuple(messages), head=messages[-1].id)


def shown(of: Conversation, turns: int) -> str:
    stderr = StringIO()
    show_last_turns(Renderer(StringIO(), stderr), of, turns)
    return stderr.getvalue()


def test_the_last_turns_are_shown_and_no_others() -> None:
    assert shown(conversation("a", "one", "b", "two", "c", "three"), 2) == "> b\ntwo\n\n> c\nthree\n\n"


def test_a_conversation_of_fewer_turns_is_shown_whole() -> None:
    assert shown(conversation("a", "one"), 5) == "> a\none\n\n"
    assert shown(conversation("a"), 5) == "> a\n"


def test_none_is_shown_if_none_is_wished() -> None:
    assert shown(conversation("a", "one"), 0) == ""


def test_an_answer_that_was_cut_is_marked() -> None:
    assert shown(conversation("a", "half", status=Status.INTERRUPTED), 1) == "> a\nhalf\n(interrupted)\n\n"


def test_of_what_is_long_the_part_next_to_the_other_is_shown() -> None:
    lines = [str(number) for number in range(20)]
    text = shown(conversation("\n".join(lines), "\n".join(lines)), 1).splitlines()
    assert text[:13] == [*(f"> {line}" for line in lines[:12]), "… 8 more lines; /show has all"]
    assert text[13:26] == ["… 8 more lines; /show has all", *lines[8:]]


def test_nothing_dangerous_reaches_the_terminal() -> None:
    assert "\x1b" not in shown(conversation("a\x1b[2J", "\x1b]0;x\x07"), 1)
