"""A fenced block of code that goes on: it looks as rich's does, line by line."""

from collections.abc import Sequence

from markdown_it.token import Token as Fence
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.text import Text

from chatllm_cli.render.markdown.document import Trimmed
from chatllm_cli.render.markdown.highlighting import CodeLines
from chatllm_cli.render.markdown.live import MOST_ROWS, Row, widest, wrapped
from chatllm_cli.render.markdown.parsing import closing_line


class OpenFence:
    """A fenced block whose closing line has not come."""

    def __init__(self, fence: Fence, theme: str) -> None:
        self._closing = closing_line(fence.markup)
        self._lines = CodeLines(fence.info.partition(" ")[0], theme)
        self._blank: list[Text] = []  # lines: those at the end of the block are left out
        self._is_empty = True
        self._held_rows: list[Row] | None = None
        self._width = 0  # of those
        self._rows: dict[object, list[Row]] = {}  # by line: one that looks as before is not rendered again

    def is_closed_by(self, line: str) -> bool:
        """Tell whether this line ends the block."""
        return bool(self._closing.match(line))

    def edge(self) -> RenderableType:
        """Return the line above the code, or below it."""
        return Trimmed(Padding(Text(""), (0, 0), style=self._lines.style))

    def feed(self, lines: str) -> RenderableType:
        """Take lines, and return those that are final."""
        if not lines:
            return Group()
        self._held_rows = None
        return self._printed(self._lines.feed(lines))

    def close(self) -> RenderableType:
        """Return what is left."""
        rest = self._printed(self._lines.close())
        return Group(rest, *([self.edge()] if self._is_empty else []), self.edge())

    def held_rows(self, console: Console, width: int) -> list[Row]:
        """Return the rows of what is held back, as it looks now."""
        if self._held_rows is None or width != self._width:
            known, self._rows, self._width = self._rows, {}, width
            self._held_rows = []
            for line in [*self._blank[-MOST_ROWS:], *self._lines.rest()][-MOST_ROWS:]:
                key = (line.plain, width, *line.spans)
                self._rows[key] = known.get(key) or self._row_of(console, line, width)
                self._held_rows += self._rows[key]
        return self._held_rows

    def _row_of(self, console: Console, line: Text, width: int) -> list[Row]:
        # What rich wraps may be wider on the screen, and of a very long line only the end is seen.
        if len(line.plain) > width * MOST_ROWS or widest(line.plain) != line.cell_len:
            return wrapped(line.plain, width, MOST_ROWS)
        return _rows(console, self._in_block(line), width)

    def _printed(self, lines: Sequence[Text]) -> RenderableType:
        found: list[Text] = []
        for line in lines:
            self._blank.append(line)
            if line.plain.strip():
                found += self._blank
                self._blank = []
        self._is_empty = self._is_empty and not found
        return Group(*map(self._in_block, found))

    def _in_block(self, line: Text) -> RenderableType:
        return Trimmed(Padding(line, (0, 1), style=self._lines.style))


def _rows(console: Console, line: RenderableType, width: int) -> list[Row]:
    rows = []
    for segments in console.render_lines(line, console.options.update(width=width), pad=False):
        with console.capture() as capture:
            console.print(Segments(segments), end="")
        rows.append(Row(capture.get(), Segment.get_line_length(segments)))
    return rows
