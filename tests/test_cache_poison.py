"""What others may put into a cache: nothing of it runs, leads to other files, or is taken for an answer."""

import hashlib
import json
import os
import pickle
import sqlite3
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import diskcache
import pytest

from chatllm_cli.models import Completion, Role
from chatllm_cli.services.cache import ResponseCache
from chatllm_cli.services.cache.entries import LARGEST, unpack
from chatllm_cli.services.cache.safe_disk import SafeDisk
from tests.caches import ANSWER, OTHER, REQUEST, answer, change_row, disk_cache


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "cache"


@pytest.fixture
def cache(folder: Path) -> ResponseCache:
    return disk_cache(folder)


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


def packed(head: object, rest: bytes = b"Hello") -> bytes:
    body = zlib.compress(json.dumps(head).encode() + b"\n" + rest)
    return hashlib.sha256(body).digest() + body


SOUND = {
    "text": 5, "finish_reason": "stop", "usage": None, "at": "2026-07-01T12:00:00+00:00", "model": "openai/gpt",
    "cost": None,
}  # fmt: skip


def test_a_sound_entry_is_read() -> None:
    entry = unpack(packed(SOUND, b"HelloLet me think."))
    assert entry
    assert entry.completion == Completion("Hello", "stop", None, "Let me think.")


@pytest.mark.parametrize(
    "bomb",
    [
        packed(SOUND | {"text": LARGEST}, b"x" * LARGEST),
        packed([[]] * 2_000_000),
        packed(SOUND | {"usage": [{}] * 2_000_000}),
        packed(SOUND | {"model": "x" * 5_000}),
    ],
    ids=["text", "a list", "counts", "a name"],
)
def test_an_entry_that_would_swell_up_is_none_at_once(bomb: bytes) -> None:
    begin = time.process_time()
    assert unpack(bomb) is None
    assert time.process_time() - begin < 0.3


STRANGE_VALUES = [
    None,
    7,
    0.5,
    "text",
    b"",
    b"\0" * 32,
    packed(SOUND)[:-1],
    b"\0" + packed({})[1:],
    hashlib.sha256(b"not compressed").digest() + b"not compressed",
    hashlib.sha256(zlib.compress(b"not JSON")).digest() + zlib.compress(b"not JSON"),
    hashlib.sha256(zlib.compress(b"\xff")).digest() + zlib.compress(b"\xff"),
    packed(None),
    packed([]),
    packed({}),
    packed({name: each for name, each in SOUND.items() if name != "usage"}),
    packed(SOUND | {"usage": [1]}),
    packed(SOUND | {"usage": [1, 2, 3, 4]}),
    packed(SOUND | {"usage": [1, -2, 0]}),
    packed(SOUND | {"usage": [1, 2.5, 0]}),
    packed(SOUND | {"usage": [True, 2, 0]}),
    packed(SOUND | {"usage": [10**400, 2, 0]}),
    packed(SOUND | {"at": "noon"}),
    packed(SOUND | {"at": "2026-07-01T12:00:00"}),
    packed(SOUND | {"at": 7}),
    packed(SOUND | {"text": None}),
    packed(SOUND | {"reasoning": None}),
    packed(SOUND | {"model": 7}),
    packed(SOUND | {"cost": -1}),
    packed(SOUND | {"cost": float("nan")}),
    packed(SOUND | {"cost": float("inf")}),
    packed(SOUND | {"cost": "free"}),
    packed(SOUND) + b"more",
]


@pytest.mark.parametrize("value", STRANGE_VALUES, ids=range(len(STRANGE_VALUES)))
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
        ((value,),) = database.execute("SELECT value FROM Cache WHERE key IS NOT 'counts'")
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


async def test_an_entry_that_is_nested_too_deep_is_a_miss(cache: ResponseCache, folder: Path) -> None:
    await cache.put(REQUEST, ANSWER)
    body = zlib.compress(b"[" * 200_000)
    change_row(folder, value=hashlib.sha256(body).digest() + body)
    assert await answer(cache) is None
    await cache.aclose()
