"""Markdown that streams into the scrollback: what is finished is printed once and never touched again.

Finished are a top-level block, an item of a list, a block in a quote and a line of code. Only what is still open is
painted again and again, as the text it is, in a few rows at the end. What comes is parsed with the open block alone,
so that the work grows with the reply and no faster.
"""

import re
import time
from collections.abc import Callable, Sequence

from markdown_it.token import Token
from rich.console import Console, RenderableType

from chatllm_cli.render.markdown.code import OpenFence
from chatllm_cli.render.markdown.document import Document
from chatllm_cli.render.markdown.live import LiveArea, Row, room, wrapped
from chatllm_cli.render.markdown.parsing import CONTAINERS, Block, References, is_finished, parse, split_lines

FRAMES_PER_SECOND = 20
PAUSE_PER_COST = 4
MOST_PENDING = 32_768  # characters that wait for a frame: more would hold up whatever else is to happen
LARGE = 6000  # characters of an open block: from there on it is parsed only when a line may end it,
GROWTH = 9 / 8  # and it has grown so much since
GROWS_WITH_ANY_LINE = {"paragraph_open", "table_open"}  # but for one that may end it
MAY_END_A_BLOCK = re.compile(r"[ \t]*$|#|```|~~~|[-*+] |\d{1,9}[.)] ")


def no_rows(_: int) -> Sequence[Row]:
    """Return what stands beneath a reply without a footer."""
    return ()


