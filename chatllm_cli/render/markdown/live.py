"""The rows at the end of the output that may still change: painted again and again, and gone without a trace."""

import os
from collections.abc import Callable, Mapping, Sequence

from rich.cells import get_character_cell_size

from chatllm_cli.frozen import frozen

MOST_ROWS = 16  # more could not be taken away when the window becomes lower
LEFT_FREE = 2  # rows: what is as tall as the screen cannot be taken away either
VARIATION_16 = "\N{VARIATION SELECTOR-16}"
REGIONAL = {chr(code) for code in range(0x1F1E6, 0x1F200)}  # letters, two of which are a flag
KEEP_ROWS_APART = {"linux", "dumb"}  # terminals that cut long lines when the window becomes narrower


@frozen
class Row:
    """A row as it is written, and how many columns it takes."""

    text: str
    width: int


class LiveArea:
    """Knows what is on the screen of the open block, and how to change it. Returns what has to be written."""

    def __init__(self, size: Callable[[], tuple[int, int]]) -> None:
        self._size = size
        self._rows: Sequence[Row] = ()
        self._width = 0
        self._reflows = reflows(os.environ)

    def show(self, rows: Sequence[Row]) -> str:
        """Return what turns the rows on the screen into these."""
        width = self._size()[0]
        same = 0 if width != self._width else _common(self._rows, rows)
        if same == len(rows) == len(self._rows):
            return ""
        if same == len(rows):  # fewer than before: the last one is written again, for the cursor to stand behind it
            same = max(same - 1, 0)
        written = self._back_to(same)
        if same == len(self._rows) and self._rows:
            written += "\n"
        self._rows, self._width = list(rows), width
        return written + "\n".join(row.text for row in rows[same:])

    def erase(self) -> str:
        """Return what takes the rows off the screen; the cursor is then where they began."""
        written = self._back_to(0)
        self._rows = ()
        return written

    def _back_to(self, kept: int) -> str:
        """Return what takes all but the first rows away, and leaves the cursor where the next one belongs."""
        # Row by row: a terminal multiplexer saves the screen to its scrollback when all of it is erased at once.
        gone = sum(map(self._height, self._rows[kept:]))
        return "\r\x1b[K" + "\x1b[1A\x1b[K" * (gone - 1) if gone else ""

    def _height(self, row: Row) -> int:
        """Return how many rows of the screen a row takes now: more in a narrower window, if that wraps it anew."""
        width = self._size()[0]
        return max(-(-row.width // width), 1) if self._reflows and width < self._width else 1


def room(size: tuple[int, int]) -> tuple[int, int]:
    """Return how wide rows may be on a screen of that size, and how many there may be."""
    width, height = size
    return max(width - 1, 1), max(min(height - LEFT_FREE, MOST_ROWS), 1)


def reflows(environment: Mapping[str, str]) -> bool:
    """Tell whether the terminal wraps its lines anew when its width changes; nearly all do."""
    term = environment.get("TERM", "")
    is_screen = term.startswith("screen") and "TMUX" not in environment
    return not (is_screen or "XTERM_VERSION" in environment or term in KEEP_ROWS_APART or term.startswith("rxvt"))


def wrapped(text: str, width: int, most: int) -> list[Row]:
    """Return the last rows of plain text, broken at blanks where there are any."""
    rows: list[Row] = []
    for line in reversed(text[-width * most :].split("\n")):
        rows[:0] = _wrapped_line(line.expandtabs(), width)
        if len(rows) >= most:
            break
    return rows[-most:]


def widest(text: str) -> int:
    """Return how many columns a line takes at most.

    Terminals do not agree on characters that belong together (families, flags, hearts in red), and a row that was
    wider than was thought could not be taken away.
    """
    return len(text) if text.isascii() else sum(map(_widest_character, text))


def _widest_character(character: str) -> int:
    if character == VARIATION_16:  # makes a narrow character wide, in some terminals
        return 1
    return 2 if character in REGIONAL else get_character_cell_size(character)


def _wrapped_line(line: str, width: int) -> list[Row]:
    rows = []
    while (cells := widest(line)) > width:
        fitting = width
        while widest(line[:fitting]) > width:
            fitting -= 1
        blank = line.rfind(" ", 0, fitting + 1)
        cut = blank if blank > 0 else max(fitting, 1)
        rows.append(Row(line[:cut], widest(line[:cut])))
        line = line[cut:].removeprefix(" ") if blank > 0 else line[cut:]
    return [*rows, Row(line, cells)]


def _common(old: Sequence[Row], new: Sequence[Row]) -> int:
    same = 0
    for one, other in zip(old, new, strict=False):
        if one != other:
            break
        same += 1
    return same
