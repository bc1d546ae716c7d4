"""The commands that change the history, through the program."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from chatllm_cli.config.places import Places
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI
from tests.terminal import Terminal

SECRET = "verysecretword"


def journals(places: Places) -> list[Path]:
    return sorted(places.conversations.glob("*/*/*.jsonl"), key=lambda path: path.stat().st_mtime_ns)


def titles(run: Run) -> list[str]:
    return [line.split("\t")[3] for line in run("history", "list").stdout.splitlines()]


def everything(places: Places) -> bytes:
    return b"".join(path.read_bytes() for path in places.data.parent.rglob("*") if path.is_file())


def test_a_conversation_is_renamed_and_found_by_its_new_title(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "first")
    result = run("history", "rename", "@1", "  Docker \n networking ")
    assert (result.exit_code, result.output) == (0, "")
    assert titles(run) == ["Docker networking"]
    assert "hello there" in run("history", "show", "Docker networking").stdout


def test_tags_are_added_and_taken_away(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "first")
    run("ask", "second")
    run("history", "tag", "@2", "work", "docker", "work")
    run("history", "tag", "@2", "urgent")
    run("history", "untag", "@2", "docker", "nothing")
    assert run("history", "list").stdout.splitlines()[1].endswith("\twork,urgent")
    tagged = run("history", "list", "--tag", "work").stdout
    assert [line.split("\t")[3] for line in tagged.splitlines()] == ["first"]


def test_a_fork_is_a_conversation_of_its_own(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "first")
    run("ask", "-c", "second")
    forked = run("history", "fork", "@1").stdout.strip()
    run("ask", "--conversation", forked, "third")
    assert [line.split("\t")[4] for line in run("history", "list").stdout.splitlines()] == ["6", "4"]
    assert provider.last_messages()[0] == ("user", "first")
    messages = json.loads(run("history", "show", "@2", "--json").stdout)["messages"]
    run("history", "fork", "@2", "--message", messages[1]["id"][:6])
    assert run("history", "list").stdout.splitlines()[0].split("\t")[4] == "2"
    result = run("history", "fork", "@2", "--message", "nope")
    assert result.exit_code == 2


def test_a_conversation_of_ones_choice_is_gone_on_with(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "first")
    run("ask", "second")
    run("ask", "--conversation", "@2", "more")
    assert provider.last_messages()[0] == ("user", "first")
    assert titles(run) == ["first", "second"]


def test_what_is_removed_is_gone_from_files_index_and_cache(run: Run, provider: FakeOpenAI, places: Places) -> None:
    run("ask", "--temperature", "0", "-m", f"says-{SECRET}-indeed", f"tell me the {SECRET}")
    run("ask", "harmless")
    run("history", "search", SECRET)
    assert SECRET.encode() in everything(places)
    result = run("history", "rm", "@2", "--yes")
    assert (result.exit_code, result.output) == (0, "")
    assert titles(run) == ["harmless"]
    left = everything(places)
    assert [piece for piece in (SECRET, "verysecr", "retword") if piece.encode() in left] == []
    assert run("history", "search", SECRET).exit_code == 1


def test_one_message_is_removed_and_what_came_after_it_stays(run: Run, provider: FakeOpenAI, places: Places) -> None:
    run("ask", "first")
    run("ask", "-c", f"the {SECRET}")
    messages = json.loads(run("history", "show", "--json").stdout)["messages"]
    result = run("history", "rm", "@1", "--message", messages[2]["id"][:8], "-y")
    assert (result.exit_code, result.output) == (0, "")
    assert SECRET.encode() not in everything(places)
    left = json.loads(run("history", "show", "--json").stdout)["messages"]
    assert [message["content"] for message in left] == ["first", "hello there", "hello there"]
    assert left[2]["parent"] == left[1]["id"]


def test_nothing_is_removed_unless_somebody_agrees(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "first")
    for command in (["rm", "@1"], ["prune", "--older-than", "2100-01-01"], ["scrub", "hello"]):
        result = run("history", *command)
        assert (result.exit_code, result.stderr.startswith("chatllm: this needs --yes: ")) == (2, True)
    assert titles(run) == ["first"]
    assert "hello there" in run("history", "show").stdout


@pytest.mark.parametrize(("answer", "left"), [("y", []), ("n", ["first"]), ("", ["first"])])
def test_on_a_terminal_it_is_asked_for(
    run: Run, provider: FakeOpenAI, terminal: Callable[..., Terminal], answer: str, left: list[str]
) -> None:
    run("ask", "first")
    screen = terminal("history", "rm", "@1")
    screen.wait_for("remove 1 conversation for good? [y/N]")
    assert "first" in screen.text
    screen.type(f"{answer}\r")
    assert screen.wait() == 0
    assert titles(run) == left


def test_old_conversations_are_pruned(run: Run, provider: FakeOpenAI, places: Places) -> None:
    run("ask", "old")
    (path,) = journals(places)
    of_format_1 = path.read_bytes().replace(b'{"v":2,', b'{"v":1,').replace(b',"crc"', b',"x"')
    path.write_bytes(of_format_1.replace(b'"at":"2', b'"at":"1'))
    run("ask", "new")
    shown = run("history", "prune", "--older-than", "90d", "--dry-run")
    assert (shown.exit_code, shown.stdout.split()[-1], len(titles(run))) == (0, "old", 2)
    assert run("history", "prune", "--older-than", "90d", "-y").exit_code == 0
    assert titles(run) == ["new"]
    assert run("history", "prune", "--older-than", "90d", "-y").exit_code == 1


@pytest.mark.parametrize("age", ["soon", "7", "d", "2026-13-45"])
def test_an_age_that_is_none_is_a_usage_error(run: Run, age: str) -> None:
    result = run("history", "prune", "--older-than", age)
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize("pattern", [[SECRET], ["--regex", "very[a-z]+word"]])
def test_a_text_is_scrubbed_from_everything(
    run: Run, provider: FakeOpenAI, places: Places, pattern: list[str]
) -> None:
    run("ask", "--temperature", "0", f"tell me the {SECRET}")
    run("ask", "harmless")
    run("history", "search", SECRET)
    shown = run("history", "scrub", *pattern, "--dry-run")
    assert shown.stdout.endswith("  2 records\n")
    assert run("history", "scrub", *pattern, "-y").exit_code == 0
    assert SECRET.encode() not in everything(places)
    assert titles(run) == ["harmless", "tell me the [removed]"]
    assert run("history", "scrub", *pattern, "-y").exit_code == 1


def test_damage_is_found_and_moved_aside(run: Run, provider: FakeOpenAI, places: Places) -> None:
    run("ask", "first")
    (path,) = journals(places)
    whole = path.read_bytes()
    path.write_bytes(b'{"torn\n' + whole + b"\0\0\n")
    result = run("history", "check")
    assert (result.exit_code, result.stdout) == (8, f"{path}\t2\n")
    assert path.read_bytes() == b'{"torn\n' + whole + b"\0\0\n"
    assert run("history", "repair").exit_code == 0
    (aside,) = path.parent.glob("*.corrupt-*")
    assert (path.read_bytes(), aside.read_bytes()) == (whole, b'{"torn\n\0\0\n')
    assert aside.stat().st_mode & 0o777 == 0o600
    assert run("history", "check").exit_code == 0
    run("history", "rm", "@1", "-y")
    assert list(path.parent.iterdir()) == []


def test_the_n_th_code_block_is_printed_alone(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "-m", "markdown", "hi")
    assert run("history", "show", "-x", "1").stdout == "print(1)\n"
    result = run("history", "show", "-x", "2")
    assert (result.exit_code, result.stderr) == (
        2,
        "chatllm: there is no code block 2: the conversation has 1\n",
    )


def test_search_finds_and_says_where_and_ends_in_1_if_it_does_not(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "Docker networking")
    result = run("history", "search", "docker", "networking")
    assert result.exit_code == 0
    assert [line.split("\t")[3:] for line in result.stdout.splitlines()] == [
        ["user", "Docker networking", "Docker networking"]
    ]
    (hit,) = json.loads(run("history", "search", "--json", "docker").stdout)
    assert hit["snippet"] == [["Docker", True], [" networking", False]]
    missing = run("history", "search", "podman")
    assert (missing.exit_code, missing.output) == (1, "nothing is found for 'podman'\n")
    assert run("history", "search", "docker", "--role", "assistant").exit_code == 1
    assert run("history", "search", " ").exit_code == 2


def test_lists_and_figures_are_json_when_json_is_asked_for(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "first")
    (listed,) = json.loads(run("history", "list", "--json").stdout)
    assert (listed["title"], listed["messages"], listed["model"]) == ("first", 2, "default/says-hello-there")
    (tally,) = json.loads(run("history", "stats", "--by", "provider", "--json").stdout)
    assert tally == {"name": "default", "conversations": 1, "messages": 1, "input_tokens": 7, "output_tokens": 3}
