"""A pager for what is longer than the screen."""

import io
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from chatllm_cli.render.renderer import Renderer

DEFAULT = "less"
# Colours pass (what is shown is clean), a text that fits is shown and left, and it stays on the screen at the end.
LESS_OPTIONS = {"LESS": "-FRX"}


@contextmanager
def paged(renderer: Renderer) -> Iterator[None]:
    """Show what the block prints on stdout through $PAGER if that is a terminal and too small for it."""
    stdout = renderer.stdout
    if not renderer.out.can_paint:
        yield
        return
    buffer = _Buffer()
    renderer.out.file = renderer.console.file = buffer
    try:
        yield
    finally:
        renderer.out.file = renderer.console.file = stdout
        text = buffer.getvalue()
        if text.count("\n") < renderer.console.height or not _show(text):
            stdout.write(text)
            stdout.flush()


class _Buffer(io.StringIO):
    """A stream that takes itself for the terminal it is shown on later."""

    def isatty(self) -> bool:
        return True


def _show(text: str) -> bool:
    """Show `text` in the pager; False if there is none."""
    try:
        command = shlex.split(os.environ.get("PAGER", DEFAULT))
        pager = subprocess.Popen(  # noqa: S603  (the user's own choice)
            command, stdin=subprocess.PIPE, text=True, encoding="utf-8", errors="backslashreplace",
            env=LESS_OPTIONS | os.environ,
        )  # fmt: skip
    except (OSError, ValueError, IndexError):
        return False
    try:
        pager.communicate(text)
    except KeyboardInterrupt:  # less takes it for itself
        pager.wait()
    return True
