import stat
from pathlib import Path

import pytest

from chatllm_cli.errors import UsageError
from chatllm_cli.repl.prompt_editor import edited


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's editor, a shell script that a test writes."""
    path = tmp_path / "editor"
    path.touch(mode=0o755)
    monkeypatch.setenv("EDITOR", str(path))
    monkeypatch.delenv("VISUAL", raising=False)
    return path


def does(editor: Path, script: str) -> None:
    editor.write_text(f"#!/bin/sh\n{script}\n")


def test_what_the_editor_writes_is_the_prompt(editor: Path) -> None:
    does(editor, 'printf "%s, edited\\n\\n" "$(cat "$1")" > "$1"')
    assert edited("a\nb") == "a\nb, edited\n"


def test_it_lies_where_nobody_else_can_read_it_and_nothing_of_it_is_left(editor: Path, tmp_path: Path) -> None:
    does(editor, f'stat -c %a "$1" "$(dirname "$1")" > {tmp_path}/modes; echo "$1" > {tmp_path}/name; cp "$1" "$1~"')
    edited("secret")
    assert (tmp_path / "modes").read_text() == "600\n700\n"
    draft = Path((tmp_path / "name").read_text().strip())
    assert not draft.parent.exists()
    assert stat.S_ISDIR(draft.parent.parent.stat().st_mode)


def test_what_is_not_utf_8_is_read_as_far_as_it_is(editor: Path) -> None:
    does(editor, 'printf "a\\377b" > "$1"')
    assert edited("") == "a\N{REPLACEMENT CHARACTER}b"


def test_an_editor_that_gives_up_changes_nothing(editor: Path) -> None:
    does(editor, "exit 3")
    with pytest.raises(UsageError, match=r"ended with exit code 3; the prompt is as it was"):
        edited("x")


@pytest.mark.parametrize("command", ["/nowhere/editor", "'unclosed"])
def test_an_editor_that_cannot_be_started_is_told(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", command)
    with pytest.raises(UsageError):
        edited("x")


def test_an_editor_that_takes_the_file_away_is_told(editor: Path) -> None:
    does(editor, 'rm "$1"')
    with pytest.raises(UsageError, match="cannot be used: No such file or directory"):
        edited("x")
