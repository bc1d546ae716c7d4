"""What a model thinks aloud: shown dim on a terminal before the answer, stored apart, and in no pipe."""

import json
from collections.abc import Callable

import pytest

from chatllm_cli.config.places import Places
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI
from tests.terminal import Terminal


def test_on_a_pipe_there_is_only_the_answer(run: Run, provider: FakeOpenAI) -> None:
    result = run("ask", "-m", "thinks", "hi")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "an answer", "")


@pytest.mark.parametrize("arguments", [[], ["--plain"]])
def test_on_a_terminal_it_stands_before_the_answer_and_is_clean(
    terminal: Callable[..., Terminal], provider: FakeOpenAI, arguments: list[str]
) -> None:
    screen = terminal("ask", "-m", "thinks", *arguments, "hi")
    assert screen.wait() == 0
    assert screen.text.splitlines()[:3] == ["First, a thought.^[[31m", "", "an answer"]
    assert "\x1b[2mFirst, \x1b[0m" in screen.raw


@pytest.mark.parametrize("how", ["flag", "setting"])
def test_it_can_be_hidden(
    terminal: Callable[..., Terminal], provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "setting":
        monkeypatch.setenv("CHATLLM_OUTPUT__REASONING", "false")
    screen = terminal("ask", "-m", "thinks", *(["--hide-reasoning"] if how == "flag" else []), "hi")
    assert screen.wait() == 0
    assert screen.text.splitlines()[:1] == ["an answer"]


def test_it_is_stored_apart_and_not_sent_again(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "-m", "thinks", "hi")
    run("ask", "-c", "and?")
    shown = json.loads(run("history", "show", "--json").stdout)
    assert [(each["content"], each["reasoning"]) for each in shown["messages"]][1] == (
        "an answer",
        "First, a thought.\x1b[31m",
    )
    assert provider.last_messages() == [("user", "hi"), ("assistant", "an answer"), ("user", "and?")]


def test_in_json_it_has_a_field_of_its_own(run: Run, provider: FakeOpenAI) -> None:
    whole = json.loads(run("ask", "--json", "-m", "thinks", "hi").stdout)
    assert (whole["text"], whole["reasoning"]) == ("an answer", "First, a thought.\x1b[31m")
    pieces = [json.loads(line) for line in run("ask", "--json-stream", "-m", "thinks", "hi").stdout.splitlines()]
    assert pieces[:3] == [{"reasoning": "First, "}, {"reasoning": "a thought.\x1b[31m"}, {"text": "an answer"}]


def test_scrubbing_finds_it_too(run: Run, provider: FakeOpenAI, places: Places) -> None:
    run("ask", "-m", "thinks", "hi")
    assert run("history", "scrub", "thought", "--yes").exit_code == 0
    (journal,) = places.conversations.rglob("*.jsonl")
    assert "thought" not in journal.read_text()
