"""Markdown that streams into the scrollback: a finished block is printed once and never touched again.

Only the block that is still open is repainted, as plain text, and only as much of it as fits the screen; when
it ends it is erased and printed as rich renders it.
"""

import time
from dataclasses import dataclass
from itertools import pairwise

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Markdown
from rich.segment import Segment
from rich.text import Text

from chatllm_cli.render.clean import clean

FRAMES_PER_SECOND = 15
PAUSE_PER_COST = 4
LINES_LEFT_FREE = 2  # a live area as tall as the screen could not be erased
ENDED_BY_A_BLANK_LINE = {"paragraph_open", "heading_open", "table_open", "hr"}
# How rich spaces blocks: these bring their own blank line, a rule leaves one, all others get one between.
BRING_A_BLANK_LINE = {"bullet_list_open", "ordered_list_open", "blockquote_open", "table_open"}
LEAVE_A_BLANK_LINE = {"hr"}

_PARSER = MarkdownIt().enable(["table", "strikethrough"])  # as rich has it


@dataclass(frozen=True, slots=True)
class Block:
    """A top-level block: what kind it is, as markdown-it names it, and its source."""

    kind: str
    source: str


def split_blocks(source: str) -> tuple[list[Block], str]:
    """Split markdown into the top-level blocks that nothing to come can change, and the rest."""
    opened = [(token.type, token.map[0]) for token in _PARSER.parse(source) if token.level == 0 and token.map]
    if not opened:
        return [], source
    lines = source.splitlines(keepends=True)
    if _ends_in_blank_line(source) and opened[-1][0] in ENDED_BY_A_BLANK_LINE:
        opened.append(("", len(lines)))
    finished = [Block(kind, "".join(lines[begin:end])) for (kind, begin), (_, end) in pairwise(opened)]
    return finished, "".join(lines[opened[-1][1] :])


def _ends_in_blank_line(source: str) -> bool:
    return source.endswith("\n") and not source[:-1].rpartition("\n")[2].strip()


def rendered(source: str) -> "CleanMarkdown":
    """Return markdown for rich to render; a link shows where it goes, whatever its text says."""
    return CleanMarkdown(Markdown(source, hyperlinks=False, code_theme="ansi_dark"))


@dataclass(frozen=True, slots=True)
class CleanMarkdown:
    """Markdown whose text is cleaned once more when it is rendered: entities and links are decoded on the way."""

    markdown: Markdown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.markdown, options):
            yield Segment(clean(segment.text), segment.style)


class MarkdownStream:
    """Shows one reply on a terminal while it comes. Takes cleaned text only.

    Of a reply that is taken up, the block that was open is shown once more, from its beginning: what goes on in
    the middle of a list or of code could not be rendered alone.
    """

    def __init__(self, console: Console, begun: str = "") -> None:
        self._console = console
        self._open = split_blocks(begun)[1]
        self._last_kind: str | None = None
        self._live_lines = 0
        self._next_frame = 0.0

    def feed(self, text: str) -> None:
        """Take the next piece."""
        self._open += text
        begin = time.monotonic()
        if begin < self._next_frame:
            return
        if "\n" in self._open:  # the last line is left out until it is whole: "2" may yet become "2. two"
            lines, newline, last_line = self._open.rpartition("\n")
            finished, rest = split_blocks(lines + newline)
            self._open = rest + last_line
            self._commit(finished)
        self.paint()
        end = time.monotonic()  # a frame that took long is followed by a longer pause: most time is the reply's
        self._next_frame = end + max(1 / FRAMES_PER_SECOND, PAUSE_PER_COST * (end - begin))

    def make_room(self) -> None:
        """Take the open block off the screen for something else to be shown; it comes back with the next piece."""
        self._erase()
        self._next_frame = 0.0

    def finish(self) -> None:
        """Print what is still open; nothing more will come."""
        finished, rest = split_blocks(self._open)
        self._open = ""
        self._commit([*finished, *(Block(_kind(rest), rest),)] if rest.strip() else finished)
        self._erase()

    def _commit(self, blocks: list[Block]) -> None:
        if blocks:
            self._erase()
        for block in blocks:
            if self._last_kind not in LEAVE_A_BLANK_LINE | {None} and block.kind not in BRING_A_BLANK_LINE:
                self._console.print()
            self._console.print(rendered(block.source))
            self._last_kind = block.kind

    def paint(self) -> None:
        """Show the open block as it is now."""
        width, height = self._console.size
        lines = Text(self._open.strip("\n")).wrap(self._console, max(width - 1, 1))
        shown = [line.plain.rstrip() for line in lines][-max(height - LINES_LEFT_FREE, 1) :]
        self._erase()
        self._console.file.write("\n".join(shown))
        self._console.file.flush()
        self._live_lines = len(shown)

    def _erase(self) -> None:
        # Line by line: a terminal multiplexer saves the screen to its scrollback when all of it is erased at once.
        if self._live_lines:
            self._console.file.write("\r\x1b[K" + "\x1b[1A\x1b[K" * (self._live_lines - 1))
        self._live_lines = 0


def _kind(block: str) -> str:
    return next((token.type for token in _PARSER.parse(block)), "")
