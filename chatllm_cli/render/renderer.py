"""Everything a person sees. stdout carries the answer and nothing else; all the rest goes to stderr."""

import io
import select
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from chatllm_cli.errors import ChatllmError
from chatllm_cli.models import Conversation, Message, Status
from chatllm_cli.render.clean import clean, clean_line

LONGEST_ERROR = 2000
SHORT_CELL = 9

ENDINGS = {
    Status.INTERRUPTED: "the answer was interrupted",
    Status.TRUNCATED: "the answer is cut off: it reached the limit on its length",
    Status.FILTERED: "the answer is cut off: the provider's content filter stopped it",
    Status.ERROR: "the answer is cut off: the request failed",
    Status.UNKNOWN_END: "the answer may be cut off: the provider did not say that it was done",
}
REFUSED = "the model refused to answer"
NOTHING_CAME = "the limit on the answer's length was used up before any text came"
UNMARKED = "the answer is cut off: the connection ended before it did"


class Renderer:
    """Shows turns, tables and messages on the two streams it is given."""

    def __init__(self, stdout: TextIO, stderr: TextIO, *, plain: bool = False) -> None:
        self.stdout = stdout
        self.is_plain = plain
        # No markup, emoji codes or highlighting: the strings come from outside.
        self.console = _console(stdout)
        self._err = _console(stderr)

    @property
    def is_terminal(self) -> bool:
        """Tell whether a person reads stdout."""
        return self.console.is_terminal

    def notice(self, text: str) -> None:
        """Say something on stderr that is no failure."""
        self._say(Text(clean(text), style="dim"), soft_wrap=not self._err.is_terminal)

    def error(self, error: ChatllmError) -> None:
        """Say on stderr what went wrong, in one line, and what may help, in another."""
        message, hint = clean_line(error.message)[:LONGEST_ERROR], clean_line(error.hint or "")[:LONGEST_ERROR]
        self._say(Text.assemble(("chatllm: ", "bold red"), message), soft_wrap=True)
        if hint:
            self._say(Text(f"  hint: {hint}", style="dim"), soft_wrap=True)

    def text(self, text: str, *, end: str = "\n") -> None:
        """Put text on stdout: exact on a pipe, clean on a terminal."""
        self.stdout.write((clean(text) if self.is_terminal else text) + end)
        self.stdout.flush()

    def question(self, text: str) -> None:
        """Ask something on stderr that is answered in the same line."""
        self._write_err(clean_line(text) + " ")

    def rows(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table: aligned on a terminal, tab-separated and without a header on a pipe."""
        if not self.is_terminal:
            for row in rows:
                self.text("\t".join(" ".join(cell.split()) for cell in row))
            return
        table = Table(box=None, header_style="dim", pad_edge=False)
        for name, *cells in zip(header, *rows, strict=True):
            widest = max(map(len, [name, *cells]))
            # Short cells, those with addresses among them, stay whole on a narrow terminal.
            table.add_column(name, min_width=widest if widest <= SHORT_CELL else None)
        for row in rows:
            table.add_row(*(Text(clean_line(cell), overflow="ellipsis", no_wrap=True) for cell in row))
        self.console.print(table)

    def cached(self, at: datetime) -> None:
        """Say that an answer is from the cache."""
        self.notice(f"cached {age(at, datetime.now(UTC))} (--no-cache asks again)")

    def stand_in(self, address: str) -> None:
        """Say that the embedded model answers because no provider is set up."""
        self.notice(f"no key and no base_url: {address} answers, the small model that comes along")

    def answer(self, conversation: Conversation) -> None:
        """Put the last answer on stdout where it was not streamed there; here it was."""

    def ending(self, reply: Message, *, command: str = "") -> None:
        """Say of a reply that it is not whole, or says nothing, if so, and which command goes on with it."""
        if told := _ending(reply):
            can_go_on = command and reply.status is not Status.FILTERED
            self.notice(f"{told}; {command} goes on" if can_go_on else told)
        elif not reply.content.strip():
            self.notice("the answer is empty")

    def stopped(self, reply: Message | None, *, command: str) -> None:
        """Say that the user stopped a reply, which is None if nothing is kept of it.

        Whoever closed the pipe it went into did so without a word.
        """
        if not _has_reader(self.stdout):
            return
        if reply is None:
            self.notice("stopped")
        elif reply.content:
            self.notice(f"stopped; what came is kept; {command} goes on")
        else:
            self.notice(f"stopped; nothing came; {command} asks again")

    @property
    def can_paint(self) -> bool:
        """Tell whether a line on stderr can be shown and taken away again."""
        return self._err.is_terminal and not self._err.is_dumb_terminal

    def waiting(self, text: str, short: str = "") -> None:
        """Show on a terminal what is waited for, in place of what was shown before, until `waited`.

        `short` is for where `text` finds no room.
        """
        if self.can_paint:
            room = max(self._err.width - 3, 1)  # a line that wraps, with ^C behind it, could not be taken away
            line = Text(clean_line(text))
            if line.cell_len > room and short:
                line = Text(clean_line(short))
            line.truncate(room, overflow="ellipsis")
            self._write_err(f"\r\x1b[K{line.plain}")

    def waited(self) -> None:
        """Take away what `waiting` showed."""
        if self.can_paint:
            self._write_err("\r\x1b[K")

    def _say(self, line: Text, *, soft_wrap: bool) -> None:
        # Rich writes into a string only: at a closed stderr it would end the program, and stdout along with it.
        stderr, self._err.file = self._err.file, io.StringIO()
        self._err.print(line, soft_wrap=soft_wrap)
        text, self._err.file = self._err.file.getvalue(), stderr
        self._write_err(text)

    def _write_err(self, text: str) -> None:
        with suppress(OSError):  # a stderr that is full or closed must not cost the answer
            self._err.file.write(text)
            self._err.file.flush()


def _has_reader(stream: TextIO) -> bool:
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)  # errors are told always
        return not poll.poll(0)
    except (AttributeError, OSError, ValueError):  # nothing that could be closed from the other side
        return True


def _ending(reply: Message) -> str | None:
    if reply.status is Status.TRUNCATED and reply.finish_reason is None:
        return UNMARKED
    if reply.status is Status.TRUNCATED and not reply.content:
        return NOTHING_CAME
    return REFUSED if reply.finish_reason == "refusal" else ENDINGS.get(reply.status)


def _console(stream: TextIO) -> Console:
    """Return a console that takes the stream for what it is, whatever FORCE_COLOR and its like say."""
    return Console(file=stream, force_terminal=stream.isatty(), markup=False, emoji=False, highlight=False)


def age(at: datetime, now: datetime) -> str:
    """Return how long ago `at` was, in the largest unit that fits."""
    seconds = max((now - at).total_seconds(), 0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"
