"""Looking after the history: what is damaged, what is to go, and what is to be taken out of it."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from chatllm_cli.errors import HistoryError
from chatllm_cli.frozen import frozen
from chatllm_cli.private_files import replace_private_file
from chatllm_cli.services.attachments.store import AttachmentStore
from chatllm_cli.services.history import files, journal, records, rewriting, use
from chatllm_cli.services.history.index import Index


@frozen
class Damage:
    """A journal with lines that cannot be read, or one that cannot be read at all."""

    path: Path
    lines: int
    fault: str = ""
    aside: Path | None = None  # where the damaged lines were moved


class Upkeep:
    """Checks, repairs, removes and scrubs the journals under one folder, and what the index has of them."""

    def __init__(self, folder: Path, index: Index, attached: AttachmentStore | None = None) -> None:
        self._folder = folder
        self._index = index
        self._attached = attached
        self._gone: set[str] = set()  # the hashes of attachments that something was taken out with

    async def check(self) -> list[Damage]:
        """Return the journals that are damaged, or cannot be read; nothing is changed. Raises `HistoryError`."""
        return [damage for path in await self._found(files.all_journals) if (damage := await self._damage(path))]

    async def repair(self) -> list[Damage]:
        """Move damaged lines into a file beside each journal, as they are, and return what was damaged.

        What cannot be read at all is left as it is.

        Raises `HistoryError`.
        """
        return [await self._repaired(damage) if damage.lines else damage for damage in await self.check()]

    async def _repaired(self, damage: Damage) -> Damage:
        aside = damage.path.with_name(f"{damage.path.name}{files.ASIDE}{time.time_ns()}")
        await self._rewrite(damage.path, lambda data: _put_aside(data, aside))
        return replace(damage, aside=aside)

    async def remove(self, conversation_ids: Sequence[str], *, unused_since: datetime | None = None) -> None:
        """Remove conversations, every copy of them, and what was moved aside; not one that was used since.

        Raises `HistoryError`.
        """
        async with self._purging():
            for path in await self._found(partial(files.copies, conversation_ids=conversation_ids)):
                await self._rewrite(path, partial(self._removed, path, unused_since))

    def _removed(self, path: Path, unused_since: datetime | None, data: bytes) -> bytes | None:
        if unused_since and records.decode(data, path.stem).updated_at >= unused_since:
            return data
        for aside in files.asides_of(path):
            self._gone |= records.hashes_in(aside.read_bytes())
        files.remove_asides(path)
        files.note_removal(self._folder, path.stem)  # whoever has it open must not write it anew
        return None

    async def remove_message(self, path: Path, message_id: str) -> None:
        """Remove one message; what was said below it stays. Raises `HistoryError`."""
        async with self._purging():
            await self._rewrite(path, lambda data: rewriting.without_message(data, message_id))
            for aside in await self._found(lambda _: files.asides_of(path)):
                await self._rewrite(aside, lambda data: rewriting.without_lines_of(data, message_id) or None)

    async def scrub(self, paths: Sequence[Path], pattern: re.Pattern[str], replacement: str) -> None:
        """Replace what `pattern` matches in every text in these files. Raises `HistoryError`."""
        async with self._purging():
            for path in paths:
                await self._rewrite(path, lambda data: rewriting.scrubbed(data, pattern, replacement))

    async def places(self, pattern: re.Pattern[str]) -> tuple[dict[Path, list[str]], list[HistoryError]]:
        """Return what `pattern` matches, with the text around it, by file, asides too; and what cannot be read.

        Raises `HistoryError`.
        """
        found: dict[Path, list[str]] = {}
        faults: list[HistoryError] = []
        for path in await self._found(files.all_journals) + await self._found(files.all_asides):
            try:
                if places := rewriting.places(await self._read(path), pattern):
                    found[path] = places
            except HistoryError as error:
                faults.append(HistoryError(f"{path}: {error.message}", hint=error.hint))
        return found, faults

    async def _damage(self, path: Path) -> Damage | None:
        try:
            good, bad = rewriting.split_damaged(await self._read(path))
        except HistoryError as error:
            return Damage(path, 0, error.message)
        if not good and not bad:
            return Damage(path, 0, f"nothing is left in it; `chatllm history rm {files.id_of(path)}` removes it")
        return Damage(path, len(bad)) if bad else None

    async def _found(self, look: Callable[[Path], list[Path]]) -> list[Path]:
        try:
            return await asyncio.to_thread(look, self._folder)
        except OSError as error:
            raise HistoryError(f"the history in {self._folder} cannot be read: {error.strerror}") from error

    async def _read(self, path: Path) -> bytes:
        try:
            return await journal.read(path)
        except FileNotFoundError:  # removed since it was listed
            return b""
        except OSError as error:
            raise HistoryError(f"the conversation in {path} cannot be read: {error.strerror}") from error

    async def _rewrite(self, path: Path, change: Callable[[bytes], bytes | None]) -> None:
        def noted(data: bytes) -> bytes | None:
            left = change(data)
            self._gone |= records.hashes_in(data) - records.hashes_in(left or b"")
            return left

        try:
            await journal.rewrite(path, noted)
        except FileNotFoundError:  # removed by somebody else
            return
        except OSError as error:
            raise HistoryError(f"{path} could not be changed: {error.strerror}") from error

    @asynccontextmanager
    async def _purging(self) -> AsyncIterator[None]:
        """Take out of the index, and of the attachments, what was taken out of the journals, all of it or a part."""
        try:
            yield
        finally:
            await asyncio.to_thread(self._index.purge)
            if self._attached and self._gone:
                await self._remove_attached(self._attached)

    async def _remove_attached(self, store: AttachmentStore) -> None:
        """Remove the files of attachments that no message holds any more. Raises `HistoryError`."""
        try:
            await asyncio.to_thread(store.remove_unused, self._gone, partial(use.hashes_in_use, self._folder))
        except OSError as error:
            raise HistoryError(f"images that were attached could not be removed: {error.strerror}") from error
        self._gone = set()


def _put_aside(data: bytes, aside: Path) -> bytes:
    good, bad = rewriting.split_damaged(data)
    replace_private_file(aside, b"".join(line + b"\n" for line in bad))
    return good
