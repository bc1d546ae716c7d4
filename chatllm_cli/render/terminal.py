"""What an output stream can show. No rich here: it takes 20 ms to import, and most of what is said needs none."""

import os
import textwrap
from contextlib import suppress
from typing import TextIO

UNKNOWN_WIDTH = 80
CODES = {"bold": "1", "dim": "2", "red": "31"}
COLOURS = {"red"}
DUMB = {"dumb", "unknown"}  # terminals that cannot take anything back


class Stream:
    """An output stream, and what it can show."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.is_terminal = file.isatty()
        self.is_dumb = os.environ.get("TERM", "").lower() in DUMB
        self.is_forced = os.environ.get("FORCE_COLOR", "") not in {"", "0"}
        self.last = ""  # the last character of an answer that went there as it is
        self.has_colour = not os.environ.get("NO_COLOR")

    @property
    def can_paint(self) -> bool:
        """Tell whether a line can be shown and taken away again."""
        return self.is_terminal and not self.is_dumb

    @property
    def can_style(self) -> bool:
        """Tell whether letters can be bold, or dim."""
        return self.is_forced or self.can_paint

    @property
    def width(self) -> int:
        """How many columns it has; 80 for what has none."""
        if is_size(columns := os.environ.get("COLUMNS", "")):
            return int(columns)
        with suppress(OSError, ValueError, AttributeError):
            return os.get_terminal_size(self.file.fileno()).columns or UNKNOWN_WIDTH
        return UNKNOWN_WIDTH

    def styled(self, text: str, *styles: str) -> str:
        """Return `text` with styles of `CODES`, as far as they can be shown."""
        codes = [CODES[style] for style in styles if self.has_colour or style not in COLOURS]
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if codes and text and self.can_style else text

    def wrapped(self, text: str) -> str:
        """Return `text` broken between words on a terminal, and as it is elsewhere."""
        if not self.is_terminal:
            return text
        return "\n".join(
            textwrap.fill(line, max(self.width, 1), break_on_hyphens=False, break_long_words=False)
            for line in text.split("\n")
        )

    def write(self, text: str) -> None:
        """Write and flush. A stream that is full or closed must not cost the answer."""
        with suppress(OSError):
            self.file.write(text)
            self.file.flush()


def is_size(text: str) -> bool:
    """Tell whether a variable's value is a number of columns or rows."""
    return text.isascii() and text.isdecimal() and int(text[:9]) > 0


def fitting(text: str, width: int) -> str:
    """Return as much of `text`, which is one line, as fits into so many columns."""
    if columns_of(text) <= width:
        return text
    room = max(width - 1, 0)
    if text.isascii():
        return f"{text[:room]}…"
    from rich.cells import set_cell_size  # noqa: PLC0415  (rich, for what needs it)

    return f"{set_cell_size(text, room)}…"


def columns_of(text: str) -> int:
    """Return how many columns a line takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415

    return cell_len(text)
