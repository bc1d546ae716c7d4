"""What is typed while a reply streams: seen at once, and handed to the next prompt as if it were typed there."""

import asyncio
import fcntl
import gc
import os
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Protocol

from prompt_toolkit.input import Input
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import Output
from prompt_toolkit.utils import is_dumb_terminal

from chatllm_cli.repl.quiet_terminal import make_quiet, quiet_terminal

LONGEST_KEY = 0.5  # seconds from one byte to the next: an Escape with nothing behind it is a key of its own then
AWAY = 1.0  # seconds between two looks whether the terminal is ours again
# What comes of an input that nobody can type on: a file cannot be waited for, and what is nothing has no descriptor.
NO_KEYBOARD = (OSError, NotImplementedError)
NEVER = 1_000_000_000  # collections of what is neither young nor old
SENT = "\r"  # in a draft: what is before it is on its way, and no key takes it back
AS_TYPED = str.maketrans({"\n": "\r", "\0": "\x04"})  # what a terminal makes of Enter and Ctrl-D while it reads lines
NEW_LINE = KeyPress(Keys.ControlJ, "\n")


def without_word(text: str) -> str:
    """Return a text without its last word, and the blanks behind it."""
    words = text.rsplit(maxsplit=1)
    return text.rstrip()[: -len(words[-1])] if words else ""


def without_line(text: str) -> str:
    """Return a text without its last line; if nothing is in that, without the break before it."""
    return text[:-1] if text.endswith("\n") else text[: text.rfind("\n") + 1]


TAKES_AWAY: dict[Keys, Callable[[str], str]] = {  # of the text since the last Enter
    Keys.ControlH: lambda text: text[:-1],
    Keys.ControlW: without_word,
    Keys.ControlU: without_line,
}


class Screen(Protocol):
    """Whoever shows what is typed."""

    def refresh(self) -> None:
        """Show it as it is now."""

    def step_aside(self) -> None:
        """Take it off the screen."""


class Draft:
    """The text that keys make, as far as common keys go; others are for the prompt alone to understand."""

    def __init__(self) -> None:
        self.text = ""
        self._is_escaped = False

    def press(self, press: KeyPress) -> None:
        """Take the next key."""
        key = press.key
        was_escaped, self._is_escaped = self._is_escaped, key == Keys.Escape
        if key == Keys.ControlM:
            self.text += "\n" if was_escaped else SENT
        elif was_escaped:
            return
        elif key == Keys.ControlJ:
            self.text += "\n"
        elif key == Keys.BracketedPaste:
            self.text += press.data.replace("\r\n", "\n").replace("\r", "\n")
        elif not isinstance(key, Keys):
            self.text += press.data
        elif without := TAKES_AWAY.get(key):
            begin = self.text.rfind(SENT) + 1
            self.text = self.text[:begin] + without(self.text[begin:])


