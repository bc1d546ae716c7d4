"""ResponseCache: answers to requests that were asked before. The only module that knows diskcache.

diskcache unpickles what it finds (CVE-2025-69872), and its JSONDisk still does when a row says so; `SafeDisk`
cannot. Whatever is wrong with the cache is a miss: it never fails a turn and never makes it wait.
"""

import asyncio
import hashlib
import json
import os
import shutil
import sqlite3
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import MODE_RAW

from chatllm_cli.config.sections import CacheSettings
from chatllm_cli.errors import ChatllmError
from chatllm_cli.models import ChatRequest, Completion, TokenUsage
from chatllm_cli.private_files import make_private_folder, open_private

KEY_VERSION = 3  # change it when the key or the entry changes its meaning: old entries are then never found
LONGEST_WAIT = 1.0  # seconds for another process's lock
DIGEST_SIZE = 32
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


@dataclass(frozen=True, slots=True)
class CachedCompletion:
    """A completion from the cache, and when it was new."""

    completion: Completion
    at: datetime


class ResponseCache:
    """Completions by request; opened with the first use."""

    def __init__(self, folder: Path, settings: CacheSettings) -> None:
        self._folder = folder
        self._settings = settings
        self._cache: Any = None
        # One thread for all: SQLite's connections belong to the thread that opened them, which has to close them.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cache")

    def wants(self, request: ChatRequest) -> bool:
        """Tell whether the settings let this request be answered from the cache: sampling has to differ."""
        mode = self._settings.mode
        return mode == "always" or (mode == "auto" and request.options.temperature == 0)

    async def get(self, request: ChatRequest) -> CachedCompletion | None:
        """Return the completion that an identical request brought back, if it is still there and whole."""
        if not self.wants(request):
            return None
        data = await self._in_thread(lambda cache: cache.get(request_key(request)))
        try:
            return _unpack(data)
        except Exception:  # noqa: BLE001  (an entry of another shape, however strange, is a miss)
            return None

    async def put(self, request: ChatRequest, completion: Completion, *, conversation: str = "") -> None:
        """Keep a complete answer, for as long as its conversation is; the caller sees to it that it is complete."""
        if not self.wants(request):
            return
        age = timedelta(days=self._settings.ttl_days).total_seconds()
        data = _pack(completion, datetime.now(UTC))
        await self._in_thread(lambda cache: cache.set(request_key(request), data, expire=age, tag=conversation))

    async def forget(self, conversations: Sequence[str]) -> None:
        """Drop the answers that were given in these conversations, without a trace. Raises `ChatllmError`."""
        for aside in self._folder.parent.glob(f"{self._folder.name}.corrupt-*"):
            shutil.rmtree(aside, ignore_errors=True)
        if self._folder.exists() and not await self._in_thread(lambda cache: _evict(cache, conversations)):
            raise ChatllmError(
                "what the cache has of it could not be removed: another process is at it", hint="try again"
            )

    async def aclose(self) -> None:
        """Close the file."""
        if self._cache is not None:
            await self._in_thread(lambda cache: cache.close())
        self._cache = None
        self._thread.shutdown()

    async def _in_thread(self, work: Callable[[Any], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._safely, work)

    def _safely(self, work: Callable[[Any], Any]) -> Any:
        """Do `work` on the cache; None if that fails, after one more try with a new cache if this one is damaged."""
        try:
            return work(self._opened())
        except Exception as error:  # noqa: BLE001  (damage shows as anything: SQLite, diskcache, memory)
            if is_passing(error):
                return None
        with suppress(Exception):
            self._move_aside()
            return work(self._opened())
        return None

    def _opened(self) -> Any:
        if self._cache is None:
            self._cache = self._open()
        return self._cache

    def _move_aside(self) -> None:
        """Put a damaged cache out of the way, where its owner may still look at it."""
        self._cache = None
        self._folder.rename(self._folder.with_name(f"{self._folder.name}.corrupt-{time.time_ns()}"))

    def _open(self) -> Any:
        make_private_folder(self._folder)
        path = self._folder / "cache.db"
        os.close(open_private(path, os.O_RDWR | os.O_CREAT))  # SQLite would make it 0644
        _wait_for_lock(path)
        return diskcache.Cache(
            str(self._folder),
            timeout=LONGEST_WAIT,
            disk=SafeDisk,
            size_limit=self._settings.size_mb * 2**20,
            cull_limit=10,
            sqlite_secure_delete=1,
        )


class ForeignRowError(ValueError):
    """A row that is not ours: it is not read, and says nothing of the other rows."""


def is_passing(error: Exception) -> bool:
    """Tell whether the cache may well be sound, and only cannot be used now."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE in PASSING
    return isinstance(error, OSError | diskcache.Timeout | ForeignRowError)


def _wait_for_lock(path: Path) -> None:
    """Raise if another process holds the database for longer than we wait: diskcache would try for a minute."""
    with closing(sqlite3.connect(path, timeout=LONGEST_WAIT, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def _evict(cache: Any, tags: Sequence[str]) -> bool:
    """Drop all rows with these tags, and tell whether nothing is left of them."""
    for tag in tags:
        cache.evict(tag)
    connection = sqlite3.connect(Path(cache.directory) / "cache.db", timeout=LONGEST_WAIT)
    with closing(connection):
        return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]


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


def request_key(request: ChatRequest) -> str:
    """Return the SHA-256 of everything that shapes the answer; never the API key, which does not."""
    endpoint = request.endpoint
    canonical = {
        "version": KEY_VERSION,
        "provider": endpoint.provider,
        "base_url": endpoint.base_url,
        "model": endpoint.model,
        "weights": endpoint.weights,
        "messages": [[role.value, content] for role, content in request.messages],
        "options": asdict(request.options),
        "trim": request.trim,
    }
    return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()


def _pack(completion: Completion, at: datetime) -> bytes:
    entry = {
        "text": completion.text,
        "finish_reason": completion.finish_reason,
        "usage": completion.usage and [completion.usage.input_tokens, completion.usage.output_tokens],
        "at": at.isoformat(),
    }
    body = zlib.compress(json.dumps(entry).encode(), 1)
    return hashlib.sha256(body).digest() + body


def _unpack(data: object) -> CachedCompletion | None:
    if not isinstance(data, bytes):
        return None
    digest, body = data[:DIGEST_SIZE], data[DIGEST_SIZE:]
    if hashlib.sha256(body).digest() != digest:
        return None
    match json.loads(zlib.decompress(body)):
        case {"text": str(text), "finish_reason": None | str() as finish_reason, "usage": usage, "at": str(at)}:
            moment = datetime.fromisoformat(at)
            if moment.tzinfo:
                return CachedCompletion(Completion(text, finish_reason, _usage(usage)), moment)
    return None


def _usage(value: object) -> TokenUsage | None:
    match value:
        case None:
            return None
        case [int(input_tokens), int(output_tokens)]:
            return TokenUsage(input_tokens, output_tokens)
    raise TypeError("expected two numbers of tokens")
