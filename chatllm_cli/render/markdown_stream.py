"""Markdown that streams into the scrollback: a finished block is printed once and never touched again.

Only the block that is still open is repainted, as plain text, and only as much of it as fits the screen; when
it ends it is erased and printed as rich renders it.
"""

import time
from itertools import pairwise

from markdown_it import MarkdownIt
from rich.console import Console
from rich.markdown import Markdown
from rich.text import Text

FRAMES_PER_SECOND = 15
LINES_LEFT_FREE = 2  # a live area as tall as the screen could not be erased
BLOCKS_ENDED_BY_A_BLANK_LINE = {"paragraph_close", "heading_close", "table_close", "hr"}


def split_finished(source: str) -> tuple[list[str], str]:
    """Split markdown into the top-level blocks that nothing to come can change, and the rest."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source)
    blocks = [token for token in tokens if token.level == 0 and token.map]
    if not blocks:
        return [], source
    lines = source.splitlines(keepends=True)
    starts = [token.map[0] for token in blocks if token.map]
    if _ends_in_blank_line(source) and tokens[-1].type in BLOCKS_ENDED_BY_A_BLANK_LINE:
        starts.append(len(lines))
    finished = ["".join(lines[begin:end]) for begin, end in pairwise(starts)]
    return finished, "".join(lines[starts[-1] :])


def _ends_in_blank_line(source: str) -> bool:
    return source.endswith("\n") and not source[:-1].rpartition("\n")[2].strip()


def rendered(source: str) -> Markdown:
    """Return markdown for rich to render; a link shows where it goes, whatever its text says."""
    return Markdown(source, hyperlinks=False, code_theme="ansi_dark")


class MarkdownStream:
    """Shows one reply on a terminal while it comes. Takes cleaned text only."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._open = ""
        self._live_lines = 0
        self._next_frame = 0.0
        self._is_first = True

    def feed(self, text: str) -> None:
        """Take the next piece."""
        self._open += text
        if "\n" in text:
            finished, self._open = split_finished(self._open)
            self._commit(finished)
        if time.monotonic() >= self._next_frame:
            self._paint()

    def finish(self) -> None:
        """Print what is still open; nothing more will come."""
        self._commit([self._open] if self._open.strip() else [])
        self._erase()
        self._open = ""

    def _commit(self, blocks: list[str]) -> None:
        if not blocks:
            return
        self._erase()
        for block in blocks:
            if not self._is_first:
                self._console.print()
            self._console.print(rendered(block))
            self._is_first = False

    def _paint(self) -> None:
        width, height = self._console.size
        lines = Text(self._open.strip("\n")).wrap(self._console, max(width - 1, 1))
        shown = [line.plain.rstrip() for line in lines][-max(height - LINES_LEFT_FREE, 1) :]
        self._erase()
        self._console.file.write("\n".join(shown))
        self._console.file.flush()
        self._live_lines = len(shown)
        self._next_frame = time.monotonic() + 1 / FRAMES_PER_SECOND

    def _erase(self) -> None:
        if self._live_lines:
            up = f"\x1b[{self._live_lines - 1}A" if self._live_lines > 1 else ""
            self._console.file.write(f"\r{up}\x1b[J")
        self._live_lines = 0
