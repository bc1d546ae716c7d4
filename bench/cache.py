"""What the cache costs: a process that answers from it, and one look into it, on the disk and on a Redis server."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from bench.figures import Figure
from bench.instant_server import times_asked
from bench.processes import compare
from bench.stand import Stand
from chatllm_cli.models import Completion, Role, TokenUsage
from chatllm_cli.services.cache import Store
from chatllm_cli.services.cache.disk import DiskStore
from chatllm_cli.services.cache.redis_store import RedisStore
from tests.caches import REQUEST, answer, cache_on
from tests.redis_server import PROGRAM, RedisServer

BARE = "import typer, sqlite3"
WORDS = "word and another one, " * 90  # two kilobytes


def run(stand: Stand) -> list[Figure]:
    """Measure, and return the figures."""
    disk = DiskStore(stand.folder / "looks", size_mb=256)
    figures = [_process(stand, f"ask from the cache / {BARE}", "disk", 3.0)]
    figures += asyncio.run(_looks("disk", disk, stand.runs))
    if PROGRAM:
        with RedisServer(stand.folder) as server:
            figures.append(_process(stand, "the same, from a Redis server", "redis", CHATLLM_CACHE__URL=server.url))
            figures += asyncio.run(_looks("Redis server", RedisStore(server.url), stand.runs))
    return figures


def _process(stand: Stand, name: str, where: str, goal: float | None = None, **variables: str) -> Figure:
    ask = stand.ours("ask", "--temperature", "0", "-m", "tokens-20", "Why?", home=stand.folder / where)
    ask = replace(ask, environment={**ask.environment, **variables})
    ask.run()
    before = times_asked(stand.base_url)
    figure = compare(name, ask, stand.bare(BARE), stand.runs, goal)
    if times_asked(stand.base_url) != before:
        raise RuntimeError("the answer did not come from the cache")
    return figure


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
            times.append((time.perf_counter() - begin) * 1000)
        figures.append(Figure(f"one {name} in the cache on the {where}, ms", times))
    await cache.aclose()
    return figures
