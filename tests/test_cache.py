import hashlib
import json
import os
import pickle
import sqlite3
import stat
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import diskcache
import pytest

from chatllm_cli.config.sections import CacheSettings
from chatllm_cli.models import ChatOptions, ChatRequest, Completion, Endpoint, Role, TokenUsage
from chatllm_cli.services.cache import ResponseCache, SafeDisk, request_key

ENDPOINT = Endpoint("openai", "gpt", "https://api.openai.com/v1", api_key="sk-canary")
MESSAGES = ((Role.SYSTEM, "Be kind."), (Role.USER, "Hi"))
REQUEST = ChatRequest(ENDPOINT, MESSAGES, ChatOptions(temperature=0, max_tokens=100))
ANSWER = Completion("Hello 😀 \u2028 \ud83d", "stop", TokenUsage(3, 5))
OTHER = Completion("Good day", "stop")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "cache"


@pytest.fixture
def cache(folder: Path) -> ResponseCache:
    return ResponseCache(folder, CacheSettings())


async def answer(cache: ResponseCache, request: ChatRequest = REQUEST) -> Completion | None:
    hit = await cache.get(request)
    return hit.completion if hit else None


async def database_with_an_answer(folder: Path) -> bytes:
    """The bytes of a sound database that knows the answer."""
    cache = ResponseCache(folder, CacheSettings())
    await cache.put(REQUEST, ANSWER)
    await cache.aclose()
    with closing(sqlite3.connect(folder / "cache.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return (folder / "cache.db").read_bytes()


def change_row(folder: Path, **columns: object) -> None:
    """Change the only row, as whoever can write to the folder may."""
    with closing(sqlite3.connect(folder / "cache.db")) as database, database:
        assignments = ", ".join(f"{name} = ?" for name in columns)
        changed = database.execute(f"UPDATE Cache SET {assignments}", [*columns.values()])  # noqa: S608
        assert changed.rowcount == 1


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self._canary),)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """Exists once the payload has run; it did, so that the test knows it would."""
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(Payload(canary)))  # noqa: S301
    canary.rmdir()
    return canary


def other_requests() -> dict[str, ChatRequest]:
    """Requests that differ from `REQUEST` in one thing that shapes the answer."""
    return {
        "temperature": replace(REQUEST, options=replace(REQUEST.options, temperature=0.5)),
        "temperature left open": replace(REQUEST, options=replace(REQUEST.options, temperature=None)),
        "max_tokens": replace(REQUEST, options=replace(REQUEST.options, max_tokens=101)),
        "max_tokens left open": replace(REQUEST, options=replace(REQUEST.options, max_tokens=None)),
        "provider": replace(REQUEST, endpoint=replace(ENDPOINT, provider="other")),
        "model": replace(REQUEST, endpoint=replace(ENDPOINT, model="other")),
        "base_url": replace(REQUEST, endpoint=replace(ENDPOINT, base_url="https://example.org/v1")),
        "weights": replace(REQUEST, endpoint=replace(ENDPOINT, weights="a.gguf 1")),
        "other weights": replace(REQUEST, endpoint=replace(ENDPOINT, weights="a.gguf 2")),
        "system prompt": replace(REQUEST, messages=((Role.SYSTEM, "Be brief."), MESSAGES[1])),
        "no system prompt": replace(REQUEST, messages=MESSAGES[1:]),
        "prompt": replace(REQUEST, messages=(MESSAGES[0], (Role.USER, "Hi!"))),
        "role": replace(REQUEST, messages=(MESSAGES[0], (Role.ASSISTANT, "Hi"))),
        "order": replace(REQUEST, messages=MESSAGES[::-1]),
        "one more": replace(REQUEST, messages=(*MESSAGES, (Role.USER, ""))),
        "one instead of two": replace(REQUEST, messages=((Role.SYSTEM, 'Be kind."], ["user", "Hi'),)),
    }


def test_everything_that_shapes_the_answer_is_in_the_key() -> None:
    keys = {request_key(request) for request in (REQUEST, *other_requests().values())}
    assert len(keys) == 1 + len(other_requests()) == 17


@pytest.mark.parametrize("api_key", [None, "", "sk-other"])
def test_the_api_key_is_not_in_the_key(api_key: str | None) -> None:
    request = replace(REQUEST, endpoint=replace(ENDPOINT, api_key=api_key))
    assert request_key(request) == request_key(REQUEST)


async def test_only_the_same_request_gets_the_answer(folder: Path) -> None:
    cache = ResponseCache(folder, CacheSettings(mode="always"))
    await cache.put(REQUEST, ANSWER)
    assert await answer(cache) == ANSWER
    assert [await answer(cache, request) for request in other_requests().values()] == [None] * 16
    await cache.aclose()


async def test_neither_key_nor_prompt_nor_answer_is_readable_in_the_file(folder: Path) -> None:
    database = await database_with_an_answer(folder)
    assert [word for word in (b"sk-canary", b"Be kind.", b"Hello") if word in database] == []


