import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from chatllm_cli.cli.history_import import Format
from chatllm_cli.config.places import Places
from chatllm_cli.formats import json as json_format
from chatllm_cli.formats.reading.source import Source
from chatllm_cli.models import Attachment, Conversation, Message, Role
from chatllm_cli.services.history.records import journal_of
from chatllm_cli.services.imports import journals
from chatllm_cli.services.imports.detection import NAMES
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI
from tests.terminal import Terminal

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
ID = "0123456789abcdef"
PROMPT = Message("m1", Role.USER, "Hi", NOON)
REPLY = Message("m2", Role.ASSISTANT, "Hello", NOON, parent="m1", model="openai/gpt")
CONVERSATION = Conversation(ID, "Greeting", NOON, messages=(PROMPT, REPLY), head="m2")
LONGER = replace(CONVERSATION, messages=(PROMPT, REPLY, Message("m3", Role.USER, "More", NOON, "m2")), head="m3")


def put(root: Path, conversation: Conversation, name: str = "") -> Path:
    """Store a conversation in the data folder of some machine."""
    path = root / "conversations" / "2026" / "07" / f"{name or conversation.id}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(journal_of(conversation))
    return path


def told(run: Run, *arguments: str) -> tuple[int, str, str]:
    result = run("history", *arguments)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("place", ["home/data", "home", "home/data/conversations"])
def test_another_machines_history_is_merged_from_whichever_folder_of_it_is_named(
    place: str, run: Run, tmp_path: Path, places: Places
) -> None:
    put(tmp_path / "home" / "data", LONGER)
    put(places.data, CONVERSATION)
    assert told(run, "merge", str(tmp_path / place)) == (0, "journal\t0\t1\t0\t0\t0\t1\n", "")
    assert told(run, "merge", str(tmp_path / place)) == (0, "journal\t0\t0\t1\t0\t0\t0\n", "")
    assert json.loads(run("history", "show", ID, "--json").stdout)["head"] == "m3"


@pytest.mark.parametrize("command", ["merge", "import"])
def test_images_come_along_with_a_data_folder(command: str, run: Run, tmp_path: Path, places: Places) -> None:
    image = b"\x89PNG of a cat"
    digest = sha256(image).hexdigest()
    prompt = replace(PROMPT, attachments=(Attachment("cat.png", "image/png", len(image), sha256=digest),))
    put(tmp_path / "other", replace(CONVERSATION, messages=(prompt, REPLY)))
    (tmp_path / "other" / "attachments").mkdir()
    (tmp_path / "other" / "attachments" / digest).write_bytes(image)
    assert told(run, command, str(tmp_path / "other"))[0] == 0
    assert (places.attachments / digest).read_bytes() == image


def test_a_dry_run_says_what_would_be_done_and_does_nothing(run: Run, tmp_path: Path, places: Places) -> None:
    put(tmp_path / "other", CONVERSATION)
    assert told(run, "merge", str(tmp_path / "other"), "--dry-run") == (
        0, "journal\t1\t0\t0\t0\t0\t2\n", "nothing was changed: --dry-run\n"
    )  # fmt: skip
    assert not places.data.exists()


def test_copies_of_sync_tools_are_told_of_and_brought_together(run: Run, places: Places) -> None:
    put(places.data, CONVERSATION)
    copy = put(places.data, LONGER, f"{ID} (conflicted copy 2026-11-26)")
    notice = "1 conflicted copy of a sync tool; `chatllm history merge` brings them together\n"
    assert told(run, "check") == (0, "", f"{notice}nothing is damaged\n")
    assert told(run, "merge") == (0, "journal\t0\t1\t0\t0\t0\t1\n", "")
    assert not copy.exists()
    assert told(run, "merge") == (0, "", "there is nothing to merge\n")
    assert told(run, "check") == (0, "", "nothing is damaged\n")


