"""Entries in a folder of this machine. The only module that knows diskcache.

diskcache unpickles what it finds (CVE-2025-69872), and its JSONDisk still does when a row says so; `SafeDisk`
cannot. A cache that is damaged is put out of the way, and begun anew.
"""

import asyncio
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import diskcache
from diskcache.core import MODE_RAW

from chatllm_cli.private_files import make_private_folder, open_private
from chatllm_cli.services.cache.stores import LONGEST_WAIT, StoreError

LONGEST_LOCK = 0.3  # seconds that SQLite waits for another process: whoever waits for us is told before it gives up
LONGEST_FAREWELL = 0.5  # seconds for what is still being written when it is closed
LONGEST_CHORE = 10.0  # seconds for what a person asked for: to clear it, or to forget
COUNTS = "counts"  # the key of what was counted: no entry's, which are hexadecimal
# SQLite's codes for a database that is sound but cannot be used now: locked, a full or failing disk, no rights.
PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
}
PRIMARY_CODE = 0xFF  # SQLite's extended codes keep the plain one in their lowest byte
IN_USE = "another process is at it"
Result = TypeVar("Result")


class DiskStore:
    """A folder with a diskcache in it; opened, and made, with the first use."""

    is_shared = False

    def __init__(self, folder: Path, *, size_mb: int) -> None:
        self._folder = folder
        self._size_mb = size_mb
        self._cache: Any = None
        # One thread for all: SQLite's connections belong to the thread that opened them, which has to close them.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cache")

    @property
    def where(self) -> str:
        """The folder."""
        return str(self._folder)

    async def get(self, key: str) -> bytes | None:
        """Return what lies under a key, unless it is too old; a row that is not ours is none."""

        def work(cache: Any) -> bytes | None:
            try:
                found: bytes | None = cache.get(key)
            except ForeignRowError:
                return None
            return found

        return await self._in_thread(work)

    async def put(self, key: str, data: bytes, *, seconds: float, conversation: str) -> None:
        """Keep `data` for so long, or until its conversation is forgotten."""
        await self._in_thread(lambda cache: cache.set(key, data, expire=seconds, tag=conversation))

    async def forget(self, conversations: Sequence[str]) -> None:
        """Drop what belongs to these conversations, without a trace."""
        self._remove_damaged()

        def work(cache: Any) -> bool:
            for conversation in conversations:
                cache.evict(conversation)
            return self._checkpoint()

        if self._folder.exists() and not await self._in_thread(work, LONGEST_CHORE):
            raise StoreError(IN_USE)

    async def remove(self, is_doomed: Callable[[bytes], bool] | None = None) -> int:
        """Drop every entry, or those that are doomed, without a trace, and return how many those were."""
        self._remove_damaged()
        if not (self._folder / "cache.db").exists():
            return 0

        def work(_: Any) -> int:
            with closing(self._database()) as database, database:
                database.execute("PRAGMA secure_delete=1")
                if is_doomed is None:
                    return int(database.execute("DELETE FROM Cache WHERE key IS NOT ?", [COUNTS]).rowcount)
                rows = database.execute("SELECT rowid, value FROM Cache WHERE key IS NOT ?", [COUNTS])
                doomed = [(number,) for number, value in rows if is_doomed(value)]
                database.executemany("DELETE FROM Cache WHERE rowid = ?", doomed)
                return len(doomed)

        removed = await self._in_thread(work, LONGEST_CHORE)
        if not await self._in_thread(lambda _: self._checkpoint(), LONGEST_CHORE):
            raise StoreError(IN_USE)
        return removed

    async def size(self) -> tuple[int, int]:
        """Return how many entries there are, and how many bytes they take."""
        if not (self._folder / "cache.db").exists():
            return 0, 0
        sql = "SELECT count(*), total(length(value)) FROM Cache WHERE key IS NOT ? AND expire_time > ?"

        def work(_: Any) -> tuple[int, int]:
            with closing(self._database()) as database:
                entries, size = database.execute(sql, [COUNTS, time.time()]).fetchone()
                return int(entries), int(size)

        return await self._in_thread(work, LONGEST_CHORE)

    async def count(self, amounts: Mapping[str, float]) -> None:
        """Add these amounts to what was counted before, by name."""

        def work(cache: Any) -> None:
            with cache.transact():
                counted = _counted(cache)
                counted |= {name: counted.get(name, 0) + amount for name, amount in amounts.items()}
                cache.set(COUNTS, json.dumps(counted).encode())

        await self._in_thread(work)

    async def counts(self) -> dict[str, float]:
        """Return what was counted."""
        if not (self._folder / "cache.db").exists():
            return {}
        return await self._in_thread(_counted, LONGEST_CHORE)

    async def aclose(self) -> None:
        """Close the file, once what is being written is."""
        if self._cache is not None:
            with suppress(StoreError):
                await self._in_thread(lambda cache: cache.close(), LONGEST_FAREWELL)
        self._cache = None
        self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[Any], Result], longest: float = LONGEST_WAIT) -> Result:
        """Do `work` on the cache in its thread, and wait for that no longer than so many seconds."""
        done = asyncio.get_running_loop().run_in_executor(self._thread, self._safely, work)
        try:
            return await asyncio.wait_for(done, longest)
        except TimeoutError:
            raise StoreError(IN_USE) from None

    def _safely(self, work: Callable[[Any], Result]) -> Result:
        """Do `work` on the cache, once more with a new one if this one is damaged. Raises `StoreError`."""
        try:
            return work(self._opened())
        except Exception as error:
            if is_passing(error):
                raise StoreError(_reason(error)) from error
        try:
            self._move_aside()
            return work(self._opened())
        except Exception as error:
            raise StoreError(_reason(error)) from error

    def _opened(self) -> Any:
        if self._cache is None:
            self._cache = self._open()
        return self._cache

    def _open(self) -> Any:
        make_private_folder(self._folder)
        path = self._folder / "cache.db"
        os.close(open_private(path, os.O_RDWR | os.O_CREAT))  # SQLite would make it 0644
        _wait_for_lock(path)
        return PlainCache(
            str(self._folder),
            timeout=LONGEST_LOCK,
            disk=SafeDisk,
            size_limit=self._size_mb * 2**20,
            cull_limit=10,
            sqlite_secure_delete=1,
        )

    def _move_aside(self) -> None:
        """Put a damaged cache out of the way, where its owner may still look at it."""
        self._cache = None
        self._folder.rename(self._folder.with_name(f"{self._folder.name}.corrupt-{time.time_ns()}"))

    def _remove_damaged(self) -> None:
        """Remove what was put out of the way: there may be something in it of what is to go."""
        for aside in self._folder.parent.glob(f"{self._folder.name}.corrupt-*"):
            shutil.rmtree(aside, ignore_errors=True)

    def _database(self) -> sqlite3.Connection:
        return sqlite3.connect(self._folder / "cache.db", timeout=LONGEST_LOCK)

    def _checkpoint(self) -> bool:
        """Let nothing of removed rows be left in what SQLite wrote ahead; tell whether that could be done."""
        with closing(self._database()) as database:
            return not database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]


