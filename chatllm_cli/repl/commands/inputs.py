"""What goes into the next prompt besides what is typed: the clipboard, and what an editor brings."""

import asyncio
import os
import shutil

from chatllm_cli.errors import UsageError
from chatllm_cli.repl import clipboard
from chatllm_cli.repl.ports import Draft, Loop

NAMED_BY = ("VISUAL", "EDITOR")
EDITORS = ("editor", "nano", "pico", "vi", "emacs")  # that prompt_toolkit looks for


async def paste(loop: Loop, _: str) -> None:
    """Put the text on the clipboard into the line."""
    text = await asyncio.to_thread(clipboard.paste)
    if not text.strip():
        raise UsageError("there is no text on the clipboard", hint="/image attaches a picture that is there")
    loop.put_into_line(Draft(text))


async def editor(loop: Loop, _: str) -> None:
    """Write the next prompt in the user's editor; it comes into the line, to be sent with Enter."""
    if not any(os.environ.get(name) for name in NAMED_BY) and not any(map(shutil.which, EDITORS)):
        raise UsageError("there is no editor", hint="set EDITOR")
    loop.put_into_line(Draft(opens_editor=True))
