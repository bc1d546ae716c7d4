"""The terminal while a reply streams: what is typed waits, unseen, for the next prompt."""

import os
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

INPUT_FLAGS, LOCAL_FLAGS = 0, 3  # places in what tcgetattr returns


@contextmanager
def quiet_terminal() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Keep keys from being echoed into the reply, and Enter from being turned into another key.

    What this gives out lifts it for a while, for something else that asks a person.

    Ctrl-C and Ctrl-Z stay signals (and take with them what was typed before). Other keys are held by the
    terminal until the prompt reads again. Who suspends it gets the terminal as it was: not every shell sets modes
    of its own.
    """
    before = modes()
    if before is None:
        yield nullcontext
        return

    @contextmanager
    def lifted() -> Iterator[None]:
        set_modes(before)
        try:
            yield
        finally:
            _make_quiet()

    def suspend(*_: object) -> None:
        set_modes(before)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)

    def go_on(*_: object) -> None:
        signal.signal(signal.SIGTSTP, suspend)
        _make_quiet()

    handlers = {number: signal.getsignal(number) for number in (signal.SIGCONT, signal.SIGTSTP)}
    signal.signal(signal.SIGCONT, go_on)
    go_on()
    try:
        yield lifted
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        set_modes(before)


def modes() -> list[Any] | None:
    """Return the modes of the terminal on stdin; None if there is none, or it is another job's now."""
    with suppress(termios.error, OSError, ValueError, AttributeError):  # closed, or no terminal
        if _is_ours():
            return termios.tcgetattr(sys.stdin.fileno())
    return None


def _is_ours() -> bool:
    """Tell whether this job is in the foreground: setting modes from the background would suspend it."""
    return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()


def _make_quiet() -> None:
    if quiet := modes():
        quiet[INPUT_FLAGS] &= ~termios.ICRNL
        quiet[LOCAL_FLAGS] &= ~(termios.ECHO | termios.ICANON)
        set_modes(quiet)


def set_modes(modes: list[Any]) -> None:
    """Give the terminal on stdin these modes, if it still is this job's."""
    with suppress(termios.error, OSError):  # the terminal may have gone away
        if _is_ours():
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, modes)
