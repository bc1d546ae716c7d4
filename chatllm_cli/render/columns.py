"""Several answers side by side: the ends of them while they come, in rows that are taken away, then all of each.

What changes is never taller than a live area may be, so that nothing of it gets into the scrollback.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from chatllm_cli.render.clean import StreamCleaner, clean_line
from chatllm_cli.render.markdown.document import Trimmed, rendered
from chatllm_cli.render.markdown.live import LiveArea, Row, room, widest, wrapped
from chatllm_cli.render.markdown.stream import FRAMES_PER_SECOND
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.terminal import fitting
from chatllm_cli.render.turn_views import TurnView

NARROWEST = 30  # columns of the screen for an answer
BETWEEN = " │ "
STEADY = 8
MOST_SHOWN = 16_384  # characters at the end of an answer: more than a live area holds on any screen


def columns_that_fit(width: int) -> int:
    """Return how many answers fit side by side on a screen of that width; 1 at least."""
    return max((_usable(width) + len(BETWEEN)) // (NARROWEST + len(BETWEEN)), 1)


def _usable(width: int) -> int:
    return width - 1  # as for all that changes: a row that fills the screen may wrap


def _cells(width: int, count: int) -> int:
    """Return how wide each of so many columns is."""
    return max((_usable(width) - len(BETWEEN) * (count - 1)) // count, 1)


@dataclass
class Column:
    """One of the answers."""

    name: str
    waiting: str = ""  # what is waited for; empty while the answer, or a thought, comes
    thoughts: str = ""  # the end of them, until the answer begins
    end: str = ""  # of the answer, clean
    whole: str = ""  # once it is over

    def rows(self, width: int, most: int) -> Sequence[Row]:
        """Return the last rows of what there is to be seen."""
        text = self.end or self.thoughts or self.waiting
        # More than are shown: a paragraph whose beginning is out of sight would be broken anew with each word.
        return wrapped(text.strip("\n"), width, most * STEADY)[-most:] if text else ()


class Board:
    """Shows the columns while their answers come, and puts out all of them once they are over."""

    def __init__(self, renderer: Renderer, names: Sequence[str]) -> None:
        self.columns = [Column(clean_line(name)) for name in names]
        self._renderer = renderer
        self._console = renderer.console
        self._out = renderer.out
        self._live = LiveArea(lambda: self._console.size)
        self._next_frame = 0.0
        self._is_finished = False

    def changed(self) -> None:
        """Show the columns as they are now, unless that was done a moment ago."""
        if (now := time.monotonic()) >= self._next_frame:
            self.refresh()
            self._next_frame = now + 1 / FRAMES_PER_SECOND

    def refresh(self) -> None:
        """Show the columns as they are now."""
        if not self._is_finished:
            self._write(self._live.show(self._rows()))

    def erase(self) -> None:
        """Take them off the screen; they come back with whatever changes next."""
        self._write(self._live.erase())
        self._next_frame = 0.0

    def finish(self) -> None:
        """Put out all of the answers, side by side, in place of what was shown."""
        self.erase()
        self._is_finished = True
        self._console.print(Trimmed(_SideBySide(self.columns, self._renderer.code_theme)), end="")

    def _rows(self) -> list[Row]:
        width, most = room(self._console.size)
        cells = _cells(width + 1, len(self.columns))
        bodies = [column.rows(cells, max(most - 1, 1)) for column in self.columns]
        names = [fitting(column.name, cells) for column in self.columns]
        rows = [_row([self._out.styled(name, "bold") for name in names], [widest(name) for name in names], cells)]
        for number in range(max(map(len, bodies))):
            line = [body[number] if number < len(body) else Row("", 0) for body in bodies]
            texts = [self._styled(column, row.text) for column, row in zip(self.columns, line, strict=True)]
            rows.append(_row(texts, [row.width for row in line], cells))
        return rows[-most:]

    def _styled(self, column: Column, text: str) -> str:
        return text if column.end else self._out.styled(text, "dim")

    def _write(self, text: str) -> None:
        if text:
            self._console.file.write(text)
            self._console.file.flush()


def _row(texts: Sequence[str], widths: Sequence[int], cells: int) -> Row:
    """Return the pieces of a row, each in a column of its own."""
    before = [text + " " * max(cells - width, 0) for text, width in zip(texts[:-1], widths[:-1], strict=True)]
    return Row(BETWEEN.join([*before, texts[-1]]), (cells + len(BETWEEN)) * len(before) + widths[-1])


class ColumnView(TurnView):
    """Shows one turn in a column; what there is to say besides is said above all of them."""

    def __init__(self, renderer: Renderer, board: Board, column: Column) -> None:
        self._board = board
        self._column = column
        self._cleaner = StreamCleaner()
        self._pieces: list[str] = []
        super().__init__(renderer, column.name)

    def step_aside(self) -> None:
        """Take the columns off the screen for something to be said."""
        self._board.erase()

    def close(self) -> None:
        """Take all of the reply into the column."""
        super().close()
        self._add(self._cleaner.flush())
        self._column.whole = "".join(self._pieces)
        self._board.refresh()

    def _take(self, text: str) -> None:
        self._add(self._cleaner.feed(text))
        self._board.changed()

    def _add(self, text: str) -> None:
        self._pieces.append(text)
        self._column.end = (self._column.end + text)[-MOST_SHOWN:]

    @property
    def _shows_waiting(self) -> bool:
        return True

    def _show_waiting(self, text: str, short: str) -> None:  # noqa: ARG002  (the name stands above it)
        self._column.waiting = short
        self._board.changed()

    def _hide_waiting(self) -> None:
        self._column.waiting = ""

    def _put_thoughts(self, text: str) -> None:
        self._column.thoughts = (self._column.thoughts + text)[-MOST_SHOWN:]
        self._board.changed()

    def _make_room(self) -> None:
        self._board.erase()

    def _catch_up(self) -> None:
        self._board.refresh()


class _SideBySide:
    """The answers as rendered markdown, each in a column of its own under its name."""

    def __init__(self, columns: Sequence[Column], code_theme: str) -> None:
        self._columns = columns
        self._code_theme = code_theme

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render them line by line."""
        cells = _cells(options.max_width, len(self._columns))
        within = options.update(width=cells, height=None)
        columns = [list(self._lines(console, within, column)) for column in self._columns]
        blank = [Segment(" " * cells)]
        for number in range(max(map(len, columns))):
            for place, lines in enumerate(columns):
                if place:
                    yield Segment(BETWEEN, Style(dim=True))
                yield from lines[number] if number < len(lines) else blank
            yield Segment.line()

    def _lines(self, console: Console, options: ConsoleOptions, column: Column) -> Iterator[Sequence[Segment]]:
        yield from console.render_lines(Text(fitting(column.name, options.max_width), style="bold"), options)
        answer: RenderableType = rendered(column.whole, self._code_theme)
        if column.whole.strip():
            yield from console.render_lines(answer, options)