@pytest.mark.parametrize(
    ("mode", "temperature", "wanted"),
    [
        ("auto", 0, True),
        ("auto", 0.0, True),
        ("auto", 0.1, False),
        ("auto", None, False),
        ("always", 0, True),
        ("always", 1.0, True),
        ("always", None, True),
        ("never", 0, False),
        ("never", None, False),
    ],
)
async def test_the_mode_and_the_temperature_say_whether_it_is_used(
    folder: Path, mode: Literal["auto", "always", "never"], temperature: float | None, *, wanted: bool
) -> None:
    cache = ResponseCache(folder, CacheSettings(mode=mode))
    request = replace(REQUEST, options=ChatOptions(temperature=temperature))
    assert cache.wants(request) is wanted
    await cache.put(request, ANSWER)
    assert await answer(cache, request) == (ANSWER if wanted else None)
    assert folder.exists() is wanted
    await cache.aclose()


@pytest.mark.parametrize(
    "completion",
    [ANSWER, OTHER, Completion(""), Completion("x" * 1_000_000, "stop", TokenUsage(0, 0)), Completion("\0", "")],
    ids=["whole", "without usage", "empty", "long", "odd"],
)
async def test_an_answer_comes_back_as_it_was(cache: ResponseCache, completion: Completion) -> None:
    before = datetime.now(UTC)
    await cache.put(REQUEST, completion)
    hit = await cache.get(REQUEST)
    assert hit
    assert hit.completion == completion
    assert before <= hit.at <= datetime.now(UTC)
    await cache.aclose()


async def test_an_answer_is_there_for_the_next_process(cache: ResponseCache, folder: Path) -> None:
    await cache.put(REQUEST, ANSWER)
    await cache.aclose()
    again = ResponseCache(folder, CacheSettings())
    assert await answer(again) == ANSWER
    await again.aclose()


async def test_a_new_answer_replaces_the_old_one(cache: ResponseCache) -> None:
    await cache.put(REQUEST, ANSWER)
    await cache.put(REQUEST, OTHER)
    assert await answer(cache) == OTHER
    await cache.aclose()


async def test_an_answer_is_forgotten_after_its_days(folder: Path) -> None:
    cache = ResponseCache(folder, CacheSettings(ttl_days=2))
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
            cache = ResponseCache(folder, CacheSettings())
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


async def test_an_open_cache_waits_a_second_for_a_lock_and_goes_without(cache: ResponseCache, folder: Path) -> None:
    await cache.put(REQUEST, ANSWER)
    with closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as another:
        another.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        await cache.put(replace(REQUEST, messages=()), OTHER)
        assert await answer(cache) == ANSWER
        assert 0.5 < time.monotonic() - begun < 3
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


async def missed_and_replaced(cache: ResponseCache) -> bool:
    """Tell whether the row as it is now is a miss, and makes room for an answer."""
    missed = await answer(cache) is None
    await cache.put(REQUEST, OTHER)
    return missed and await answer(cache) == OTHER


async def test_a_pickled_value_never_runs(cache: ResponseCache, folder: Path, canary: Path) -> None:
    payload = pickle.dumps(Payload(canary))
    for mode in range(256):
        for value in (payload, zlib.compress(payload)):
            await cache.put(REQUEST, ANSWER)
            change_row(folder, mode=mode, value=value)
            assert await answer(cache) is None, f"mode {mode}"
    assert await missed_and_replaced(cache)
    assert not canary.exists()
    await cache.aclose()


async def test_only_rows_of_its_own_kind_are_read(cache: ResponseCache, folder: Path) -> None:
    await cache.put(REQUEST, ANSWER)
    for mode in (None, -1, 0, *range(2, 256), "1x"):
        change_row(folder, mode=mode)
        assert await answer(cache) is None, f"mode {mode}"
    assert await missed_and_replaced(cache)
    await cache.aclose()


async def test_a_pickled_key_never_runs(cache: ResponseCache, folder: Path, canary: Path) -> None:
    await cache.put(REQUEST, ANSWER)
    change_row(folder, key=pickle.dumps(Payload(canary)), raw=0)
    assert await missed_and_replaced(cache)
    await cache.aclose()
    with closing(diskcache.Cache(str(folder), disk=SafeDisk)) as opened, pytest.raises(ValueError, match="foreign"):
        list(opened)
    assert not canary.exists()


async def test_a_pickle_under_the_key_never_runs(cache: ResponseCache, folder: Path, canary: Path) -> None:
    await cache.put(REQUEST, ANSWER)
    change_row(folder, raw=0, mode=4, value=pickle.dumps(Payload(canary)))
    assert await missed_and_replaced(cache)
    assert not canary.exists()
    await cache.aclose()


