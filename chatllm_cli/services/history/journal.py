"""Append-only files of JSON lines: what was acknowledged survives a kill and a power cut.

aiofiles' own `write` is acknowledged from a buffer (every such write was lost in a kill test) and costs a
thread hop per call, so one append is one function in one hop: lock, seal, write, sync.
"""

import asyncio
import errno
import fcntl
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import aiofiles
from aiofiles.os import wrap

from chatllm_cli.private_files import (
    is_still_at,
    make_private_folder,
    open_private,
    replace_private_file,
    sync_folder,
    write_all,
)
from chatllm_cli.services.history.files import remove_leftovers

LONGEST_WAIT = 10.0  # seconds for another process's append
LOCK_POLL = 0.005


async def append(
    path: Path,
    lines: bytes,
    *,
    durable: bool,
    beginning: Callable[[], bytes] = bytes,
    written: threading.Event | None = None,
    during: AbstractContextManager[None] | None = None,
) -> None:
    """Add whole `lines` to the file at `path`; `durable` returns once they are on the disk.

    A file that is not there, or has nothing in it, is made with what `beginning` returns before the lines. It is done
    within `during`, in a thread.

    Cancelling waits for the write to end, so that no thread goes on with it behind the caller's back;
    cancelling again does not, and a write that has not got its lock by then is not done. `written` tells whether
    it was done all the same. Raises OSError.
    """
    given_up = threading.Event()
    written = written or threading.Event()
    work = wrap(_append)(path, lines, durable, beginning, given_up, written, during or nullcontext())
    await _to_its_end(work, given_up)


async def read(path: Path) -> bytes:
    """Return the whole file; raises OSError."""
    async with aiofiles.open(path, "rb") as file:
        return await file.read()


async def rewrite(path: Path, change: Callable[[bytes], bytes | None]) -> None:
    """Put what `change` makes of a file in its place, whole or not at all; None removes it. Raises OSError.

    Whoever appends meanwhile waits for its lock, and then finds the new file.
    """
    given_up = threading.Event()
    await _to_its_end(wrap(_rewrite)(path, change, given_up), given_up)


async def take_in(
    path: Path, change: Callable[[bytes], bytes], during: AbstractContextManager[None] | None = None
) -> None:
    """Put what `change` makes of a file in its place, or of nothing if there is none: whole or not at all.

    It is done within `during`, in a thread. What is in the file is on the disk when this returns; that it has its
    name there only once its folder is synced. Raises OSError.
    """
    given_up = threading.Event()
    await _to_its_end(wrap(_take_in)(path, change, given_up, during or nullcontext()), given_up)


async def sync(folder: Path) -> None:
    """Let the names in a folder survive a power cut. Raises OSError."""
    await wrap(sync_folder)(folder)


async def _to_its_end(work: Awaitable[None], given_up: threading.Event) -> None:
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may wait any more
    try:
        await asyncio.wait([task])  # which does not cancel the task when it is cancelled itself
    except asyncio.CancelledError:
        try:
            await asyncio.wait([task])  # a cancellation outweighs what becomes of it
        finally:
            given_up.set()
        raise
    task.result()


def _append(
    path: Path,
    lines: bytes,
    durable: bool,
    beginning: Callable[[], bytes],
    given_up: threading.Event,
    written: threading.Event,
    during: AbstractContextManager[None],
) -> None:
    make_private_folder(path.parent)
    with during, _locked(path, given_up) as descriptor:
        size = os.fstat(descriptor).st_size
        # A crash may have torn the last line. It is ended, never cut off: a reader skips it, and the next
        # record does not get glued to it.
        seal = b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""
        if durable and not size:
            sync_folder(path.parent)  # the name first: if that fails there is nothing yet, and the next try does it
        try:
            write_all(descriptor, (seal if size else beginning()) + lines)
        except OSError:
            if not size:  # nothing was there: half a beginning would pass for a whole one
                os.ftruncate(descriptor, 0)
                path.unlink(missing_ok=True)
            raise
        if durable:
            os.fsync(descriptor)
    written.set()
    _touch(path.parent)


def _rewrite(path: Path, change: Callable[[bytes], bytes | None], given_up: threading.Event) -> None:
    with _locked(path, given_up, create=False):
        remove_leftovers(path)
        data = change(path.read_bytes())
        if data is None:
            path.unlink()
            sync_folder(path.parent)
        else:
            replace_private_file(path, data)


def _take_in(
    path: Path,
    change: Callable[[bytes], bytes],
    given_up: threading.Event,
    during: AbstractContextManager[None],
) -> None:
    make_private_folder(path.parent)
    with during, _locked(path, given_up) as descriptor:
        is_there = bool(os.fstat(descriptor).st_size)
        try:
            old = path.read_bytes() if is_there else b""
            if (new := change(old)) != old:
                replace_private_file(path, new, name_survives=False)
        except BaseException:
            if not is_there:
                path.unlink(missing_ok=True)
            raise


def _touch(folder: Path) -> None:
    """Let the folder's time tell that something in it has changed: an append alone does not.

    The index looks at folders instead of at every file in them.
    """
    with suppress(OSError):
        os.utime(folder)


@contextmanager
def _locked(path: Path, given_up: threading.Event, *, create: bool = True) -> Iterator[int]:
    """Open `path` for appending and hold its lock: other processes may write to the same conversation."""
    while True:
        descriptor = open_private(path, os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0))
        try:
            _lock(descriptor, given_up)
            if is_still_at(path, descriptor):
                yield descriptor
                return
        finally:
            os.close(descriptor)  # gives the lock back


def _lock(descriptor: int, given_up: threading.Event) -> None:
    """Take the lock; raise `BlockingIOError` if somebody holds it for longer than any append takes."""
    give_up = time.monotonic() + LONGEST_WAIT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up or given_up.is_set():
                raise BlockingIOError(errno.EWOULDBLOCK, "another process is at it") from None
            time.sleep(LOCK_POLL)
        else:
            return
