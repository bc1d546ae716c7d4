"""Looking after the history: what is damaged, what is to go, and what is to be taken out of it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chatllm_cli.errors import HistoryError
from chatllm_cli.private_files import replace_private_file
from chatllm_cli.services.history import journal, rewriting
from chatllm_cli.services.history.index import Index


@dataclass(frozen=True, slots=True)
class Damage:
    """A journal with lines that cannot be read."""

    path: Path
    lines: int


class Upkeep:
    """Checks, repairs, removes and scrubs the journals under one folder, and what the index has of them."""

    def __init__(self, folder: Path, index: Index) -> None:
        self._folder = folder
        self._index = index

    async def check(self) -> list[Damage]:
        """Return the journals with damaged lines; nothing is changed. Raises `HistoryError`."""
        return [damage for path in await self._journals() if (damage := await self._damage(path))]

    async def repair(self) -> list[Damage]:
        """Move damaged lines into a file beside each journal, as they are, and return what was damaged.

        Raises `HistoryError`.
        """
        damaged = await self.check()
        for damage in damaged:
            aside = damage.path.with_name(f"{damage.path.name}.corrupt-{time.time_ns()}")
            await self._rewrite(damage.path, lambda data, aside=aside: _put_aside(data, aside))  # type: ignore[misc]
        return damaged

    async def remove(self, paths: Sequence[Path]) -> None:
        """Remove conversations, and what was moved aside of them. Raises `HistoryError`."""
        for path in paths:
            await self._rewrite(path, lambda _: None)
            for aside in path.parent.glob(f"{path.name}.corrupt-*"):
                aside.unlink(missing_ok=True)
        await self._purge()

    async def remove_message(self, path: Path, message_id: str) -> None:
        """Remove one message; what was said below it stays. Raises `HistoryError`."""
        await self._rewrite(path, lambda data: rewriting.without_message(data, message_id))
        await self._purge()

    async def scrub(self, paths: Sequence[Path], replace: rewriting.Replace) -> None:
        """Do `replace` to every text of these conversations. Raises `HistoryError`."""
        for path in paths:
            await self._rewrite(path, lambda data: rewriting.scrubbed(data, replace))
        await self._purge()

    async def count(self, replace: rewriting.Replace) -> dict[Path, int]:
        """Return the journals that `replace` would change, and in how many places. Raises `HistoryError`."""
        counts = {path: rewriting.count_changes(await self._read(path), replace) for path in await self._journals()}
        return {path: count for path, count in counts.items() if count}

    async def _damage(self, path: Path) -> Damage | None:
        _, bad = rewriting.split_damaged(await self._read(path))
        return Damage(path, len(bad)) if bad else None

    async def _journals(self) -> list[Path]:
        return sorted(path for path in await asyncio.to_thread(self._list) if path.is_file())

    def _list(self) -> list[Path]:
        return list(self._folder.glob("*/*/*.jsonl"))

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
