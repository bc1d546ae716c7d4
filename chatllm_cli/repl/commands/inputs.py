"""What goes into the next prompt besides what is typed: files, pictures, the clipboard, and what an editor brings."""

import asyncio
from typing import TYPE_CHECKING

from chatllm_cli.editors import editor_command
from chatllm_cli.errors import UsageError
from chatllm_cli.repl import clipboard
from chatllm_cli.repl.commands.arguments import unquoted
from chatllm_cli.repl.ports import Draft, Loop

if TYPE_CHECKING:
    from chatllm_cli.services.attachments.reading import Reading

NONE = "-"


async def file(loop: Loop, spec: str) -> None:
    """Attach files to the next prompt, or say which are; - takes them away."""
    attached = loop.session.attached
    if spec and spec != NONE:
        loop.attach(await loop.session.services.attachments.read(unquoted(spec)))
        return
    if spec == NONE and attached:
        attached.clear()
        loop.renderer.notice("nothing is attached any more")
        return
    for each in attached:
        loop.renderer.notice(f"attached: {each.told}")
    if not attached:
        loop.renderer.notice("no file is attached; /file PATH attaches one to the next prompt")


async def image(loop: Loop, spec: str) -> None:
    """Attach a picture to the next prompt: a file, an address, or what is on the clipboard."""
    attachments = loop.session.services.attachments
    if spec:
        reading = await attachments.read(unquoted(spec))
        _check_is_image(reading)
        loop.attach(reading)
    elif (picture := await asyncio.to_thread(clipboard.image)) is None:
        raise UsageError("there is no picture on the clipboard", hint="/image PATH attaches a file")
    else:
        loop.attach(await attachments.take("clipboard.png", picture))


def _check_is_image(reading: "Reading") -> None:
    if others := [each.name for each in reading.attachments if not each.sha256]:
        raise UsageError(f"{others[0]} is no picture", hint="/file attaches what is text")


async def paste(loop: Loop, _: str) -> None:
    """Put the text on the clipboard into the line."""
    text = await asyncio.to_thread(clipboard.paste)
    if not text.strip():
        raise UsageError("there is no text on the clipboard", hint="/image attaches a picture that is there")
    loop.put_into_line(Draft(text, pasted=text))


async def editor(loop: Loop, _: str) -> None:
    """Write the next prompt in the user's editor; it comes into the line, to be sent with Enter."""
    editor_command()  # to say at once if there is none
    loop.put_into_line(Draft(opens_editor=True))
