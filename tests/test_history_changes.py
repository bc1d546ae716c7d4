"""The commands that change the history, through the program."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.errors import HistoryError
from chatllm_cli.services.history import HistoryService
from chatllm_cli.services.input_history import InputHistory
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
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.endswith(" is now 'Docker networking'\n")
    assert titles(run) == ["Docker networking"]
    assert "hello there" in run("history", "show", "Docker networking").stdout


def test_tags_are_added_and_taken_away(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "first")
    run("ask", "second")
    run("history", "tag", "@2", "work", "docker", "work")
    run("history", "tag", "@2", "urgent")
    told = run("history", "untag", "@2", "docker").stderr
    assert told.endswith(" 'first': work, urgent\n")
    assert run("history", "list").stdout.splitlines()[1].endswith("\twork,urgent")
    tagged = run("history", "list", "--tag", "work").stdout
    assert [line.split("\t")[3] for line in tagged.splitlines()] == ["first"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["tag", "@1", "a", " "], "the tag is empty"),
        (["tag", "@1", "a,b"], "'a,b' cannot be a tag: a comma stands between two"),
        (["untag", "@1", "nothing"], "the conversation has no tag 'nothing'\n  hint: it has none"),
        (["rename", "@1", " "], "the title is empty"),
        (["rename", "@1", "@3"], "'@3' would name another conversation"),
        (["scrub", "", "-y"], "the pattern is empty"),
        (["scrub", "--regex", "x*", "-y"], "'x*' matches where nothing is\n  hint: it would match everywhere"),
        (["scrub", "FIRST", "-y"], "nothing that is stored matches\n  hint: in another case it does: -i"),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(
    run: Run, provider: FakeOpenAI, places: Places, command: list[str], told: str
) -> None:
    run("ask", "first")
    before = [path.read_bytes() for path in journals(places)]
    result = run("history", *command)
    assert (result.exit_code > 0, result.stdout, result.stderr) == (True, "", f"chatllm: {told}\n")
    assert [path.read_bytes() for path in journals(places)] == before


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
    assert (result.exit_code, result.stdout) == (0, "")
    assert titles(run) == ["harmless"]
    left = everything(places)
    assert [piece for piece in (SECRET, "verysecr", "retword") if piece.encode() in left] == []
    assert run("history", "search", SECRET).exit_code == 1


def test_one_message_is_removed_and_what_came_after_it_stays(run: Run, provider: FakeOpenAI, places: Places) -> None:
    run("ask", "first")
    run("ask", "-c", f"the {SECRET}")
    messages = json.loads(run("history", "show", "--json").stdout)["messages"]
    result = run("history", "rm", "@1", "--message", messages[2]["id"][:8], "-y")
    assert (result.exit_code, result.output) == (0, "removed\n")
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
    result = run("history", "prune", "--older-than", "90d", "-y")
    assert (result.exit_code, result.output) == (0, "no conversation is that old\n")


def test_with_its_last_message_a_conversation_goes_too(run: Run, provider: FakeOpenAI, places: Places) -> None:
    run("ask", f"tell me the {SECRET}")
    for message in json.loads(run("history", "show", "--json").stdout)["messages"]:
        run("history", "rm", "@1", "--message", message["id"], "-y")
    assert (titles(run), journals(places)) == ([], [])
    assert SECRET.encode() not in everything(places)


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
    assert [line[8:] for line in shown.stdout.splitlines()] == [f"  tell me the [{SECRET}]"] * 2
    result = run("history", "scrub", *pattern, "-y")
    assert (result.exit_code, result.output) == (0, "replaced: 2 places in 1 conversation\n")
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
    figures = {"conversations": 1, "messages": 1, "input_tokens": 7, "output_tokens": 3, "cost": 0.0, "unpriced": 0}
    assert tally == {"name": "default"} | figures


def test_a_removed_message_is_named(run: Run, provider: FakeOpenAI, places: Places) -> None:
    run("ask", "first")
    for command in (["rm", "@1", "--message", "", "-y"], ["fork", "@1", "--message", ""]):
        assert run("history", *command).exit_code == 2
    assert titles(run) == ["first"]


def test_what_the_title_has_of_a_scrubbed_text_goes_with_it(run: Run, provider: FakeOpenAI, places: Places) -> None:
    secret = "sk-" + "A1b2C3d4" * 9
    run("ask", f"my key is {secret}")
    assert secret.encode()[:40] in everything(places)
    run("history", "scrub", secret, "-y")
    assert titles(run) == ["my key is [removed]"]
    assert secret.encode()[:20] not in everything(places)


def test_a_text_is_scrubbed_from_damaged_lines_too_as_json_spells_it(
    run: Run, provider: FakeOpenAI, places: Places
) -> None:
    run("ask", 'see C:\\Users\\me "now"')
    (path,) = journals(places)
    path.write_bytes(path.read_bytes().replace(b'"role":"user"', b'"role":"usex"'))
    run("history", "repair")
    assert run("history", "scrub", 'C:\\Users\\me "now"', "-y").exit_code == 0
    assert b"Users" not in everything(places)


def test_whoever_has_a_removed_conversation_open_does_not_bring_it_back(
    run: Run, provider: FakeOpenAI, places: Places
) -> None:
    run("ask", f"tell me the {SECRET}")
    opened = asyncio.run(HistoryService(places.conversations, places.index).open("@1"))
    run("history", "rm", "@1", "-y")
    with pytest.raises(HistoryError, match="it was removed meanwhile"):
        asyncio.run(opened.set_title("back again"))
    assert SECRET.encode() not in everything(places)


def test_every_copy_of_a_conversation_is_removed(run: Run, provider: FakeOpenAI, places: Places) -> None:
    run("ask", SECRET)
    (path,) = journals(places)
    copy = path.parent.with_name("01") / path.name
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    assert run("history", "rm", "@1", "-y").exit_code == 0
    assert SECRET.encode() not in everything(places)


def test_a_copy_by_another_name_is_another_conversation(run: Run, provider: FakeOpenAI, places: Places) -> None:
    run("ask", "first")
    (path,) = journals(places)
    path.with_name(f"{path.stem} (1).jsonl").write_bytes(path.read_bytes())
    path.with_name("Talk-One.jsonl").write_bytes(path.read_bytes())
    assert len(titles(run)) == 3
    for address in (path.stem, f"{path.stem} (1)", "Talk-One", "Talk"):
        assert run("history", "rm", address, "-y").exit_code == (0 if address != "Talk" else 2)
    assert titles(run) == []


def test_nothing_is_removed_while_the_cache_is_in_use_elsewhere(
    run: Run, provider: FakeOpenAI, places: Places
) -> None:
    run("ask", "--temperature", "0", "first")
    with closing(sqlite3.connect(places.responses / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        result = run("history", "rm", "@1", "-y")
    assert (result.exit_code, titles(run)) == (1, ["first"])
    assert "another process is at it" in result.stderr
    assert run("history", "rm", "@1", "-y").exit_code == 0


def test_a_config_file_that_is_broken_is_told_before_anything_is_removed(
    run: Run, provider: FakeOpenAI, places: Places
) -> None:
    run("ask", "--temperature", "0", "first")
    places.config_file.parent.mkdir(parents=True, exist_ok=True)
    places.config_file.write_text("bogus = [")
    assert run("history", "rm", "@1", "-y").exit_code == 2
    assert titles(run) == ["first"]


def test_one_damaged_line_hides_nothing_but_itself(run: Run, provider: FakeOpenAI, places: Places) -> None:
    for prompt in ("first turn", "second turn", "third turn"):
        run("ask", "-c", prompt) if prompt != "first turn" else run("ask", prompt)
    (path,) = journals(places)
    path.write_bytes(path.read_bytes().replace(b'"content":"second turn"', b'"content":"second turm"'))
    shown = run("history", "show", "@1").stdout
    assert [turn in shown for turn in ("first turn", "second", "third turn")] == [True, False, True]
    told = run("ask", "-c", "fourth").stderr
    assert told == "damaged lines in this conversation, skipped: 1 (`history check`)\n"
    assert provider.last_messages()[0] == ("user", "first turn")


def test_a_conversation_of_which_nothing_can_be_read_is_told(run: Run, provider: FakeOpenAI, places: Places) -> None:
    run("ask", "first")
    (path,) = journals(places)
    path.write_bytes(b"\x8f\x01\n" * 9)
    result = run("history", "list")
    assert (result.exit_code, result.stdout) == (8, "")
    assert f"nothing in conversation {path.stem} can be read" in result.stderr
    run("history", "repair")
    assert run("history", "check").stdout.count("nothing is left in it") == 1
    assert run("history", "rm", path.stem, "-y").exit_code == 0
    assert list(path.parent.iterdir()) == []


def test_an_index_that_is_damaged_inside_is_built_anew(run: Run, provider: FakeOpenAI, places: Places) -> None:
    run("ask", "first")
    run("history", "search", "first")
    with closing(sqlite3.connect(places.index, isolation_level=None)) as index:
        index.execute("DELETE FROM words_data")
        index.execute("INSERT INTO words_data VALUES (1, x'ffffff')")
        index.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert run("history", "search", "first").exit_code == 0


@pytest.mark.parametrize(
    "command",
    [
        ["list", "--since", "999999y"],
        ["list", "-n", "99999999999999999999"],
        ["list", "--tag", "\udcff"],
        ["search", "x", "-m", "\udcff"],
        ["scrub", "--regex", "a{99999999999999999999}", "-y"],
        ["show", "\udcff"],
    ],
)
def test_no_argument_is_an_internal_error(run: Run, provider: FakeOpenAI, command: list[str]) -> None:
    run("ask", "first")
    result = run("history", *command)
    assert result.exit_code == 2
    assert "internal error" not in result.output


def test_what_is_removed_is_not_recalled_in_the_chat_either(run: Run, provider: object, places: Places) -> None:
    typed = InputHistory(places.input_history)
    for text in ("first", "second", "/help"):
        typed.add(text)
    run("ask", "first")
    assert run("history", "rm", "@1", "--yes").exit_code == 0
    assert typed.load() == ["second", "/help"]


def test_what_is_scrubbed_is_replaced_in_what_the_chat_recalls_too(
    run: Run, provider: object, places: Places
) -> None:
    typed = InputHistory(places.input_history)
    typed.add("my name is Bob")
    assert (
        run("history", "scrub", "Bob", "--yes").stderr
        == "replaced: what was typed in the chat and is recalled there\n"
    )
    run("ask", "I am Alice")
    typed.add("I am Alice")
    assert run("history", "scrub", "Alice", "--yes").exit_code == 0
    assert typed.load() == ["my name is [removed]", "I am [removed]"]
