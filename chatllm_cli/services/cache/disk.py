"""Entries in a folder of this machine. A cache that is damaged is put out of the way, and begun anew."""

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

from chatllm_cli.private_files import make_private_folder, open_private
from chatllm_cli.services.cache.stores import LONGEST_WAIT, ForeignRowError, StoreError, sane

LONGEST_LOCK = 0.25  # seconds that SQLite waits for another process: whoever waits for us is told before it gives up
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
WITHOUT_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
PRIMARY_CODE = 0xFF  # SQLite's extended codes keep the plain one in their lowest byte
LARGEST_SHARE, ROOM = 0.25, 0.1  # of the size: what one entry may take, and what is made free at once
AT_ONCE = 500  # rows that are dropped by one statement
IN_USE, SLOW = "another process is at it", "it does not answer in time"
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
        """Keep `data` for so long, or until its conversation is forgotten; not what takes the room of most others."""
        most = self._size_mb * 2**20

        def work(cache: Any) -> None:
            if not data or len(data) > most * LARGEST_SHARE:
                cache.delete(key)  # rather none than an older one
                return
            cache.set(key, data, expire=seconds, tag=conversation)
            cache.expire()
            if cache.volume() > most:
                self._make_room(cache.volume() - int(most * (1 - ROOM)))

        await self._in_thread(work)

    async def forget(self, conversations: Sequence[str]) -> None:
        """Drop what belongs to these conversations, without a trace."""

        def drop(database: sqlite3.Connection) -> int:
            wanted = list(conversations)
            for begin in range(0, len(wanted), AT_ONCE):
                some = wanted[begin : begin + AT_ONCE]
                database.execute(f"DELETE FROM Cache WHERE tag IN ({', '.join('?' * len(some))})", some)  # noqa: S608
            return 0

        await self._drop(drop)

    async def remove(self, is_doomed: Callable[[bytes], bool] | None = None) -> int:
        """Drop every entry, or those that are doomed, without a trace, and return how many those were."""

        def drop(database: sqlite3.Connection) -> int:
            if is_doomed is None:
                return int(database.execute("DELETE FROM Cache WHERE key IS NOT ?", [COUNTS]).rowcount)
            rows = database.execute("SELECT rowid, value FROM Cache WHERE key IS NOT ?", [COUNTS])
            doomed = [(number,) for number, value in rows if is_doomed(value)]
            database.executemany("DELETE FROM Cache WHERE rowid = ?", doomed)
            return len(doomed)

        return await self._drop(drop)

    async def _drop(self, drop: Callable[[sqlite3.Connection], int]) -> int:
        """Let `drop` drop rows, see to it that nothing is left of them anywhere, and return what it does.

        A database that cannot be written any more, on a full disk, goes as a whole.
        """
        if not self._exists():
            self._remove_damaged()
            return 0

        def work(_: Any) -> int:
            with closing(self._database()) as database, database:
                database.execute("PRAGMA secure_delete=1")
                dropped = drop(database)
            with closing(self._database()) as database:
                if database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    raise StoreError(IN_USE)
            return dropped

        try:
            return await self._in_thread(work, LONGEST_CHORE)
        except StoreError as error:
            if getattr(error.__cause__, "sqlite_errorcode", 0) & PRIMARY_CODE not in WITHOUT_ROOM:
                raise
            shutil.rmtree(self._folder, ignore_errors=True)
            if self._exists():
                raise
            return 0
        finally:  # one that was damaged may have been found to be so only now
            self._remove_damaged()

    async def size(self) -> tuple[int, int]:
        """Return how many entries there are, and how many bytes they take."""
        if self._folder.exists() and not self._folder.is_dir():
            raise StoreError("it is no folder")
        if not self._exists():
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
        if not self._exists():
            return {}
        return await self._in_thread(_counted, LONGEST_CHORE)

    async def aclose(self) -> None:
        """Close the file, once what is being written is."""
        if self._cache is not None:
            with suppress(StoreError):
                await self._in_thread(lambda cache: cache.close())
        self._cache = None
        self._thread.shutdown(wait=False)

    def _exists(self) -> bool:
        """Tell whether there is anything, be it only damage."""
        return (self._folder / "cache.db").exists()

    async def _in_thread(self, work: Callable[[Any], Result], longest: float = LONGEST_WAIT) -> Result:
        """Do `work` on the cache in its thread, and wait for that no longer than so many seconds."""
        done = asyncio.get_running_loop().run_in_executor(self._thread, self._safely, work)
        try:
            return await asyncio.wait_for(done, longest)
        except TimeoutError:
            raise StoreError(SLOW) from None

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
        from chatllm_cli.services.cache.safe_disk import open_cache  # noqa: PLC0415  (only who looks up needs diskcache)

        # diskcache opens it twice: with another connection the file is not synced in between.
        with closing(_connected(path)):
            return open_cache(self._folder, timeout=LONGEST_LOCK)

    def _move_aside(self) -> None:
        """Put a damaged cache out of the way, where its owner may still look at it."""
        self._cache = None
        self._folder.rename(self._folder.with_name(f"{self._folder.name}.corrupt-{time.time_ns()}"))

    def _remove_damaged(self) -> None:
        """Remove what was put out of the way: there may be something in it of what is to go."""
        for aside in self._folder.parent.glob(f"{self._folder.name}.corrupt-*"):
            shutil.rmtree(aside, ignore_errors=True)

    def _make_room(self, wanted: int) -> None:
        """Drop the oldest entries, until so many bytes are free."""
        with closing(self._database()) as database, database:
            database.execute("BEGIN IMMEDIATE")  # else others could write between the look and the removal
            rows = database.execute(
                "SELECT rowid, length(value) FROM Cache WHERE key IS NOT ? ORDER BY store_time", [COUNTS]
            )
            doomed: list[tuple[int]] = []
            for number, size in rows:
                doomed.append((number,))
                wanted -= size or 0
                if wanted <= 0:
                    break
            database.executemany("DELETE FROM Cache WHERE rowid = ?", doomed)

    def _database(self) -> sqlite3.Connection:
        return sqlite3.connect(self._folder / "cache.db", timeout=LONGEST_LOCK)


def is_passing(error: Exception) -> bool:
    """Tell whether the cache may well be sound, and only cannot be used now."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE in PASSING
    return _is_lock(error) or isinstance(error, OSError | ForeignRowError | StoreError)


def _is_lock(error: Exception) -> bool:
    from chatllm_cli.services.cache.safe_disk import Locked  # noqa: PLC0415  (as above)

    code = getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE
    return code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} or isinstance(error, Locked)


def _reason(error: Exception) -> str:
    if _is_lock(error):
        return IN_USE
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _connected(path: Path) -> sqlite3.Connection:
    """Raise if another process holds the database for longer than we wait: diskcache would try for a minute."""
    connection = sqlite3.connect(path, timeout=LONGEST_LOCK, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except BaseException:
        connection.close()
        raise
    return connection


def _counted(cache: Any) -> dict[str, float]:
    """Return what was counted so far; nothing if that cannot be read."""
    with suppress(ForeignRowError, ValueError, TypeError, AttributeError, RecursionError):
        return sane(json.loads(cache.get(COUNTS, b"{}")))
    return {}
