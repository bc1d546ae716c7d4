"""`history replay`."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from chatllm_cli.config.places import Places
from tests.conftest import Run
from tests.documents import PNG
from tests.fake_openai import FakeOpenAI
from tests.terminal import CTRL_C, Terminal
from tests.test_ask import journal_of
from tests.test_ask_models import conversation

TWO = "2 prompts asked again on default/says-x · 0 answers the same · 14 in · 6 out"


@pytest.fixture
def talk(run: Run, provider: FakeOpenAI) -> FakeOpenAI:
    """A conversation of two turns, and the server that it was held with."""
    run("ask", "-s", "Be kind.", "-m", "says-one", "first")
    run("ask", "-c", "-m", "says-two", "second")
    return provider


def thread(run: Run) -> list[str]:
    """What the conversation says as it stands, from its head up."""
    found = conversation(run)
    messages = {each["id"]: each for each in found["messages"]}
    said: list[str] = []
    current = found["head"]
    while current:
        said.insert(0, messages[current]["content"])
        current = messages[current]["parent"]
    return said


def aside(run: Run) -> list[tuple[str, str]]:
    """The replies that are no part of that, each with the prompt it answers."""
    messages = {each["id"]: each for each in conversation(run)["messages"]}
    replies = [each for each in messages.values() if each["role"] == "assistant"]
    said = thread(run)
    return [(messages[each["parent"]]["content"], each["content"]) for each in replies if each["content"] not in said]


def test_each_prompt_is_asked_again_with_what_was_said_before_it(run: Run, talk: FakeOpenAI) -> None:
    result = run("history", "replay", "@1", "-m", "says-x")
    assert (result.exit_code, result.stderr) == (0, f"{TWO}\n")
    assert result.stdout == "## default/says-x · 1\nx\n\n## default/says-x · 2\nx\n"
    sent = [[(each["role"], each["content"]) for each in chat.body["messages"]] for chat in talk.chats[2:]]
    assert sent == [
        [("system", "Be kind."), ("user", "first")],
        [("system", "Be kind."), ("user", "first"), ("assistant", "one"), ("user", "second")],
    ]


def test_the_answers_stand_beside_the_stored_ones_and_the_head_stays(run: Run, talk: FakeOpenAI) -> None:
    run("history", "replay", "@1", "-m", "says-x")
    assert thread(run) == ["first", "one", "second", "two"]
    assert aside(run) == [("first", "x"), ("second", "x")]
    run("ask", "-c", "third")
    assert talk.last_messages()[1:] == [
        ("user", "first"), ("assistant", "one"), ("user", "second"), ("assistant", "two"), ("user", "third"),
    ]  # fmt: skip
    assert talk.chats[-1].body["model"] == "says-two"


def test_only_the_thread_is_asked_again(run: Run, talk: FakeOpenAI) -> None:
    run("history", "replay", "@1", "-m", "says-x")
    run("history", "replay", "@1", "-m", "says-y")
    assert len(talk.chats) == 6


def test_the_request_is_as_the_flags_say_and_the_stored_instruction_stays(run: Run, talk: FakeOpenAI) -> None:
    run("history", "replay", "@1", "-m", "says-x", "-s", "Be brief.", "--temperature", "0.5", "--max-tokens", "9")
    body = talk.chats[-1].body
    assert (body["temperature"], body["max_tokens"]) == (0.5, 9)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert conversation(run)["system_prompt"] == "Be kind."


def test_several_models_come_one_after_another(run: Run, talk: FakeOpenAI) -> None:
    result = run("history", "replay", "@1", "-m", "says-x", "-m", "says-two")
    assert result.stdout == (
        "## default/says-x · 1\nx\n\n## default/says-x · 2\nx\n\n"
        "## default/says-two · 1\ntwo\n\n## default/says-two · 2\ntwo\n"
    )
    same = "2 prompts asked again on default/says-two · 1 answer the same · 14 in · 6 out"
    assert result.stderr == f"{TWO}\n{same}\n"


def test_a_difference_is_unified_diff_on_a_pipe_and_nothing_where_there_is_none(run: Run, talk: FakeOpenAI) -> None:
    result = run("history", "replay", "@1", "-m", "says-two", "--diff")
    assert result.stdout == (
        "## default/says-two · 1\n--- default/says-one\n+++ default/says-two\n@@ -1 +1 @@\n-one\n+two\n\n"
        "## default/says-two · 2\n"
    )


def test_a_person_sees_the_prompts_and_the_answers(talk: FakeOpenAI, terminal: Callable[..., Terminal]) -> None:
    screen = terminal("history", "replay", "@1", "-m", "says-x", "-m", "markdown")
    assert screen.wait() == 0
    x, markdown = screen.text.split("\n\ndefault/markdown\n")
    assert x == f"default/says-x\n> first\nx\n\n> second\nx\n{TWO}"
    title = "Title".center(80).rstrip()
    first, second = markdown.split("\n\n> second\n")
    assert first.startswith(f"> first\n{title}\n")
    assert second.startswith(f"{title}\n")
    assert second.endswith("\nThe end.\n" + TWO.replace("says-x", "markdown"))


def test_a_person_sees_how_each_answer_differs(talk: FakeOpenAI, terminal: Callable[..., Terminal]) -> None:
    screen = terminal("history", "replay", "@1", "-m", "says-two", "--diff")
    assert screen.wait() == 0
    assert screen.text == (
        "> first\n--- default/says-one\n+++ default/says-two\n@@ -1 +1 @@\n-one\n+two\n\n"
        "> second\nthe same answer\n"
        "2 prompts asked again on default/says-two · 1 answer the same · 14 in · 6 out"
    )
    old = screen.screen.buffer[4]
    assert (old[0].data, old[0].fg) == ("-", "red")


def test_json_has_the_answers_with_what_was_there_before(run: Run, talk: FakeOpenAI) -> None:
    messages = conversation(run)["messages"]
    result = run("history", "replay", "@1", "-m", "says-two", "--json", "--diff")
    told = json.loads(result.stdout)
    assert (told["asked"], told["same"]) == (2, 1)
    first, second = told["answers"]
    assert (first["text"], first["model"], first["same"], first["prompt"]) == (
        "two",
        "says-two",
        False,
        messages[0]["id"],
    )
    assert first["before"] == {"message": messages[1]["id"], "model": "default/says-one", "text": "one"}
    assert first["diff"] == "--- default/says-one\n+++ default/says-two\n@@ -1 +1 @@\n-one\n+two\n"
    assert (second["same"], second["diff"]) == (True, "")
    assert [list(json.loads(line)) for line in result.stderr.splitlines()] == [["notice"]]
    assert "diff" not in json.loads(run("history", "replay", "@1", "-m", "says-two", "--json").stdout)["answers"][0]


def test_a_cached_answer_is_passed_over_unless_it_is_wanted(run: Run, talk: FakeOpenAI) -> None:
    for _ in range(2):
        assert "cached" not in run("history", "replay", "@1", "-m", "says-x", "--temperature", "0").stderr
    assert len(talk.chats) == 6
    result = run("history", "replay", "@1", "-m", "says-x", "--temperature", "0", "--cache")
    assert result.stderr.count("cached just now") == 2
    assert len(talk.chats) == 6


def test_an_answer_that_is_cut_is_told_and_the_next_prompt_asked(run: Run, talk: FakeOpenAI) -> None:
    result = run("history", "replay", "@1", "-m", "length")
    assert (result.exit_code, len(talk.chats)) == (6, 4)
    told = "the answer is cut off: it reached the limit on its length\n"
    assert result.stderr == told * 2 + TWO.replace("says-x", "length") + "\n"


@pytest.mark.parametrize(
    ("model", "code", "done"), [("fault-429:retry-after=600", 4, 0), ("too-long", 5, 0), ("cut-3", 6, 0)]
)
def test_an_error_stops_it_with_its_exit_code_and_what_came_is_kept(
    run: Run, talk: FakeOpenAI, model: str, code: int, done: int
) -> None:
    result = run("history", "replay", "@1", "-m", model)
    assert result.exit_code == code
    assert len(talk.chats) == 3
    told, error, *hint = result.stderr.splitlines()
    assert told.startswith(f"{done} of 2 prompts asked again on default/{model} · ")
    assert error.startswith("chatllm: ")
    assert thread(run) == ["first", "one", "second", "two"]
    if model == "cut-3":
        assert hint == ["  hint: what came is in the history"]
        assert aside(run) == [("first", "word0 word1 word2 ")]


def test_an_error_at_a_later_prompt_says_how_many_were_done(run: Run, talk: FakeOpenAI) -> None:
    talk.answers = {"first": ["anew"], "second": []}  # where there is no answer left the server hangs up
    result = run("history", "replay", "@1", "-m", "answers", "--max-wait", "0")
    assert result.exit_code == 5
    assert result.stderr.splitlines()[-2 if "hint" not in result.stderr else -3].startswith(
        "1 of 2 prompts asked again"
    )
    assert aside(run)[0] == ("first", "anew")


def test_ctrl_c_stops_it_and_keeps_what_came(run: Run, talk: FakeOpenAI, terminal: Callable[..., Terminal]) -> None:
    screen = terminal("history", "replay", "@1", "-m", "tokens-40-20")
    screen.wait_for("> second\nword0 word1")
    screen.type(CTRL_C)
    assert screen.wait() == 130
    assert "\nstopped; what came is kept: 1 of 2 prompts asked again on default/tokens-40-20" in screen.text
    assert thread(run) == ["first", "one", "second", "two"]
    (_, whole), (prompt, stopped) = aside(run)
    assert (prompt, len(whole.split())) == ("second", 40)
    assert whole.startswith(stopped)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("@1",), "on which model? -m is missing\n  hint: -m PROVIDER/MODEL; may be given again"),
        (("@1", "-m", "says-x", "-m", "default/says-x"), "default/says-x is named twice: each model is asked once"),
        (("@7", "-m", "says-x"), "there is no conversation '@7'\n  hint: the last used is @1, the oldest @1"),
    ],
)
def test_what_cannot_be_asked_again_is_told(
    run: Run, talk: FakeOpenAI, arguments: tuple[str, ...], message: str
) -> None:
    result = run("history", "replay", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"chatllm: {message}\n")
    assert len(talk.chats) == 2


def test_flags_that_make_no_sense_here_are_none(run: Run) -> None:
    told = run("history", "replay", "--help").stdout
    assert "--temperature" in told
    for flag in ("--file", "--prompt", "--var", "--refresh", "--no-history"):
        assert flag not in told


@pytest.mark.embedded
def test_a_prompt_with_an_image_is_skipped_where_none_is_seen(
    run: Run, talk: FakeOpenAI, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    run("ask", "-c", "-m", "says-three", "-f", str(tmp_path / "cat.png"), "what is it?")
    monkeypatch.setenv("CHATLLM_FALLBACK", "[]")
    result = run("history", "replay", "@1", "-m", "local/", "--max-tokens", "1")
    skipped = f"{tmp_path}/cat.png cannot be sent: the embedded model takes no images; this prompt is skipped"
    assert skipped in result.stderr.splitlines()
    assert "2 of 3 prompts asked again on local/smollm2" in result.stderr


def test_secrets_in_stored_prompts_are_replaced_if_that_is_wished(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, places: Places
) -> None:
    key = "sk-proj-" + "a1B2" * 12
    monkeypatch.setenv("CHATLLM_REDACT", "off")
    run("ask", "-m", "says-one", f"my key is {key}")
    monkeypatch.setenv("CHATLLM_REDACT", "replace")
    result = run("history", "replay", "@1", "-m", "says-x")
    assert key not in json.dumps(provider.chats[-1].body)
    assert "it was replaced" in result.stderr
    assert key in json.dumps(journal_of(places)), "what is stored stays as it is"


def test_a_budget_that_is_used_up_stops_it(run: Run, talk: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_BUDGET__MONTH", "0.000001")
    monkeypatch.setenv("CHATLLM_PRICES", '{"default/says-x": {"input": 1, "output": 1}}')
    result = run("history", "replay", "@1", "-m", "says-x")
    assert result.exit_code == 7
    assert result.stderr.startswith(
        "1 of 2 prompts asked again on default/says-x · 0 answers the same · 7 in · 3 out · $"
    )
    assert len(talk.chats) == 3
