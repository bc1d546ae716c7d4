"""Append-only files of JSON lines: what was acknowledged survives a kill and a power cut.

aiofiles' own `write` is acknowledged from a buffer (every such write was lost in a kill test) and costs a
thread hop per call, so one append is one function in one hop: lock, seal, write, sync.
"""

import asyncio
import fcntl
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiofiles
from aiofiles.os import wrap

from chatllm_cli.private_files import make_private_folder, open_private, sync_folder, write_all

LONGEST_WAIT = 10.0  # seconds for another process's append
LOCK_POLL = 0.005


async def append(path: Path, lines: bytes, *, durable: bool, beginning: Callable[[], bytes] = bytes) -> None:
    """Add whole `lines` to the file at `path`; `durable` returns once they are on the disk.

    A file that is not there, or has nothing in it, is made with what `beginning` returns before the lines.

    Cancelling waits for the write to end, so that no thread goes on with it behind the caller's back;
    cancelling again does not, and a write that has not got its lock by then is not done. Raises OSError.
    """
    given_up = threading.Event()
    await _to_its_end(wrap(_append)(path, lines, durable, beginning, given_up), given_up)


async def read(path: Path) -> bytes:
    """Return the whole file; raises OSError."""
    async with aiofiles.open(path, "rb") as file:
        return await file.read()


async def newest_first(folder: Path) -> list[Path]:
    """Return the journals under `folder`, the last written first; none if there is no folder."""
    return await wrap(_newest_first)(folder)


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
    path: Path, lines: bytes, durable: bool, beginning: Callable[[], bytes], given_up: threading.Event
) -> None:
    make_private_folder(path.parent)
    with _locked(path, given_up) as descriptor:
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
            raise
        if durable:
            os.fsync(descriptor)


@contextmanager
def _locked(path: Path, given_up: threading.Event) -> Iterator[int]:
    """Open `path` for appending and hold its lock: other processes may write to the same conversation."""
    while True:
        descriptor = open_private(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            _lock(descriptor, given_up)
            if _is_still_at(path, descriptor):
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
                raise
            time.sleep(LOCK_POLL)
        else:
            return


def _is_still_at(path: Path, descriptor: int) -> bool:
    """Tell whether nobody replaced or removed the file while its lock was waited for."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _newest_first(folder: Path) -> list[Path]:
    dated = []
    for path in folder.glob("*/*/*.jsonl"):
        try:
            dated.append((path.stat().st_mtime_ns, path))
        except FileNotFoundError:  # removed since it was listed
            continue
        except OSError:  # whoever reads it will meet the fault, and tell
            dated.append((0, path))
    return [path for _, path in sorted(dated, reverse=True)]