def test_what_was_removed_here_stays_so_unless_it_is_wanted_back(run: Run, tmp_path: Path, places: Places) -> None:
    put(places.data, CONVERSATION)
    run("history", "rm", ID, "--yes")
    put(tmp_path / "other", CONVERSATION)
    assert told(run, "merge", str(tmp_path / "other")) == (
        0,
        "journal\t0\t0\t0\t1\t0\t0\n",
        "1 conversation had been removed here, and stayed so; --restore takes them in\n",
    )
    assert told(run, "merge", str(tmp_path / "other"), "--restore") == (0, "journal\t1\t0\t0\t0\t0\t2\n", "")


def test_a_journal_that_cannot_be_read_is_named_and_the_others_are_taken_in(
    run: Run, tmp_path: Path, places: Places
) -> None:
    put(tmp_path / "other", CONVERSATION)
    bad = put(tmp_path / "other", CONVERSATION, "f" * 16)
    bad.write_bytes(b'{"v":99,"type":"message"}\n')
    code, stdout, stderr = told(run, "merge", str(tmp_path / "other"))
    assert (code, stdout) == (1, "journal\t1\t0\t0\t0\t1\t2\n")
    assert stderr.startswith(
        f"chatllm: {tmp_path / 'other'}: {bad.name}: conversation ffffffffffffffff was written by"
    )


def test_one_whose_id_somebody_made_up_is_merged_as_it_was_imported(run: Run, tmp_path: Path, places: Places) -> None:
    put(tmp_path / "other", replace(CONVERSATION, id="My-talk"))
    assert told(run, "merge", str(tmp_path / "other")) == (0, "journal\t1\t0\t0\t0\t0\t2\n", "")
    assert [path.name for path in places.conversations.rglob("*.jsonl")] == ["My-talk.jsonl"]


def test_a_journal_larger_than_any_is_told_without_reading_it_all(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "other", CONVERSATION)
    monkeypatch.setattr(journals, "MOST_BYTES", 2**20)
    monkeypatch.setattr(Source.all, "__defaults__", (2**20,))
    os.truncate(path, 2**40)
    code, _, stderr = told(run, "merge", str(tmp_path / "other"))
    assert (code, stderr) == (1, f"chatllm: {tmp_path / 'other'}: {path.name}: it is larger than 1 MiB\n")


def test_a_folder_without_a_history_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "other"
    assert told(run, "merge", str(path)) == (2, "", f"chatllm: there is no folder {path}\n")
    path.mkdir()
    hint = "  hint: name the data folder of the other machine: `history path` shows it\n"
    assert told(run, "merge", str(path)) == (2, "", f"chatllm: no conversations lie in {path}\n{hint}")


def test_single_journals_are_imported_too(run: Run, tmp_path: Path) -> None:
    path = put(tmp_path / "other", CONVERSATION)
    renamed = tmp_path / "talk.jsonl"
    shutil.copy(path, renamed)
    assert told(run, "import", str(renamed)) == (0, "journal\t1\t0\t0\t0\t0\t2\n", "")
    assert told(run, "import", str(path), str(renamed)) == (0, "journal\t0\t0\t2\t0\t0\t0\n", "")


def git(folder: Path, *arguments: str) -> None:
    name = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *name, *arguments], cwd=folder, check=True, capture_output=True, timeout=50)


def test_git_joins_two_histories_as_the_page_on_syncing_says(tmp_path: Path, run: Run, places: Places) -> None:
    page = Path(__file__).parent.parent / "docs" / "sync.md"
    setup = [line.strip() for line in page.read_text().splitlines() if line.startswith("    printf")]
    path = put(places.data, CONVERSATION)
    for command in setup:
        subprocess.run(["bash", "-c", command], cwd=places.data, check=True, timeout=50)
    git(places.data, "init", "-b", "main")
    git(places.data, "add", "-A")
    git(places.data, "commit", "-m", "so far")
    git(tmp_path, "clone", str(places.data), "other")
    for root, message_id in ((places.data, "m3"), (tmp_path / "other", "m4")):
        message = Message(message_id, Role.USER, f"text of {message_id}", NOON, "m2")
        put(root, replace(CONVERSATION, messages=(PROMPT, REPLY, message), head=message_id))
        git(root, "commit", "-am", "more")
    git(places.data, "pull", "--no-rebase", "--no-edit", str(tmp_path / "other"), "main")
    both = json.loads(run("history", "show", path.stem, "--json").stdout)
    assert [message["id"] for message in both["messages"]] == ["m1", "m2", "m3", "m4"]
    assert told(run, "check") == (0, "", "nothing is damaged\n")


