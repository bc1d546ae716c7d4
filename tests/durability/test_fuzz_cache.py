"""Whatever stands in the rows of the cache: no error comes of it, and no file but its own is read."""

import hashlib
import json
import sqlite3
import zlib
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from chatllm_cli.models import ChatRequest, Completion, Endpoint, Role, TokenUsage
from tests.caches import answer, disk_cache
from tests.durability.helpers import chance
from tests.durability.odd_values import text, value

REQUEST = ChatRequest(Endpoint("hub", "model", "https://host/v1"), ((Role.USER, "hi"),))
ANSWER = Completion("hello", "stop", TokenUsage(3, 5))
COLUMNS = (
    "key",
    "raw",
    "store_time",
    "expire_time",
    "access_time",
    "access_count",
    "tag",
    "size",
    "mode",
    "filename",
    "value",
)


def sealed(entry: object) -> bytes:
    """Return a cache entry whose digest is right, whatever is in it."""
    body = zlib.compress(json.dumps(entry).encode())
    return hashlib.sha256(body).digest() + body


def cell(random: Random, good: bytes) -> object:
    kind = random.randrange(7)
    if kind == 0:
        return random.randbytes(random.randint(0, 80))
    if kind == 1:
        place = random.randrange(len(good))
        return good[:place] + random.randbytes(random.randint(0, 3)) + good[place + random.randint(0, 3) :]
    if kind == 2:
        return sealed(value(random))
    if kind == 3:
        return random.choice(["../victim", "/etc/passwd", "00/00/x.val", "", text(random)])
    return random.choice([None, 0, 1, 2, 3, 4, -1, 2**62, 0.5, 1e300])


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_no_row_makes_the_cache_fail_or_touch_a_file(quick: Path) -> None:
    folder, victim = quick / "responses", quick / "victim"
    victim.write_bytes(sealed({"text": "a trap", "finish_reason": None, "usage": None, "at": "2026-07-01T00:00:00Z"}))
    cache = disk_cache(folder, mode="always")
    await cache.put(REQUEST, ANSWER)
    with closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=OFF")
        row = db.execute(f"SELECT {', '.join(COLUMNS)} FROM Cache WHERE key IS NOT 'counts'").fetchone()  # noqa: S608
        cases, hits = 0, 0
        for seed in range(20_000):
            random = chance("row", seed)
            changes = {random.choice(COLUMNS[2:]): cell(random, row[-1]) for _ in range(random.randint(1, 2))}
            changed = {**dict(zip(COLUMNS, row, strict=True)), **changes}
            db.execute("DELETE FROM Cache")
            db.execute(
                f"INSERT INTO Cache ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})",  # noqa: S608
                list(changed.values()),
            )
            found = await answer(cache, REQUEST)
            assert found in {None, ANSWER}, f"seed {seed}: {changes}"
            cases += 1
            hits += found is not None
    await cache.aclose()
    assert (cases, 1_000 <= hits <= 19_000) == (20_000, True)
    assert {path.name for path in quick.rglob("*")} <= {
        "responses",
        "victim",
        "cache.db",
        "cache.db-wal",
        "cache.db-shm",
    }
    assert b"a trap" in zlib.decompress(victim.read_bytes()[32:])


@pytest.mark.parametrize(
    "change",
    [{"at": "2026-07-01T00:00:00"}, {"usage": ["a", "b", "c"]}, {"usage": [1, None, 2]}, {"finish_reason": 42}],
)
async def test_an_entry_of_another_shape_is_a_miss(quick: Path, change: dict[str, object]) -> None:
    cache = disk_cache(quick / "responses", mode="always")
    await cache.put(REQUEST, ANSWER)
    entry = {
        "text": "a", "reasoning": "", "finish_reason": "stop", "usage": [3, 5, 0], "at": datetime.now(UTC).isoformat(),
        "model": "hub/model", "cost": None,
    } | change  # fmt: skip
    with sqlite3.connect(quick / "responses" / "cache.db") as db:
        db.execute("UPDATE Cache SET value = ?", [sealed(entry)])
    db.close()
    found = await answer(cache, REQUEST)
    await cache.aclose()
    assert found is None
