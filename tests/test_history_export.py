"""What leaves the history, in which shape, and what a person is told of it."""

import hashlib
import json
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.formats import json as json_format
from chatllm_cli.formats import markdown, writing
from chatllm_cli.formats.reading.source import Imported, Source
from chatllm_cli.models import Attachment, Conversation, Message, Role, Status
from chatllm_cli.services.history import files, records
from tests.conftest import Run
from tests.documents import PNG
from tests.terminal import Terminal
from tests.trees import CONVERSATION

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
SHA256 = hashlib.sha256(PNG).hexdigest()
# In two parts each: whoever scans this repository for secrets must not find one.
OPENAI_KEY = "sk-proj-" + "a1B2" * 10
GITHUB_TOKEN = "ghp_" + "a1" * 18
OWN_KEY = "my.own.key-0042"
ALL_KINDS = [str(kind) for kind in writing.Format]


def talk(
    number: int, prompt: str = "Why?", answer: str = "Because.", status: Status = Status.COMPLETE
) -> Conversation:
    """Return a conversation of one turn, the later the higher its number."""
    at = NOON + timedelta(days=number)
    asked = Message(f"u{number}", Role.USER, prompt, at)
    answered = Message(f"a{number}", Role.ASSISTANT, answer, at, asked.id, status=status, model="hub/m", cost=0.0)
    return Conversation(
        f"{number:04}talk", records.title_of(prompt), at, "hub/m", messages=(asked, answered), head=answered.id
    )


Keep = Callable[..., None]


@pytest.fixture
def keep(places: Places) -> Keep:
    """Put conversations into the history, those named later used last."""

    def keep(*conversations: Conversation, tail: bytes = b"") -> None:
        for each in conversations:
            path = files.journal_at(places.conversations, f"{each.created_at:%Y/%m}", each.id)
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [records.conversation_record(each), *map(records.message_record, each.messages)]
            lines.append(records.tags_record(each.id, each.tags, each.created_at))
            lines.append(records.head_record(each.id, each.head, each.created_at))
            path.write_bytes(records.encode(*lines) + tail)

    return keep


def break_journal(places: Places, conversation: Conversation) -> None:
    """Let a journal be one of a newer version."""
    (path,) = places.conversations.glob(f"*/*/{conversation.id}.jsonl")
    path.write_text('{"v":99,"type":"conversation","id":"x"}\n')


def ids(document: str) -> list[str]:
    """Return the ids of the conversations in a .jsonl file."""
    return [json.loads(line)["id"] for line in document.splitlines()]


def exported(run: Run, *arguments: str) -> list[str]:
    result = run("history", "export", "--format", "jsonl", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return ids(result.stdout)


ONE, TWO, THREE = talk(1, "Why is the sky blue?"), talk(2, "And the sea?"), talk(3, "Say bye")


def test_without_a_word_it_is_the_last_used(run: Run, keep: Keep) -> None:
    keep(ONE, TWO, THREE)
    assert exported(run) == [THREE.id]


def test_several_can_be_named_each_is_written_once(run: Run, keep: Keep) -> None:
    keep(ONE, TWO, THREE)
    assert exported(run, "Say bye", "@3", "@1", ONE.id) == [THREE.id, ONE.id]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--all"], [THREE, TWO, ONE]),
        (["--since", "2026-07-03"], [THREE, TWO]),
        (["--all", "--since", "2026-07-03"], [THREE, TWO]),
        (["--until", "2026-07-03"], [ONE]),
        (["-m", "hub"], [THREE, TWO, ONE]),
        (["--tag", "mine"], [TWO]),
        (["--search", "sky"], [ONE]),
        (["--search", "because"], [THREE, TWO, ONE]),
        (["--search", "because", "--since", "2026-07-04"], [THREE]),
    ],
)
def test_filters_choose_as_the_list_and_the_search_have_them(
    run: Run, keep: Keep, arguments: list[str], expected: Sequence[Conversation]
) -> None:
    keep(ONE, replace(TWO, tags=("mine",)), THREE)
    assert exported(run, *arguments) == [each.id for each in expected]


def test_a_search_has_no_limit(run: Run, keep: Keep) -> None:
    keep(*(talk(number) for number in range(1, 31)))
    assert len(exported(run, "--search", "why")) == 30


