"""`ask` with several models."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.config.places import Places
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI
from tests.keyrings import configure
from tests.terminal import CHATLLM, CTRL_C, Terminal
from tests.test_ask import journal_of
from tests.test_history_command import Record

BOTH = ("-m", "says-one", "-m", "says-two")


def messages_of(places: Places) -> list[Record]:
    return [record for record in journal_of(places) if record["type"] == "message"]


def conversation(run: Run) -> dict[str, Any]:
    """The last conversation as somebody else reads it."""
    found: dict[str, Any] = json.loads(run("history", "export", "--format", "json").stdout)
    return found


def head(run: Run) -> str:
    """What the message says that the conversation stands at."""
    found = conversation(run)
    return next(str(each["content"]) for each in found["messages"] if each["id"] == found["head"])


def test_each_answer_is_exact_on_a_pipe_under_a_line_with_its_model(run: Run, provider: FakeOpenAI) -> None:
    result = run("ask", *BOTH, "-m", "code", "hi")
    assert (result.exit_code, result.stderr) == (0, "")
    code = "One:\n\n```python\nprint(1)\n```\n\n- two:\n\n  ```sh\n  ls\n  ```\n"
    assert result.stdout == f"## default/says-one\none\n\n## default/says-two\ntwo\n\n## default/code\n{code}"


def test_one_model_has_no_heading(run: Run, provider: FakeOpenAI) -> None:
    assert run("ask", "-m", "says-one", "--columns", "hi").stdout == "one"


def test_the_prompt_is_kept_once_and_the_head_is_at_the_first_models_answer(
    run: Run, provider: FakeOpenAI, places: Places
) -> None:
    run("ask", "-m", "tokens-3-100", "-m", "says-two", "-s", "Be kind.", "hi")
    prompt, *replies = messages_of(places)
    assert (prompt["content"], prompt["parent"]) == ("hi", None)
    assert {(reply["content"], reply["parent"]) for reply in replies} == {
        ("word0 word1 word2 ", prompt["id"]),
        ("two", prompt["id"]),
    }
    assert replies[-1]["content"] == "word0 word1 word2 ", "the first one was to end last"
    assert head(run) == "word0 word1 word2 "
    run("ask", "-c", "-m", "says-x", "more")
    sent = [("system", "Be kind."), ("user", "hi"), ("assistant", "word0 word1 word2 "), ("user", "more")]
    assert provider.last_messages() == sent


def test_they_answer_at_the_same_time(run: Run, provider: FakeOpenAI) -> None:
    result = run("ask", "--json", "-m", "tokens-5-100", "-m", "tokens-6-100", "hi")
    first, second = (answer["timings"] for answer in json.loads(result.stdout)["answers"])
    assert second["first_text"] < first["total"]


def test_a_conversation_goes_on_with_several(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "first")
    run("ask", "-c", *BOTH, "second")
    expected = [("user", "first"), ("assistant", "hello there"), ("user", "second")]
    for chat in provider.chats[1:]:
        assert [(each["role"], each["content"]) for each in chat.body["messages"]] == expected
    assert [each["content"] for each in conversation(run)["messages"]][:3] == ["first", "hello there", "second"]


def test_prompts_and_files_go_to_all(run: Run, provider: FakeOpenAI, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("noted\n")
    assert run("ask", *BOTH, "-f", str(tmp_path / "notes.txt"), "-p", "explain", "--", "hi").exit_code == 0
    sent = [chat.body["messages"] for chat in provider.chats]
    assert sent[0] == sent[1]
    assert "noted" in sent[0][-1]["content"]


def test_json_has_all_answers_in_the_order_of_their_models(run: Run, provider: FakeOpenAI) -> None:
    result = run("ask", "--json", "-m", "tokens-2-50", "-m", "says-two", "hi")
    assert result.stderr == ""
    answers = json.loads(result.stdout)["answers"]
    assert [(each["model"], each["text"], each["status"]) for each in answers] == [
        ("tokens-2-50", "word0 word1 ", "complete"),
        ("says-two", "two", "complete"),
    ]
    one = json.loads(run("ask", "--json", "hi").stdout)
    assert [list(answer) for answer in answers] == [list(one), list(one)]
    assert {answer["conversation"] for answer in answers} == {conversation_id(run)}


def conversation_id(run: Run) -> str:
    """The id of the conversation before the last."""
    found = json.loads(run("history", "export", "@2", "--format", "json").stdout)
    return str(found["id"])


def test_one_that_fails_does_not_stop_the_others_and_is_what_the_exit_code_tells(
    run: Run, provider: FakeOpenAI
) -> None:
    result = run("ask", "-m", "says-one", "-m", "fault-401", "-m", "fault-404", "-m", "says-two", "hi")
    assert result.exit_code == 3
    headings = (
        "## default/says-one\none\n\n## default/fault-401\n\n## default/fault-404\n\n## default/says-two\ntwo\n"
    )
    assert result.stdout == headings
    first, second = (line for line in result.stderr.splitlines() if line.startswith("chatllm: "))
    assert first.startswith("chatllm: default/fault-401: ")
    assert second.startswith("chatllm: default/fault-404: ")


def test_if_the_first_gives_no_answer_the_conversation_goes_on_with_the_next(run: Run, provider: FakeOpenAI) -> None:
    assert run("ask", "-m", "fault-401", "-m", "says-two", "-m", "says-three", "hi").exit_code == 3
    assert head(run) == "two"
    assert run("ask", "-c", "more").exit_code == 0
    assert provider.chats[-1].body["model"] == "says-two"


def test_errors_say_as_json_which_model_they_are_of(run: Run, provider: FakeOpenAI) -> None:
    result = run("ask", "--json", "-m", "says-one", "-m", "cut-3", "-m", "fault-401", "hi")
    assert result.exit_code == 6
    answers = json.loads(result.stdout)["answers"]
    assert [(each["text"], each["status"]) for each in answers] == [
        ("one", "complete"), ("word0 word1 word2 ", "error"), ("", "error"),
    ]  # fmt: skip
    errors = [json.loads(line) for line in result.stderr.splitlines()]
    assert [(each["model"], each["error"]["kind"]) for each in errors] == [
        ("default/cut-3", "incomplete_answer"),
        ("default/fault-401", "authentication"),
    ]


def test_an_answer_that_is_cut_is_told_with_its_model(run: Run, provider: FakeOpenAI) -> None:
    result = run("ask", "-m", "length", "-m", "filter", "hi")
    assert result.exit_code == 6
    assert result.stderr == (
        "default/length: the answer is cut off: it reached the limit on its length; `chatllm ask -c` goes on\n"
        "default/filter: the answer is cut off: the provider's content filter stopped it\n"
    )


def test_a_usage_line_for_each_says_whose_it_is(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_OUTPUT__USAGE", "always")
    assert run("ask", *BOTH, "hi").stderr == "default/says-one: 7 in · 3 out\ndefault/says-two: 7 in · 3 out\n"


def test_a_wait_of_one_that_is_not_shown_yet_is_told_when_it_is(run: Run, provider: FakeOpenAI) -> None:
    result = run("ask", "-m", "says-one", "-m", "flaky-429-1:retry-after=0.1", "hi")
    assert result.stdout == "## default/says-one\none\n\n## default/flaky-429-1:retry-after=0.1\nfine\n"
    assert result.stderr.startswith("default/flaky-429-1:retry-after=0.1: rate limited by 127.0.0.1:")
    assert result.stderr.endswith(", retry 1/5 in 1 s\n")


def test_fallbacks_stand_behind_each(run: Run, provider: FakeOpenAI, places: Places) -> None:
    result = run("ask", "-m", "quota", "-m", "says-two", "--fallback", "says-instead", "hi")
    assert result.stdout == "## default/quota\ninstead\n\n## default/says-two\ntwo\n"
    assert result.stderr.endswith("; default/says-instead is asked instead\n")
    assert [reply.get("instead_of") for reply in messages_of(places)[1:] if reply["content"] == "instead"] == [
        "default/quota"
    ]


def test_each_has_a_place_of_its_own_in_the_cache(run: Run, provider: FakeOpenAI) -> None:
    for _ in range(2):
        result = run("ask", *BOTH, "--cache", "hi")
    assert result.stdout == "## default/says-one\none\n\n## default/says-two\ntwo\n"
    told = [f"default/says-{name}: cached just now (--refresh asks again)" for name in ("one", "two")]
    assert result.stderr.splitlines() == told
    assert len(provider.chats) == 2


def test_what_is_private_is_kept_nowhere(run: Run, provider: FakeOpenAI, places: Places) -> None:
    result = run("ask", *BOTH, "--private", "hi")
    assert (result.exit_code, result.stdout) == (0, "## default/says-one\none\n\n## default/says-two\ntwo\n")
    assert not places.conversations.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-x", "hi"), "-x goes with one model: -m is given more than once"),
        (("--extract-all", "hi"), "--extract-all goes with one model: -m is given more than once"),
        (("--schema", "name", "hi"), "--schema goes with one model: -m is given more than once"),
        (("--json-stream", "hi"), "--json-stream goes with one model: -m is given more than once"),
        (("-o", "answer.md", "hi"), "-o goes with one model: -m is given more than once"),
        (("-m", "default/says-two", "hi"), "default/says-two is named twice: each model is asked once"),
    ],
)
def test_what_goes_with_one_model_only_is_told(
    run: Run, provider: FakeOpenAI, places: Places, arguments: tuple[str, ...], message: str
) -> None:
    result = run("ask", *BOTH, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert not provider.seen
    assert not places.conversations.exists()


def test_to_go_on_with_an_answer_goes_with_one_model(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "-m", "length", "hi")
    result = run("ask", "-c", *BOTH)
    assert result.exit_code == 2
    assert result.stderr == (
        "chatllm: to go on with an answer goes with one model\n  hint: give a prompt, or leave out the other -m\n"
    )


def test_the_chat_takes_one_model(run: Run) -> None:
    result = run("chat", *BOTH)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "chatllm: one model at a time: -m is given more than once\n  hint: `chatllm ask` takes several\n"
    )


def test_on_a_terminal_they_come_one_after_another(provider: FakeOpenAI, terminal: Callable[..., Terminal]) -> None:
    screen = terminal("ask", "-m", "markdown", "-m", "fault-401", "-m", "says-two", "hi")
    assert screen.wait() == 3
    markdown, failed, last = screen.text.split("\n\ndefault/")
    assert markdown.startswith("default/markdown\n" + "Title".center(80).rstrip())
    assert markdown.endswith("The end.\n7 in · 3 out")
    assert failed.startswith("fault-401\nchatllm: ")
    assert last == "says-two\ntwo\n7 in · 3 out"


def test_ctrl_c_stops_all_of_them_and_keeps_what_came(
    run: Run, provider: FakeOpenAI, terminal: Callable[..., Terminal], places: Places
) -> None:
    screen = terminal("ask", "-m", "tokens-400-20", "-m", "tokens-300-20", "-m", "says-done", "hi")
    screen.wait_for("word9")
    screen.type(CTRL_C)
    assert screen.wait() == 130
    assert screen.text.endswith("\nstopped; what came of each is kept")
    replies = {str(each["model"]): each for each in conversation(run)["messages"][1:]}
    assert {model: each["status"] for model, each in replies.items()} == {
        "default/tokens-400-20": "interrupted",
        "default/tokens-300-20": "interrupted",
        "default/says-done": "complete",
    }
    assert str(replies["default/tokens-300-20"]["content"]).startswith("word0 word1 ")
    assert head(run) == replies["default/tokens-400-20"]["content"]


WORDS = [f"word{number}" for number in range(60)]


@pytest.mark.parametrize(("columns", "side_by_side"), [(80, 2), (120, 3)])
def test_as_many_as_fit_stand_side_by_side(
    provider: FakeOpenAI, terminal: Callable[..., Terminal], columns: int, side_by_side: int
) -> None:
    models = ("tokens-60-3", "tokens-60-4", "tokens-60-2")
    screen = terminal("ask", "--columns", *(f"-m{model}" for model in models), "hi", columns=columns, rows=10)
    assert screen.wait() == 0
    lines = screen.text.splitlines()
    together = [line.split(" │ ") for line in lines if "│" in line]
    names, *rows = [[cell.strip() for cell in line] for line in together]
    assert names == [f"default/{model}" for model in models[:side_by_side]]
    for column in range(side_by_side):
        assert " ".join(row[column] for row in rows).split() == WORDS
    behind = [line for line in lines if "│" not in line]
    usage = [f"default/{model}: 7 in · 3 out" for model in models[:side_by_side]]
    assert behind[:side_by_side] == usage
    if side_by_side == 3:
        assert behind == usage
    else:
        blank, name, *words, total = behind[side_by_side:]
        assert (blank, name, " ".join(words).split(), total) == ("", "default/tokens-60-2", WORDS, "7 in · 3 out")


def test_columns_change_while_the_answers_come_and_leave_nothing_behind(
    provider: FakeOpenAI, terminal: Callable[..., Terminal]
) -> None:
    screen = terminal("ask", "--columns", "-m", "tokens-150-10", "-m", "tokens-100-10", "hi", rows=8)
    screen.wait_for("word40")
    live = screen.text.splitlines()
    assert len(live) <= 6
    assert all(" │ " in line for line in live)
    assert screen.wait() == 0
    cells = [line.split("│") for line in screen.text.splitlines()[1:-2]]
    assert " ".join(left for left, _ in cells).split() == [f"word{number}" for number in range(150)]
    assert " ".join(right for _, right in cells).split() == [f"word{number}" for number in range(100)]


def test_what_is_told_while_columns_are_shown_stands_above_or_below_them(
    provider: FakeOpenAI, terminal: Callable[..., Terminal]
) -> None:
    screen = terminal(
        "ask", "--columns", "-m", "quota", "-m", "tokens-20-20", "-m", "fault-401", "hi",
        "--fallback", "says-instead", columns=120,
    )  # fmt: skip
    assert screen.wait() == 3
    told, _, rest = screen.text.partition("\ndefault/quota  ")
    assert told.replace("\n", " ").endswith("; default/says-instead is asked instead")
    assert "\ninstead    " in rest
    assert "\nchatllm: default/fault-401: " in rest


def test_ctrl_c_in_columns_shows_what_came(provider: FakeOpenAI, terminal: Callable[..., Terminal]) -> None:
    screen = terminal("ask", "--columns", "-m", "tokens-400-20", "-m", "says-done", "hi")
    screen.wait_for("word9")
    screen.type(CTRL_C)
    assert screen.wait() == 130
    assert screen.text.splitlines()[0].split() == ["default/tokens-400-20", "│", "default/says-done"]
    assert screen.text.splitlines()[1].split()[-2:] == ["│", "done"]
    assert screen.text.endswith("\nstopped; what came of each is kept")


def test_where_no_two_columns_fit_they_come_one_after_another(
    provider: FakeOpenAI, terminal: Callable[..., Terminal]
) -> None:
    screen = terminal("ask", "--columns", *BOTH, "hi", columns=50)
    assert screen.wait() == 0
    assert screen.text == (
        "no two columns of 30 fit here: the answers come\none after another\n"
        "default/says-one\none\n7 in · 3 out\n\ndefault/says-two\ntwo\n7 in · 3 out"
    )


@pytest.mark.parametrize("how", ["pipe", "dumb", "plain"])
def test_where_nothing_can_be_painted_columns_are_as_without(
    run: Run,
    provider: FakeOpenAI,
    terminal: Callable[..., Terminal],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    if how == "pipe":
        assert run("ask", *BOTH, "--columns", "hi").stdout == run("ask", *BOTH, "hi").stdout
        return
    if how == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    screen = terminal("ask", *BOTH, "--columns", *(["--plain"] if how == "plain" else []), "hi")
    assert screen.wait() == 0
    shown = "default/says-one\none\n7 in · 3 out\n\ndefault/says-two\ntwo\n7 in · 3 out"
    assert screen.text == shown


def test_whoever_closes_the_pipe_stops_all_of_them(run: Run, provider: FakeOpenAI) -> None:
    command = [CHATLLM, "ask", "-m", "tokens-400-20", "-m", "tokens-300-20", "hi"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stdout
    assert process.stderr
    assert process.stdout.read(60).startswith(b"## default/tokens-400-20\nword0 ")
    process.stdout.close()
    assert (process.wait(), process.stderr.read()) == (-signal.SIGPIPE, b"")
    process.stderr.close()
    assert {each["status"] for each in conversation(run)["messages"][1:]} == {"interrupted"}


def test_commands_for_keys_ask_one_after_another_before_anything_is_shown(
    fake_openai: FakeOpenAI, terminal: Callable[..., Terminal], places: Places, tmp_path: Path
) -> None:
    command = tmp_path / "key"
    command.write_text('#!/bin/sh\nprintf "PIN of $1? " >/dev/tty\nread -r pin </dev/tty\necho "sk-$1-$pin"\n')
    command.chmod(0o700)
    configure(
        places,
        "".join(
            f'[providers.{name}]\nbase_url = "{fake_openai.base_url}"\napi_key_cmd = "{command} {name}"\n'
            for name in ("first", "second")
        ),
    )
    screen = terminal("ask", "--columns", "-m", "first/says-one", "-m", "second/says-two", "hi")
    screen.wait_for("PIN of first?")
    screen.type("1234\r")
    screen.wait_for("PIN of second?")
    screen.type("5678\r")
    assert screen.wait() == 0
    assert screen.text.startswith("PIN of first? 1234\nPIN of second? 5678\nfirst/says-one ")
    sent = sorted(seen.headers["Authorization"] for seen in fake_openai.chats)
    assert sent == ["Bearer sk-first-1234", "Bearer sk-second-5678"]