class TypeAhead:
    """Reads the keys of one turn. What is taken for a pipe is read as it is; a terminal only while it is ours."""

    def __init__(self, keyboard: Input, output: Output) -> None:
        self._keyboard = keyboard
        self._output = output
        self._screen: Screen | None = None
        self._draft = Draft()
        self._keys: list[KeyPress] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_reading = False
        # What came in one burst with the Enter of this turn was read along with that.
        keys = get_typeahead(keyboard)
        interrupts = [place for place, press in enumerate(keys) if press.key == Keys.ControlC]
        self.was_interrupted = bool(interrupts)
        end = interrupts[-1] + 1 if interrupts else 0
        self._take([*unsent([press for press in keys[:end] if press.key != Keys.ControlC]), *keys[end:]])

    @property
    def draft(self) -> str:
        """What the keys so far make of the next prompt; `SENT` stands for an Enter."""
        return self._draft.text

    @contextmanager
    def reading(
        self, screen: Screen, before: list[Any] | None = None
    ) -> Iterator[Callable[[], AbstractContextManager[None]]]:
        """Read while the block runs, then hand over. What this gives out leaves the terminal to somebody else."""
        self._screen = screen
        try:
            with quiet_terminal(self, before) as lifted, no_full_collection():
                if not is_terminal(self._keyboard):
                    self.resume()
                yield lifted
        finally:
            self.pause()
            self._screen = None
            self._take(self._keyboard.flush_keys())
            store_typeahead(self._keyboard, self._keys)

    def hold(self) -> None:
        """Let nothing that was typed so far be sent by itself: it is a draft now."""
        while self._is_reading and self._is_ours and (keys := self._keyboard.read_keys()):
            self._take(keys)
        self._keys, self._draft = unsent(self._keys), Draft()
        for press in self._keys:
            self._draft.press(press)
        if self._screen:
            self._screen.refresh()

    def resume(self) -> None:
        """Read, from now on."""
        self._is_reading = True
        if not self._is_ours:
            self._wait(AWAY, self._come_back)
            return
        with suppress(*NO_KEYBOARD):
            asyncio.get_running_loop().add_reader(self._keyboard.fileno(), self._read)
        if not is_dumb_terminal():
            self._output.enable_bracketed_paste()
            self._output.flush()
        if self._screen:
            self._screen.refresh()

    def pause(self) -> None:
        """Leave the keyboard, and the screen, to others."""
        if not self._is_reading:
            return
        self._is_reading = False
        self._stop()
        if self._screen:
            self._screen.step_aside()
        if not is_dumb_terminal():
            self._output.disable_bracketed_paste()
            self._output.flush()

    @property
    def _is_ours(self) -> bool:
        """Whether reading is safe: it would suspend a job in the background."""
        with suppress(*NO_KEYBOARD):
            return os.tcgetpgrp(self._keyboard.fileno()) == os.getpgrp()
        return not is_terminal(self._keyboard)

    def _read(self) -> None:
        if not self._is_ours:
            self._stop()
            self._wait(AWAY, self._come_back)
            return
        keys = self._keyboard.read_keys()
        # Ctrl-D on an empty line would end the session once the answer is there, whatever was typed behind it.
        self._take([press for press in keys if press.key != Keys.ControlD or self.draft])
        self._wait(LONGEST_KEY, lambda: self._take(self._keyboard.flush_keys()))
        if self._keyboard.closed:
            self._stop()

    def _come_back(self) -> None:
        """Read again if the terminal is ours once more: a shell that brings back a job that runs does not tell it."""
        make_quiet(keeps_keys=True)  # which it is only if it is ours
        self.resume()

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _stop(self) -> None:
        if self._timer:
            self._timer.cancel()
        with suppress(*NO_KEYBOARD):
            asyncio.get_running_loop().remove_reader(self._keyboard.fileno())

    def _take(self, keys: Sequence[KeyPress]) -> None:
        # Where the cursor was when the last prompt asked for it is of no use to the next one.
        taken = [press for press in keys if press.key != Keys.CPRResponse]
        before = self.draft
        for press in taken:
            self._draft.press(press)
        self._keys += taken
        if self._screen and self.draft != before:
            self._screen.refresh()


def is_terminal(keyboard: Input) -> bool:
    """Tell whether somebody types there; prompt_toolkit has inputs that are nothing at all."""
    with suppress(*NO_KEYBOARD):
        return os.isatty(keyboard.fileno())
    return False


def take_early_keys(keyboard: Input) -> None:
    """Keep what was typed before anybody read, as it was typed: the terminal took it for lines until then."""
    if not is_terminal(keyboard):
        return
    with suppress(OSError):  # it may go away
        waiting = int.from_bytes(fcntl.ioctl(keyboard.fileno(), termios.FIONREAD, b"\0" * 4), sys.byteorder)
        if waiting:
            keys: list[KeyPress] = []
            parser = Vt100Parser(keys.append)
            parser.feed(os.read(keyboard.fileno(), waiting).decode("utf-8", "replace").translate(AS_TYPED))
            parser.flush()
            store_typeahead(keyboard, [*get_typeahead(keyboard), *keys])


@contextmanager
def no_full_collection() -> Iterator[None]:
    """Put garbage that is old off until the block is over.

    All chunks of a reply are kept for as long as it comes, and looking through them takes ever longer: 0.2 s for a
    long one, in which no key is seen. What is young is still collected.
    """
    young, middle, full = gc.get_threshold()
    gc.set_threshold(young, middle, NEVER)
    try:
        yield
    finally:
        gc.set_threshold(young, middle, full)


def texts_in(keys: Sequence[KeyPress]) -> list[str]:
    """Return the texts that keys make, one for each Enter, and what is behind the last."""
    draft = Draft()
    for press in keys:
        draft.press(press)
    return [text for text in draft.text.split(SENT) if text.strip()]


def unsent(keys: Sequence[KeyPress]) -> list[KeyPress]:
    """Return the keys with line breaks for what would send the lines, and none at the end."""
    held = [
        NEW_LINE if press.key == Keys.ControlM and before != Keys.Escape else press
        for before, press in zip([None, *(press.key for press in keys)], keys, strict=False)
    ]
    while held and held[-1] is NEW_LINE:
        held.pop()
    return held
