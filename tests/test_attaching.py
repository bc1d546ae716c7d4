import base64
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.cli.completion import complete_path
from chatllm_cli.config.places import Places
from tests.conftest import Run
from tests.documents import PNG, a_pdf
from tests.fake_openai import FakeOpenAI
from tests.page_server import PageServer
from tests.terminal import CHATLLM, Terminal
from tests.test_ask import journal_of


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with something to attach in it."""
    folder = tmp_path / "folder"
    (folder / "src").mkdir(parents=True)
    (folder / "a.py").write_text("print(1)\n")
    (folder / "a.png").write_bytes(PNG)
    for name in ("b.py", "c.py", "ignored.log"):
        (folder / "src" / name).write_text(f"# {name}\n")
    (folder / "src" / "d.bin").write_bytes(b"\0")
    (folder / "src" / ".gitignore").write_text("*.log\n")
    monkeypatch.chdir(folder)
    return folder


def sent(provider: FakeOpenAI) -> Any:
    return provider.chats[-1].body["messages"][-1]["content"]


def test_a_file_goes_with_the_prompt_and_is_kept_with_it(run: Run, provider: FakeOpenAI, places: Places) -> None:
    result = run("ask", "-f", "a.py", "What does it print?")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "hello there", "")
    assert sent(provider) == '<document name="a.py">\nprint(1)\n</document>\n\nWhat does it print?'
    prompt = journal_of(places)[1]
    assert (prompt["content"], prompt["attachments"]) == (
        "What does it print?",
        [{"name": "a.py", "media_type": "text/plain", "size": 9, "text": "print(1)\n"}],
    )


def test_several_are_attached_in_their_order_and_none_twice(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "--file", "src", "-f", "a.py", "-f", "src", "What?")
    assert re.findall('name="(.*?)"', sent(provider)) == ["src/b.py", "src/c.py", "a.py"]


def test_an_image_goes_out_as_openai_has_it_and_is_kept_once(
    run: Run, provider: FakeOpenAI, places: Places, folder: Path
) -> None:
    (folder / "again").write_bytes(PNG)
    run("ask", "-f", "a.png", "-f", "again", "What is it?")
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"}}
    assert sent(provider) == [
        {"type": "text", "text": 'Image "a.png":'},
        image,
        {"type": "text", "text": 'Image "again":'},
        image,
        {"type": "text", "text": "What is it?"},
    ]
    assert [path.read_bytes() for path in places.attachments.iterdir()] == [PNG]
    run("ask", "-c", "And now?")
    assert provider.chats[-1].body["messages"][0]["content"][1] == image


def test_an_image_whose_file_is_gone_is_told_to_the_model(run: Run, provider: FakeOpenAI, places: Places) -> None:
    run("ask", "-f", "a.png", "What is it?")
    next(places.attachments.iterdir()).unlink()
    assert run("ask", "-c", "And now?").exit_code == 0
    assert provider.chats[-1].body["messages"][0]["content"][1] == {
        "type": "text",
        "text": "[an image that is not there any more]",
    }


def test_an_answer_without_an_image_is_not_given_once_it_is_there_again(
    run: Run, provider: FakeOpenAI, places: Places, folder: Path
) -> None:
    run("ask", "-f", "a.png", "What is it?")
    next(places.attachments.iterdir()).unlink()
    cached = ("ask", "-c", "--temperature", "0", "And now?")
    run(*cached)
    asked = len(provider.chats)
    run("ask", "-f", "a.png", "What is it?")
    run(*cached)
    assert len(provider.chats) == asked + 2
    run("ask", "-f", "a.png", "What is it?")
    run(*cached)
    assert len(provider.chats) == asked + 3  # the last question was answered from the cache


def test_stdin_can_be_what_is_attached(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "-f", "-", "Why?", stdin="no such file\n")
    assert sent(provider) == '<document name="stdin">\nno such file\n</document>\n\nWhy?'


def test_without_a_prompt_what_is_attached_is_asked_about_and_gives_the_title(run: Run, provider: FakeOpenAI) -> None:
    assert run("ask", "-f", "a.py").exit_code == 0
    assert sent(provider) == '<document name="a.py">\nprint(1)\n</document>'
    assert run("history", "list").stdout.split("\t")[3] == "a.py"
    run("ask", "-c", "-f", "src/b.py")
    assert sent(provider) == '<document name="src/b.py">\n# b.py\n</document>'


def test_a_page_from_the_web_is_attached(run: Run, provider: FakeOpenAI) -> None:
    with PageServer({"/": ("text/html", b"<h1>News</h1><script>no</script>")}) as server:
        run("ask", "-f", f"{server.url}/", "Sum it up.")
        assert sent(provider) == f'<document name="{server.url}/">\n# News\n</document>\n\nSum it up.'
        result = run("ask", "-f", f"{server.url}/status-404", "Sum it up.")
        assert (result.exit_code, result.stderr) == (
            2,
            f"chatllm: {server.url}/status-404 cannot be read: HTTP 404 Not Found\n",
        )
    result = run("ask", "-f", f"{server.url}/", "Sum it up.")
    assert (result.exit_code, result.stderr) == (
        5,
        f"chatllm: {server.url}/ did not come: connection refused\n",
    )


def test_a_pdf_is_attached_as_its_text(run: Run, provider: FakeOpenAI, folder: Path) -> None:
    (folder / "paper.pdf").write_bytes(a_pdf("We found it"))
    run("ask", "-f", "paper.pdf")
    assert sent(provider) == '<document name="paper.pdf">\nWe found it\n</document>'


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-f", "gone"], "there is no file gone"),
        (["-f", "a.py", "-f", "src/d.bin"], "src/d.bin is neither text in UTF-8 nor an image (byte 1)"),
        (["-f", "*.md"], "no file matches *.md"),
        (["-m", "local/smollm2", "-f", "a.png"], "a.png cannot be sent: the embedded model takes no images"),
    ],
)
def test_what_cannot_be_attached_is_one_line_and_nothing_is_sent_or_kept(
    run: Run, provider: FakeOpenAI, places: Places, arguments: list[str], told: str
) -> None:
    result = run("ask", *arguments, "hi")
    assert (result.exit_code, result.stdout, result.stderr.splitlines()[0]) == (2, "", f"chatllm: {told}")
    assert (provider.chats, places.data.exists()) == ([], False)


def test_what_is_larger_than_may_be_is_refused_with_its_size(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_LIMITS__ATTACHMENT_MB", "0.000005")
    for arguments, told in (
        (["-f", "a.py"], "a.py is 9 bytes, and one attachment may be 5 bytes (limits.attachment_mb)"),
        (["-f", "-"], "stdin is larger than one attachment may be: 5 bytes (limits.attachment_mb)"),
    ):
        result = run("ask", *arguments, stdin="too much")
        assert (result.exit_code, result.stderr) == (2, f"chatllm: {told}\n")


def test_what_is_longer_than_the_model_reads_is_refused_with_its_size(
    run: Run, provider: FakeOpenAI, folder: Path
) -> None:
    (folder / "long.txt").write_text("word " * 20_000)
    result = run("ask", "-m", "local/smollm2", "-f", "long.txt", "Sum it up.")
    assert result.exit_code == 5
    assert "the prompt is about 20," in result.stderr


def test_a_private_question_leaves_no_image_behind(run: Run, provider: FakeOpenAI, places: Places) -> None:
    assert run("ask", "--private", "-f", "a.png", "hi").exit_code == 0
    assert sent(provider)[1]["type"] == "image_url"
    assert not places.data.exists()


def test_removing_the_conversation_removes_its_image(run: Run, provider: FakeOpenAI, places: Places) -> None:
    run("ask", "-f", "a.png", "hi")
    assert run("history", "rm", "@1", "--yes").exit_code == 0
    assert list(places.attachments.iterdir()) == []


def test_what_was_attached_is_found_by_a_search(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "-f", "src", "hi")
    assert "c.py" in run("history", "search", "# c.py").stdout


def test_an_answer_to_the_same_files_comes_from_the_cache_and_to_others_does_not(
    run: Run, provider: FakeOpenAI, folder: Path
) -> None:
    for _ in range(2):
        run("ask", "--cache", "-f", "a.png", "-f", "a.py", "hi")
    assert len(provider.chats) == 1
    (folder / "a.png").write_bytes(PNG + b"\n")
    run("ask", "--cache", "-f", "a.png", "-f", "a.py", "hi")
    assert len(provider.chats) == 2


def test_files_go_along_with_a_schema(run: Run, provider: FakeOpenAI) -> None:
    result = run("ask", "-m", 'json:{"name": "Ada"}', "--schema", "name", "-f", "a.py")
    assert (json.loads(result.stdout), sent(provider)[:20]) == ({"name": "Ada"}, '<document name="a.py')


def test_a_person_is_told_what_is_attached_before_it_is_sent(
    provider: FakeOpenAI, terminal: Callable[..., Terminal]
) -> None:
    screen = terminal("ask", "-f", "src", "-f", "a.png", "hi")
    screen.wait_for("hello there")
    told = screen.text.splitlines()
    assert told[:4] == [
        "attached: src/b.py (7 bytes, about 2 tokens)",
        "attached: src/c.py (7 bytes, about 2 tokens)",
        "skipped in src: 1 file that cannot be attached",
        "attached: a.png (image/png, 70 bytes)",
    ]


def test_stdin_that_is_a_terminal_cannot_be_attached(provider: FakeOpenAI, terminal: Callable[..., Terminal]) -> None:
    screen = terminal("ask", "-f", "-", "hi")
    screen.wait_for("chatllm: -f - attaches stdin, which is a terminal")
    assert provider.chats == []


def test_files_go_with_the_first_prompt_of_a_chat(provider: FakeOpenAI, terminal: Callable[..., Terminal]) -> None:
    screen = terminal("chat", "-f", "a.py")
    screen.wait_for("attached: a.py (9 bytes, about 3 tokens)")
    screen.type("What?\r")
    screen.wait_for("hello there")
    screen.type("Why?\r\x04")
    assert screen.wait() == 0
    assert [message[1] for message in provider.last_messages()] == [
        '<document name="a.py">\nprint(1)\n</document>\n\nWhat?',
        "hello there",
        "Why?",
    ]


def test_a_chat_cannot_attach_what_is_typed(terminal: Callable[..., Terminal]) -> None:
    terminal("chat", "-f", "-").wait_for("chatllm: chat cannot attach stdin: you type there")


def test_reading_a_pipe_that_nobody_writes_does_not_wait(provider: FakeOpenAI, folder: Path) -> None:
    subprocess.run(["mkfifo", "pipe"], check=True)
    done = subprocess.run(
        [CHATLLM, "ask", "-f", "pipe", "hi"],
        capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        2,
        "chatllm: pipe cannot be attached: it is a named pipe\n  hint: pipe it in, with -f -\n",
    )


@pytest.mark.parametrize(
    ("begun", "paths"),
    [
        ("", ["a.png", "a.py", "src/"]),
        ("a.p", ["a.png", "a.py"]),
        ("src/", ["src/b.py", "src/c.py", "src/d.bin", "src/ignored.log"]),
        ("src/.", ["src/.gitignore"]),
        ("./s", ["./src/"]),
        ("~/f", ["~/file"]),
        ("gone/", []),
        ("~nobody-here/", []),
        ("https://host/", []),
    ],
)
def test_paths_complete_in_the_shell(home: Path, begun: str, paths: list[str]) -> None:
    (home / "file").touch()
    assert complete_path(begun) == paths


def test_a_file_whose_name_is_not_utf_8_is_attached_with_its_folder(
    run: Run, provider: FakeOpenAI, folder: Path
) -> None:
    (folder / "odd").mkdir()
    (folder / "odd" / os.fsdecode(b"\xff\x1b[31m.txt")).write_text("odd")
    assert run("ask", "-f", "odd").exit_code == 0
    assert sent(provider) == '<document name="odd/\N{REPLACEMENT CHARACTER}\x1b[31m.txt">\nodd\n</document>'
    assert run("history", "search", "odd").stdout.count("\n") == 1
    assert run("history", "list").exit_code == 0
