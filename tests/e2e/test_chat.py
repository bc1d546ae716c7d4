"""The chat as a person sees it on a terminal, on the fake provider."""

import socket
from collections.abc import Callable
from signal import SIGHUP, SIGTERM

import pytest

from tests.conftest import Run
from tests.fake_openai import FakeOpenAI
from tests.terminal import CTRL_C, CTRL_D, Terminal

OpenTerminal = Callable[..., Terminal]
UP = "\x1b[A"


def rows(screen: Terminal) -> list[str]:
    """Return the rows that something stands in."""
    return [row.rstrip() for row in screen.screen.display if row.strip()]


def open_chat(terminal: OpenTerminal, *flags: str, **size: int) -> Terminal:
    """Begin a session: read until the prompt stands there, and the toolbar beneath it."""
    screen = terminal("chat", *flags, **size)
    screen.wait_for("Ctrl-D leaves\n>")
    while not rows(screen)[-1].startswith("default/"):
        assert screen.read()
    return screen


def test_the_toolbar_says_what_the_conversation_has_taken(provider: FakeOpenAI, terminal: OpenTerminal) -> None:
    screen = open_chat(terminal)
    assert rows(screen)[-1] == "default/says-hello-there"
    screen.type("What is a whale?\r")
    screen.wait_for("default/says-hello-there · What is a whale? · ↑ 7 ↓ 3")
    screen.type(CTRL_D)
    assert screen.wait() == 0
    assert rows(screen) == [
        "default/says-hello-there · /help shows what can be typed, Ctrl-D leaves",
        "> What is a whale?",
        "hello there",
        "7 in · 3 out",
        ">",
    ]


def test_a_conversation_that_is_gone_on_with_is_shown_as_it_ended(
    provider: FakeOpenAI, run: Run, terminal: OpenTerminal
) -> None:
    run("ask", "first")
    screen = open_chat(terminal, "-c")
    assert rows(screen) == [
        "going on with 'first', 2 messages so far",
        "> first",
        "hello there",
        "default/says-hello-there · /help shows what can be typed, Ctrl-D leaves",
        ">",
        "default/says-hello-there · first · ↑ 7 ↓ 3",
    ]


def test_a_menu_opens_behind_a_slash_and_is_gone_with_it(provider: FakeOpenAI, terminal: OpenTerminal) -> None:
    screen = open_chat(terminal, rows=20)
    screen.type("/co")
    screen.wait_for("cost      show what was spent")
    screen.type(CTRL_C)
    screen.type("hi\r")
    screen.wait_for("↑ 7 ↓ 3")
    assert "show what was spent" not in screen.text


def test_a_prompt_that_failed_comes_back_and_can_be_sent_again(provider: FakeOpenAI, terminal: OpenTerminal) -> None:
    screen = open_chat(terminal, "-m", "fault-402")
    screen.type("What is a whale?\r")
    screen.wait_for("billing there\n> What is a whale?\n")
    screen.type("\r")
    while len(provider.chats) < 2:
        screen.read()
    assert [chat.body["messages"][-1]["content"] for chat in provider.chats] == ["What is a whale?"] * 2


def test_a_draft_that_was_cleared_comes_back_with_the_arrow(provider: FakeOpenAI, terminal: OpenTerminal) -> None:
    screen = open_chat(terminal)
    screen.type("What is a whale?")
    screen.wait_for("> What is a whale?")
    screen.type(CTRL_C)
    while "whale" in screen.text:
        screen.read()
    screen.type(UP)
    screen.wait_for("> What is a whale?")


def test_what_is_pasted_is_shown_with_its_control_characters_and_obeys_none(
    provider: FakeOpenAI, terminal: OpenTerminal
) -> None:
    screen = open_chat(terminal)
    screen.type("\x1b[200~a\x1b]0;title\x07b\x1b[201~")
    screen.wait_for("> a^[]0;title^Gb")
    assert screen.screen.title == ""


def test_another_conversation_is_picked_in_the_middle_of_one(
    provider: FakeOpenAI, run: Run, terminal: OpenTerminal
) -> None:
    for prompt in ("first", "second"):
        run("ask", prompt)
    screen = open_chat(terminal, "-c")
    screen.type("/open\r")
    screen.wait_for("2 of 2 · Enter takes one up")
    screen.type("first\r")
    screen.wait_for("going on with 'first'")
    screen.wait_for("default/says-hello-there · first · ")


def test_a_narrow_terminal_has_room_for_all_that_matters(provider: FakeOpenAI, terminal: OpenTerminal) -> None:
    screen = terminal("chat", columns=30, rows=12)
    screen.wait_for(">")
    screen.type("What is a whale?\r")
    screen.wait_for("hello there")
    screen.wait_for("7 in · 3 out")
    screen.wait_for("\ndefault/says-hello-there")
    assert all(len(row) <= 30 for row in rows(screen))


