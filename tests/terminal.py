"""Terminals, and the screens that a person would see: one in memory, and a real one with `chatllm` on it."""

import io
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pexpect
import pyte

CHATLLM = str(Path(sys.executable).with_name("chatllm"))
CTRL_C, CTRL_D = "\x03", "\x04"
PATIENCE = 30  # seconds
COLUMNS, ROWS = 80, 24


class Screen(pyte.HistoryScreen):
    """A screen, and what has scrolled off it, without pages to look at that: they take most of the time."""

    __getattribute__ = pyte.Screen.__getattribute__

    @property
    def text(self) -> str:
        """All that was ever on it, without what is blank at its end."""
        lines = [*self.history.top, *(self.buffer[row] for row in range(self.lines))]
        return "\n".join(_written(line, self.columns).rstrip() for line in lines).rstrip("\n")


def _written(line: Mapping[int, pyte.screens.Char], columns: int) -> str:
    cells = [" "] * columns
    for column, cell in line.items():
        if column < columns:
            cells[column] = cell.data
    return "".join(cells)


class FakeTerminal(io.StringIO):
    """A stream that takes itself for a terminal, and the screen that a person would see."""

    def __init__(self, columns: int = COLUMNS, rows: int = ROWS) -> None:
        super().__init__()
        self.screen = Screen(columns, rows, history=5000)
        self._stream = pyte.Stream(self.screen)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._stream.feed(text.replace("\n", "\r\n"))
        return super().write(text)

    @property
    def text(self) -> str:
        """All that was ever on the screen, lines scrolled off included, without what is blank at its end."""
        return self.screen.text


class _Screen(Screen):
    """A screen that answers when the program asks where the cursor is."""

    child: "pexpect.spawn[str]"

    def write_process_input(self, data: str) -> None:
        self.child.send(data)


def _begin(stdout: Path | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as a shell has it: tests that run in the background ignore it
    if stdout:
        os.dup2(os.open(stdout, os.O_WRONLY), 1)


class Terminal:
    """Types into the program and reads its screen; its stdout can go to a named pipe instead."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        program: str = CHATLLM,
        columns: int = COLUMNS,
        rows: int = ROWS,
        stdout: Path | None = None,
    ) -> None:
        self.screen = _Screen(columns, rows, history=5000)
        self._stream = pyte.Stream(self.screen)
        self.raw = ""
        self.child = pexpect.spawn(
            program,
            list(arguments),
            env=dict(os.environ),  # as Python has it: below, readline sets a size that is not this terminal's
            encoding="utf-8",
            dimensions=(rows, columns),
            timeout=PATIENCE,
            preexec_fn=partial(_begin, stdout),
        )
        self.screen.child = self.child

    @property
    def text(self) -> str:
        """All that was ever on the screen, lines scrolled off included."""
        return self.screen.text

    def type(self, keys: str) -> None:
        self.child.send(keys)

    def wait_for(self, text: str) -> str:
        """Read until `text` is on the screen, and return the screen."""
        end = time.monotonic() + PATIENCE
        while text not in self.text:
            assert time.monotonic() < end, f"no {text!r} on the screen:\n{self.text}"
            if not self.read():
                assert text in self.text, f"it ended without {text!r} on the screen:\n{self.text}"
        return self.text

    def wait(self) -> int:
        """Read to the end and return the exit code, as a shell gives it."""
        end = time.monotonic() + PATIENCE
        while self.read():
            assert time.monotonic() < end, f"it did not end:\n{self.text}"
        self.child.wait()
        return 128 + self.child.signalstatus if self.child.signalstatus else int(self.child.exitstatus or 0)

    def hang_up(self) -> None:
        """Close the window, and wait for the end of the program."""
        with Path(os.devnull).open("r+b") as nothing:
            os.dup2(nothing.fileno(), self.child.child_fd)
        self.child.wait()

    def end_by(self, number: int) -> None:
        """Send a signal, and wait for the end of the program."""
        self.child.kill(number)
        self.wait()

    def close(self) -> None:
        self.child.close(force=True)

    def read(self) -> bool:
        """Show what has come; False once the program has ended."""
        try:
            piece = self.child.read_nonblocking(65536, timeout=0.1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += piece
        self._stream.feed(piece)
        return True