FIXTURES = Path(__file__).parent / "data" / "imports"
NO_FORMAT = "nothing in it is a conversation of a known format"


def test_a_folder_of_anything_is_looked_through_and_what_is_found_is_counted_by_format(run: Run) -> None:
    code, stdout, stderr = told(run, "import", str(FIXTURES))
    passed = ["README.md", *(f"{name}/README.md" for name in ("aichat", "chatgpt", "claude", "openai"))]
    listed = ", ".join(f"imports/{name}" for name in passed)
    assert (code, stderr) == (0, f"passed over, as no conversation is in them: {listed}\n")
    rows = [line.split("\t") for line in stdout.splitlines()]
    assert [row[0] for row in rows] == ["aichat", "chatgpt", "claude", "gptme", "llm", "openai", "shell_gpt"]
    again = [line.split("\t") for line in told(run, "import", str(FIXTURES))[1].splitlines()]
    known = [[row[0], "0", "0", str(sum(map(int, row[1:4]))), "0", "0", "0"] for row in rows]
    assert again == known


def test_what_is_imported_is_found_and_goes_on_as_any_other(run: Run, provider: FakeOpenAI) -> None:
    run("history", "import", str(FIXTURES / "shell_gpt" / "harbour"))
    (row,) = [line.split("\t") for line in run("history", "list").stdout.splitlines()]
    assert run("ask", "-c", "-m", "default/says-hello", "more").stdout == "hello"
    assert json.loads(run("history", "show", row[1], "--json").stdout)["messages"][-1]["content"] == "hello"
    roles = [message["role"] for message in provider.chats[-1].body["messages"]]
    assert roles[-3:] == ["user", "assistant", "user"]


def test_an_archive_is_imported_as_it_was_downloaded(run: Run, tmp_path: Path) -> None:
    folder = FIXTURES / "chatgpt"
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("chat.html", "user.json"):
            archive.writestr(name, "{}")
        for file in sorted(folder.iterdir()):
            archive.write(file, f"some-folder/{file.name}")
    from_zip = told(run, "import", str(path))
    assert from_zip[0] == 0
    assert told(run, "import", str(folder))[1].split("\t")[1:4] == ["0", "0", from_zip[1].split("\t")[1]]


def test_what_comes_on_stdin_is_imported(run: Run) -> None:
    data = (FIXTURES / "openai" / "training.jsonl").read_bytes()
    result = run("history", "import", "-", stdin=data)
    assert (result.exit_code, result.stdout.split("\t")[0], result.stderr) == (0, "openai", "")


