import os
import sqlite3
import stat
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chatllm_cli.models import Completion, TokenUsage
from chatllm_cli.services.cache import ResponseCache
from tests.caches import ANSWER, OTHER, REQUEST, answer, change_row, database_with_an_answer, disk_cache


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "cache"


@pytest.fixture
def cache(folder: Path) -> ResponseCache:
    return disk_cache(folder)


async def test_neither_key_nor_prompt_nor_answer_is_readable_in_the_file(folder: Path) -> None:
    database = await database_with_an_answer(folder)
    assert [word for word in (b"sk-canary", b"Be kind.", b"Hello") if word in database] == []


@pytest.mark.parametrize(
    "completion",
    [ANSWER, OTHER, Completion(""), Completion("x" * 1_000_000, "stop", TokenUsage(0, 0)), Completion("\0", "")],
    ids=["whole", "without usage", "empty", "long", "odd"],
)
async def test_an_answer_comes_back_as_it_was(cache: ResponseCache, completion: Completion) -> None:
    before = datetime.now(UTC)
    await cache.put(REQUEST, completion, cost=0.25)
    async with cache.look_up(REQUEST) as hit:
        assert hit
        assert (hit.completion, hit.model, hit.cost) == (completion, "openai/gpt", 0.25)
        assert before <= hit.at <= datetime.now(UTC)
    await cache.aclose()


async def test_an_answer_is_there_for_the_next_process(cache: ResponseCache, folder: Path) -> None:
    await cache.put(REQUEST, ANSWER)
    await cache.aclose()
    again = disk_cache(folder)
    assert await answer(again) == ANSWER
    await again.aclose()


async def test_a_new_answer_replaces_the_old_one(cache: ResponseCache) -> None:
    await cache.put(REQUEST, ANSWER)
    await cache.put(REQUEST, OTHER)
    assert await answer(cache) == OTHER
    await cache.aclose()


async def test_an_answer_is_forgotten_after_its_days(folder: Path) -> None:
    cache = disk_cache(folder, ttl_days=2)
    await cache.put(REQUEST, ANSWER)
    with closing(sqlite3.connect(folder / "cache.db")) as database:
        ((kept,),) = database.execute("SELECT expire_time - store_time FROM Cache")
    assert kept == pytest.approx(timedelta(days=2).total_seconds(), abs=1)
    change_row(folder, expire_time=time.time() - 1)
    assert await answer(cache) is None
    await cache.put(REQUEST, OTHER)
    assert await answer(cache) == OTHER
    await cache.aclose()


@pytest.mark.parametrize("umask", [0o000, 0o022])
async def test_folders_and_files_are_made_for_their_owner_alone(
    cache: ResponseCache, folder: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        await cache.put(REQUEST, ANSWER)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, *folder.parent.rglob("*"))}
    assert modes == {
        "folder": 0o700,
        "cache": 0o700,
        "cache.db": 0o600,
        "cache.db-wal": 0o600,
        "cache.db-shm": 0o600,
    }
    await cache.aclose()


async def test_nothing_is_made_before_it_is_used(cache: ResponseCache, folder: Path) -> None:
    await cache.aclose()
    assert not folder.parent.exists()


