"""What only a terminal shows, on the fake provider."""

import termios
import time
from collections.abc import Callable
from signal import SIGCONT, SIGSTOP

import pytest

from tests.conftest import Run
from tests.fake_openai import FakeOpenAI
from tests.terminal import CTRL_C, CTRL_D, Terminal


def test_what_is_typed_while_a_reply_streams_is_the_next_prompt(
    provider: FakeOpenAI, terminal: Callable[..., Terminal]
) -> None:
    screen = terminal("chat", "-m", "tokens-30-50")
    screen.wait_for("\n>")
    screen.type("first\r")
    screen.wait_for("word3")
    screen.type("typed ahead\r")
    screen.wait_for("word29\n7 in · 3 out\n> typed ahead\nword0")
    screen.wait_for("word29\n7 in · 3 out\n>")
    assert [seen.body["messages"][-1]["content"] for seen in provider.chats] == ["first", "typed ahead"]
    assert "word3 typed" not in screen.text


def test_ctrl_c_stops_the_reply_and_the_next_one_works(
    provider: FakeOpenAI, terminal: Callable[..., Terminal]
) -> None:
    screen = terminal("chat", "-m", "tokens-200-20")
    screen.wait_for("\n>")
    for number in range(3):
        screen.type(f"prompt {number}\r")
        screen.wait_for(f"> prompt {number}\nword0 word1")
        screen.type(CTRL_C)
        end = time.monotonic() + 20
        while screen.text.count("stopped; what came is kept") <= number:
            assert time.monotonic() < end, screen.text
            screen.read()
    screen.type(CTRL_D)
    assert screen.wait() == 0


@pytest.mark.parametrize("columns", [30, 80])
def test_a_reply_taller_than_the_screen_is_in_the_scrollback_once(
    provider: FakeOpenAI, terminal: Callable[..., Terminal], columns: int
) -> None:
    screen = terminal("ask", "-m", "tokens-300-2", "hi", columns=columns, rows=10)
    assert screen.wait() == 0
    words, usage = screen.text.rsplit("\n", 1)
    assert (words.split(), usage) == ([f"word{number}" for number in range(300)], "7 in · 3 out")


def test_what_a_reply_hides_is_shown_and_not_obeyed(provider: FakeOpenAI, terminal: Callable[..., Terminal]) -> None:
    screen = terminal("ask", "-m", "escape", "hi")
    assert screen.wait() == 0
    assert screen.text.strip() == "a^[]0;title^Gb^[[31mc\\x9bd\\u{202e}e\n7 in · 3 out"
    assert screen.screen.title == ""


def test_a_reply_that_was_suspended_stays_quiet(provider: FakeOpenAI, terminal: Callable[..., Terminal]) -> None:
    screen = terminal("chat", "-m", "tokens-60-50")
    screen.wait_for("\n>")
    screen.type("first\r")
    screen.wait_for("word3")
    screen.child.kill(SIGSTOP)
    modes = termios.tcgetattr(screen.child.child_fd)
    modes[0] |= termios.ICRNL
    modes[3] |= termios.ECHO | termios.ICANON  # as a shell would
    termios.tcsetattr(screen.child.child_fd, termios.TCSANOW, modes)
    screen.child.kill(SIGCONT)
    screen.wait_for("word20")
    screen.type("typed ahead\r")
    screen.wait_for("word59\n7 in · 3 out\n> typed ahead\nword0")


@pytest.mark.parametrize("rows", [5, 24])
def test_a_conversation_is_picked_whatever_the_height_of_the_window(
    provider: FakeOpenAI, run: Run, terminal: Callable[..., Terminal], rows: int
) -> None:
    for prompt in ("first", "second", "third"):
        run("ask", prompt)
    screen = terminal("chat", "-r", rows=rows)
    screen.wait_for("3 of 3 · Enter takes one up")
    screen.type("second")  # all of it: the letters of a part may stand in an id, too
    screen.wait_for("1 of 3")
    screen.type("\r")
    screen.wait_for("going on with 'second'")


ASKS = "printf 'PASS: ' >/dev/tty; read x </dev/tty; echo key-$x"


@pytest.mark.parametrize("how", [["ask", "hi"], ["chat"]])
def test_a_command_that_has_the_key_can_ask_for_a_passphrase_also_for_a_fallback(
    fake_openai: FakeOpenAI, terminal: Callable[..., Terminal], monkeypatch: pytest.MonkeyPatch, how: list[str]
) -> None:
    monkeypatch.setenv("CHATLLM_BASE_URL", fake_openai.base_url)
    monkeypatch.setenv("CHATLLM_MODEL", "fault-402")
    monkeypatch.setenv("CHATLLM_FALLBACK", "two/says-good-day")
    monkeypatch.setenv("CHATLLM_PROVIDERS__TWO__BASE_URL", fake_openai.base_url)
    monkeypatch.setenv("CHATLLM_PROVIDERS__TWO__API_KEY_CMD", ASKS)
    screen = terminal(*how)
    if how == ["chat"]:
        screen.wait_for("\n>")
        screen.type("hi\r")
    screen.wait_for("PASS:")
    screen.type("secret\r")
    screen.wait_for("good day")
    assert fake_openai.chats[-1].headers["Authorization"] == "Bearer key-secret"
