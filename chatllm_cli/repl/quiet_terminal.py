"""The terminal while a reply streams: what is typed is not echoed into it."""

import asyncio
import os
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Protocol

INPUT_FLAGS, LOCAL_FLAGS = 0, 3  # places in what tcgetattr returns


class Reader(Protocol):
    """Whoever reads the keys meanwhile, and shows them."""

    def resume(self) -> None:
        """Read: the terminal is quiet."""

    def pause(self) -> None:
        """Read no more, and leave nothing on the screen: somebody else gets the terminal."""


@contextmanager
def quiet_terminal(
    reader: Reader | None = None, before: list[Any] | None = None
) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Keep keys from being echoed into the reply, and Enter from being turned into another key.

    What this gives out lifts it for a while, for something else that asks a person.

    Ctrl-C and Ctrl-Z stay signals. Without a reader, keys are held by the terminal until somebody reads, and those
    signals take them away; with one they do not. Who suspends it gets the terminal as it was: not every shell sets
    modes of its own; `before` are those if it is quiet already. A running event loop is needed.
    """
    now = modes()
    before = before or now
    if now is None or before is None:
        yield nullcontext
        return
    quiet = _QuietTerminal(before, reader)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGCONT, signal.SIGTSTP)}
    quiet.begin()
    try:
        yield quiet.lifted
    finally:
        quiet.end()
        for number, handler in handlers.items():
            signal.signal(number, handler)


class _QuietTerminal:
    """Goes back and forth between quiet modes and those of before."""

    def __init__(self, before: list[Any], reader: Reader | None) -> None:
        self._before = before
        self._reader = reader
        self._is_lifted = False
        self._loop = asyncio.get_running_loop()  # whose handlers do not run in the midst of something painted

    def begin(self) -> None:
        self._loop.add_signal_handler(signal.SIGCONT, self._go_on)
        self._go_on()

    def end(self) -> None:
        self._loop.remove_signal_handler(signal.SIGCONT)
        self._loop.remove_signal_handler(signal.SIGTSTP)
        self._let_go()

    @contextmanager
    def lifted(self) -> Iterator[None]:
        self._is_lifted = True
        self._let_go()
        try:
            yield
        finally:
            self._is_lifted = False
            self._take()

    def _take(self) -> None:
        make_quiet(keeps_keys=self._reader is not None)
        if self._reader:
            self._reader.resume()

    def _let_go(self) -> None:
        if self._reader:
            self._reader.pause()
        set_modes(self._before)

    def _suspend(self) -> None:
        self._let_go()
        self._loop.remove_signal_handler(signal.SIGTSTP)
        os.kill(os.getpid(), signal.SIGTSTP)

    def _go_on(self) -> None:
        self._loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        if not self._is_lifted:
            self._take()


def modes() -> list[Any] | None:
    """Return the modes of the terminal on stdin; None if there is none, or it is another job's now."""
    with suppress(termios.error, OSError, ValueError, AttributeError):  # closed, or no terminal
        if _is_ours():
            return termios.tcgetattr(sys.stdin.fileno())
    return None


def _is_ours() -> bool:
    """Tell whether this job is in the foreground: setting modes from the background would suspend it."""
    return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()


def make_quiet(*, keeps_keys: bool = False) -> None:
    """Give the terminal on stdin the modes in which nothing is echoed; with `keeps_keys`, signals cost no keys."""
    if quiet := modes():
        quiet[INPUT_FLAGS] &= ~termios.ICRNL
        quiet[LOCAL_FLAGS] &= ~(termios.ECHO | termios.ICANON)
        if keeps_keys:
            quiet[LOCAL_FLAGS] |= termios.NOFLSH
        set_modes(quiet)


def set_modes(modes: list[Any]) -> None:
    """Give the terminal on stdin these modes, if it still is this job's."""
    with suppress(termios.error, OSError):  # the terminal may have gone away
        if _is_ours():
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, modes)
