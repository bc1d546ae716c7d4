"""The terminal while a reply streams: what is typed waits, unseen, for the next prompt."""

import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

INPUT_FLAGS, LOCAL_FLAGS = 0, 3  # places in what tcgetattr returns


@contextmanager
def quiet_terminal() -> Iterator[None]:
    """Keep keys from being echoed into the reply, and Enter from being turned into another key.

    Ctrl-C stays a signal. Keys are not lost: the terminal holds them until the prompt reads again.
    """
    if not (sys.stdin and sys.stdin.isatty()):
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    quiet = termios.tcgetattr(descriptor)
    quiet[INPUT_FLAGS] &= ~termios.ICRNL
    quiet[LOCAL_FLAGS] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(descriptor, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
