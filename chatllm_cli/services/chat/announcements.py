"""What a person is told of attachments before they are sent: each by name and size."""

from collections.abc import Sequence

from chatllm_cli.amounts import about, file_size
from chatllm_cli.models import Attachment
from chatllm_cli.services.attachments.reading import Reading
from chatllm_cli.services.chat.sizes import IMAGE_TOKENS, likely

MOST_SHOWN = 10


def described(attachment: Attachment) -> str:
    """Return the name of an attachment and its size, of a text in tokens, too."""
    if attachment.sha256:
        return attachment.told
    return f"{attachment.name} ({file_size(attachment.size)}, {about(likely(attachment.text))})"


def announced(reading: Reading) -> list[str]:
    """Return what was read, a line for each attachment; of many, the first ones and what the others come to."""
    shown = reading.attachments[:MOST_SHOWN]
    rest = reading.attachments[MOST_SHOWN:]
    lines = [f"attached: {described(each)}" for each in shown]
    if rest:
        size = file_size(sum(each.size for each in rest))
        lines.append(f"… and {len(rest)} more ({size}, {about(_tokens(rest))})")
    if reading.skipped:
        files = "1 file" if reading.skipped == 1 else f"{reading.skipped} files"
        lines.append(f"skipped in {reading.spec}: {files} that cannot be attached")
    return lines


def _tokens(attachments: Sequence[Attachment]) -> int:
    return sum(IMAGE_TOKENS if each.sha256 else likely(each.text) for each in attachments)