@pytest.mark.parametrize(
    "arguments", [["--all"], ["--since", "2030-01-01"], ["--tag", "no"], ["--search", "nowhere"]]
)
def test_where_nothing_is_chosen_it_says_so_and_writes_nothing(
    run: Run, keep: Keep, tmp_path: Path, arguments: list[str]
) -> None:
    if arguments != ["--all"]:
        keep(ONE)
    result = run("history", "export", *arguments, "-o", str(tmp_path / "out.md"))
    told = "chatllm: no conversation is like that\n  hint: `chatllm history list` shows what there is\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", told)
    assert not (tmp_path / "out.md").exists()


@pytest.mark.parametrize("option", [["--all"], ["--since", "7d"], ["--search", "x"], ["--tag", "x"], ["-m", "x"]])
def test_a_conversation_and_a_choice_do_not_go_together(run: Run, keep: Keep, option: list[str]) -> None:
    keep(ONE)
    result = run("history", "export", "@1", *option)
    assert result.exit_code == 2
    assert result.stderr == (
        "chatllm: a conversation is named, and others are chosen by --all, --search or a filter: take one\n"
    )


def test_an_empty_search_is_a_usage_error(run: Run) -> None:
    result = run("history", "export", "--search", " ")
    assert (result.exit_code, result.stderr) == (2, "chatllm: there is nothing to search for\n")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.md", "markdown"),
        ("a.json", "json"),
        ("a.JSONL", "jsonl"),
        ("a.html", "html"),
        ("a.txt", "text"),
        ("a", "markdown"),
        ("a.markdown", "markdown"),
        ("a.htm", "html"),
    ],
)
def test_the_ending_of_a_file_says_the_format(run: Run, keep: Keep, tmp_path: Path, name: str, kind: str) -> None:
    keep(ONE)
    assert run("history", "export", "-o", str(tmp_path / name)).exit_code == 0
    assert (tmp_path / name).read_text() == run("history", "export", "--format", kind).stdout


def test_an_ending_that_tells_no_format_is_refused_and_the_file_stays(run: Run, keep: Keep, tmp_path: Path) -> None:
    keep(ONE)
    (tmp_path / "a.docx").write_text("mine")
    result = run("history", "export", "-o", str(tmp_path / "a.docx"))
    hint = "  hint: --format says which it is; .jsonl, .txt, .html, .json, .md, .markdown, .htm tell it\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"chatllm: '.docx' tells no format\n{hint}")
    assert (tmp_path / "a.docx").read_text() == "mine"


def test_the_format_that_is_named_outweighs_the_ending(run: Run, keep: Keep, tmp_path: Path) -> None:
    keep(ONE)
    run("history", "export", "--format", "text", "-o", str(tmp_path / "a.json"))
    assert (tmp_path / "a.json").read_text() == run("history", "export", "--format", "text").stdout


def imported(loader: Callable[[Source], object], document: str) -> list[Conversation]:
    outcomes = list(loader(Source("x", document.encode())))  # type: ignore[call-overload]
    assert all(isinstance(each, Imported) for each in outcomes)
    return [each.conversation for each in outcomes]


def test_several_in_one_document_can_be_told_apart(run: Run, keep: Keep) -> None:
    keep(ONE, TWO)

    def written(kind: str) -> str:
        return run("history", "export", "--all", "--format", kind).stdout

    assert imported(json_format.load, written("json")) == [TWO, ONE]
    assert imported(json_format.load, written("jsonl")) == [TWO, ONE]
    assert imported(markdown.load, written("markdown")) == [TWO, ONE]
    assert [each["id"] for each in json.loads(written("json"))] == [TWO.id, ONE.id]
    assert [line["messages"][1]["content"] for line in map(json.loads, written("openai").splitlines())] == [
        "Because.",
        "Because.",
    ]
    assert re.findall("<h1>(.*?)</h1>", written("html")) == ["2 conversations", TWO.title, ONE.title]
    one = "Why is the sky blue?\n\nUser, 2026-07-02 12:00 UTC:\nWhy is the sky blue?\n\n"
    one += "hub/m, 2026-07-02 12:00 UTC:\nBecause.\n"
    assert written("text").endswith(f"\n\n\n{one}")


