"""Folders and files that only their owner can read, made so rather than changed after.

A mode that is set after a file was made leaves a moment in which others can open it.
"""

import errno
import fcntl
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

FOLDER_MODE = 0o700
FILE_MODE = 0o600
LONGEST_NAME = 200  # bytes, on the way to 255
TEMPORARY = r"[a-z0-9_]{8}"  # what tempfile puts behind a prefix; an editor's .swp is none of ours
DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")


def make_private_folder(folder: Path) -> None:
    """Make `folder` and every missing parent for their owner alone; what exists is left as it is."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        try:
            path.mkdir(mode=FOLDER_MODE)
        except FileExistsError:
            if not path.is_dir():  # another process may have made it first
                raise
        else:
            sync_folder(path.parent)


def open_private(path: str | Path, flags: int) -> int:
    """Open the file at `path` and return its descriptor: 0600 if it is made by this, never through a symbolic link.

    Raises OSError, also for what is no file: a pipe takes what is written, or waits for a reader for ever.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, FILE_MODE)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no file", str(path))


def is_still_at(path: Path, descriptor: int) -> bool:
    """Tell whether nobody replaced or removed the file while its lock was waited for."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte of `data`: on a nearly full disk `os.write` takes a part and says nothing."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_json(path: Path) -> Any:
    """Return what is noted in a file as JSON; None if that cannot be read, whatever is wrong with it."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def note_json(path: Path, value: object) -> None:
    """Note a value in a file as JSON, in the place of what was noted. Raises OSError."""
    make_private_folder(path.parent)
    replace_private_file(path, json.dumps(value).encode() + b"\n")


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` at `path` as `replace_private_file` does, with the mode that it had, or that any new file gets."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        mode = 0o666 & ~umask
    replace_private_file(path, data, mode=mode)


def replace_private_file(path: Path, data: bytes, *, mode: int = FILE_MODE, name_survives: bool = True) -> None:
    """Put `data` at `path` as `replacing` does."""
    with replacing(path, mode=mode, name_survives=name_survives) as write:
        write(data)


@contextmanager
def replacing(
    path: Path, *, mode: int = FILE_MODE, name_survives: bool = True
) -> Iterator[Callable[[bytes], object]]:
    """Put what the block writes at `path` so that a reader, or a crash, meets the old file or the new one, whole.

    If the block fails, the old one stays. A symbolic link is followed, and what is no file (a device, a pipe) is
    written to, not replaced. Unless the `name_survives`, a power cut may still bring the old one back, until its
    folder is synced.
    """
    if opened := DESCRIPTOR.fullmatch(str(path)):  # somebody's redirection: what is there before stays
        yield partial(write_all, int(opened[1]))
        return
    if path.exists() and not path.is_file():
        with path.open("wb") as device:
            yield device.write
        return
    path = resolved(path)
    descriptor, temporary = tempfile.mkstemp(prefix=temporary_prefix(path), dir=path.parent)  # 0600 by contract
    try:
        try:
            yield partial(write_all, descriptor)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if name_survives:
        sync_folder(path.parent)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keep other processes from changing what is in `folder`, those that ask by this; waits for them.

    Where the file system knows no such lock (NFS, for a folder) it goes without.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def temporary_prefix(path: Path) -> str:
    """Return how the name begins of what is to be put in the place of `path`."""
    return f".{os.fsencode(path.name)[:LONGEST_NAME].decode(errors='ignore')}."


def remove_leftovers(path: Path) -> None:
    """Remove what a crash left of putting something in the place of `path`, which nobody else may be at now."""
    path = resolved(path)
    ours = re.compile(re.escape(temporary_prefix(path)) + TEMPORARY)
    for each in path.parent.iterdir():
        if ours.fullmatch(each.name):
            each.unlink(missing_ok=True)


def resolved(path: Path) -> Path:
    """Return where a path leads. Raises OSError, also for a symbolic link that leads to itself."""
    try:
        return path.resolve()
    except RuntimeError:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from None


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut, not only the contents of its files."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
