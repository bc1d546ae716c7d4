"""What the cache costs: a process that answers from it, and one look into it, on the disk and on a Redis server."""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from bench.figures import Figure
from bench.processes import CHATLLM, pair
from chatllm_cli.models import Completion, Role, TokenUsage
from chatllm_cli.services.cache import Store
from chatllm_cli.services.cache.disk import DiskStore
from chatllm_cli.services.cache.redis_store import RedisStore
from tests.caches import REQUEST, answer, cache_on
from tests.fake_openai import FakeOpenAI
from tests.redis_server import PROGRAM, RedisServer

BARE = [sys.executable, "-c", "import typer, sqlite3"]
ASK = [CHATLLM, "ask", "--temperature", "0", "Why?"]
WORDS = "word and another one, " * 90  # two kilobytes


def run(runs: int) -> list[Figure]:
    """Measure, and return the figures."""
    with tempfile.TemporaryDirectory(prefix="chatllm-bench-") as root, FakeOpenAI() as provider:
        home = Path(root)
        variables = {"CHATLLM_BASE_URL": provider.base_url, "CHATLLM_MODEL": "says-hello"}
        name = "ask from the cache / import typer, sqlite3"
        figures = [pair(name, ASK, BARE, home / "disk", runs, goal=3.0, variables=variables)]
        figures += asyncio.run(_looks("disk", DiskStore(home / "looks", size_mb=256), runs))
        if PROGRAM:
            with RedisServer(home) as server:
                shared = variables | {"CHATLLM_CACHE__URL": server.url}
                name = "the same, from a Redis server"
                figures.append(pair(name, ASK, BARE, home / "redis", runs, goal=None, variables=shared))
                figures += asyncio.run(_looks("Redis", RedisStore(server.url), runs))
        if len(provider.chats) > (2 if PROGRAM else 1):
            raise RuntimeError("the answer did not come from the cache")
    return figures


async def _looks(where: str, store: Store, runs: int) -> list[Figure]:
    """Measure how long an answer of two kilobytes takes to keep, to find, and not to find."""
    cache = cache_on(store, mode="always")
    completion = Completion(WORDS, "stop", TokenUsage(100, 400))
    missing = replace(REQUEST, messages=((Role.USER, "another"),))
    works: dict[str, Callable[[], Awaitable[object]]] = {
        "put": lambda: cache.put(REQUEST, completion, conversation="c1", cost=0.01),
        "hit": lambda: answer(cache, REQUEST),
        "miss": lambda: answer(cache, missing),
    }
    figures = []
    for name, work in works.items():
        times = []
        for _ in range(20 * runs):
            begin = time.perf_counter()
            await work()
            times.append(time.perf_counter() - begin)
        figures.append(Figure(f"one {name} in the cache on the {where}, ms", statistics.median(times) * 1000, None))
    await cache.aclose()
    return figures
