"""The installed program on a real model: what a fresh machine does, without a key."""

import re
import subprocess
from collections.abc import Callable

import pytest

from chatllm_cli.config.places import Places
from tests.fake_openai import FakeOpenAI
from tests.terminal import CHATLLM, CTRL_C, CTRL_D, Terminal

LONG = "Tell me a very long story about the sea."  # at temperature 0 it takes seconds

pytestmark = pytest.mark.embedded


def chatllm(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([CHATLLM, *arguments], input=stdin, capture_output=True, text=True, timeout=50, check=False)


def test_without_a_key_the_embedded_model_answers_and_the_conversation_is_kept() -> None:
    asked = chatllm("ask", "--max-tokens", "200", "--temperature", "0", "Say hello.")
    assert asked.stdout.strip()
    assert asked.stderr == "no key and no base_url: local/smollm2 answers, the small model that comes along\n"
    assert asked.returncode == 0
    listed = chatllm("history", "list")
    assert [line.split("\t")[3:6] for line in listed.stdout.splitlines()] == [["Say hello.", "2", "local/smollm2"]]
    assert asked.stdout in chatllm("history", "show").stdout


def test_a_cached_answer_of_the_embedded_model_is_the_same() -> None:
    question = ("ask", "--max-tokens", "200", "--temperature", "0", "-m", "local/", "Say hello.")
    first, second = chatllm(*question), chatllm(*question)
    assert (first.stderr, second.stderr) == ("", "cached just now (--refresh asks again)\n")
    assert second.stdout == first.stdout


def test_an_answer_that_was_cut_is_taken_up_in_the_middle_of_a_sentence() -> None:
    question = ("ask", "--temperature", "0", "-m", "local/")
    whole = chatllm(*question, "--max-tokens", "40", LONG)
    first = chatllm(*question, "--max-tokens", "20", LONG)
    rest = chatllm(*question, "--max-tokens", "20", "-c")
    assert (first.returncode, rest.returncode) == (6, 6)
    assert first.stdout + rest.stdout == whole.stdout


def test_the_embedded_model_and_another_answer_at_once(provider: FakeOpenAI) -> None:
    asked = chatllm("ask", "--max-tokens", "20", "-m", "local/", "-m", "default/says-other", "Say hello.")
    local, other = asked.stdout.removeprefix("## local/smollm2\n").split("\n\n## default/says-other\n")
    assert local.strip()
    assert other == "other\n"
    assert asked.returncode in {0, 6}, "it is cut after 20 tokens, or was done before"


def test_ask_on_a_terminal_shows_the_answer_rendered(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("ask", "--max-tokens", "200", "--temperature", "0", "Say hello.")
    assert screen.wait() == 0
    notice, *answer = screen.text.splitlines()
    assert notice == "no key and no base_url: local/smollm2 answers, the small model that comes along"[:80]
    assert "".join(answer).strip()
    assert "waiting for" not in screen.text


def test_chat_on_a_terminal_holds_a_conversation(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("chat", "--temperature", "0")
    screen.wait_for("\n>")
    screen.type("Say hello.\r")
    screen.wait_for(" in · ")  # the end of the first answer
    screen.type(f"{LONG}\r")
    screen.wait_for(f"{LONG}\n")
    screen.type(CTRL_C)
    screen.wait_for("stopped; ")
    screen.type("/exit\r")
    assert screen.wait() == 0
    shown = chatllm("history", "show").stdout
    assert "Say hello." in shown
    assert "interrupted" in shown


def test_a_conversation_that_does_not_fit_any_more_is_refused_cut_or_summed_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHATLLM_LOCAL__CONTEXT_SIZE", "256")
    question = ("ask", "-m", "local/", "--temperature", "0", "--max-tokens", "60", "-c")
    for number in range(5):
        turn = chatllm(*question[:-1] if number == 0 else question, f"{number}: {LONG}")
        if turn.returncode == 5:
            break
    told, hint = turn.stderr.splitlines()
    by_us = r"the conversation is about \d+ tokens, and local/smollm2 reads at most 256"
    by_the_model = "the prompt and what was said before are too long for local/smollm2: .*"
    assert re.fullmatch(f"chatllm: ({by_us}|{by_the_model})", told)
    assert hint.startswith("  hint: --trim oldest leaves out the oldest turns")
    for trim, notice in (("oldest", "left out of"), ("summarise", "summed up in")):
        turn = chatllm(*question, "--trim", trim, "And then?")
        assert (turn.returncode in {0, 6}, bool(turn.stdout.strip())) == (True, True), turn
        assert turn.stderr.startswith(f"{notice} the request: the ")
    shown = chatllm("history", "show").stdout
    assert "0: Tell me" in shown


def test_ask_on_a_terminal_says_what_it_took_without_an_amount(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("ask", "-m", "local/", "--max-tokens", "10", "--temperature", "0", "Say hello.")
    screen.wait()
    assert re.fullmatch(r"\d+ in · \d+ out · context <1 %", screen.text.splitlines()[-1])


def test_ctrl_c_ends_ask_by_the_signal_and_keeps_what_came(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("ask", "--plain", "-m", "local/", "--temperature", "0", "--no-cache", LONG)
    screen.wait_for("sea")
    screen.type(CTRL_C)
    assert screen.wait() == 130
    assert "interrupted" in chatllm("history", "show").stdout


def test_chat_is_left_by_ctrl_d_with_nothing_said(terminal: Callable[..., Terminal], places: Places) -> None:
    screen = terminal("chat")
    screen.wait_for("\n>")
    screen.type(CTRL_D)
    assert screen.wait() == 0
    assert not places.data.exists()
