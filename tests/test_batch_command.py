"""`chatllm batch` as a whole, against a real server."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.config.places import Places
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI
from tests.terminal import Terminal

PROGRAM = str(Path(sys.executable).with_name("chatllm"))


def answers(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def prompts(path: Path, *lines: str | dict[str, Any]) -> str:
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in lines))
    return str(path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "prompts.txt"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "answers.jsonl"


def test_each_line_is_a_prompt_and_blank_ones_are_passed_over(run: Run, provider: FakeOpenAI, source: Path) -> None:
    result = run("batch", prompts(source, "one", "", "  ", "two"))
    first, second = answers(result.stdout)
    timings = first.pop("timings")
    assert first == {
        "id": 1,
        "line": 1,
        "prompt_hash": first["prompt_hash"],
        "text": "hello there",
        "reasoning": "",
        "status": "complete",
        "finish_reason": "stop",
        "provider": "default",
        "model": "says-hello-there",
        "instead_of": None,
        "usage": {"input_tokens": 7, "output_tokens": 3, "cached_tokens": 0},
        "cost": 0.0,
        "cached": False,
        "error": None,
    }
    assert 0 < timings["first_text"] <= timings["total"]
    assert (second["id"], second["line"]) == (4, 4)
    assert result.exit_code == 0
    assert sorted(chat.body["messages"][-1]["content"] for chat in provider.chats) == ["one", "two"]


def test_on_a_pipe_one_line_at_the_end_says_what_came_of_it(run: Run, provider: FakeOpenAI, source: Path) -> None:
    stderr = run("batch", prompts(source, "one", "two")).stderr
    assert stderr.startswith("2 answered · ")
    assert stderr.count("\n") == 1


def test_an_object_says_how_it_is_asked_and_the_flags_how_the_others_are(
    run: Run, provider: FakeOpenAI, source: Path
) -> None:
    own = {"temperature": 0.5, "max_tokens": 9, "seed": 3, "stop": "END", "top_p": 0.5, "options": {"top_k": 4}}
    prompts(source, {"prompt": "one", "id": "a", "system": "Be kind.", "model": "says-ok"} | own, {"prompt": "two"})
    result = run(
        "batch", str(source), "-s", "Be brief.", "-m", "says-well", "--temperature", "1.5", "--concurrency", "1"
    )
    assert [(each["id"], each["model"], each["text"]) for each in answers(result.stdout)] == [
        ("a", "says-ok", "ok"),
        (2, "says-well", "well"),
    ]
    first, second = (chat.body for chat in provider.chats)
    assert [message["content"] for message in first["messages"]] == ["Be kind.", "one"]
    assert [message["content"] for message in second["messages"]] == ["Be brief.", "two"]
    assert {name: first[name] for name in ("temperature", "max_tokens", "seed", "stop", "top_p", "top_k")} == {
        "temperature": 0.5, "max_tokens": 9, "seed": 3, "stop": ["END"], "top_p": 0.5, "top_k": 4,
    }  # fmt: skip
    assert second["temperature"] == 1.5
    assert "seed" not in second


def test_a_line_that_cannot_be_used_is_named_and_stops_no_other(run: Run, provider: FakeOpenAI, source: Path) -> None:
    prompts(
        source, {"prompt": "one", "id": "a"}, "{", {"id": 3}, {"prompt": "x", "promt": 1}, {"prompt": "x", "id": "a"}
    )
    with source.open("a") as file:
        file.write('{"prompt": "x", "temperature": 9}\n{"prompt": "last"}\n')
    result = run("batch", str(source))
    told = [
        (each["id"], each["line"], each["status"], (each["error"] or {}).get("message"))
        for each in answers(result.stdout)
    ]
    fields = "id, prompt, system, model, temperature, top_p, max_tokens, seed, stop, reasoning_effort, options"
    assert told == [
        ("a", 1, "complete", None),
        (None, 2, "error", told[1][3]),
        (None, 3, "error", "it has no prompt"),
        (None, 4, "error", f"there is no field 'promt'; there is {fields}"),
        (None, 5, "error", 'another line before it has the id "a"'),
        (None, 6, "error", told[5][3]),
        (7, 7, "complete", None),
    ]
    assert str(told[1][3]).startswith("it is not valid JSON: ")
    assert str(told[5][3]).startswith("temperature: ")
    errors = [line for line in result.stderr.splitlines() if line.startswith("chatllm: line ")]
    assert errors == [f"chatllm: line {line}: {message}" for _, line, _, message in told if message]
    assert result.exit_code == 6
    assert len(provider.chats) == 2


def test_what_looks_like_json_and_is_none_is_not_sent_unasked(run: Run, provider: FakeOpenAI, source: Path) -> None:
    prompts(source, {"id": 1, "text": "one"})
    result = run("batch", str(source))
    assert (result.exit_code, len(provider.chats)) == (2, 0)
    assert "chatllm: line 1 looks like a JSON object, and has no prompt\n" in result.stderr
    assert run("batch", str(source), "--format", "lines").exit_code == 0
    assert provider.chats[0].body["messages"][-1]["content"] == source.read_text().rstrip()


def test_a_prompt_by_name_is_put_around_each(run: Run, provider: FakeOpenAI, places: Places, source: Path) -> None:
    places.prompts.mkdir(parents=True, mode=0o700)
    (places.prompts / "shout.md").write_text("---\nvariables:\n  how:\n---\nShout {{input}} {{how}}!\n")
    (places.prompts / "shout.md").chmod(0o600)
    run("batch", prompts(source, "one"), "-p", "shout", "-v", "how=loudly")
    assert provider.last_messages() == [("user", "Shout one loudly!")]


def test_stdin_is_read(run: Run, provider: FakeOpenAI) -> None:
    result = run("batch", "-", stdin="\ufeffone\r\ntwo")
    assert [each["text"] for each in answers(result.stdout)] == ["hello there"] * 2
    assert sorted(chat.body["messages"][-1]["content"] for chat in provider.chats) == ["one", "two"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["missing.txt"], "missing.txt cannot be read: No such file or directory"),
        (["{source}", "-m", "a", "-m", "b"], "one model at a time"),
        (["{source}", "-m", "local/nothing"], "there is no embedded model 'nothing'"),
        (["{source}", "-o", "{source}"], "is where the prompts are"),
        (["{source}", "-o", "/nowhere/x"], "there is no folder /nowhere"),
        (["{source}", "--concurrency", "0"], "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_asked(
    run: Run, provider: FakeOpenAI, source: Path, arguments: list[str], told: str
) -> None:
    prompts(source, "one")
    result = run("batch", *(each.format(source=source) for each in arguments))
    assert (result.exit_code, result.stdout, len(provider.chats)) == (2, "", 0)
    assert told in result.stderr


def test_answers_stand_in_the_order_of_the_prompts_or_as_they_come(
    run: Run, provider: FakeOpenAI, source: Path
) -> None:
    prompts(source, {"prompt": "slow", "model": "tokens-2-150"}, {"prompt": "fast", "model": "says-fast"})
    in_order = answers(run("batch", str(source)).stdout)
    as_completed = answers(run("batch", str(source), "--as-completed").stdout)
    assert [each["line"] for each in in_order] == [1, 2]
    assert [each["line"] for each in as_completed] == [2, 1]


def test_one_that_fails_or_is_cut_is_told_and_asked_again_the_next_time(
    run: Run, provider: FakeOpenAI, source: Path, output: Path
) -> None:
    lines = [
        {"prompt": "x", "model": model} for model in ("says-ok", "length", "fault-401", "cut-2", "local/nothing")
    ]
    prompts(source, *lines)
    result = run("batch", str(source), "-o", str(output))
    told = [
        (each["line"], each["status"], each["text"], (each["error"] or {}).get("kind"))
        for each in answers(output.read_text())
    ]
    assert told == [
        (1, "complete", "ok", None),
        (2, "truncated", "cut short", None),
        (3, "error", "", "authentication"),
        (4, "error", "word0 word1 ", "incomplete_answer"),
        (5, "error", "", "usage"),
    ]
    assert (result.exit_code, result.stdout) == (6, "")
    assert result.stderr.splitlines()[-1].startswith("1 answered · 4 failed · ")
    before = len(provider.chats)
    again = run("batch", str(source), "-o", str(output))
    assert len(provider.chats) - before == 3
    assert again.stderr.splitlines()[-1].startswith("0 answered · 4 failed · 1 were there · ")
    assert len(answers(output.read_text())) == 9


def test_a_second_run_asks_nothing_that_is_answered(
    run: Run, provider: FakeOpenAI, source: Path, output: Path
) -> None:
    prompts(source, {"prompt": "one", "id": "a"}, {"prompt": "two"})
    for _ in range(2):
        assert run("batch", str(source), "-o", str(output)).exit_code == 0
    assert len(provider.chats) == 2
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    prompts(source, {"prompt": "one", "id": "a"}, {"prompt": "two, edited"})
    run("batch", str(source), "-o", str(output))
    assert provider.last_messages() == [("user", "two, edited")]
    assert len(provider.chats) == 3


def test_the_cache_answers_what_was_asked_before(run: Run, provider: FakeOpenAI, source: Path) -> None:
    prompts(source, "same", "same", "other")
    first = run("batch", str(source), "--cache")
    second = run("batch", str(source), "--cache")
    assert [each["cached"] for each in answers(first.stdout)] == [False, True, False]
    assert [each["cached"] for each in answers(second.stdout)] == [True] * 3
    assert len(provider.chats) == 2


def test_nothing_goes_to_the_history_unless_it_is_wished(
    run: Run, provider: FakeOpenAI, places: Places, source: Path
) -> None:
    prompts(source, "one", "two")
    run("batch", str(source))
    assert not places.conversations.exists()
    run("batch", str(source), "--history")
    assert run("history", "list").stdout.count("\n") == 2


@pytest.fixture
def priced(provider: FakeOpenAI, places: Places) -> FakeOpenAI:
    places.config_file.parent.mkdir(parents=True, exist_ok=True)
    price = '[prices."default/says-hello-there"]\ninput = 100000\noutput = 100000\n'  # a dollar each
    places.config_file.write_text(f"[budget]\nmonth = 4.0\n{price}")
    places.config_file.chmod(0o600)
    return provider


@pytest.mark.parametrize("kept", [[], ["--history"]])
def test_a_budget_holds_and_what_was_spent_counts_for_everybody(
    run: Run, priced: FakeOpenAI, source: Path, output: Path, places: Places, kept: list[str]
) -> None:
    prompts(source, *(f"prompt {number}" for number in range(9)))
    result = run("batch", str(source), "-o", str(output), "--concurrency", "1", *kept)
    assert result.exit_code == 7
    assert "chatllm: the budget for " in result.stderr
    assert [each["cost"] for each in answers(output.read_text())] == [pytest.approx(1.0)] * 4
    assert run("ask", "hi").exit_code == 7
    assert list(places.spending.glob("*")) == [] or not kept
    more = run("batch", str(source), "-o", str(output), "--over-budget", *kept)
    assert (more.exit_code, len(answers(output.read_text()))) == (0, 9)


def test_all_wait_when_one_is_told_to(run: Run, provider: FakeOpenAI, source: Path) -> None:
    prompts(source, {"prompt": "x", "model": "flaky-429-1:retry-after=1"}, *({"prompt": "x"} for _ in range(5)))
    begin = time.monotonic()
    result = run("batch", str(source), "--concurrency", "1", "--as-completed")
    assert result.exit_code == 0, result.output
    assert time.monotonic() - begin >= 1.0
    assert "all that ask it wait 1.0 s" in result.stderr


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, **more}


def begun(source: Path, output: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start a batch, and return it once some answers are there."""
    process = subprocess.Popen([PROGRAM, "batch", source, "-o", output, *arguments], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not output.exists() or output.read_bytes().count(b"\n") < 5:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_what_is_stopped_goes_on_and_has_each_answer_once(
    run: Run, provider: FakeOpenAI, source: Path, output: Path, number: int, code: int
) -> None:
    prompts(source, *({"prompt": f"prompt {each}", "id": f"p{each}", "model": "tokens-2-20"} for each in range(40)))
    process = begun(source, output, "--concurrency", "4")
    begin = time.monotonic()
    process.send_signal(number)
    _, stderr = process.communicate(timeout=10)
    assert (process.returncode, time.monotonic() - begin < 2) == (code, True)
    if number != signal.SIGKILL:
        assert b"stopped \xc2\xb7 " in stderr
        assert b"; the same command goes on" in stderr
    there = output.read_bytes().count(b"\n")
    assert 5 <= there < 40
    with output.open("ab") as file:
        file.write(b'{"id": "p39", "te')  # a torn line
    result = run("batch", str(source), "-o", str(output))
    assert result.exit_code == 0, result.stderr
    whole = [line for line in output.read_text().splitlines() if line.endswith("}")]
    assert sorted(json.loads(line)["id"] for line in whole) == sorted(f"p{each}" for each in range(40))
    assert f"{there} were there" in result.stderr


def test_an_endless_stdin_is_answered_as_it_comes(provider: FakeOpenAI) -> None:
    with subprocess.Popen(
        [PROGRAM, "batch", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        for prompt in ("one", "two"):
            process.stdin.write(f"{prompt}\n".encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["text"] == "hello there"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == -signal.SIGINT


def test_whoever_closes_the_pipe_ends_it(provider: FakeOpenAI, source: Path) -> None:
    prompts(source, *(f"prompt {number}" for number in range(200)))
    with subprocess.Popen([PROGRAM, "batch", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=10) == -signal.SIGPIPE
        assert process.stderr.read() == b""
    assert len(provider.chats) < 200


def test_a_terminal_sees_how_far_it_is(
    terminal: Callable[..., Terminal], provider: FakeOpenAI, source: Path, output: Path
) -> None:
    prompts(source, *({"prompt": f"{number}", "model": "tokens-2-300"} for number in range(4)))
    shown = terminal("batch", str(source), "-o", str(output), "--concurrency", "2")
    shown.wait_for("2 of 4 · ")
    shown.wait_for("4 answered · ")
    assert shown.wait() == 0
    assert "of 4" not in shown.text


def test_no_more_is_read_than_is_asked(provider: FakeOpenAI) -> None:
    command = [PROGRAM, "batch", "-", "-m", "tokens-1-9000", "--concurrency", "2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        os.set_blocking(process.stdin.fileno(), False)
        lines, taken, is_full, deadline = b"prompt\n" * 1000, 0, False, time.monotonic() + 20
        while len(provider.chats) < 2 or not is_full:
            assert time.monotonic() < deadline
            try:
                taken += os.write(process.stdin.fileno(), lines)
                is_full = False
            except BlockingIOError:
                is_full = True
                time.sleep(0.05)
        assert taken < 1_000_000
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == -signal.SIGINT
