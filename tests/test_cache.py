import asyncio
import random
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from chatllm_cli.errors import ChatllmError
from chatllm_cli.message_content import text_in
from chatllm_cli.models import ChatOptions, Completion, Role, TokenUsage
from chatllm_cli.services.cache import CacheStats, ResponseCache
from chatllm_cli.services.cache.disk import DiskStore
from chatllm_cli.services.cache.entries import LARGEST, Entry, pack
from chatllm_cli.services.cache.stores import StoreError
from tests.caches import ANSWER, OTHER, REQUEST, answer, cache_on, change_row, disk_cache
from tests.test_cache_keys import OTHERS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
async def cache(folder: Path) -> AsyncIterator[ResponseCache]:
    cache = disk_cache(folder, mode="always")
    yield cache
    await cache.aclose()


async def test_only_the_same_request_gets_the_answer(cache: ResponseCache) -> None:
    await cache.put(REQUEST, ANSWER)
    assert await answer(cache) == ANSWER
    assert [await answer(cache, request) for request in OTHERS.values()] == [None] * len(OTHERS)


@pytest.mark.parametrize(
    ("mode", "temperature", "is_found", "is_kept"),
    [
        ("auto", 0, True, True),
        ("auto", 0.0, True, True),
        ("auto", 0.1, False, False),
        ("auto", None, False, False),
        ("always", 0, True, True),
        ("always", 1.0, True, True),
        ("always", None, True, True),
        ("refresh", 0, False, True),
        ("refresh", None, False, True),
        ("never", 0, False, False),
        ("never", None, False, False),
    ],
)
async def test_the_mode_and_the_temperature_say_whether_it_is_used(
    folder: Path,
    mode: Literal["auto", "always", "refresh", "never"],
    temperature: float | None,
    *,
    is_found: bool,
    is_kept: bool,
) -> None:
    cache, any_time = disk_cache(folder, mode=mode), disk_cache(folder, mode="always")
    request = replace(REQUEST, options=ChatOptions(temperature=temperature))
    assert cache.wants(request) is is_kept
    await cache.put(request, ANSWER)
    assert folder.exists() is is_kept
    assert await answer(cache, request) == (ANSWER if is_found else None)
    assert await answer(any_time, request) == (ANSWER if is_kept else None)
    await cache.aclose()
    await any_time.aclose()


async def test_a_conversation_takes_its_answers_with_it(cache: ResponseCache) -> None:
    other = replace(REQUEST, messages=((Role.USER, "And then?"),))
    await cache.put(REQUEST, ANSWER, conversation="c1")
    await cache.put(other, OTHER, conversation="c2")
    await cache.forget(["c1", "c3"])
    assert (await answer(cache), await answer(cache, other)) == (None, OTHER)


async def test_what_hits_saved_is_counted_over_processes(cache: ResponseCache, folder: Path) -> None:
    await answer(cache)
    await cache.put(REQUEST, Completion("Hello", "stop", TokenUsage(10, 20, 5)), cost=0.5)
    await answer(cache)
    await cache.aclose()
    again = disk_cache(folder, mode="always")
    await again.put(replace(REQUEST, messages=()), OTHER)
    await answer(again)
    await answer(again, replace(REQUEST, messages=()))
    await again.aclose()
    last = disk_cache(folder, mode="always")
    stats = await last.stats()
    assert stats == CacheStats(
        str(folder), 2, stats.size, hits=3, misses=1, input_tokens=20, output_tokens=40, cost=1.0, unpriced=1
    )
    assert 100 < stats.size < 1_000
    await last.clear()
    assert await last.stats() == replace(stats, entries=0, size=0)  # what was saved stays saved
    await last.aclose()


async def test_looking_at_a_cache_that_was_never_used_makes_nothing(folder: Path) -> None:
    cache = disk_cache(folder)
    assert await cache.stats() == CacheStats(str(folder), 0, 0, 0, 0, 0, 0, 0.0, 0)
    assert await cache.clear() == 0
    await cache.forget(["c1"])
    await cache.aclose()
    assert not folder.exists()