def test_one_that_is_named_is_an_object_and_one_that_is_chosen_an_array(run: Run, keep: Keep) -> None:
    keep(ONE)
    named = json.loads(run("history", "export", "@1", "--format", "json").stdout)
    chosen = json.loads(run("history", "export", "--all", "--format", "json").stdout)
    assert chosen == [named]


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_folder_gets_a_file_for_each_and_the_same_again(run: Run, keep: Keep, tmp_path: Path, kind: str) -> None:
    keep(ONE, TWO)
    folder = tmp_path / "new" / "out"
    ending = writing.ENDINGS[writing.Format(kind)]
    names = [f"2026-07-02-why-is-the-sky-blue-0001talk{ending}", f"2026-07-03-and-the-sea-0002talk{ending}"]
    for _ in range(2):
        result = run("history", "export", "--all", "--format", kind, "-o", f"{folder}/")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
        assert sorted(path.name for path in folder.iterdir()) == names
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / names[0]).read_text() == run("history", "export", ONE.id, "--format", kind).stdout


def test_a_folder_that_is_there_needs_no_slash_and_keeps_its_mode(run: Run, keep: Keep, tmp_path: Path) -> None:
    keep(ONE)
    folder = tmp_path / "out"
    folder.mkdir(mode=0o755)
    assert run("history", "export", "-o", str(folder)).exit_code == 0
    assert [path.name for path in folder.iterdir()] == ["2026-07-02-why-is-the-sky-blue-0001talk.md"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_name_that_is_empty_is_not_the_current_folder(run: Run, keep: Keep) -> None:
    keep(ONE)
    result = run("history", "export", "-o", "")
    assert (result.exit_code, result.stderr) == (2, "chatllm: -o names no file\n")


def test_two_whose_names_would_be_one_have_longer_names(run: Run, keep: Keep, tmp_path: Path) -> None:
    keep(replace(ONE, id="0001talk-a"), replace(ONE, id="0001talk-b"))
    run("history", "export", "--all", "-o", f"{tmp_path}/out/")
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize(
    "alike", [("a" * 70 + "1", "a" * 70 + "2", "a" * 70 + "3"), ("0001-talk-a", "0001_talk_a", "0001-TALK-A")]
)
def test_no_file_of_one_export_is_replaced_by_another_of_it(
    run: Run, keep: Keep, tmp_path: Path, alike: Sequence[str]
) -> None:
    keep(*(replace(ONE, id=each) for each in alike))
    for _ in range(2):
        run("history", "export", "--all", "--format", "json", "-o", f"{tmp_path}/out/")
        assert sorted(json.loads(path.read_text())["id"] for path in (tmp_path / "out").iterdir()) == sorted(alike)


def test_a_long_title_of_rare_characters_fits_into_a_name(run: Run, keep: Keep, tmp_path: Path) -> None:
    keep(replace(ONE, title="\U00020000" * 80))
    assert run("history", "export", "-o", f"{tmp_path}/out/").exit_code == 0


def test_no_title_leads_out_of_the_folder(run: Run, keep: Keep, tmp_path: Path) -> None:
    keep(replace(ONE, title="../../../etc/-rf /\0\n"), replace(TWO, title="/"))
    result = run("history", "export", "--all", "-o", f"{tmp_path}/a/b/c/")
    assert result.exit_code == 0
    found = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert found == ["a/b/c/2026-07-02-etc-rf-0001talk.md", "a/b/c/2026-07-03-0002talk.md"]


def test_a_folder_that_cannot_be_made_is_told(run: Run, keep: Keep, tmp_path: Path) -> None:
    keep(ONE)
    (tmp_path / "file").write_text("in the way")
    result = run("history", "export", "-o", f"{tmp_path}/file/out/")
    assert (result.exit_code, result.stderr) == (2, f"chatllm: {tmp_path}/file/out cannot be made: File exists\n")


@pytest.mark.parametrize("target", ["-", "out.jsonl", "out/"])
def test_what_cannot_be_read_is_named_and_the_others_are_written(
    run: Run, keep: Keep, places: Places, tmp_path: Path, target: str
) -> None:
    keep(ONE, TWO, THREE)
    break_journal(places, TWO)
    output = target if target == "-" else f"{tmp_path}/{target}"
    result = run("history", "export", "--all", "--format", "jsonl", "-o", output)
    told = f"chatllm: conversation {TWO.id} was written by a newer version of chatllm (format 99)\n"
    assert (result.exit_code, result.stderr) == (8, f"{told}  hint: update chatllm to read it\n")
    paths = [tmp_path / "out.jsonl"] if target == "out.jsonl" else sorted((tmp_path / "out").glob("*"), reverse=True)
    document = result.stdout if target == "-" else "".join(path.read_text() for path in paths)
    assert ids(document) == [THREE.id, ONE.id]


@pytest.mark.parametrize(("named", "exit_code"), [("@1", 2), ("0001talk", 8), ("--all", 8)])
def test_where_nothing_can_be_read_nothing_is_written(
    run: Run, keep: Keep, places: Places, tmp_path: Path, named: str, exit_code: int
) -> None:
    keep(ONE)
    break_journal(places, ONE)
    (tmp_path / "out.md").write_text("old")
    result = run("history", "export", named, "-o", str(tmp_path / "out.md"))
    assert (result.exit_code, result.stdout, result.stderr[:9]) == (exit_code, "", "chatllm: ")
    assert (tmp_path / "out.md").read_text() == "old"


def test_damaged_lines_are_told_they_are_not_in_it(run: Run, keep: Keep) -> None:
    keep(ONE, tail=b"{broken\n")
    result = run("history", "export", "--format", "json")
    assert json.loads(result.stdout)["messages"][1]["content"] == "Because."
    assert (result.exit_code, result.stderr) == (
        0,
        "damaged lines in conversation 0001talk 'Why is the sky blue?', skipped: 1 (`history check`)\n",
    )


def test_show_tells_them_beside_its_json_too(run: Run, keep: Keep) -> None:
    keep(ONE, tail=b"{broken\n")
    result = run("history", "show", "--json")
    assert result.stdout == run("history", "export", "--format", "json").stdout
    assert (result.exit_code, result.stderr) == (0, "damaged lines in this conversation's file, skipped: 1\n")


def test_a_conversation_without_a_whole_turn_gives_no_training_data_and_is_told(
    run: Run, keep: Keep, tmp_path: Path
) -> None:
    keep(ONE, talk(2, "Go on", "half", Status.INTERRUPTED))
    told = "no whole turn is in conversation 0002talk 'Go on': it is left out\n"
    on_stdout = run("history", "export", "--all", "--format", "openai")
    assert (on_stdout.exit_code, on_stdout.stdout.count("\n"), on_stdout.stderr) == (0, 1, told)
    in_folder = run("history", "export", "--all", "--format", "openai", "-o", f"{tmp_path}/out/")
    assert (in_folder.exit_code, len(list((tmp_path / "out").iterdir())), in_folder.stderr) == (0, 1, told)
    nothing = run("history", "export", "0002talk", "--format", "openai", "-o", str(tmp_path / "a.jsonl"))
    assert (nothing.exit_code, nothing.stderr.splitlines()[0]) == (
        1,
        "chatllm: there is no whole turn in what was chosen",
    )
    assert not (tmp_path / "a.jsonl").exists()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("markdown", "messages on other branches, left out: 1 (--branches writes them)\n"),
        ("text", "messages on other branches, left out: 1 (markdown and json can have them)\n"),
        ("json", ""),
    ],
)
def test_what_stands_on_other_branches_is_written_or_told(run: Run, keep: Keep, kind: str, told: str) -> None:
    keep(CONVERSATION)
    assert run("history", "export", "--format", kind).stderr == told


