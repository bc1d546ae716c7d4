"""Looking after the history: what is damaged, what is to go, and what is to be taken out of it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chatllm_cli.errors import HistoryError
from chatllm_cli.private_files import replace_private_file
from chatllm_cli.services.history import files, journal, rewriting
from chatllm_cli.services.history.index import Index


@dataclass(frozen=True, slots=True)
class Damage:
    """A journal with lines that cannot be read, or one that cannot be read at all."""

    path: Path
    lines: int
    fault: str = ""


class Upkeep:
    """Checks, repairs, removes and scrubs the journals under one folder, and what the index has of them."""

    def __init__(self, folder: Path, index: Index) -> None:
        self._folder = folder
        self._index = index

    async def check(self) -> list[Damage]:
        """Return the journals that are damaged, or cannot be read; nothing is changed. Raises `HistoryError`."""
        return [damage for path in await self._found(files.all_journals) if (damage := await self._damage(path))]

    async def repair(self) -> list[Damage]:
        """Move damaged lines into a file beside each journal, as they are, and return what was damaged.

        What cannot be read at all is left as it is.
        Raises `HistoryError`.
        """
        damaged = await self.check()
        for damage in (each for each in damaged if each.lines):
            aside = damage.path.with_name(f"{damage.path.name}{files.ASIDE}{time.time_ns()}")
            await self._rewrite(damage.path, lambda data, aside=aside: _put_aside(data, aside))  # type: ignore[misc]
        return damaged

    async def remove(self, paths: Sequence[Path]) -> None:
        """Remove conversations, and what was moved aside of them. Raises `HistoryError`."""
        for path in paths:
            await self._rewrite(path, lambda _, path=path: files.remove_asides(path))  # type: ignore[misc]
        await self._purge()

    async def remove_message(self, path: Path, message_id: str) -> None:
        """Remove one message; what was said below it stays. Raises `HistoryError`."""
        await self._rewrite(path, lambda data: rewriting.without_message(data, message_id))
        await self._purge()

    async def scrub(self, paths: Sequence[Path], replace: rewriting.Replace) -> None:
        """Do `replace` to every text in these files. Raises `HistoryError`."""
        for path in paths:
            await self._rewrite(path, lambda data: rewriting.scrubbed(data, replace))
        await self._purge()

    async def count(self, replace: rewriting.Replace) -> dict[Path, int]:
        """Return the files that `replace` would change, asides too, and in how many places. Raises `HistoryError`."""
        paths = await self._found(files.all_journals) + await self._found(files.all_asides)
        counts = {path: rewriting.count_changes(await self._read(path), replace) for path in paths}
        return {path: count for path, count in counts.items() if count}

    async def _damage(self, path: Path) -> Damage | None:
        try:
            _, bad = rewriting.split_damaged(await self._read(path))
        except HistoryError as error:
            return Damage(path, 0, error.message)
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
        try:
            await journal.rewrite(path, change)
        except FileNotFoundError:  # removed by somebody else
            return
        except OSError as error:
            raise HistoryError(f"{path} could not be changed: {error.strerror}") from error

    async def _purge(self) -> None:
        await asyncio.to_thread(self._index.purge)


def _put_aside(data: bytes, aside: Path) -> bytes:
    good, bad = rewriting.split_damaged(data)
    replace_private_file(aside, b"".join(line + b"\n" for line in bad))
    return good