def test_a_broken_conversation_is_named_and_the_others_of_its_file_are_taken_in(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "training.jsonl"
    good = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'
    path.write_text(f'{good}\n{{"messages": 7}}\n{good.replace("b", "c")}\n')
    code, stdout, stderr = told(run, "import", str(path))
    assert (code, stdout) == (1, "openai\t2\t0\t0\t0\t1\t4\n")
    assert stderr.startswith("chatllm: training.jsonl: ")
    assert "2" in stderr


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("note.txt", b"just a note", "{path}: " + NO_FORMAT),
        ("empty.json", b"", "{path}: " + NO_FORMAT),
        ("package.json", b'{"name": "x"}', "{path}: " + NO_FORMAT),
    ],
)
def test_a_file_of_no_known_format_is_refused(
    name: str, data: bytes, message: str, run: Run, tmp_path: Path, places: Places
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    code, stdout, stderr = told(run, "import", str(path))
    assert (code, stdout) == (1, "unknown\t0\t0\t0\t0\t1\t0\n")
    assert stderr == f"chatllm: {message.format(path=path)}\n"
    assert not places.data.exists()


def test_arguments_that_cannot_be_used_are_refused_before_anything_is_done(run: Run, tmp_path: Path) -> None:
    path = str(FIXTURES / "openai" / "training.jsonl")
    code, stdout, stderr = told(run, "import", path, "--format", "msn")
    assert (code, stdout) == (2, "")
    assert "'msn' is not one of 'auto', 'chatllm', " in " ".join(stderr.split())
    assert told(run, "import", str(tmp_path / "nothing")) == (
        2, "", f"chatllm: there is no file {tmp_path / 'nothing'}\n"
    )  # fmt: skip


def test_every_format_can_be_named() -> None:
    assert sorted(Format) == sorted(["auto", *NAMES])


def test_a_format_that_is_named_is_taken_for_granted(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_text('[{"role": "user", "content": "a"}]')
    assert told(run, "import", str(path), "--format", "claude")[1] == "claude\t0\t0\t0\t0\t1\t0\n"
    assert told(run, "import", str(path), "--format", "shell_gpt")[1] == "shell_gpt\t1\t0\t0\t0\t0\t1\n"


def test_json_names_every_conversation(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "training.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "a"}]}\n{"messages": 7}\n')
    code, stdout, _ = told(run, "import", str(path), "--dry-run", "--json")
    document = json.loads(stdout)
    error = document["conversations"][1].pop("error")
    assert len(document["conversations"][0].pop("conversation")) == 16
    assert (code, document) == (
        1,
        {
            "dry_run": True,
            "formats": [
                {
                    "format": "openai",
                    "new": 1,
                    "grown": 0,
                    "known": 0,
                    "removed": 0,
                    "unreadable": 1,
                    "messages": 1,
                }
            ],
            "conversations": [
                {
                    "source": "training.jsonl",
                    "format": "openai",
                    "title": "",
                    "became": "new",
                    "messages": 1,
                    "differing": 0,
                    "branched": False,
                    "error": None,
                },
                {
                    "source": "training.jsonl",
                    "format": "openai",
                    "title": "",
                    "conversation": None,
                    "became": "unreadable",
                    "messages": 0,
                },
            ],
            "passed_over": [],
        },
    )
    assert error.startswith("training.jsonl: ")


@pytest.mark.parametrize("format_", ["json", "jsonl", "markdown"])
def test_what_is_exported_comes_back_as_it_was(format_: str, run: Run, tmp_path: Path, home: Path) -> None:
    run("history", "import", str(FIXTURES))
    first, second = tmp_path / "first", tmp_path / "second"
    export = ("history", "export", "--all", "--no-redact", "--branches", "--format", format_)
    assert run(*export, "-o", str(first)).exit_code == 0
    shutil.rmtree(home / "chatllm")
    code, _, stderr = told(run, "import", str(first))
    assert (code, stderr) == (0, "")
    assert run(*export, "-o", str(second)).exit_code == 0
    assert first.read_bytes() == second.read_bytes()


def test_an_import_onto_a_full_disk_says_so_and_tells_what_was_taken_in(run: Run, places: Places) -> None:
    places.conversations.parent.mkdir(parents=True)
    places.conversations.write_text("in the way")
    code, stdout, stderr = told(run, "import", str(FIXTURES / "openai"))
    assert (code, stdout) == (8, "")
    assert stderr.startswith("chatllm: conversation ")
    assert " could not be saved: " in stderr


def test_what_was_taken_in_beside_one_that_could_not_be_saved_is_told_too(
    run: Run, tmp_path: Path, places: Places
) -> None:
    later = replace(CONVERSATION, id="f" * 16, created_at=datetime(2026, 8, 1, tzinfo=UTC))
    (tmp_path / "two.jsonl").write_text("".join(map(json_format.dump_line, (CONVERSATION, later))))
    (places.conversations / "2026").mkdir(parents=True)
    (places.conversations / "2026" / "07").write_text("in the way")
    code, stdout, _ = told(run, "import", str(tmp_path / "two.jsonl"))
    assert (code, stdout) == (8, "chatllm\t1\t0\t0\t0\t0\t2\n")


def test_one_that_cannot_be_added_to_here_is_named_and_the_others_are_taken_in(
    run: Run, tmp_path: Path, places: Places
) -> None:
    other = replace(CONVERSATION, id="f" * 16)
    (tmp_path / "two.jsonl").write_text("".join(map(json_format.dump_line, (LONGER, other))))
    with put(places.data, CONVERSATION).open("ab") as file:
        file.write(b'{"v":99}\n')
    code, stdout, stderr = told(run, "import", str(tmp_path / "two.jsonl"))
    assert (code, stdout) == (1, "chatllm\t1\t0\t0\t0\t1\t2\n")
    assert stderr.startswith(f"chatllm: conversation {ID}: it was written by a newer version of chatllm (format 99)")


def test_a_terminal_shows_only_columns_that_say_something(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("history", "import", str(FIXTURES / "openai" / "training.jsonl"), columns=50)
    assert shown.wait() == 0
    assert shown.text == "format  new  known  new messages\nopenai  3    1      12"


CHATGPT = (FIXTURES / "chatgpt" / "conversations.json").read_bytes()


def test_a_damaged_file_in_a_folder_is_named_and_never_passed_over(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "good.json").write_bytes(CHATGPT)
    (folder / "cut.json").write_bytes(CHATGPT[:300])
    (folder / "cut.db").write_bytes((FIXTURES / "llm" / "threads.db").read_bytes()[:20_000])
    (folder / "notes.txt").write_text("[ ] buy milk")
    code, stdout, stderr = told(run, "import", str(folder))
    assert (code, stdout.splitlines()[-1]) == (1, "unknown\t0\t0\t0\t0\t2\t0")
    first, second, third = stderr.splitlines()
    assert first.startswith("chatllm: downloads/cut.db: the database cannot be read: ")
    assert second.startswith("chatllm: downloads/cut.json: it is no JSON: ")
    assert third == "passed over, as no conversation is in them: downloads/notes.txt"


def test_a_format_is_told_though_the_first_conversation_is_broken(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "conversations.json"
    values = json.loads(CHATGPT)
    path.write_text(json.dumps([{"title": "Gears", "mapping": "oops"}, *values]))
    code, stdout, stderr = told(run, "import", str(path))
    assert (code, stdout.split("\t")[:2]) == (1, ["chatgpt", "2"])  # in the third nothing was said
    assert stderr.startswith("chatllm: conversations.json: conversation 1 (Gears): ")


def test_of_many_files_those_of_another_format_than_the_named_one_are_passed_over(run: Run) -> None:
    code, stdout, _ = told(run, "import", str(FIXTURES), "--format", "claude")
    assert (code, [line.split("\t")[0] for line in stdout.splitlines()]) == (0, ["claude"])


def test_messages_that_say_something_else_here_are_counted_and_stay(run: Run, tmp_path: Path, places: Places) -> None:
    put(places.data, CONVERSATION)
    put(tmp_path / "other", replace(CONVERSATION, messages=(replace(PROMPT, content="Ho"), REPLY)))
    notice = "1 message says something else here than in what was read, and nothing of that was changed\n"
    assert told(run, "merge", str(tmp_path / "other")) == (0, "journal\t0\t0\t1\t0\t0\t0\n", notice)


def test_a_conversation_that_went_on_on_both_sides_is_named(run: Run, tmp_path: Path, places: Places) -> None:
    put(places.data, LONGER)
    other = Message("m4", Role.USER, "Other", NOON, "m2")
    put(tmp_path / "other", replace(CONVERSATION, messages=(PROMPT, REPLY, other), head="m4"))
    notice = f"with another branch now (`history show --tree` shows it): {ID[:8]} 'Greeting'\n"
    assert told(run, "merge", str(tmp_path / "other")) == (0, "journal\t0\t1\t0\t0\t0\t1\n", notice)