def test_branches_are_written_where_a_format_has_them(run: Run, keep: Keep) -> None:
    keep(CONVERSATION)
    assert "left out" not in run("history", "export").stdout
    assert "left out" in run("history", "export", "--branches").stdout
    assert run("history", "export", "--branches", "--format", "json").exit_code == 0
    result = run("history", "export", "--branches", "--format", "html")
    assert (result.exit_code, result.stderr) == (
        2,
        "chatllm: html has one branch only\n  hint: markdown, json and jsonl can have every branch\n",
    )


SECRET_TALK = replace(
    talk(1, f"My key is {OPENAI_KEY}, what now?", f"Do not use {GITHUB_TOKEN} and {OPENAI_KEY}."),
    system_prompt=f"Log in with {OWN_KEY}.",
    tags=(GITHUB_TOKEN, "fine"),
)
SECRET_TALK = replace(
    SECRET_TALK,
    messages=(
        replace(
            SECRET_TALK.messages[0],
            attachments=(Attachment(f"https://x/?k={OPENAI_KEY}", "text/plain", 9, f"token = {GITHUB_TOKEN}"),),
        ),
        replace(SECRET_TALK.messages[1], reasoning=f"It is {OPENAI_KEY}", error=f"401 for {OPENAI_KEY}"),
    ),
)


