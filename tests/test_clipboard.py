import base64
import os
from io import StringIO
from pathlib import Path

import pyperclip
import pytest

from chatllm_cli.errors import ChatllmError, UsageError
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.repl import clipboard
from tests.terminal import FakeTerminal


@pytest.fixture(autouse=True)
def _no_desktop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let no clipboard be there but what a test puts into its folder of programs."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "TMUX", "SSH_CONNECTION", "SSH_TTY", "XDG_SESSION_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def copied(terminal: FakeTerminal) -> str:
    begin, end = "\x1b]52;c;", "\x07"
    assert terminal.getvalue().startswith(begin)
    return base64.b64decode(terminal.getvalue().removeprefix(begin).removesuffix(end)).decode()


@pytest.mark.parametrize("text", ["hello", "grüße\n", "x" * 50_000])
def test_over_ssh_the_terminal_takes_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "1.2.3.4 5 6.7.8.9 22")
    terminal = FakeTerminal()
    assert clipboard.copy(text, Renderer(terminal, StringIO())) == "the terminal's clipboard, if it allows that"
    assert copied(terminal) == text
    assert terminal.text == ""


def test_what_the_terminal_cannot_take_is_refused_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_TTY", "/dev/pts/1")
    terminal = FakeTerminal()
    with pytest.raises(ChatllmError, match="it is too large for the terminal's clipboard: 80,000 bytes"):
        clipboard.copy("x" * 80_000, Renderer(terminal, StringIO()))
    assert terminal.getvalue() == ""


def test_without_a_terminal_there_is_no_clipboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_TTY", "/dev/pts/1")
    with pytest.raises(ChatllmError, match="there is no clipboard here"):
        clipboard.copy("x", Renderer(StringIO(), StringIO()))


def test_in_tmux_over_ssh_tmux_hands_it_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSH_TTY", "/dev/pts/1")
    monkeypatch.setenv("TMUX", "/tmp/tmux")  # noqa: S108  (never opened)
    program(tmp_path, "tmux", f'echo "$@" > {tmp_path}/called; cat > {tmp_path}/copied')
    terminal = FakeTerminal()
    assert clipboard.copy("hello", Renderer(terminal, StringIO())) == "tmux's clipboard, and the terminal's"
    assert (tmp_path / "copied").read_text() == "hello"
    assert (tmp_path / "called").read_text() == "load-buffer -w -\n"
    assert terminal.getvalue() == ""


def test_a_picture_on_the_clipboard_is_found(tmp_path: Path) -> None:
    assert clipboard.image() is None
    program(tmp_path, "wl-paste", "printf 'no picture'")
    program(tmp_path, "xclip", r"printf '\211PNG\r\n\032\n...'")
    found = clipboard.image()
    assert found
    assert found.startswith(b"\x89PNG\r\n")


def test_a_clipboard_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:

    def fail() -> str:
        raise pyperclip.PyperclipException

    monkeypatch.setattr(pyperclip, "paste", fail)
    with pytest.raises(UsageError, match="the clipboard cannot be read here"):
        clipboard.paste()
