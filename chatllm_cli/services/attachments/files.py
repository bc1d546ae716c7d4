"""Reading files that may be anything: nothing is opened that could wait for ever, and no more is read than wanted."""

import os
import stat
from io import FileIO
from pathlib import Path

from chatllm_cli.amounts import file_size
from chatllm_cli.errors import UsageError
from chatllm_cli.pictures import image_type
from chatllm_cli.services.attachments.kinds import HEAD, is_binary, is_pdf

PIECE = 1 << 20  # bytes
MAGIC = frozenset("*?[")
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NoFileError(OSError):
    """What lies there is no file; `strerror` says what it is."""


class TooLargeError(Exception):
    """A file is larger than wanted; `size` is how large, as far as that is known."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


def too_large(name: str, size: int | None, most: int) -> UsageError:
    """Return what to say of something that is larger than it may be; None if nobody knows how large it is."""
    limit = f"{file_size(most)} (limits.attachment_mb)"
    if size is None:
        return UsageError(f"{name} is larger than one attachment may be: {limit}")
    return UsageError(f"{name} is {file_size(size)}, and one attachment may be {limit}")


def read_file(path: Path, most: int) -> bytes:
    """Return all of a file. Raises `TooLargeError`, `NoFileError` for what is none, OSError, ValueError for a NUL."""
    with FileIO(_open(path)) as file:
        return _rest(file, b"", most)


def read_text_file(path: Path, most: int) -> bytes | None:
    """Return all of a file that may be text; None if its beginning says that it is none. Raises as `read_file`."""
    with FileIO(_open(path)) as file:
        head = file.read(HEAD) or b""
        if is_binary(head) or image_type(head) or is_pdf(head):
            return None
        return _rest(file, head, most)


def read_some(path: Path, most: int) -> bytes:
    """Return the beginning of a file. Raises `NoFileError`, OSError and ValueError."""
    with os.fdopen(_open(path), "rb") as file:
        return file.read(most)


def kind_of(path: Path) -> str:
    """Return what lies there: "folder", "something" else, or "nothing" that could be seen."""
    try:
        return "folder" if stat.S_ISDIR(path.stat().st_mode) else "something"
    except (OSError, ValueError):
        return "nothing"


def is_glob(spec: str) -> bool:
    """Tell whether a path stands for those that match it."""
    return not MAGIC.isdisjoint(spec)


def _open(path: Path) -> int:
    _check(path.stat().st_mode, path)  # before it is opened: a device may do something then, a pipe waits
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _check(os.fstat(descriptor).st_mode, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "no file")
        raise NoFileError(0, f"it is {kind}", str(path))


def _rest(file: FileIO, head: bytes, most: int) -> bytes:
    size = os.fstat(file.fileno()).st_size
    if size > most:
        raise TooLargeError(size)
    pieces, come = [head], len(head)
    while piece := file.read(
        min(PIECE, most + 1 - come)
    ):  # a file may grow, or, as in /proc, say that it has nothing
        pieces.append(piece)
        come += len(piece)
        if come > most:
            raise TooLargeError(come)
    return b"".join(pieces)
