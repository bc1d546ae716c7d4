"""What is typed while a reply streams, on a real terminal."""

import time
from collections.abc import Callable

import pytest

from tests.fake_openai import FakeOpenAI, Handler
from tests.fault_modes import FAULT_MODES
from tests.terminal import CHATLLM, CTRL_C, CTRL_D, Terminal

PASTE_BEGINS, PASTE_ENDS, CTRL_Z = "\x1b[200~", "\x1b[201~", "\x1a"
USED = "7 in · 3 out"
Start = Callable[..., Terminal]


def chat(terminal: Start, model: str, prompt: str = "first", **how: int) -> Terminal:
    """Open a chat with that model, and send a prompt."""
    screen = terminal("chat", "-m", model, **how)
    screen.wait_for("\n>")
    screen.type(f"{prompt}\r")
    return screen


def until(screen: Terminal, condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, screen.text
        screen.read()


def prompts(provider: FakeOpenAI) -> list[str]:
    return [seen.body["messages"][-1]["content"] for seen in provider.chats]


def test_what_is_typed_while_a_reply_streams_is_seen_and_is_in_the_next_prompt(
    provider: FakeOpenAI, terminal: Start
) -> None:
    screen = chat(terminal, "tokens-20-50")
    screen.wait_for("word3")
    screen.type("typed áhead")
    shown = screen.wait_for("\n> typed áhead")
    assert "word19" not in shown
    assert "default/tokens-20-50 · first · ↑ 0 ↓ " in shown
    screen.wait_for(f"word19\n{USED}\n> typed áhead")
    assert "↑ 0 ↓" not in screen.text
    screen.type("!\r")
    until(screen, lambda: len(provider.chats) == 2)
    assert prompts(provider) == ["first", "typed áhead!"]


def test_a_long_paste_during_a_reply_is_one_message(provider: FakeOpenAI, terminal: Start) -> None:
    pasted = "\n".join(f"line {number}" for number in range(1000))
    screen = chat(terminal, "tokens-25-40")
    screen.wait_for("word1")
    for at in range(0, len(pasted), 1000):  # a terminal takes no more at once
        screen.type(f"{PASTE_BEGINS * (at == 0)}{pasted[at : at + 1000]}")
        screen.read()
    screen.type(f"{PASTE_ENDS}\r")
    assert "word24" not in screen.wait_for("line 998⏎line 999⏎")
    until(screen, lambda: len(provider.chats) == 2)
    assert prompts(provider) == ["first", pasted]


def test_ctrl_c_stops_the_reply_and_what_was_typed_stays_without_being_sent(
    provider: FakeOpenAI, terminal: Start
) -> None:
    screen = chat(terminal, "tokens-400-20")
    screen.wait_for("word3")
    screen.type(f"one\rtwo\r{CTRL_C}")
    screen.wait_for("stopped; what came is kept; /continue goes on\n> one\n  two")
    screen.type("!")
    screen.wait_for("  two!")
    assert prompts(provider) == ["first"]
    screen.type(CTRL_C)
    until(screen, lambda: "two" not in screen.text)
    screen.type(CTRL_D)
    assert screen.wait() == 0


def test_a_reply_that_was_suspended_comes_back_with_what_was_typed(
    provider: FakeOpenAI, terminal: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PS1", "$ ")
    screen = terminal("--norc", "-i", program="bash")
    screen.wait_for("$")
    screen.type(f"{CHATLLM} chat -m tokens-40-40\r")
    screen.wait_for("\n>")
    screen.type("first\r")
    screen.wait_for("word3")
    screen.type("typed")
    screen.wait_for("\n> typed")
    screen.type(CTRL_Z)
    screen.wait_for("Stopped")
    assert "word" not in screen.text.split("> first\n")[1], "the open block and what is beneath it are taken away"
    screen.type("stty -a; fg\r")
    assert " icanon" in screen.wait_for("\n> typed")
    screen.type(" ahead")
    screen.wait_for(f"word39\n{USED}\n> typed ahead")
    assert "word0" in screen.text.split("fg\n")[1]


@pytest.mark.parametrize("columns", [50, 120])
def test_a_window_that_changes_its_width_leaves_no_debris(
    provider: FakeOpenAI, terminal: Start, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    def talk(handler: Handler) -> None:
        handler.start_stream()
        for number in range(30):
            handler.say(f"- item {number}\n")
            handler.pause(0.05)
        handler.conclude()

    monkeypatch.setitem(FAULT_MODES, "list", talk)
    monkeypatch.setenv("TERM", "linux")  # as this screen does, it cuts lines off where others wrap them
    screen = chat(terminal, "list")
    screen.wait_for("item 5")
    screen.type("typed ahead")
    screen.wait_for("\n> typed ahead")
    screen.screen.resize(columns=columns)
    screen.child.setwinsize(24, columns)
    screen.wait_for(f"item 29\n{USED}\n> typed ahead")
    shown = [line for line in screen.text.splitlines() if line.strip() and not line.startswith("default/")]
    assert shown == ["> first", *(f" • item {number}" for number in range(30)), USED, "> typed ahead"]


def test_a_program_that_asks_for_a_password_has_the_terminal_to_itself(
    fake_openai: FakeOpenAI, terminal: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = "printf 'PASS: ' >/dev/tty; read x </dev/tty; sleep 0.3; echo key-$x"
    monkeypatch.setenv("CHATLLM_PROVIDERS__HUB__BASE_URL", fake_openai.base_url)
    monkeypatch.setenv("CHATLLM_PROVIDERS__HUB__API_KEY_CMD", asks)
    screen = chat(terminal, "hub/tokens-25-40")
    screen.wait_for("PASS:")
    screen.type("secret\r")
    shown = screen.wait_for("word1")
    assert shown.split("> first\n")[1].startswith("PASS: secret\nword0")
    screen.type("typed ahead")
    screen.wait_for("\n> typed ahead")
    assert fake_openai.chats[-1].headers["Authorization"] == "Bearer key-secret"


@pytest.mark.parametrize(("columns", "rows"), [(40, 24), (80, 5)])
def test_a_small_window_shows_what_is_typed(provider: FakeOpenAI, terminal: Start, columns: int, rows: int) -> None:
    screen = chat(terminal, "tokens-40-30", columns=columns, rows=rows)
    screen.wait_for("word3")
    screen.type("typed ahead that is longer than forty columns are")
    screen.wait_for("than forty columns are")
    assert "word39" not in screen.text
    until(screen, lambda: "columns are" in screen.text.partition(USED)[2])
    assert "↓" not in screen.text.partition(USED)[0]


def test_a_plain_terminal_shows_nothing_of_it_until_the_next_prompt(provider: FakeOpenAI, terminal: Start) -> None:
    screen = terminal("chat", "--plain", "-m", "tokens-20-50")
    screen.wait_for("\n>")
    screen.type("first\r")
    screen.wait_for("word3")
    screen.type("typed ahead")
    assert "typed ahead" not in screen.wait_for("word18")
    screen.wait_for(f"word19\n{USED}\n> typed ahead")
