"""The file that the answers of a batch go to: appended line by line, and read by the run that goes on."""

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from chatllm_cli.errors import ChatllmError, UsageError
from chatllm_cli.models import Status
from chatllm_cli.private_files import open_private, sync_folder, write_all
from chatllm_cli.services.batch.items import Item, key_of, prompt_hash
from chatllm_cli.services.batch.lines import BLOCK, Splitter

BETWEEN_SYNCS = 1.0  # seconds
WHOLE = {Status.COMPLETE, Status.UNKNOWN_END}
ID, HASH, STATUS = "id", "prompt_hash", "status"


class Results:
    """A file of answers, for its owner alone; nobody else writes to it meanwhile."""

    def __init__(self, path: Path, descriptor: int, done: Mapping[int, str], damaged: int = 0) -> None:
        self.damaged = damaged  # lines that are no answers
        self._path = path
        self._descriptor = descriptor
        self._done = done
        self._synced = time.monotonic()
        self._syncing: asyncio.Future[None] | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a file to go on with, or a new one; blocking.

        Raises `UsageError` if it cannot be written, or is something else, or if another batch writes to it.
        """
        try:
            descriptor = open_private(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        except OSError as error:
            raise _unwritable(path, error) from None
        try:
            _lock(descriptor)
            done, damaged = _read(path, descriptor)
            sync_folder(path.parent)
        except BlockingIOError:
            os.close(descriptor)
            raise UsageError(f"another batch is writing to {path}") from None
        except OSError as error:
            os.close(descriptor)
            raise _unwritable(path, error) from None
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor, done, damaged)

    def has(self, item: Item, prompt: str) -> bool:
        """Tell whether there is a whole answer; one by the number of its line has to be that of the same prompt."""
        known = self._done.get(key_of(item.id))
        return known is not None and (item.has_own_id or known == prompt_hash(prompt))

    def put(self, answer: Mapping[str, Any]) -> None:
        """Append one answer; it is on the disk within about a second. Raises `ChatllmError`."""
        try:
            write_all(self._descriptor, json.dumps(answer).encode() + b"\n")
            self._sync_at_times()
        except OSError as error:
            raise self._failed(error) from None

    async def aclose(self) -> None:
        """Let all of it be on the disk. Raises `ChatllmError`."""
        if self._syncing:
            with suppress(OSError):
                await asyncio.shield(self._syncing)
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._failed(error) from None
        finally:
            os.close(self._descriptor)

    def _sync_at_times(self) -> None:
        """Sync what was written, if that is some time ago, while others go on. Raises OSError of the time before."""
        if time.monotonic() - self._synced < BETWEEN_SYNCS or (self._syncing and not self._syncing.done()):
            return
        if self._syncing:
            self._syncing.result()
        self._synced = time.monotonic()
        self._syncing = asyncio.ensure_future(asyncio.to_thread(os.fsync, self._descriptor))

    def _failed(self, error: OSError) -> ChatllmError:
        return ChatllmError(
            f"the answers could not be written to {self._path}: {error.strerror or error}",
            hint="the same command goes on with what is missing",
        )


def _lock(descriptor: int) -> None:
    """Keep other batches from the file, where its file system knows locks. Raises BlockingIOError if one has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if isinstance(error, BlockingIOError):
            raise


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path} cannot be written: {error.strerror or error}")


def _read(path: Path, descriptor: int) -> tuple[dict[int, str], int]:
    """Return the whole answers in a file, as key and hash, and how many lines are none; end its last line.

    The last line of an id counts. Raises `UsageError` if the file is not of a batch.
    """
    done: dict[int, str] = {}
    damaged = count = 0
    splitter = Splitter()
    with os.fdopen(os.dup(descriptor), "rb") as file:
        while block := file.read(BLOCK):
            for line in splitter.feed(block):
                count += 1
                damaged += not _take(line, done)
    torn = list(splitter.end())
    damaged += sum(not _take(line, done) for line in torn)
    if damaged == count + len(torn) > 0 and (count or not _begins_as_ours(torn[0])):
        raise UsageError(
            f"{path} is there, and is no output of batch", hint="name a new file, or one that batch has begun"
        )
    if torn:  # the next must not be glued to it
        write_all(descriptor, b"\n")
    return done, damaged


def _begins_as_ours(line: bytes | None) -> bool:
    begin = json.dumps({ID: 0}).encode()[: -len(b"0}")]
    return line is not None and begin.startswith(line[: len(begin)])


def _take(line: bytes | None, done: dict[int, str]) -> bool:
    """Take note of an answer; tell whether the line is one."""
    try:
        answer = json.loads(line or b"")
        id_, told, status = answer[ID], answer[HASH], answer[STATUS]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    if isinstance(id_, int | str):  # else of a line that could not be used
        if status in WHOLE and isinstance(told, str):
            done[key_of(id_)] = told
        else:
            done.pop(key_of(id_), None)
    return True