@pytest.mark.parametrize("mode", [1, 2, 3, 4])
@pytest.mark.parametrize("value", [None, b"", "with the answer"])
async def test_a_row_that_names_a_file_is_a_miss_and_the_file_stays(
    cache: ResponseCache, folder: Path, tmp_path: Path, canary: Path, mode: int, value: bytes | str | None
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(pickle.dumps(Payload(canary)))
    for filename in ("../../etc/hostname", "../../victim", str(victim), "", "victim"):
        await cache.put(REQUEST, ANSWER)
        change_row(folder, mode=mode, filename=filename, **({} if value == "with the answer" else {"value": value}))
        assert await missed_and_replaced(cache), filename
    assert (folder / "../../victim").resolve() == victim
    assert victim.read_bytes() == pickle.dumps(Payload(canary))
    assert not canary.exists()
    await cache.aclose()


async def test_forgetting_a_row_that_names_a_file_leaves_the_file(
    cache: ResponseCache, folder: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    await cache.put(REQUEST, ANSWER)
    change_row(folder, mode=2, filename="../../victim", expire_time=1.0)
    for number in range(3):
        await cache.put(replace(REQUEST, messages=((Role.USER, f"{number}"),)), OTHER)
    with closing(sqlite3.connect(folder / "cache.db")) as database:
        assert database.execute("SELECT count(*), count(filename) FROM Cache").fetchall() == [(3, 0)]
    assert victim.read_text() == "mine"
    await cache.aclose()


def packed(entry: object) -> bytes:
    body = zlib.compress(json.dumps(entry).encode())
    return hashlib.sha256(body).digest() + body


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        0.5,
        "text",
        b"",
        b"\0" * 32,
        packed({"text": "Hello", "finish_reason": "stop", "usage": None})[:-1],
        b"\0" + packed({})[1:],
        hashlib.sha256(b"not compressed").digest() + b"not compressed",
        hashlib.sha256(zlib.compress(b"not JSON")).digest() + zlib.compress(b"not JSON"),
        hashlib.sha256(zlib.compress(b"\xff")).digest() + zlib.compress(b"\xff"),
        packed(None),
        packed([]),
        packed({}),
        packed({"text": "Hello", "finish_reason": "stop", "at": "2026-07-01T12:00:00+00:00"}),
        packed({"text": "Hello", "finish_reason": "stop", "usage": [1], "at": "2026-07-01T12:00:00+00:00"}),
        packed({"text": "Hello", "finish_reason": "stop", "usage": None, "at": "noon"}),
        packed({"text": "Hello", "finish_reason": "stop", "usage": None, "at": 7}),
    ],
    ids=range(18),
)
async def test_a_row_with_another_value_is_a_miss_and_is_replaced(
    cache: ResponseCache, folder: Path, value: object
) -> None:
    await cache.put(REQUEST, ANSWER)
    change_row(folder, value=value)
    assert await missed_and_replaced(cache)
    await cache.aclose()


async def test_every_changed_byte_of_an_answer_is_noticed(cache: ResponseCache, folder: Path) -> None:
    await cache.put(REQUEST, ANSWER)
    with closing(sqlite3.connect(folder / "cache.db")) as database:
        ((value,),) = database.execute("SELECT value FROM Cache")
    for place in range(len(value)):
        change_row(folder, value=value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :])
        assert await answer(cache) is None
    change_row(folder, value=value)
    assert await answer(cache) == ANSWER
    await cache.aclose()


@pytest.mark.parametrize("key", [None, 7, b"bytes", ("a", "tuple")])
def test_the_disk_takes_text_for_a_key_and_nothing_else(tmp_path: Path, key: object) -> None:
    with pytest.raises(TypeError, match="a cache key is text"):
        SafeDisk(str(tmp_path)).put(key)


@pytest.mark.parametrize("value", [None, 7, "text", {"a": "dict"}])
def test_the_disk_takes_bytes_for_a_value_and_nothing_else(tmp_path: Path, value: object) -> None:
    with pytest.raises(TypeError, match="a cache value is bytes"):
        SafeDisk(str(tmp_path)).store(value, read=False)


async def test_a_cache_that_another_process_holds_is_not_waited_for_when_it_is_opened(folder: Path) -> None:
    await database_with_an_answer(folder)
    with closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        cache, begin = ResponseCache(folder, CacheSettings()), time.monotonic()
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
    cache = ResponseCache(folder, CacheSettings())
    assert await answer(cache) is None
    await cache.put(REQUEST, OTHER)
    assert await answer(cache) == OTHER
    await cache.aclose()


async def test_an_entry_that_is_nested_too_deep_is_a_miss(cache: ResponseCache, folder: Path) -> None:
    await cache.put(REQUEST, ANSWER)
    body = zlib.compress(b"[" * 200_000)
    change_row(folder, value=hashlib.sha256(body).digest() + body)
    assert await answer(cache) is None
    await cache.aclose()


async def test_closing_leaves_no_file_open(folder: Path) -> None:
    for _ in range(5):
        cache = ResponseCache(folder, CacheSettings())
        await cache.put(REQUEST, ANSWER)
        await cache.aclose()
    opened = [path.resolve() for path in Path("/proc/self/fd").iterdir()]
    assert [path for path in opened if folder in path.parents] == []
