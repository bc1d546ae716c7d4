"""Caches of answers, and what is asked of them."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from chatllm_cli.config.sections import CacheSettings
from chatllm_cli.models import ChatOptions, ChatRequest, Completion, Endpoint, Role, TokenUsage
from chatllm_cli.services.cache import ResponseCache, Store
from chatllm_cli.services.cache.disk import DiskStore

ENDPOINT = Endpoint("openai", "gpt", "https://api.openai.com/v1", api_key="sk-canary")
MESSAGES = ((Role.SYSTEM, "Be kind."), (Role.USER, "Hi"))
REQUEST = ChatRequest(ENDPOINT, MESSAGES, ChatOptions(temperature=0, max_tokens=100))
ANSWER = Completion("Hello 😀 \u2028 \ud83d", "stop", TokenUsage(3, 5, 2), "Let me think.")
OTHER = Completion("Good day", "stop")


def cache_on(store: Store, **settings: Any) -> ResponseCache:
    return ResponseCache(store, CacheSettings(**settings))


def disk_cache(folder: Path, **settings: Any) -> ResponseCache:
    return cache_on(DiskStore(folder, size_mb=256), **settings)


async def answer(cache: ResponseCache, request: ChatRequest = REQUEST) -> Completion | None:
    """What an identical request brought back, if it is there; it is taken."""
    async with cache.look_up(request) as hit:
        if hit is None:
            return None
        cache.took(hit)
        return hit.completion


async def database_with_an_answer(folder: Path) -> bytes:
    """The bytes of a sound database that knows the answer."""
    cache = disk_cache(folder)
    await cache.put(REQUEST, ANSWER)
    await cache.aclose()
    with closing(sqlite3.connect(folder / "cache.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return (folder / "cache.db").read_bytes()


def change_row(folder: Path, **columns: object) -> None:
    """Change the only entry, as whoever can write to the folder may."""
    with closing(sqlite3.connect(folder / "cache.db")) as database, database:
        assignments = ", ".join(f"{name} = ?" for name in columns)
        changed = database.execute(f"UPDATE Cache SET {assignments} WHERE key IS NOT 'counts'", [*columns.values()])  # noqa: S608
        assert changed.rowcount == 1
