"""Conversations from elsewhere, taken into the history: each whole or not at all, and none twice."""

import asyncio
import errno
import time
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from chatllm_cli.errors import ChatllmError, FormatError, HistoryError
from chatllm_cli.frozen import frozen
from chatllm_cli.models import Conversation
from chatllm_cli.private_files import replace_private_file
from chatllm_cli.services.attachments.store import AttachmentStore
from chatllm_cli.services.history import files, journal, merging, records, rewriting
from chatllm_cli.services.history.use import hashes_in_use

# What is wrong with one file alone: it is a link, or no file, or another process does not let go of it.
OF_ONE_FILE = {errno.ELOOP, errno.EINVAL, errno.EISDIR, errno.EWOULDBLOCK}


class Became(StrEnum):
    """What became of a conversation that was to be taken in."""

    NEW = "new"
    GROWN = "grown"  # it was here already, but not all of it
    KNOWN = "known"  # all of it was here already
    REMOVED = "removed"  # it was removed here, and stays so


@frozen
class Taken:
    """What became of a conversation, and how many messages of it are new."""

    became: Became
    messages: int = 0
    differing: int = 0  # messages that say something else here, and stay so
    has_branched: bool = False  # whether what is new stands beside what is in use


class Intake:
    """Takes conversations into one folder of journals; `finish` has the last word.

    Each is on the disk when it is taken in, but for the names in the folder: these are synced once for all.
    """

    def __init__(
        self, folder: Path, attached: AttachmentStore | None = None, *, dry_run: bool = False, restore: bool = False
    ) -> None:
        """Change nothing if it is a `dry_run`; `restore` takes in what was removed on purpose, too."""
        self._folder = folder
        self._attached = attached
        self._is_dry = dry_run
        self._restores = restore
        self._known: dict[str, Path] | None = None
        self._removed: set[str] = set()
        self._would_be: dict[str, bytes] = {}  # journals, had it not been a dry run; packed
        self._changed: set[Path] = set()  # folders whose names would not survive a power cut yet
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by conversation

    async def take(self, conversation: Conversation, attached: Mapping[str, bytes] | None = None) -> Taken:
        """Take in a conversation from elsewhere with what is attached, by SHA-256. Raises as `take_journal` does."""
        conversation = replace(conversation, imported_at=datetime.now(UTC))
        return await self.take_journal(records.journal_of(conversation), conversation, attached)

    async def take_journal(
        self, data: bytes, conversation: Conversation, attached: Mapping[str, bytes] | None = None
    ) -> Taken:
        """Take in a journal, which is read as `conversation`.

        Raises `FormatError` if what is here of it cannot be added to, and `HistoryError` if nothing can be saved.
        """
        try:
            async with self._turns.setdefault(conversation.id, asyncio.Lock()):
                return await self._take(data, conversation, attached or {})
        except OSError as error:
            if error.errno in OF_ONE_FILE:
                raise FormatError(f"conversation {conversation.id} cannot be written: {error.strerror}") from error
            raise HistoryError(
                f"conversation {conversation.id} could not be saved: {error.strerror or error}",
                hint="make room or check the folder",
            ) from error

    async def finish(self) -> None:
        """Let all that was taken in survive a power cut, too. Raises `HistoryError`."""
        try:
            while self._changed:
                await journal.sync(self._changed.pop())
        except OSError as error:
            raise HistoryError(f"the history could not be saved: {error.strerror or error}") from error

    async def fold_copies(self) -> AsyncGenerator[tuple[Path, Taken | ChatllmError]]:
        """Fold what sync tools left beside the journals into these, and remove it; damaged lines are kept aside."""
        for path in await asyncio.to_thread(files.all_journals, self._folder):
            if files.copied_id(path):
                try:
                    yield path, await self._fold(path)
                except (FormatError, HistoryError) as error:
                    yield path, error

    async def _take(self, data: bytes, conversation: Conversation, attached: Mapping[str, bytes]) -> Taken:
        known = await self._places()
        path = known.get(conversation.id) or self._new_path(conversation)
        is_removed = conversation.id in self._removed
        if is_removed and not self._restores:
            return Taken(Became.REMOVED)
        if self._is_dry:
            return self._would_take(data, conversation, path)
        taken = await self._write(path, data, conversation, self._keeping(data, attached))
        known[conversation.id] = path
        if is_removed:
            self._removed.remove(conversation.id)
            files.forget_removal(self._folder, conversation.id)
        return taken

    def _would_take(self, data: bytes, conversation: Conversation, path: Path) -> Taken:
        if (packed := self._would_be.get(conversation.id)) is not None:
            ours = zlib.decompress(packed)
        else:
            ours = path.read_bytes() if path.exists() else b""
        both = _both(ours, data, conversation)
        self._would_be[conversation.id] = zlib.compress(both.data, 1)
        return _taken(ours, both)

    async def _write(
        self, path: Path, data: bytes, conversation: Conversation, during: AbstractContextManager[None] | None
    ) -> Taken:
        taken = Taken(Became.KNOWN)

        def change(ours: bytes) -> bytes:
            nonlocal taken
            both = _both(ours, data, conversation)
            taken = _taken(ours, both)
            return both.data

        await journal.take_in(path, change, during)
        self._changed.add(path.parent)
        return taken

    def _keeping(self, data: bytes, attached: Mapping[str, bytes]) -> AbstractContextManager[None] | None:
        if self._attached is None or not (hashes := records.hashes_in(data)):
            return None
        for sha256 in hashes & attached.keys():
            self._attached.hold(attached[sha256])
        return self._attached.keeping(hashes, partial(hashes_in_use, self._folder))

    async def _fold(self, path: Path) -> Taken:
        try:
            data = await journal.read(path)
            conversation = records.decode(data, files.copied_id(path))
            if not conversation.messages and conversation.id not in await self._places():
                raise HistoryError(f"{path} could not be folded in: nothing in it can be read")
            taken = await self._take(data, conversation, {})
            if taken.became is not Became.REMOVED and not self._is_dry:
                await self.finish()
                await asyncio.to_thread(_clear_away, path, data)
        except OSError as error:
            raise HistoryError(f"{path} could not be folded in: {error.strerror or error}") from error
        return taken

    async def _places(self) -> dict[str, Path]:
        if self._known is None:
            journals = await asyncio.to_thread(files.all_journals, self._folder)
            self._known = {files.id_of(path): path for path in journals}
            self._removed = files.removed_ids(self._folder)
        return self._known

    def _new_path(self, conversation: Conversation) -> Path:
        return files.new_journal(self._folder, conversation.id, conversation.created_at)


def _both(ours: bytes, data: bytes, conversation: Conversation) -> merging.Merged:
    """Return what both journals come to; one that is new is taken as it is, damaged lines included.

    Raises `FormatError` for a newer version's.
    """
    if not ours:
        return merging.Merged(data, len(conversation.messages))
    try:
        return merging.merged(ours, data, conversation.id)
    except HistoryError as error:  # it is of a newer version: the others are not
        raise FormatError(f"conversation {conversation.id}: {error.message}", hint=error.hint) from None


def _taken(ours: bytes, both: merging.Merged) -> Taken:
    if not ours:
        return Taken(Became.NEW, both.messages)
    became = Became.KNOWN if both.data == ours else Became.GROWN
    return Taken(became, both.messages, both.differing, both.has_branched)


def _clear_away(path: Path, data: bytes) -> None:
    """Remove a copy that is folded in; lines that could not be are put aside first, whatever is in them."""
    if bad := rewriting.split_damaged(data)[1]:
        aside = path.with_name(f"{files.copied_id(path)}{files.ENDING}{files.ASIDE}{time.time_ns()}")
        replace_private_file(aside, b"".join(line + b"\n" for line in bad))
    path.unlink()