@pytest.fixture
def own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_API_KEY", OWN_KEY)
    monkeypatch.setenv("CHATLLM_BASE_URL", "https://hub.example/v1")


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_secrets_are_replaced_in_every_text_and_counted(run: Run, keep: Keep, own_key: None, kind: str) -> None:
    keep(SECRET_TALK)
    result = run("history", "export", "--format", kind)
    assert result.exit_code == 0
    # In whatever shape: of the title, which was cut out of the prompt, half a key is left.
    assert [part for part in (OPENAI_KEY[:14], GITHUB_TOKEN[:10], OWN_KEY) if part in result.stdout] == []
    assert "[OpenAI key]" in result.stdout
    count, _, kinds = result.stderr.partition(" secrets were replaced (")
    assert int(count) == 9
    assert sorted(kinds.partition(")")[0].split(", ")) == ["GitHub token", "OpenAI key", "key of yours"]
    assert result.stderr.endswith("); --no-redact keeps them\n")


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_they_are_kept_on_demand(run: Run, keep: Keep, own_key: None, kind: str) -> None:
    keep(SECRET_TALK)
    result = run("history", "export", "--no-redact", "--format", kind)
    assert (result.exit_code, result.stderr) == (0, "")
    assert OPENAI_KEY in result.stdout


def test_all_that_was_replaced_is_counted_together(run: Run, keep: Keep) -> None:
    keep(talk(1, "x", OPENAI_KEY), talk(2), talk(3, "y", GITHUB_TOKEN))
    result = run("history", "export", "--all")
    assert result.stderr == "2 secrets were replaced (GitHub token, OpenAI key); --no-redact keeps them\n"
    assert run("history", "export", "0001talk").stderr == (
        "1 secret was replaced (OpenAI key); --no-redact keeps them\n"
    )


def test_a_forks_title_has_no_half_of_a_secret_either(run: Run, keep: Keep) -> None:
    fork = talk(1, f"The key that I was given for it today is {OPENAI_KEY}")
    keep(replace(fork, title=f"{fork.title} (fork)"))
    document = run("history", "export", "--format", "json").stdout
    assert json.loads(document)["title"] == "The key that I was given for it today is [OpenAI key] (fork)"


def test_a_conversation_with_an_image_comes_back_with_it(run: Run, keep: Keep, places: Places) -> None:
    image = Attachment("a.png", "image/png", len(PNG), sha256=SHA256)
    keep(replace(ONE, messages=(replace(ONE.messages[0], attachments=(image,)), ONE.messages[1])))
    places.attachments.mkdir(parents=True)
    (places.attachments / SHA256).write_bytes(PNG)
    (outcome,) = json_format.load(Source("a", run("history", "export", "--format", "json").stdout.encode()))
    assert isinstance(outcome, Imported)
    assert outcome.files == {SHA256: PNG}
    assert "data:image/png;base64," in run("history", "export", "--format", "html").stdout
    assert "files" not in json.loads(run("history", "show", "--json").stdout)


def test_a_terminal_is_told_what_was_written(terminal: Callable[..., Terminal], keep: Keep, tmp_path: Path) -> None:
    keep(ONE, TWO)
    screen = terminal("history", "export", "--all", "-o", f"{tmp_path}/out/", columns=200)
    screen.wait()
    assert screen.text.strip() == f"2 conversations are written to {tmp_path}/out"
