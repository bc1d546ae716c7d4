"""What conversations are read from, and what comes of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from datetime import UTC, datetime
from mmap import mmap
from pathlib import Path

from chatllm_cli.errors import FormatError
from chatllm_cli.frozen import frozen
from chatllm_cli.models import Conversation

LONG_AGO = datetime.fromtimestamp(0, UTC)
MOST_BYTES = 256 * 2**20  # of one conversation: with images in it, it may be large


def _nothing_beside(_: str) -> bytes | None:
    return None


@frozen
class Source:
    """A file that may hold conversations: on the disk, out of an archive, or what came on stdin."""

    name: str  # its path, as a person knows it; within an archive or a folder, the path from there
    data: bytes | mmap
    path: Path | None = None  # where it lies, if it is a file of its own
    # Returns the file beside it whose name begins so, if there is one and it is no larger than an attachment may be.
    beside: Callable[[str], bytes | None] = _nothing_beside
    at: datetime = LONG_AGO  # when it was written: what was said in it and has no date may have been said then

    def all(self, most: int = MOST_BYTES) -> bytes:
        """Return all of it. Raises `FormatError` if it is longer than `most` bytes."""
        if len(self.data) > most:
            raise FormatError(f"it is larger than {most // 2**20} MiB")
        return bytes(self.data)

    def text(self, most: int = MOST_BYTES) -> str:
        """Return all of it as text, line ends as they are. Raises `FormatError` if it is none, or too long."""
        try:
            return self.all(most).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise FormatError(f"it is not UTF-8 (byte {error.start + 1})") from None


@frozen
class Imported:
    """A conversation that was read, and the bytes of what is attached to it, by their SHA-256."""

    conversation: Conversation
    files: Mapping[str, bytes] = field(default_factory=dict)


# What a format's `load` yields, one for each conversation: an error, whose message names it, for one that cannot be
# read. It raises `FormatError` if nothing of the source can.
Outcome = Imported | FormatError
Outcomes = Iterator[Outcome]