class MarkdownStream:
    """Shows one reply on a terminal while it comes. Takes cleaned text only.

    Of a reply that is taken up, the block that was open is shown once more, from its beginning: what goes on in
    the middle of a list or of code could not be rendered alone.
    """

    def __init__(
        self,
        console: Console,
        begun: str = "",
        code_theme: str = "ansi_dark",
        *,
        paints: bool = True,
        live: LiveArea | None = None,
        foot: Callable[[int], Sequence[Row]] = no_rows,
    ) -> None:
        self._console = console
        self._code_theme = code_theme
        self._paints = paints  # what is open, too; else it is printed once it is finished
        self._live = live or LiveArea(lambda: console.size)
        self._foot = foot  # what stands beneath the open block in so many columns
        self._incoming: list[str] = []  # what came since the last frame: adding each to the tail would copy it
        self._pending = 0  # characters of it
        self._tail = ""  # of the reply: what is not printed
        self._has_new_line = self._may_have_ended = False  # since the tail was parsed: any line, one that may end it
        self._looked_at = 0  # characters of the tail when it was parsed
        self._open_kind = ""  # of the block that the tail begins with, once that is known
        self._references: References = {}
        self._wants_blank_line = False  # before what is printed next
        self._printed_children: int | None = None  # of the list or quote that is open: the next one's number
        self._fence: OpenFence | None = None
        self._next_frame = 0.0
        if begun:
            self._skip(begun)

    def feed(self, text: str) -> None:
        """Take the next piece."""
        self._incoming.append(text)
        self._pending += len(text)
        begin = time.monotonic()
        if begin < self._next_frame and self._pending < MOST_PENDING:
            return
        self.paint()
        end = time.monotonic()  # a frame that took long is followed by a longer pause: most time is the reply's
        self._next_frame = end + max(1 / FRAMES_PER_SECOND, PAUSE_PER_COST * (end - begin))

    def paint(self) -> None:
        """Print what is finished, and show what is open as it is now."""
        finished = self._take_finished()
        self._write((self._live.erase() + finished if finished else "") + self._live.show(self._rows()))

    def refresh(self) -> None:
        """Show what stands beneath as it is now; what came since the last frame waits for the next one."""
        self._write(self._live.show(self._rows()))

    def make_room(self) -> None:
        """Take the open block off the screen for something else to be shown; it comes back with the next piece."""
        self._write(self._live.erase())
        self._next_frame = 0.0

    def finish(self) -> None:
        """Print what is still open; nothing more will come."""
        finished = self._take_finished(is_end=True)
        self._write(self._live.erase() + finished)

    def _skip(self, begun: str) -> None:
        """Take a text as printed, but for the block at its end that is open."""
        blocks, references = parse(begun)
        lines = split_lines(begun)
        is_whole = not blocks or (begun.endswith("\n") and is_finished(blocks[-1], lines))
        finished = blocks if is_whole else blocks[:-1]
        self._cut(lines, len(lines) if is_whole else blocks[-1].begin, references)
        self._look_at(len(self._tail))
        self._wants_blank_line = bool(finished) and finished[-1].kind != "hr"

    def _take_finished(self, *, is_end: bool = False) -> str:
        """Return what is finished, rendered, and keep the rest."""
        incoming = "".join(self._incoming)
        self._incoming.clear()
        self._pending = 0
        self._tail += incoming
        self._look_at(len(incoming))
        finished = self._take_blocks(is_end=is_end) if self._fence is None and self._is_news(is_end=is_end) else ""
        while fence := self._fence:
            finished += self._take_code(fence, is_end=is_end)
            if self._fence:
                break
            finished += self._take_blocks(is_end=is_end)
        return finished

    def _is_news(self, *, is_end: bool) -> bool:
        """Tell whether what came may have finished something."""
        if is_end:
            return True
        if self._open_kind in GROWS_WITH_ANY_LINE or len(self._tail) >= LARGE:
            has_grown = len(self._tail) < LARGE or len(self._tail) >= self._looked_at * GROWTH
            return self._may_have_ended and has_grown
        return self._has_new_line

    def _look_at(self, length: int) -> None:
        """Take note of the lines that became whole with the last characters of the tail."""
        before = len(self._tail) - length
        if self._tail.find("\n", before) < 0:
            return
        begin = self._tail.rfind("\n", 0, before) + 1
        lines = self._tail[begin:].split("\n")[:-1]
        self._has_new_line = True
        self._may_have_ended = self._may_have_ended or any(map(MAY_END_A_BLOCK.match, lines))

    def _take_blocks(self, *, is_end: bool) -> str:
        # The last line is left out until it is whole: "2" may yet become "2. two".
        whole = len(self._tail) if is_end else self._tail.rfind("\n") + 1
        lines, rest = split_lines(self._tail[:whole]), self._tail[whole:]
        self._looked_at, self._has_new_line, self._may_have_ended = len(self._tail), False, False
        blocks, references = parse(self._tail[:whole], self._references)
        self._open_kind = ""
        if not blocks:
            return ""
        if is_end:
            self._cut([], 0, references)
            return self._whole(blocks)
        if is_finished(blocks[-1], lines):
            self._cut([*lines, rest], blocks[-1].end, references)
            return self._whole(blocks)
        *before, last = blocks
        finished = self._whole(before) if before else ""
        if last.kind == "fence" and not lines[last.begin].startswith(" "):
            self._cut([*lines, rest], last.begin + 1, references)
            return finished + self._opening(last)
        if last.kind in CONTAINERS and len(children := last.children()) > 1:
            self._cut([*lines, rest], children[-1].begin, references)
            return finished + self._part(last, children[:-1])
        self._open_kind = last.kind
        self._cut([*lines, rest], last.begin, references)
        return finished

    def _cut(self, lines: Sequence[str], begin: int, references: References) -> None:
        """Keep the lines from `begin` on, and the link definitions before them."""
        known = {label: found for label, found in references.items() if found["map"][1] <= begin}
        self._references = {**known, **self._references}
        self._tail = "".join(lines[begin:])

    def _whole(self, blocks: Sequence[Block]) -> str:
        """Return blocks that are finished; of the first one, which may have begun before, what is left."""
        printed, self._printed_children = self._printed_children, None
        first = blocks[0] if printed is None else blocks[0].having(blocks[0].children(), printed)
        tokens = [*first.tokens, *(token for block in blocks[1:] for token in block.tokens)]
        return self._document(tokens, blocks[-1].kind, is_continued=printed is not None)

    def _part(self, block: Block, children: Sequence[Block]) -> str:
        """Return some children of a list or quote that goes on."""
        printed = self._printed_children
        number = int(block.tokens[0].attrs.get("start", 1)) if printed is None else printed
        self._printed_children = number + len(children)
        return self._document(block.having(children, number).tokens, block.kind, is_continued=printed is not None)

    def _document(self, tokens: Sequence[Token], last_kind: str, *, is_continued: bool) -> str:
        is_first = not self._wants_blank_line
        self._wants_blank_line = last_kind != "hr"
        return self._rendered(Document(tokens, self._code_theme, is_first=is_first, is_continued=is_continued))

    def _opening(self, block: Block) -> str:
        """Return the top of a block of code, whose lines follow one by one."""
        self._fence = OpenFence(block.tokens[0], self._code_theme)
        blank_line, self._wants_blank_line = "\n" * self._wants_blank_line, True
        return blank_line + self._rendered(self._fence.edge())

    def _take_code(self, fence: OpenFence, *, is_end: bool) -> str:
        whole = len(self._tail) if is_end else self._tail.rfind("\n") + 1
        lines = split_lines(self._tail[:whole])
        end = next((place for place, line in enumerate(lines) if fence.is_closed_by(line)), None)
        finished = self._rendered(fence.feed("".join(lines[:end])))
        self._cut([*lines, self._tail[whole:]], len(lines) if end is None else end + 1, {})
        if end is not None or is_end:
            finished += self._rendered(fence.close())
            self._fence = None
        return finished

    def _rendered(self, what: RenderableType) -> str:
        with self._console.capture() as capture:
            self._console.print(what)
        return capture.get()

    def _rows(self) -> list[Row]:
        """Return what is open and what stands beneath it, as rows that fit the screen."""
        if not self._paints:
            return []
        width, most = room(self._console.size)
        foot = self._foot(width)[-max(most - 1, 1) :]
        above = most - len(foot)
        return [*(self._open_rows(width, above) if above else ()), *foot]

    def _open_rows(self, width: int, most: int) -> list[Row]:
        """Return the end of what is open."""
        end = self._tail[-width * most - most :].strip("\n")
        rows = wrapped(end, width - bool(self._fence), most) if end else []
        if self._fence:  # its lines stand one column further in
            rows = [Row(f" {row.text}", row.width + 1) for row in rows]
            rows = [*self._fence.held_rows(self._console, width), *rows]
        elif rows and self._wants_blank_line and self._printed_children is None:
            rows = [Row("", 0), *rows]
        return rows[-most:]

    def _write(self, text: str) -> None:
        if text:
            self._console.file.write(text)
            self._console.file.flush()