class ForeignRowError(ValueError):
    """A row that is not ours: it is not read, and says nothing of the other rows."""


def is_passing(error: Exception) -> bool:
    """Tell whether the cache may well be sound, and only cannot be used now."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE in PASSING
    return isinstance(error, OSError | diskcache.Timeout | ForeignRowError)


def _reason(error: Exception) -> str:
    is_locked = getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
    if is_locked or isinstance(error, diskcache.Timeout):
        return IN_USE
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _wait_for_lock(path: Path) -> None:
    """Raise if another process holds the database for longer than we wait: diskcache would try for a minute."""
    with closing(sqlite3.connect(path, timeout=LONGEST_LOCK, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def _counted(cache: Any) -> dict[str, float]:
    """Return what was counted so far; nothing if that cannot be read."""
    with suppress(ForeignRowError, ValueError, TypeError, AttributeError, RecursionError):
        counted = json.loads(cache.get(COUNTS, b"{}"))
        return {name: amount for name, amount in counted.items() if type(amount) in {int, float}}
    return {}


class PlainCache(diskcache.Cache):  # type: ignore[misc]  # diskcache has no types
    """A cache that is as large as its database: what rows say of files is not believed."""

    def volume(self) -> int:
        """Return how many bytes it takes."""
        ((pages,),) = self._sql("PRAGMA page_count").fetchall()
        return int(pages * self._page_size)


class SafeDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Stores bytes under text in the database itself, and reads nothing else back.

    A row is only ever data: none is unpickled, and none names a file to be read or removed.
    """

    def put(self, key: object) -> tuple[str, bool]:
        """Take text for a key, nothing else."""
        if not isinstance(key, str):
            raise TypeError("a cache key is text")
        return key, True

    def get(self, key: object, raw: object) -> str:
        """Return a key that `put` made."""
        if not raw or not isinstance(key, str):
            raise ForeignRowError("a foreign key")
        return key

    def store(self, value: object, read: object, key: object = None) -> tuple[int, int, None, sqlite3.Binary]:
        """Take bytes for a value, nothing else."""
        if not isinstance(value, bytes) or read:
            raise TypeError("a cache value is bytes")
        return 0, MODE_RAW, None, sqlite3.Binary(value)

    def fetch(self, mode: object, filename: object, value: object, read: object) -> bytes:
        """Return a value that `store` made."""
        if mode != MODE_RAW or filename is not None or read or not isinstance(value, bytes):
            raise ForeignRowError("a foreign value")
        return value

    def remove(self, file_path: object) -> None:
        """Leave files alone: no row of ours has one, whatever it says."""
