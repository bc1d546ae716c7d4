import asyncio
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chatllm_cli.models import Completion
from chatllm_cli.services.cache import ResponseCache
from chatllm_cli.services.local.hashes import WeightsHashes
from tests.caches import OTHER, REQUEST, answer
from tests.caches import disk_cache as plain_cache

HASH = hashlib.sha256(b"weights").hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "a: model.gguf"
    file.write_bytes(b"weights")
    return file


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights.json"


def fingerprint_of(file: Path) -> str:
    status = file.stat()
    return f"file:{file}:{status.st_size}:{status.st_mtime_ns}"


async def test_a_hash_that_is_known_is_taken_and_none_is_one(record: Path) -> None:
    hashes = WeightsHashes(record)
    assert [await hashes.sha256_of(each) for each in (f"sha256:{HASH}", "")] == [HASH, ""]
    assert not record.exists()


async def test_a_file_is_read_once_and_again_when_it_changes(
    file: Path, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def hash_of(path: Path) -> str:
        read.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr("chatllm_cli.services.local.hashes.hash_of", hash_of)
    for _ in range(2):
        assert await WeightsHashes(record).sha256_of(fingerprint_of(file)) == HASH
    assert (read, record.stat().st_mode & 0o777) == ([file], 0o600)
    os.utime(file, (1, 1))
    assert await WeightsHashes(record).sha256_of(fingerprint_of(file)) == HASH
    assert read == [file, file]


async def test_a_file_that_cannot_be_read_stands_for_itself(tmp_path: Path, record: Path) -> None:
    gone = f"file:{tmp_path / 'gone.gguf'}:7:7"
    assert await WeightsHashes(record).sha256_of(gone) == gone
    assert not record.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.write_bytes(b"\xff"),
        lambda record: record.write_text("[]"),
        lambda record: record.write_text(json.dumps({"file:x:1:1": 7})),
        lambda record: record.write_text("[" * 100_000),
        lambda record: record.chmod(0o400),
    ],
)
async def test_a_record_that_is_damaged_is_begun_anew(
    file: Path, record: Path, damage: Callable[[Path], object]
) -> None:
    await WeightsHashes(record).sha256_of("file:x:1:1")
    record.parent.mkdir(exist_ok=True)
    record.write_text("{}")
    damage(record)
    assert await WeightsHashes(record).sha256_of(fingerprint_of(file)) == HASH


async def test_a_hundred_are_remembered(tmp_path: Path, record: Path) -> None:
    hashes = WeightsHashes(record)
    for number in range(105):
        file = tmp_path / f"{number}"
        file.write_bytes(b"weights")
        await hashes.sha256_of(fingerprint_of(file))
    assert len(json.loads(record.read_text())) == 100


async def test_the_same_weights_in_another_place_give_the_same_answer(
    tmp_path: Path, file: Path, record: Path
) -> None:
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(file.read_bytes())
    plain = plain_cache(tmp_path / "responses", mode="always")
    cache = ResponseCache(plain._store, plain._settings, WeightsHashes(record).sha256_of)  # noqa: SLF001
    here, there = (
        replace(REQUEST, endpoint=replace(REQUEST.endpoint, weights=fingerprint_of(each))) for each in (file, copy)
    )
    await cache.put(here, Completion("Hello", "stop"))
    assert await answer(cache, there) == Completion("Hello", "stop")
    copy.write_bytes(b"others")
    other = replace(REQUEST, endpoint=replace(REQUEST.endpoint, weights=fingerprint_of(copy)))
    assert await answer(cache, other) is None
    await asyncio.gather(cache.put(other, OTHER), cache.put(here, OTHER))
    await cache.aclose()
