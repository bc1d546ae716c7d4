"""The bytes of attachments that are no text: in memory until their message is kept, then each in a file of its own.

A file's name is its SHA-256, so that there is one however often it is attached. Whoever writes holds the folder's
lock with others from before a file is there until the message that names it is; whoever removes holds it alone.
"""

import errno
import fcntl
import hashlib
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chatllm_cli.ids import SHA256
from chatllm_cli.private_files import (
    TEMPORARY,
    make_private_folder,
    open_private,
    replace_private_file,
    sync_folder,
)

_LEFTOVER = re.compile(rf"\.[0-9a-f]{{64}}\.{TEMPORARY}")  # of a write that a crash ended
DAY = 24 * 60 * 60  # seconds after which what no message names is what a crash left
LONGEST_WAIT = 10.0  # seconds for another process's lock
LOCK_POLL = 0.005


class AttachmentStore:
    """Holds bytes by their SHA-256. Blocking: services call it in threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, bytes] = {}
        self._waiting: Counter[str] = Counter()  # messages that each of these is held for

    def hold(self, data: bytes) -> str:
        """Keep `data` in memory for one message, and return its SHA-256."""
        sha256 = hashlib.sha256(data).hexdigest()
        self._held[sha256] = data
        self._waiting[sha256] += 1
        return sha256

    def load(self, sha256: str) -> bytes | None:
        """Return the bytes with a hash; None if they are gone, or are others now."""
        if (held := self._held.get(sha256)) is not None:
            return held
        with suppress(OSError):
            data = _read(self._path(sha256))
            if hashlib.sha256(data).hexdigest() == sha256:
                return data
        return None

    @contextmanager
    def keeping(self, hashes: Collection[str], in_use: Callable[[], Collection[str]] | None = None) -> Iterator[None]:
        """Put on the disk what is only in memory of these; nobody removes any of them before the block ends.

        When the block fails, what was put there goes again unless it is `in_use`, and stays in memory for the next
        try. What is neither here nor there is gone already, and stays so. Raises OSError.
        """
        if not hashes:
            yield
            return
        make_private_folder(self._folder)
        written: set[str] = set()
        try:
            with self._locked(fcntl.LOCK_SH):
                for sha256 in hashes:
                    if sha256 in self._held and self._write(sha256):
                        written.add(sha256)
                yield
        except BaseException:
            if written and in_use:
                with suppress(OSError):  # the first fault is the one to tell
                    self.remove_unused(written, in_use)
            raise
        for sha256 in hashes:
            self._waiting[sha256] -= 1
            if self._waiting[sha256] <= 0:
                del self._waiting[sha256]
                self._held.pop(sha256, None)

    def remove_unused(self, candidates: Collection[str], in_use: Callable[[], Collection[str]]) -> None:
        """Remove those of the candidates, and of what a crash left, that are not `in_use`. Raises OSError."""
        if not self._folder.is_dir():
            return
        with self._locked(fcntl.LOCK_EX):
            used = in_use()
            for entry in list(os.scandir(self._folder)):
                if entry.name not in used and (entry.name in candidates or _is_leftover(entry)):
                    Path(entry.path).unlink(missing_ok=True)
            sync_folder(self._folder)

    def _path(self, sha256: str) -> Path:
        if not SHA256.fullmatch(sha256):
            raise OSError(errno.EINVAL, "no hash")
        return self._folder / sha256

    def _write(self, sha256: str) -> bool:
        """Write a file, unless it is there; tell whether it was not."""
        path, data = self._path(sha256), self._held[sha256]
        with suppress(OSError):
            if _read(path) == data:
                return False
        replace_private_file(path, data)
        return True

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        """Hold the folder's lock; a file system that knows none, as NFS for a folder, goes without."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _lock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)


def _lock(descriptor: int, kind: int) -> None:
    """Take the lock; raise `BlockingIOError` if others hold it for longer than anything takes."""
    give_up = time.monotonic() + LONGEST_WAIT
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise BlockingIOError(errno.EWOULDBLOCK, "another process is at it") from None
            time.sleep(LOCK_POLL)
        except OSError:
            return
        else:
            return


def _read(path: Path) -> bytes:
    descriptor = open_private(path, os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _is_leftover(entry: "os.DirEntry[str]") -> bool:
    """Tell whether it is ours, and has been there for so long that no message will name it any more."""
    if not (SHA256.fullmatch(entry.name) or _LEFTOVER.fullmatch(entry.name)):
        return False
    with suppress(OSError):
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > DAY
    return False
