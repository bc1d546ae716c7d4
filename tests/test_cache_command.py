import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.models import Completion
from chatllm_cli.services.cache.entries import Entry, pack
from tests.caches import change_row
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI
from tests.terminal import CTRL_C, CTRL_D, Terminal

AT_ZERO = ("ask", "--temperature", "0")


def test_stats_say_what_is_there_and_what_it_saved(
    run: Run, provider: FakeOpenAI, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_PRICES", '{"default/says-dear": {"input": 1000, "output": 1000}}')
    for _ in range(3):
        run(*AT_ZERO, "hi")
        run(*AT_ZERO, "-m", "says-dear", "hi")
    run(*AT_ZERO, "another")
    result = run("cache", "stats")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines.pop(2) in {"size\t0.4 kB", "size\t0.5 kB", "size\t0.6 kB"}
    assert lines == [
        f"lies in\t{places.responses}", "answers\t3", "hits\t4", "misses\t3",
        "tokens saved\t28 in · 12 out", "money saved\t$0.020",
    ]  # fmt: skip
    assert json.loads(run("cache", "stats", "--json").stdout) == {
        "where": str(places.responses), "entries": 3, "size": pytest.approx(500, abs=60), "hits": 4, "misses": 3,
        "input_tokens": 28, "output_tokens": 12, "cost": pytest.approx(0.02), "unpriced": 0,
    }  # fmt: skip


def test_stats_on_a_terminal_are_a_table(provider: FakeOpenAI, terminal: Callable[..., Terminal], run: Run) -> None:
    run(*AT_ZERO, "hi")
    on = terminal("cache", "stats")
    assert on.wait() == 0
    lines = [" ".join(line.split()) for line in on.text.splitlines()]
    assert [line for line in lines if line.startswith(("answers", "hits", "misses"))] == [
        "answers 1",
        "hits 0",
        "misses 1",
    ]


def test_clear_takes_all_or_what_is_meant(run: Run, provider: FakeOpenAI, places: Places) -> None:
    for model in ("says-one", "says-two", "says-three"):
        run(*AT_ZERO, "-m", model, "hi")
    for arguments, removed in (
        (["--older-than", "1h"], "0 answers"),
        (["--model", "says-t", "--older-than", "today"], "0 answers"),
        (["-m", "SAYS-T"], "2 answers"),
        ([], "1 answer"),
        ([], "0 answers"),
    ):
        result = run("cache", "clear", *arguments)
        told = f"removed from {places.responses}: {removed}\n"
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", told)
    assert len(run("history", "list").stdout.splitlines()) == 3
    run(*AT_ZERO, "-m", "says-one", "hi")
    assert len(provider.chats) == 4


@pytest.mark.parametrize("age", ["never", "", "7"])
def test_an_age_that_is_none_is_a_usage_error(run: Run, age: str) -> None:
    result = run("cache", "clear", "--older-than", age)
    assert (result.exit_code, "is no time; write today" in result.stderr) == (2, True)


def test_the_path_is_the_folder_or_the_servers_address_without_its_password(
    run: Run, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("cache", "path").stdout == f"{places.responses}\n"
    monkeypatch.setenv("CHATLLM_CACHE__URL", "rediss://me:hush@cache.example.org:6380/1?password=hush")
    result = run("cache", "path")
    assert (result.exit_code, result.stdout) == (0, "rediss://cache.example.org:6380/1\n")
    assert not places.cache.exists()


def test_a_cache_that_another_process_holds_is_one_line(run: Run, provider: FakeOpenAI, places: Places) -> None:
    run(*AT_ZERO, "hi")
    with closing(sqlite3.connect(places.responses / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        result = run("cache", "clear")
    told = f"chatllm: the cache at {places.responses} cannot be used: another process is at it\n"
    assert (result.exit_code, result.stderr) == (1, told)


def test_refreshing_asks_again_and_keeps_the_new_answer(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "--cache", "hi")
    again = run("ask", "--refresh", "hi")
    assert (again.stdout, again.stderr, len(provider.chats)) == ("hello there", "", 2)
    cached = run("ask", "--cache", "hi")
    assert (cached.stderr, len(provider.chats)) == ("cached just now (--refresh asks again)\n", 2)


def test_refresh_and_no_cache_are_not_to_be_had_together(run: Run, provider: FakeOpenAI) -> None:
    result = run("ask", "--refresh", "--no-cache", "hi")
    assert (result.exit_code, provider.chats) == (2, [])
    assert result.stderr == "chatllm: --refresh and --no-cache are not to be had together\n"


@pytest.mark.parametrize("flag", ["--cache", "--refresh"])
def test_who_keeps_nothing_is_told_that_the_cache_is_not_used(
    run: Run, provider: FakeOpenAI, places: Places, flag: str
) -> None:
    for _ in range(2):
        result = run("ask", "--private", flag, "hi")
        assert (result.exit_code, result.stdout) == (0, "hello there")
        assert result.stderr == "nothing of this is kept, so the cache is not used\n"
    assert (len(provider.chats), places.responses.exists()) == (2, False)


@pytest.mark.parametrize(("flags", "asked"), [([], 2), (["--temperature", "0"], 2), (["--cache"], 1)])
def test_a_chat_uses_the_cache_only_when_it_is_told_to(
    provider: FakeOpenAI, terminal: Callable[..., Terminal], flags: list[str], asked: int
) -> None:
    for number in range(2):
        on = terminal("chat", *flags)
        on.wait_for("\n>")
        on.type("hi\r")
        on.wait_for("hello there")
        on.type(CTRL_D)
        assert on.wait() == 0
        assert ("cached just now" in on.text) is (number == 1 and asked == 1)
    assert len(provider.chats) == asked


@pytest.mark.parametrize(
    "url", ["host", "http://host", "redis://", "redis://host:99999999", "redis:// host", "unix://", "redis://ho st"]
)
def test_an_address_that_is_none_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CHATLLM_CACHE__URL", url)
    result = run("cache", "path")
    told = "environment variable CHATLLM_CACHE__URL: cache.url: expected an address such as redis://host:6379/0"
    assert (result.exit_code, result.stderr) == (2, f"chatllm: {told}\n")


def test_a_password_in_the_address_is_never_shown(
    run: Run, provider: FakeOpenAI, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.config_file.parent.mkdir(parents=True)
    places.config_file.write_text('[cache]\nurl = "redis://:hush-canary@127.0.0.1:1"\n')
    places.config_file.chmod(0o600)
    for command in (
        "config show",
        "config show --json --origin",
        "cache path",
        "cache stats",
        "doctor",
        "--debug cache stats",
    ):
        result = run(*command.split())
        assert "hush-canary" not in result.output, command
    places.config_file.chmod(0o644)
    refused = run("config", "show")
    assert (refused.exit_code, "holds a password and others can read it" in refused.stderr) == (2, True)


def test_the_second_answer_is_marked_in_the_history_and_counts_for_nothing(run: Run, provider: FakeOpenAI) -> None:
    for _ in range(2):
        run(*AT_ZERO, "hi")
    first, second = (
        json.loads(run("history", "show", address, "--json").stdout)["messages"][1] for address in ("@2", "@1")
    )
    assert (first["cached"], first["usage"]["input_tokens"]) == (False, 7)
    assert (second["cached"], second["usage"], second["cost"]) == (
        True,
        {"input_tokens": 0, "output_tokens": 0, "cached_tokens": 0},
        0,
    )
    (totals,) = (line.split("\t") for line in run("history", "stats").stdout.splitlines())
    assert totals[:4] == ["default/says-hello-there", "2", "2", "10"]


@pytest.mark.parametrize("model", ["", " "])
def test_no_model_is_not_all_models(run: Run, provider: FakeOpenAI, model: str) -> None:
    run(*AT_ZERO, "hi")
    result = run("cache", "clear", "--model", model)
    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, "chatllm: the model is empty")
    assert run("cache", "stats").stdout.splitlines()[1] == "answers\t1"


def test_a_servers_address_is_set_and_shown_unless_there_is_a_password_in_it(run: Run, places: Places) -> None:
    done = run("config", "set", "cache.url", "redis://cache.example.org:6379/0")
    shown = run("config", "show", "cache.url").stdout
    assert (done.exit_code, shown) == (0, 'cache.url = "redis://cache.example.org:6379/0"\n')
    refused = run("config", "set", "cache.url", "redis://:hush@cache.example.org")
    assert (refused.exit_code, "hush" in refused.output) == (2, False)
    given = run("config", "set", "cache.url", "-", stdin="redis://:hush@cache.example.org\n")
    assert (given.exit_code, "hush" in given.output) == (0, False)
    assert run("config", "show", "cache.url").stdout == 'cache.url = "********"\n'
    assert places.config_file.stat().st_mode & 0o777 == 0o600


def test_an_answer_that_does_not_fit_its_schema_is_not_kept(run: Run, provider: FakeOpenAI) -> None:
    question = [*AT_ZERO, "--schema", "name", "-m", "says-no-json", "hi"]
    for _ in range(2):
        assert run(*question).exit_code == 6
    assert len(provider.chats) == 4
    fitting = [*AT_ZERO, "--schema", "name", "-m", 'json:{"name": "x"}', "hi"]
    for _ in range(2):
        assert run(*fitting).exit_code == 0
    assert len(provider.chats) == 5


def test_doctor_says_that_the_cache_cannot_be_used(run: Run, provider: FakeOpenAI, places: Places) -> None:
    places.cache.mkdir(parents=True)
    places.responses.write_text("mine")
    lines = [line for line in run("doctor").stdout.splitlines() if line.startswith("hint     cache")]
    assert [line.rpartition(": ")[2] for line in lines if "responses" in line] == ["it is no folder"]


def test_history_is_removed_where_something_else_is_in_the_caches_place(
    run: Run, provider: FakeOpenAI, places: Places
) -> None:
    run("ask", "hi")
    places.cache.mkdir(parents=True, exist_ok=True)
    places.responses.write_text("mine")
    assert run("history", "rm", "@1", "-y").exit_code == 0
    assert places.responses.read_text() == "mine"


def test_what_a_damaged_cache_has_goes_too(run: Run, provider: FakeOpenAI, places: Places) -> None:
    run(*AT_ZERO, "hi")
    with (places.responses / "cache.db").open("r+b") as file:
        file.write(b"\0" * 100)
    assert run("history", "rm", "@1", "-y").exit_code == 0
    assert [path.name for path in places.cache.iterdir() if "corrupt" in path.name] == []


def test_ctrl_c_stops_a_long_cached_answer_on_a_terminal(
    run: Run, provider: FakeOpenAI, places: Places, terminal: Callable[..., Terminal]
) -> None:
    run(*AT_ZERO, "hi")
    long = Completion("A paragraph of some words.\n\n" * 40_000, "stop")
    change_row(places.responses, value=pack(Entry(long, datetime.now(UTC), "default/says-hello-there")))
    on = terminal(*AT_ZERO, "hi")
    on.wait_for("A paragraph")
    on.type(CTRL_C)
    begin = time.monotonic()
    assert on.wait() == 130
    assert time.monotonic() - begin < 2
    assert "stopped; what came is kept" in " ".join(on.text.split())
    reply = json.loads(run("history", "show", "--json").stdout)["messages"][1]
    assert (reply["status"], reply["cached"], 0 < len(reply["content"]) < len(long.text)) == (
        "interrupted",
        True,
        True,
    )