def test_ctrl_c_stops_an_answer_also_after_a_conversation_was_picked(
    provider: FakeOpenAI, run: Run, terminal: OpenTerminal
) -> None:
    run("ask", "first")
    screen = open_chat(terminal)
    screen.type("/open\r")
    screen.wait_for("1 of 1 · Enter takes one up")
    screen.type("\r")
    screen.wait_for("going on with 'first'")
    screen.type("/model tokens-200-30\rmore\r")
    screen.wait_for("word3")
    screen.type(CTRL_C)
    screen.wait_for("stopped; what came is kept")


def test_a_page_that_does_not_come_can_be_stopped_and_the_prompt_comes_back(
    provider: FakeOpenAI, terminal: OpenTerminal
) -> None:
    screen = open_chat(terminal)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        screen.type(f"read @http://127.0.0.1:{silent.getsockname()[1]}/x\r")
        connection = silent.accept()[0]
        screen.type(CTRL_C)
        screen.wait_for("x\n> read @http")
        connection.close()
    assert provider.chats == []


def test_what_is_typed_before_the_prompt_is_there_is_typed_into_it(
    provider: FakeOpenAI, terminal: OpenTerminal
) -> None:
    screen = terminal("chat")
    screen.type("first\rsecond\r")
    while len(provider.chats) < 2:
        assert screen.read()
    assert [chat.body["messages"][-1]["content"] for chat in provider.chats] == ["first", "second"]


def test_ctrl_d_leaves_that_is_typed_before_the_prompt_is_there(provider: FakeOpenAI, terminal: OpenTerminal) -> None:
    screen = terminal("chat")
    screen.type(f"first\r{CTRL_D}")
    assert screen.wait() == 0
    assert len(provider.chats) == 1


ENDS: dict[str, Callable[[Terminal], None]] = {
    "SIGHUP": lambda screen: screen.end_by(SIGHUP),
    "SIGTERM": lambda screen: screen.end_by(SIGTERM),
    "the window": Terminal.hang_up,
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_stood_in_the_line_when_the_session_was_ended_is_recalled_in_the_next_one(
    provider: FakeOpenAI, terminal: OpenTerminal, end: Callable[[Terminal], None]
) -> None:
    screen = open_chat(terminal)
    screen.type("a long thought")
    screen.wait_for("> a long thought")
    end(screen)
    screen = open_chat(terminal)
    screen.type(UP)
    screen.wait_for("> a long thought")


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_was_typed_while_an_answer_streamed_is_recalled_if_the_session_ends_before_its_turn_came(
    provider: FakeOpenAI, terminal: OpenTerminal, end: Callable[[Terminal], None]
) -> None:
    screen = open_chat(terminal, "-m", "tokens-300-30")
    screen.type("first\r")
    screen.wait_for("word3")
    screen.type("second\rthird\x1b\rand more")
    screen.wait_for("and more")
    end(screen)
    screen = open_chat(terminal)
    screen.type(UP)
    screen.wait_for("> third\n  and more")
    screen.type(2 * UP)
    screen.wait_for("> second")
    screen.type(UP)
    screen.wait_for("> first")


def test_what_is_left_behind_an_exit_that_was_typed_ahead_is_recalled_in_the_next_session(
    provider: FakeOpenAI, terminal: OpenTerminal
) -> None:
    screen = open_chat(terminal, "-m", "tokens-30-30")
    screen.type("first\r")
    screen.wait_for("word3")
    screen.type("/exit\rleft over")
    assert screen.wait() == 0
    screen = open_chat(terminal)
    screen.type(UP)
    screen.wait_for("> left over")


def test_a_dumb_terminal_is_told_what_it_cannot_show_in_the_line(
    provider: FakeOpenAI, terminal: OpenTerminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    screen = terminal("chat", "-m", "fault-402")
    screen.wait_for("Ctrl-D leaves")
    screen.type("my prompt\r")
    screen.wait_for("this terminal cannot have a line filled in; it would be: my prompt")
    screen.type("another\r")
    while len(provider.chats) < 2:
        screen.read()
    assert provider.chats[-1].body["messages"][-1]["content"] == "another"


def test_ctrl_d_while_an_answer_streams_does_not_swallow_what_is_typed_behind_it(
    provider: FakeOpenAI, terminal: OpenTerminal
) -> None:
    screen = open_chat(terminal, "-m", "tokens-30-50")
    screen.type("first\r")
    screen.wait_for("word3")
    screen.type(CTRL_D)
    screen.type("second\r")
    while len(provider.chats) < 2:
        assert screen.read()
    assert provider.chats[-1].body["messages"][-1]["content"] == "second"


def test_vi_keys_say_which_mode_they_are_in(
    provider: FakeOpenAI, terminal: OpenTerminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_REPL__EDITING", "vi")
    screen = terminal("chat")
    screen.wait_for("\n[insert] default/says-hello-there")
    screen.type("\x1b")
    screen.wait_for("\n[normal] default/says-hello-there")
