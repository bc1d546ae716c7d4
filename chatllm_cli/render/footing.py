"""The rows that stand beneath a reply, and above them before it begins."""

import time
from collections.abc import Sequence

from chatllm_cli.render.clean import clean, clean_line
from chatllm_cli.render.footer import PROMPT, Footer
from chatllm_cli.render.markdown.live import LiveArea, Row, room, widest, wrapped
from chatllm_cli.render.markdown.stream import FRAMES_PER_SECOND
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.terminal import Stream, columns_of, fitting

LINE_BREAKS = str.maketrans({"\n": "⏎", "\r": "⏎", "\t": " "})
MOST_PER_COLUMN = 8  # characters: of a line that takes up no columns the end is not looked for further


class Footing:
    """Lays a footer out in rows, as long as it is to be seen."""

    def __init__(self, footer: Footer, out: Stream) -> None:
        self.is_shown = True
        self._footer = footer
        self._out = out

    def rows(self, width: int) -> Sequence[Row]:
        """Return the rows, the one with the cursor last."""
        if not self.is_shown:
            return ()
        prompt = PROMPT + ending(self._footer.draft(), width - len(PROMPT))
        typed = Row(prompt[:width], widest(prompt[:width]))
        status = fitting(clean_line(self._footer.status(width)), width)
        return (Row(self._out.styled(status, "dim"), columns_of(status)), typed) if status else (typed,)


class Prelude:
    """What stands above the footer before a reply begins: what is waited for, or what the model thinks aloud.

    Whole lines of its thoughts are printed into the scrollback; the one that is not whole yet is a live row.
    """

    def __init__(self, renderer: Renderer, live: LiveArea, footing: Footing) -> None:
        self._console = renderer.console
        self._out = renderer.out
        self._live = live
        self._footing = footing
        self._waiting: Sequence[str] = ()  # the line, and what is said where it finds no room
        self._incoming: list[str] = []  # thoughts that came since the last frame
        self._thought = ""  # the line that is not whole
        self._next_frame = 0.0

    def wait(self, text: str, short: str) -> None:
        """Show what is waited for."""
        self._waiting = [clean_line(text), clean_line(short)]
        self.refresh()

    def think(self, text: str) -> None:
        """Take the next piece of the thoughts, which is clean."""
        self._waiting = ()
        self._incoming.append(text)
        if (now := time.monotonic()) >= self._next_frame:
            self.refresh()
            self._next_frame = now + 1 / FRAMES_PER_SECOND

    def refresh(self) -> None:
        """Show all as it is now."""
        *lines, self._thought = (self._thought + "".join(self._incoming)).split("\n")
        self._incoming.clear()
        printed = "".join(f"{line and self._out.styled(line, 'dim')}\n" for line in lines)
        if text := (self._live.erase() + printed if lines else "") + self._live.show(self._rows()):
            self._out.write(text)

    def _rows(self) -> Sequence[Row]:
        width, most = room(self._console.size)
        foot = self._footing.rows(width)[-max(most - 1, 1) :]
        above = most - len(foot)
        return [*(self._own_rows(width, above) if above else ()), *foot]

    def _own_rows(self, width: int, most: int) -> Sequence[Row]:
        if self._waiting:
            line, short = self._waiting
            shown = fitting(short if short and columns_of(line) > width else line, width)
            return [Row(shown, columns_of(shown))]
        rows = wrapped(self._thought, width, most) if self._thought else []
        return [Row(self._out.styled(row.text, "dim"), row.width) for row in rows]


def ending(text: str, width: int) -> str:
    """Return the end of `text`, clean and on one line, that fits into so many columns."""
    latest = text[-MOST_PER_COLUMN * max(width, 1) :]
    line = clean(latest.translate(LINE_BREAKS))
    if len(latest) == len(text) and widest(line) <= width:
        return line
    columns, begin = 1, len(line)  # one is for the sign that says so
    while begin and (columns := columns + widest(line[begin - 1])) <= width:
        begin -= 1
    while begin < len(line) and not widest(line[begin]):  # an accent whose letter is cut off
        begin += 1
    return f"…{line[begin:]}"
