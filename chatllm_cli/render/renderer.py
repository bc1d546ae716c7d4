"""Everything a person sees. stdout carries the answer and nothing else; all the rest goes to stderr."""

import json
import os
import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from copy import copy
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

from chatllm_cli.amounts import dollars
from chatllm_cli.errors import ChatllmError, UsageError
from chatllm_cli.models import Bill, Conversation, Message, Status
from chatllm_cli.private_files import replace_file, replace_private_file, replacing
from chatllm_cli.render.clean import clean, clean_line
from chatllm_cli.render.terminal import Stream, columns_of, fitting
from chatllm_cli.render.themes import BY_BACKGROUND, Looks, background
from chatllm_cli.render.wishes import Wish, wanted_blocks

if TYPE_CHECKING:
    from rich.console import Console

LONGEST_ERROR = 2000
PROGRAM = "chatllm: "  # what every error begins with
SMALLEST_SHARE = 0.01

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

    asks_again = " (--refresh asks again)"  # how whoever gets a cached answer gets another
    whom = ""  # the model that is spoken of, where that has to be said

    def __init__(self, stdout: TextIO, stderr: TextIO, looks: Looks | None = None) -> None:
        self.out, self.err = Stream(stdout), Stream(stderr)
        self.looks = looks or Looks()

    @property
    def stdout(self) -> TextIO:
        """Where the answer goes."""
        return self.out.file

    @cached_property
    def console(self) -> "Console":
        """Rich's console on stdout, for what is laid out."""
        from chatllm_cli.render.consoles import open_console  # noqa: PLC0415  (20 ms, which a pipe does without)

        return open_console(self.out, self.looks)

    @property
    def code_theme(self) -> str:
        """The colours of code."""
        return self.looks.code_theme or BY_BACKGROUND.get(background(self.looks.theme, os.environ), "bw")

    @property
    def is_terminal(self) -> bool:
        """Tell whether a person reads stdout."""
        return self.out.is_terminal

    @property
    def paints_answers(self) -> bool:
        """Tell whether an answer is rendered while it comes, with rows that change."""
        return self.out.can_paint and not self.looks.plain

    @property
    def cleans(self) -> bool:
        """Tell whether what goes to stdout as it is has to be cleaned first."""
        return self.looks.clean == "always" or (self.is_terminal and self.looks.clean != "never")

    def about(self, whom: str) -> Self:
        """Return a renderer on the same streams that says of what it tells on stderr which model it is about."""
        other = copy(self)
        other.whom = whom
        return other

    def notice(self, text: str) -> None:
        """Say something on stderr that is no failure."""
        text = f"{self.whom}: {text}" if self.whom else text
        self.err.write(self.err.styled(self.err.wrapped(clean(text)), "dim") + "\n")

    @property
    def is_read_by_a_person(self) -> bool:
        """Tell whether a person reads stderr."""
        return self.err.is_terminal

    @property
    def shows_reasoning(self) -> bool:
        """Tell whether what a model thinks aloud is shown."""
        return self.looks.reasoning and self.is_read_by_a_person

    def aside(self, text: str) -> None:
        """Put clean text on stderr that comes in pieces and is no part of the answer."""
        self.err.write("\n".join(line and self.err.styled(line, "dim") for line in text.split("\n")))

    def error(self, error: ChatllmError) -> None:
        """Say on stderr what went wrong, in one line, and what may help, in another."""
        what = f"{self.whom}: {error.message}" if self.whom else error.message
        message, hint = clean_line(what)[:LONGEST_ERROR], clean_line(error.hint or "")[:LONGEST_ERROR]
        told = self.err.wrapped(f"{PROGRAM}{message}").removeprefix(PROGRAM)
        lines = [self.err.styled(PROGRAM, "bold", "red") + told]
        if hint:
            lines.append(self.err.styled(self.err.wrapped(f"  hint: {hint}"), "dim"))
        self.err.write("\n".join(lines) + "\n")

    def text(self, text: str, *, end: str = "\n") -> None:
        """Put text on stdout: exact on a pipe, clean on a terminal."""
        self.put((clean(text) if self.cleans else text) + end)

    def put(self, text: str) -> None:
        """Put text on stdout at once, as it is."""
        self.stdout.write(text)
        self.stdout.flush()
        self.out.last = text[-1:] or self.out.last

    def end_line(self) -> None:
        """End the line on stdout if something of an answer stands in it."""
        if self.out.last not in {"", "\n"}:
            self.put("\n")

    def heading(self, text: str, *, style: str = "bold") -> None:
        """Put a line above an answer that is one of several."""
        if not self.is_terminal:
            self.put(f"## {clean_line(text) if self.cleans else ' '.join(text.split())}\n")
        else:
            self.put(self.out.styled(fitting(clean_line(text), max(self.out.width - 1, 1)), style) + "\n")

    def question(self, text: str) -> None:
        """Ask something on stderr that is answered in the same line."""
        self.err.write(clean_line(text) + " ")

    def rows(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table: aligned on a terminal, tab-separated and without a header on a pipe."""
        if self.is_terminal:
            from chatllm_cli.render.tables import show_table  # noqa: PLC0415

            show_table(self.console, header, rows)
            return
        for row in rows:
            self.text("\t".join(" ".join(cell.split()) for cell in row))

    def cached(self, at: datetime) -> None:
        """Say that an answer is from the cache."""
        self.notice(f"cached {age(at, datetime.now(UTC))}{self.asks_again}")

    def stand_in(self, address: str) -> None:
        """Say that the embedded model answers because no provider is set up."""
        self.notice(f"no key and no base_url: {address} answers, the small model that comes along")

    def answer(
        self,
        conversation: Conversation,
        wish: Wish,
        timings: Mapping[str, float | None],  # noqa: ARG002  (JSON has them)
    ) -> None:
        """Put out what is wanted of the last answer where that was not shown as it came. Raises `ChatllmError`."""
        reply = conversation.thread()[-1]
        if wish.wants_value:
            self.deliver(dumped(wish.value), wish, reply)
        elif wish.block or wish.all_blocks:
            with suppress(ChatllmError) if is_cut(reply) else nullcontext():  # that it is cut is told then
                self.deliver(wanted_blocks(reply.content, wish), wish, reply)
        elif wish.file:
            self.deliver(reply.content, wish, reply)

    def answer_cut(self, conversation: Conversation, wish: Wish, timings: Mapping[str, float | None]) -> None:  # noqa: ARG002  (JSON shows them)
        """Put out what came of an answer that broke off, if that was not shown as it came; of a part nobody knows."""
        if wish.file:
            self.notice(f"{wish.file} is not written")

    def deliver(self, text: str, wish: Wish, reply: Message) -> None:
        """Put `text` into the file that is wished for, whole or not at all, else on stdout."""
        if wish.file is None:
            self.text(text, end="" if text.endswith("\n") else "\n")
        elif is_cut(reply) or not text.strip():
            self.withhold(
                text, f"{wish.file} is not written: the answer is {'not whole' if text.strip() else 'empty'}"
            )
        else:
            write_output(wish.file, text, hint="`chatllm history show` shows the answer")
            if self.err.is_terminal:
                self.notice(f"written to {wish.file}")

    def withhold(self, text: str, why: str) -> None:  # noqa: ARG002  (JSON shows it)
        """Say why a file is not written."""
        self.notice(why)

    def ending(self, reply: Message, *, command: str = "") -> None:
        """Say of a reply that it is not whole, or says nothing, if so, and which command goes on with it."""
        if told := _ending(reply):
            can_go_on = command and reply.status is not Status.FILTERED
            self.notice(f"{told}; {command} goes on" if can_go_on else told)
        elif not reply.content.strip():
            self.notice("the answer is empty")

    @property
    def shows_usage(self) -> bool:
        """Tell whether it is said after an answer what it took."""
        return self.looks.usage == "always" or (self.looks.usage == "auto" and self.err.is_terminal)

    def usage(self, bill: Bill) -> None:
        """Say what an answer took, if there is something to say."""
        if line := usage_line(bill):
            self.notice(line)

    def stopped(self, reply: Message | None, *, command: str) -> None:
        """Say that the user stopped a reply, which is None if nothing is kept of it."""
        if reply is None:
            self.farewell("stopped")
        elif reply.content:
            self.farewell(f"stopped; what came is kept; {command} goes on")
        else:
            self.farewell(f"stopped; nothing came; {command} asks again")

    def farewell(self, text: str) -> None:
        """Say what became of what the user stopped; one who closed the pipe is told nothing."""
        if _has_reader(self.stdout):
            self.notice(text)

    @property
    def can_paint(self) -> bool:
        """Tell whether a line on stderr can be shown and taken away again."""
        return self.err.can_paint

    def waiting(self, text: str, short: str = "") -> None:
        """Show on a terminal what is waited for, in place of what was shown before, until `waited`.

        `short` is for where `text` finds no room.
        """
        if self.can_paint:
            room = max(self.err.width - 3, 1)  # a line that wraps, with ^C behind it, could not be taken away
            line = clean_line(text)
            if columns_of(line) > room and short:
                line = clean_line(short)
            self.err.write(f"\r\x1b[K{fitting(line, room)}")

    def waited(self) -> None:
        """Take away what `waiting` showed."""
        if self.can_paint:
            self.err.write("\r\x1b[K")


def dumped(value: Any) -> str:
    """Return a value as JSON that a person can read."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def is_cut(reply: Message) -> bool:
    """Tell whether a reply is known not to be whole."""
    return reply.status in ENDINGS and reply.status is not Status.UNKNOWN_END


def write_output(path: Path, text: str, *, is_private: bool = False, hint: str | None = None) -> None:
    """Put `text` into a file, whole or not at all. Raises `UsageError`."""
    put = replace_private_file if is_private else replace_file
    with _telling(path, hint):
        put(path, encoded(text))


@contextmanager
def private_output(path: Path) -> Iterator[Callable[[str], object]]:
    """Put what the block writes into a file of the owner's alone, whole or not at all. Raises `UsageError`."""
    with _telling(path), replacing(path) as write:
        yield lambda text: write(encoded(text))


@contextmanager
def _telling(path: Path, hint: str | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint=hint) from None


def encoded(text: str) -> bytes:
    """Return a text as a file has it; half of a surrogate pair, which UTF-8 cannot hold, is spelled out."""
    return text.encode("utf-8", "backslashreplace")


def check_output(path: Path) -> None:
    """Raise `UsageError` if it is known beforehand that a file cannot be written."""
    if path.is_dir():
        raise UsageError(f"{path} cannot be written: it is a folder")
    if not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path} cannot be written: nothing may be made in {path.parent}")


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


