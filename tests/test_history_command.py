import json
import re
import stat
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.config.places import Places
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI

Record = dict[str, Any]
MODEL = "default/says-hello-there"
NO_CONVERSATION = 'chatllm: there is no conversation yet\n  hint: `chatllm ask "…"` begins one\n'


def ask(run: Run, *arguments: str) -> None:
    result = run("ask", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")


def journals(places: Places) -> list[list[Record]]:
    """The records of every conversation, the last used first; what came of a reply while it streamed left out."""
    paths = sorted(places.conversations.glob("*/*/*.jsonl"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    found = [[json.loads(line) for line in path.read_text().splitlines()] for path in paths]
    return [[record for record in records if record["type"] != "partial"] for records in found]


def at(record: Record) -> datetime:
    return datetime.fromisoformat(record["at"])


def row(number: int, records: Sequence[Record], title: str, messages: int) -> str:
    last_used = at(records[-1]).isoformat(timespec="seconds")
    return f"@{number}\t{records[0]['id']}\t{last_used}\t{title}\t{messages}\t{MODEL}\t{5 * messages}\t\n"


def shown(records: Sequence[Record]) -> str:
    """What `history show` writes on a pipe for a conversation of one turn."""
    _, prompt, reply = records
    return (
        f"## you · {at(prompt).astimezone():%Y-%m-%d %H:%M}\n\n{prompt['content']}\n\n"
        f"## {MODEL} · {at(reply).astimezone():%Y-%m-%d %H:%M}\n\nhello there\n\n"
    )


def markdown(records: Sequence[Record], title: str) -> str:
    head, prompt, reply = records
    asked = {"id": prompt["id"], "role": "user", "at": at(prompt).isoformat()}
    answered = {"id": reply["id"], "role": "assistant", "at": at(reply).isoformat(), "model": MODEL}
    answered |= {"usage": reply["usage"] | {"cached_tokens": 0}, "finish_reason": "stop", "cost": 0.0}
    return (
        f'---\nid: "{head["id"]}"\ntitle: "{title}"\nmodel: "{MODEL}"\n'
        f'created: "{at(head).isoformat()}"\nupdated: "{at(reply).isoformat()}"\n---\n\n'
        f"<!-- chatllm {json.dumps(asked)} -->\n## User\n\n{records[1]['content']}\n\n"
        f"<!-- chatllm {json.dumps(answered)} -->\n## Assistant ({MODEL})\n\nhello there\n\n<!-- chatllm end -->\n"
    )


def test_a_list_is_tab_separated_without_a_header_and_last_used_first(
    run: Run, provider: FakeOpenAI, places: Places
) -> None:
    ask(run, "first\tthing\nand more")
    ask(run, "grüße 日本")
    ask(run, "-s", "Be kind.", "third")
    third, second, first = journals(places)
    result = run("history", "list")
    expected = row(1, third, "third", 2) + row(2, second, "grüße 日本", 2) + row(3, first, "first thing", 2)
    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")


def test_a_conversation_that_is_taken_up_is_the_last_used(run: Run, provider: FakeOpenAI, places: Places) -> None:
    ask(run, "first")
    ask(run, "-c", "more")
    ask(run, "second")
    ask(run, "-c", "and more")
    last, first = journals(places)
    expected = row(1, last, "second", 4) + row(2, first, "first", 4)
    assert run("history", "list").stdout == expected


@pytest.mark.parametrize("option", ["-n", "--limit"])
def test_a_limit_is_how_many_are_listed(run: Run, provider: FakeOpenAI, places: Places, option: str) -> None:
    ask(run, "first")
    ask(run, "second")
    ask(run, "third")
    third, second, first = journals(places)
    rows = [row(1, third, "third", 2), row(2, second, "second", 2), row(3, first, "first", 2)]
    listed = [run("history", "list", option, str(limit)).stdout for limit in (1, 2, 3, 9)]
    assert listed == ["".join(rows[:1]), "".join(rows[:2]), "".join(rows), "".join(rows)]


def test_twenty_are_listed_unless_told_otherwise(run: Run, provider: FakeOpenAI) -> None:
    for number in range(21):
        ask(run, f"number {number}")
    titles = [line.split("\t")[3] for line in run("history", "list").stdout.splitlines()]
    assert titles == [f"number {number}" for number in range(20, 0, -1)]


@pytest.mark.parametrize(
    "command", [["list"], ["list", "--json"], ["search", "whale"], ["search", "whale", "--json"]]
)
def test_a_list_that_is_cut_says_so_on_a_pipe_too(run: Run, provider: FakeOpenAI, command: list[str]) -> None:
    for name in ("one", "two"):
        ask(run, f"A whale, {name}")
    assert run("history", *command, "-n", "1").stderr == "there are more; -n 5 shows more of them\n"
    assert run("history", *command, "-n", "2").stderr == ""


@pytest.mark.parametrize("limit", ["0", "-1", "many"])
def test_a_limit_that_is_none_is_a_usage_error(run: Run, limit: str) -> None:
    result = run("history", "list", f"--limit={limit}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[:-1] == [
        "Usage: chatllm history list [OPTIONS]",
        "Try 'chatllm history list -h' for help.",
        "",
    ]


def test_show_writes_system_prompt_and_messages(run: Run, provider: FakeOpenAI, places: Places) -> None:
    ask(run, "-s", "Be kind.", "hi")
    (records,) = journals(places)
    result = run("history", "show")
    assert (result.exit_code, result.stdout) == (0, f"## system\n\nBe kind.\n\n{shown(records)}")
    assert result.stderr == ""


def test_a_conversation_is_found_by_number_id_and_title(run: Run, provider: FakeOpenAI, places: Places) -> None:
    ask(run, "first question")
    ask(run, "second question")
    second, first = journals(places)
    first_id, second_id = first[0]["id"], second[0]["id"]
    expected = {
        "@1": second,
        "@2": first,
        first_id: first,
        first_id.upper(): first,
        first_id[:8]: first,
        second_id[:8]: second,
        "first question": first,
        "second question": second,
    }
    shows = {address: run("history", "show", address).stdout for address in expected}
    assert shows == {address: shown(records) for address, records in expected.items()}
    exports = {address: run("history", "export", address).stdout for address in expected}
    assert exports == {address: markdown(records, records[0]["title"]) for address, records in expected.items()}


@pytest.mark.parametrize("command", ["show", "export"])
@pytest.mark.parametrize("address", ["@2", "@0", "@", "@x", "@²", "@99999999999", "howdy", "h", "zzzzzzzz", ""])
def test_an_unknown_conversation_is_told(run: Run, provider: FakeOpenAI, command: str, address: str) -> None:
    ask(run, "hi")
    result = run("history", command, address)
    told, _, hint = result.stderr.partition("\n  hint: ")
    assert (result.exit_code, result.stdout, told) == (2, "", f"chatllm: there is no conversation '{address}'")
    assert "`chatllm history list` shows what there is" in hint or hint == "the last used is @1, the oldest @1\n"


def test_a_title_that_several_have_names_them_all(run: Run, provider: FakeOpenAI, places: Places) -> None:
    ask(run, "hi")
    ask(run, "hi")
    newer, older = (records[0]["id"] for records in journals(places))
    result = run("history", "show", "hi")
    told, hint = result.stderr.split("\n  hint: one of: ")
    assert (result.exit_code, result.stdout, told) == (2, "", "chatllm: 2 conversations answer to 'hi'")
    shown = rf"{newer[:4]}\w* \(hi, [-:0-9 ]+, messages: 2\); {older[:4]}\w* \(hi, [-:0-9 ]+, messages: 2\)\n"
    assert re.fullmatch(shown, hint)


def test_json_holds_everything_that_is_stored(run: Run, provider: FakeOpenAI, places: Places) -> None:
    ask(run, "-s", "Be kind.", "grüße 日本")
    ((head, prompt, reply),) = journals(places)
    document = {
        "format": "chatllm 1",
        "id": head["id"],
        "title": "grüße 日本",
        "created_at": at(head).isoformat(),
        "model": MODEL,
        "system_prompt": "Be kind.",
        "messages": [
            {
                "id": prompt["id"],
                "role": "user",
                "content": "grüße 日本",
                "at": at(prompt).isoformat(),
                "parent": None,
                "status": "complete",
                "model": None,
                "usage": None,
                "finish_reason": None,
                "cached": False,
                "error": None,
                "instead_of": None,
                "reasoning": "",
                "continues": None,
                "cost": None,
                "attachments": [],
            },
            {
                "id": reply["id"],
                "role": "assistant",
                "content": "hello there",
                "at": at(reply).isoformat(),
                "parent": prompt["id"],
                "status": "complete",
                "model": MODEL,
                "usage": {"input_tokens": 7, "output_tokens": 3, "cached_tokens": 0},
                "finish_reason": "stop",
                "cached": False,
                "error": None,
                "instead_of": None,
                "reasoning": "",
                "continues": None,
                "cost": 0.0,
                "attachments": [],
            },
        ],
        "head": reply["id"],
        "tags": [],
    }
    result = run("history", "export", "--format", "json")
    expected = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")


def test_markdown_holds_what_was_said(run: Run, provider: FakeOpenAI, places: Places) -> None:
    ask(run, "-s", "Be kind.", 'say "hi"')
    (records,) = journals(places)
    before, after = markdown(records, 'say \\"hi\\"').split("<!--", 1)
    result = run("history", "export", "--format", "markdown")
    expected = f'{before}<!-- chatllm {{"system_prompt": true}} -->\n## System\n\nBe kind.\n\n<!--{after}'
    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")


def test_markdown_says_of_a_reply_that_it_is_not_whole(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "-m", "length", "hi")
    assert run("history", "export").stdout.splitlines()[-5:-2] == [
        "## Assistant (default/length, truncated)",
        "",
        "cut short",
    ]


@pytest.mark.parametrize("options", [[], ["--format", "markdown"], ["--format", "json"]])
def test_a_file_gets_what_stdout_would_for_its_owner_alone(
    run: Run, provider: FakeOpenAI, tmp_path: Path, options: list[str]
) -> None:
    ask(run, "grüße 日本")
    on_stdout = run("history", "export", *options).stdout
    assert run("history", "export", *options, "-o", "-").stdout == on_stdout
    file = tmp_path / "out" / "chat"
    file.parent.mkdir()
    result = run("history", "export", *options, "-o", str(file))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert file.read_text() == on_stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_a_file_that_exists_is_replaced_whole(run: Run, provider: FakeOpenAI, tmp_path: Path) -> None:
    ask(run, "hi")
    file = tmp_path / "chat.md"
    file.write_text("old")
    file.chmod(0o644)
    with file.open() as reader:  # who has the old file open keeps it
        assert run("history", "export", "--output", str(file)).exit_code == 0
        assert reader.read() == "old"
    assert file.read_text() == run("history", "export").stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere/chat.md", "No such file or directory"),
        ("file/chat.md", "Not a directory"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_file_that_cannot_be_written_is_told(
    run: Run, provider: FakeOpenAI, tmp_path: Path, name: str, reason: str
) -> None:
    ask(run, "hi")
    place = tmp_path / "place"
    (place / "folder").mkdir(parents=True)
    (place / "file").write_text("in the way")
    result = run("history", "export", "-o", str(place / name))
    expected = f"chatllm: {place / name} cannot be written: {reason}\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)
    assert sorted(path.name for path in place.iterdir()) == ["file", "folder"]
    assert (place / "file").read_text() == "in the way"


def test_an_unknown_format_is_a_usage_error(run: Run, provider: FakeOpenAI) -> None:
    ask(run, "hi")
    result = run("history", "export", "--format", "xml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'xml' is not one of 'markdown', 'json', 'jsonl', 'html', 'text', 'openai'." in result.stderr


def test_an_unknown_conversation_writes_no_file(run: Run, provider: FakeOpenAI, tmp_path: Path) -> None:
    ask(run, "hi")
    assert run("history", "export", "@2", "-o", str(tmp_path / "chat.md")).exit_code == 2
    assert not (tmp_path / "chat.md").exists()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "stderr"),
    [
        (["list"], 0, ""),
        (["show"], 2, NO_CONVERSATION),
        (["show", "@3"], 2, NO_CONVERSATION),
        (["show", "title"], 2, NO_CONVERSATION),
        (["export"], 2, NO_CONVERSATION),
    ],
)
def test_an_empty_home_stays_empty(run: Run, home: Path, arguments: list[str], exit_code: int, stderr: str) -> None:
    result = run("history", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (exit_code, "", stderr)
    assert list(home.iterdir()) == []


def test_an_export_goes_through_a_pipe_by_its_name_too(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "hi")
    script = f"{Path(sys.executable).with_name('chatllm')} history export -o /dev/stdout | cat"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert "hello there" in done.stdout


def test_stdout_by_its_other_name_is_no_file_to_replace(run: Run, provider: FakeOpenAI) -> None:
    ask(run, "hi")
    document = run("history", "export").stdout
    assert [run("history", "export", "-o", name).stdout for name in ("-", "/dev/stdout")] == [document] * 2