async def test_clearing_takes_what_is_old_enough_and_of_that_model(cache: ResponseCache) -> None:
    small, large = REQUEST, replace(REQUEST, endpoint=replace(REQUEST.endpoint, model="large"))
    now = datetime.now(UTC)

    async def left() -> list[bool]:
        return [await answer(cache, each) is not None for each in (small, large)]

    for each in (small, large):
        await cache.put(each, ANSWER)
    assert await cache.clear(older_than=now - timedelta(hours=1)) == 0
    assert await cache.clear(model="nope") == 0
    assert await cache.clear(model="LARGE", older_than=now - timedelta(hours=1)) == 0
    assert await left() == [True, True]
    assert await cache.clear(model="OpenAI/Large", older_than=now + timedelta(hours=1)) == 1
    assert await left() == [True, False]
    assert await cache.clear(older_than=now + timedelta(hours=1)) == 1
    assert await left() == [False, False]


async def test_what_is_cleared_is_gone_from_the_files_and_what_was_put_aside_with_it(
    cache: ResponseCache, folder: Path
) -> None:
    await cache.put(REQUEST, ANSWER)
    with closing(sqlite3.connect(folder / "cache.db")) as database:
        ((entry,),) = database.execute("SELECT value FROM Cache WHERE key IS NOT 'counts'")
    aside = folder.with_name("cache.corrupt-1")
    aside.mkdir()
    assert entry in b"".join(path.read_bytes() for path in folder.iterdir())
    assert await cache.clear() == 1
    assert entry not in b"".join(path.read_bytes() for path in folder.iterdir())
    assert not aside.exists()


async def test_the_size_holds_and_the_oldest_answers_go_first(folder: Path) -> None:
    cache = cache_on(DiskStore(folder, size_mb=1), mode="always")
    chance = random.Random(1)  # noqa: S311  (what does not compress)
    requests = [replace(REQUEST, messages=((Role.USER, f"{number}"),)) for number in range(240)]
    for request in requests:
        await cache.put(request, Completion(chance.randbytes(10_000).hex()))
    kept = [await answer(cache, request) is not None for request in requests]
    stats = await cache.stats()
    await cache.aclose()
    assert kept == sorted(kept)
    assert 60 < stats.entries < 105
    assert sum(kept) == stats.entries


async def test_what_a_row_says_of_its_size_is_not_believed(folder: Path) -> None:
    cache = disk_cache(folder, mode="always")
    await cache.put(REQUEST, ANSWER)
    change_row(folder, size=2**62)
    others = [replace(REQUEST, messages=((Role.USER, f"{number}"),)) for number in range(5)]
    for request in others:
        await cache.put(request, OTHER)
    assert [await answer(cache, request) for request in others] == [OTHER] * 5
    await cache.aclose()


async def test_a_store_that_hangs_is_waited_for_less_than_a_second_in_all(folder: Path) -> None:
    cache = disk_cache(folder, mode="always")
    store = cache._store  # noqa: SLF001  (the only way to let a disk hang)
    hold = asyncio.get_running_loop().run_in_executor(store._thread, time.sleep, 2)  # type: ignore[attr-defined]  # noqa: SLF001
    begin = time.monotonic()
    assert await answer(cache) is None
    await cache.put(REQUEST, ANSWER)
    await cache.aclose()
    assert time.monotonic() - begin < 1
    await hold


async def test_what_would_take_the_room_of_most_others_is_not_kept(folder: Path) -> None:
    cache = cache_on(DiskStore(folder, size_mb=1), mode="always")
    chance = random.Random(1)  # noqa: S311
    small = [replace(REQUEST, messages=((Role.USER, f"{number}"),)) for number in range(5)]
    for request in small:
        await cache.put(request, ANSWER)
    for size in (300_000, 3_000_000):
        await cache.put(REQUEST, Completion(chance.randbytes(size).hex(), "stop"))
        assert await answer(cache) is None
    assert [await answer(cache, request) for request in small] == [ANSWER] * 5
    assert (await cache.stats()).hits == 5
    await cache.aclose()