def usage_line(bill: Bill) -> str:
    """Return what a turn took, in tokens and money, and how full the model's context is."""
    conversation = f"conversation {amount(bill.conversation_cost, bill.unpriced)}"
    if bill.cached:
        return f"cached · {conversation}" if bill.conversation_cost else ""
    if bill.usage is None:
        return ""
    parts = [f"{bill.usage.input_tokens:,} in", f"{bill.usage.output_tokens:,} out"]
    if bill.cost is None:
        parts.append("price unknown")
    elif bill.cost:
        parts += [dollars(bill.cost), conversation]
    if bill.context is not None:
        parts.append(f"context {percent(bill.context)}")
    return " · ".join(parts)


def amount(cost: float, unpriced: int) -> str:
    """Return what some answers cost together, the price of so many of them being unknown."""
    if not unpriced:
        return dollars(cost)
    return f"≥ {dollars(cost)}" if cost else "–"  # noqa: RUF001  (a dash, as for anything unknown)


def percent(share: float) -> str:
    """Return a share of something as people say it."""
    return f"{share:.0%}".replace("%", " %") if share >= SMALLEST_SHARE else "<1 %"


def age(at: datetime, now: datetime) -> str:
    """Return how long ago `at` was, in the largest unit that fits."""
    seconds = max((now - at).total_seconds(), 0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"
