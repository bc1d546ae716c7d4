"""What -f names: read before anything is asked, and told to whoever sits at the terminal."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chatllm_cli.bootstrap import Services
from chatllm_cli.errors import UsageError
from chatllm_cli.models import Attachment
from chatllm_cli.render.renderer import Renderer

if TYPE_CHECKING:
    from chatllm_cli.config.settings import Settings

STDIN = "-"
MEGABYTE = 1_000_000


def read_stdin(specs: Sequence[str], settings: "Settings") -> bytes:
    """Return what comes on stdin if that is to be attached, but not much more than may be. Raises `UsageError`."""
    if STDIN not in specs:
        return b""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(f"-f {STDIN} attaches stdin, which is a terminal", hint="pipe something in, or name a file")
    return sys.stdin.buffer.read(int(settings.limits.attachment_mb * MEGABYTE) + 1)


async def attach(
    services: Services, renderer: Renderer, specs: Sequence[str], stdin: bytes = b""
) -> tuple[Attachment, ...]:
    """Return what is to be attached, and say what it is and how large. Raises as `Attachments.read` does."""
    attached: list[Attachment] = []
    for spec in dict.fromkeys(specs):
        reading = await services.attachments.read(spec, stdin=stdin)
        attached += reading.attachments
        if renderer.is_read_by_a_person:
            from chatllm_cli.services.chat.announcements import announced  # noqa: PLC0415  (only where it is used)

            for line in announced(reading):
                renderer.notice(line)
    return tuple(attached)
