"""A diskcache that believes nothing that its database says. The only module that knows diskcache.

diskcache unpickles what it finds (CVE-2025-69872), and its JSONDisk still does when a row says so; `SafeDisk`
cannot.
"""

import sqlite3
from pathlib import Path

import diskcache
from diskcache import Timeout as Locked
from diskcache.core import MODE_RAW

from chatllm_cli.services.cache.stores import ForeignRowError

__all__ = ["Locked", "PlainCache", "SafeDisk", "open_cache"]

WAL_SIZE, PAGE_SIZE = 2**20, 4096  # bytes: what SQLite writes ahead, and a page of it


def open_cache(folder: Path, *, timeout: float) -> "PlainCache":
    """Open a cache, and make it if it is missing; another process is waited for so many seconds."""
    return PlainCache(
        str(folder),
        timeout=timeout,
        disk=SafeDisk,
        # What the database says of these is not believed. Room is made by us: diskcache would drop ten at a time.
        cull_limit=0,
        eviction_policy="none",
        statistics=0,
        tag_index=0,
        sqlite_secure_delete=1,
        sqlite_journal_size_limit=WAL_SIZE,
        sqlite_wal_autocheckpoint=WAL_SIZE // PAGE_SIZE,
    )


class PlainCache(diskcache.Cache):  # type: ignore[misc]  # diskcache has no types
    """A cache that is as large as its database: what rows say of files is not believed."""

    def volume(self) -> int:
        """Return how many bytes it takes."""
        ((pages,),), ((free,),) = (
            self._sql(f"PRAGMA {name}").fetchall() for name in ("page_count", "freelist_count")
        )
        return int((pages - free) * self._page_size)


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