async def test_counts_that_cannot_be_are_none_and_begin_anew(cache: ResponseCache, folder: Path) -> None:
    await cache.put(REQUEST, ANSWER)
    await answer(cache)
    await cache.aclose()
    for strange in (
        '{"hits": 1' + "0" * 400 + "}",
        '{"hits": NaN, "misses": -1}',
        "[" * 99_999,
        "7",
        '{"hits": "x"}',
    ):
        with closing(sqlite3.connect(folder / "cache.db")) as database, database:
            database.execute("UPDATE Cache SET value = ? WHERE key = 'counts'", [strange.encode()])
        again = disk_cache(folder, mode="always")
        assert (await again.stats()).hits == 0
        assert await answer(again) == ANSWER
        await again.aclose()
        last = disk_cache(folder)
        assert (await last.stats()).hits == 1
        await last.aclose()


async def test_an_answer_too_large_to_be_read_again_is_not_kept(cache: ResponseCache) -> None:
    await cache.put(REQUEST, Completion("x" * (LARGEST + 1), "stop"))
    assert (await cache.stats()).entries == 0


async def test_thousands_of_conversations_are_forgotten_at_once(cache: ResponseCache) -> None:
    for number in range(50):
        request = replace(REQUEST, messages=((Role.USER, f"{number}"),))
        await cache.put(request, ANSWER, conversation=f"c{number}")
    begin = time.monotonic()
    await cache.forget([f"c{number}" for number in range(1, 20_000)])
    assert time.monotonic() - begin < 3
    assert (await cache.stats()).entries == 1


async def test_what_a_reader_holds_is_not_removed_and_nothing_else_is(cache: ResponseCache, folder: Path) -> None:
    others = [replace(REQUEST, messages=((Role.USER, f"{number}"),)) for number in range(3)]
    for request in others:
        await cache.put(request, ANSWER, conversation=text_in(request.messages[0][1]))
        await answer(cache, request)
    with closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM Cache").fetchall()
        with pytest.raises(ChatllmError, match="another process is at it"):
            await cache.forget(["1"])
        with pytest.raises(ChatllmError, match="another process is at it"):
            await cache.clear(model="gpt", older_than=datetime.now(UTC) - timedelta(days=1))
        reader.execute("ROLLBACK")
    assert [await answer(cache, each) is not None for each in others] == [True, False, True]
    assert (await cache.stats()).hits == 5


async def test_what_was_put_aside_goes_also_where_nothing_else_is(cache: ResponseCache, folder: Path) -> None:
    aside = folder.with_name("cache.corrupt-1")
    aside.mkdir(parents=True)
    await cache.forget(["c1"])
    assert not aside.exists()


async def test_an_answer_that_is_too_large_leaves_no_older_one(folder: Path) -> None:
    cache = cache_on(DiskStore(folder, size_mb=1), mode="always")
    for size in (300_000, LARGEST + 1):
        await cache.put(REQUEST, ANSWER)
        await cache.put(REQUEST, Completion(random.Random(1).randbytes(size).hex(), "stop"))  # noqa: S311
        assert await answer(cache) is None
    await cache.aclose()


async def test_an_answer_from_tomorrow_is_given_and_one_from_next_week_is_not(
    cache: ResponseCache, folder: Path
) -> None:
    await cache.put(REQUEST, ANSWER)
    for days, is_given in ((0.5, True), (7, False)):
        entry = pack(Entry(OTHER, datetime.now(UTC) + timedelta(days=days), "openai/gpt"))
        change_row(folder, value=entry)
        assert (await answer(cache) is not None) is is_given


async def test_room_is_made_also_while_others_write(folder: Path) -> None:
    def write(number: int) -> list[int]:
        """What a process does: keep many answers; return how often that failed, and the size of the folder."""

        async def work() -> list[int]:
            store = DiskStore(folder, size_mb=1)
            failed, largest = 0, 0
            for count in range(60):
                try:
                    await store.put(f"{number} {count}", bytes(20_000), seconds=60, conversation="c")
                except StoreError:
                    failed += 1
                largest = max(largest, sum(path.stat().st_size for path in folder.iterdir()))
            await store.aclose()
            return [failed, largest]

        return asyncio.run(work())

    await asyncio.to_thread(write, 9)
    found = await asyncio.gather(*(asyncio.to_thread(write, number) for number in range(3)))
    assert sum(failed for failed, _ in found) <= 9  # three threads at once, without a pause
    assert max(largest for _, largest in found) < 16 * 2**20  # what SQLite writes ahead meanwhile included
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3 * 2**20