def damages(sound: bytes) -> dict[str, bytes]:
    """What may become of a sound database."""
    size = len(sound)
    return {
        "garbage": b"garbage!" * 4_096,
        "one byte": b"x",
        "zeroed": b"\0" * size,
        "only its header left": sound[:100] + b"\0" * (size - 100),
        "only its first page left": sound[:4_096] + b"\0" * (size - 4_096),
        "its header lost": b"\0" * 100 + sound[100:],
    } | {f"cut to {eighths} eighths": sound[: size * eighths // 8] for eighths in range(8)}


async def test_a_damaged_database_is_no_error_and_works_again(tmp_path: Path) -> None:
    sound = await database_with_an_answer(tmp_path / "sound")
    for name, damaged in damages(sound).items():
        folder = tmp_path / name / "cache"
        folder.mkdir(parents=True)
        (folder / "cache.db").write_bytes(damaged)
        for _ in range(2):
            cache = disk_cache(folder)
            assert await answer(cache) in {None, ANSWER, OTHER}, name
            await cache.put(REQUEST, OTHER)
            assert await answer(cache) == OTHER, name
            await cache.aclose()


async def test_a_damaged_database_is_put_aside_for_its_owner(cache: ResponseCache, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "cache.db").write_bytes(b"garbage!" * 4_096)
    await cache.put(REQUEST, ANSWER)
    aside, now = sorted(folder.parent.iterdir(), key=lambda path: path == folder)
    assert aside.name.startswith("cache.corrupt-")
    assert (aside / "cache.db").read_bytes() == b"garbage!" * 4_096
    assert (now, stat.S_IMODE(now.stat().st_mode)) == (folder, 0o700)
    assert await answer(cache) == ANSWER
    await cache.aclose()


async def test_a_database_that_is_damaged_while_it_is_open_works_again(cache: ResponseCache, folder: Path) -> None:
    await cache.put(REQUEST, ANSWER)
    with closing(sqlite3.connect(folder / "cache.db")) as database:
        database.execute("DROP TABLE Cache")
    await cache.put(REQUEST, OTHER)
    assert await answer(cache) == OTHER
    await cache.aclose()


async def test_an_open_cache_waits_a_moment_for_a_lock_and_goes_without(cache: ResponseCache, folder: Path) -> None:
    await cache.put(REQUEST, ANSWER)
    with closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as another:
        another.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        await cache.put(replace(REQUEST, messages=()), OTHER)
        assert await answer(cache) == ANSWER
        assert 0.25 < time.monotonic() - begun < 1
        another.execute("ROLLBACK")
    assert await answer(cache, replace(REQUEST, messages=())) is None
    await cache.put(REQUEST, OTHER)
    assert await answer(cache) == OTHER
    await cache.aclose()


@pytest.mark.parametrize("way", ["folder", "folder/cache"])
async def test_a_file_in_the_way_is_a_miss_and_stays(cache: ResponseCache, tmp_path: Path, way: str) -> None:
    (tmp_path / way).parent.mkdir(exist_ok=True)
    (tmp_path / way).write_text("mine")
    await cache.put(REQUEST, ANSWER)
    assert await answer(cache) is None
    assert (tmp_path / way).read_text() == "mine"
    await cache.aclose()


async def test_a_link_in_the_databases_place_is_a_miss_and_is_not_followed(
    cache: ResponseCache, folder: Path, tmp_path: Path
) -> None:
    folder.mkdir(parents=True)
    (folder / "cache.db").symlink_to(tmp_path / "target")
    await cache.put(REQUEST, ANSWER)
    assert await answer(cache) is None
    assert not (tmp_path / "target").exists()
    await cache.aclose()


async def test_a_cache_that_another_process_holds_is_not_waited_for_when_it_is_opened(folder: Path) -> None:
    await database_with_an_answer(folder)
    with closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        cache, begin = disk_cache(folder), time.monotonic()
        assert await answer(cache) is None
        assert time.monotonic() - begin < 2
        other.execute("ROLLBACK")
    assert await answer(cache) == ANSWER
    await cache.aclose()


STRANGE = {
    "no table": "DROP TABLE Cache",
    "another table": "DROP TABLE Cache; CREATE TABLE Cache(x)",
    "settings": "DROP TABLE Settings; CREATE TABLE Settings(key, value); INSERT INTO Settings VALUES(0, 1)",
    "a foreign setting": "INSERT INTO Settings VALUES('_disk', 'x')",
}


@pytest.mark.parametrize("statements", STRANGE.values(), ids=STRANGE)
async def test_a_database_of_another_shape_is_no_error_and_works_again(folder: Path, statements: str) -> None:
    await database_with_an_answer(folder)
    with closing(sqlite3.connect(folder / "cache.db")) as database:
        database.executescript(statements)
    cache = disk_cache(folder)
    assert await answer(cache) is None
    await cache.put(REQUEST, OTHER)
    assert await answer(cache) == OTHER
    await cache.aclose()


async def test_closing_leaves_no_file_open(folder: Path) -> None:
    for _ in range(5):
        cache = disk_cache(folder)
        await cache.put(REQUEST, ANSWER)
        await cache.aclose()
    opened = [path.resolve() for path in Path("/proc/self/fd").iterdir()]
    assert [path for path in opened if folder in path.parents] == []
