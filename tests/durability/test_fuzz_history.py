"""Whatever is read as a journal, an address or a query: no error comes of it that is not one of ours."""

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from chatllm_cli.errors import ConversationNotFoundError, HistoryError, UsageError
from chatllm_cli.models import TokenUsage
from chatllm_cli.services.history import HistoryService, Query, records
from tests.durability.helpers import NOON, chance, conversation_of, journal_of, named, turns, use
from tests.durability.odd_values import text, value

BASE = [
    records.conversation_record(conversation_of(turns(2))),
    *map(records.message_record, turns(2)),
    records.message_record(replace(turns(1)[1], usage=TokenUsage(3, 5), continues="m000", error="no")),
    records.partial_record(turns(3)[5], "text", 0),
    records.title_record("c1", "title", NOON),
    records.tags_record("c1", ["one", "two"], NOON),
    records.head_record("c1", "m001", NOON),
    records.system_prompt_record(conversation_of([]), NOON),
]


def line(random: Random) -> bytes:
    """Return a line that resembles a record more or less."""
    kind = random.randrange(6)
    if kind == 0:
        return random.randbytes(random.randint(0, 60))
    if kind == 1:
        return text(random, 60).encode()
    if kind == 2:
        return json.dumps(value(random)).encode()
    record: dict[str, Any] = dict(random.choice(BASE))
    for _ in range(random.randint(0, 3)):
        key = random.choice([*record, "v", "usage", "parent", "continues", text(random, 3)])
        if random.random() < 0.2:
            record.pop(key, None)
        else:
            record[key] = value(random)
    encoded = records.encode(record).rstrip(b"\n")
    if kind == 3:  # with a checksum that is another
        place = random.randrange(len(encoded))
        encoded = encoded[:place] + random.randbytes(1) + encoded[place + 1 :]
    return encoded


def journal(seed: int) -> bytes:
    """Return a file that resembles a journal more or less."""
    random = chance("journal", seed)
    return b"\n".join(line(random) for _ in range(random.randint(0, 8)))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_no_file_makes_the_reader_fail() -> None:
    cases, read = 0, 0
    for seed in range(20_000):
        try:
            with named(f"seed {seed}"):
                conversation = records.decode(journal(seed), "c1")
                read += bool(conversation.messages)
                if seed % 4 == 0:
                    use(conversation)
        except HistoryError as error:
            assert "newer version" in error.message, f"seed {seed}"
        cases += 1
    assert (cases, read >= 5_000) == (20_000, True)


@pytest.mark.parametrize(
    "record",
    [
        pytest.param('{"v":1e400,"type":"message"}', id="endless version"),
        pytest.param('{"v":' + "1" * 5_000 + "}", id="long version"),
        pytest.param('{"v":[],"type":"message"}', id="list as version"),
        pytest.param('{"v":1,"type":{}}', id="object as type"),
        pytest.param("[" * 100_000, id="deep list"),
        pytest.param('{"a":' * 100_000, id="deep object"),
        pytest.param('{"v":1,"type":"head","head":1}', id="number as head"),
        pytest.param('{"v":1,"type":"tags","tags":{"a":1}}', id="object as tags"),
        pytest.param('\ufeff{"v":1,"type":"message"}', id="byte order mark"),
        pytest.param('"' + "x" * 1_000_000, id="endless string"),
    ],
)
def test_no_line_is_too_strange_to_be_skipped(record: str) -> None:
    data = journal_of(conversation_of(turns(1))) + record.encode() + b"\n"
    assert records.decode(data, "c1").messages == turns(1)


def shelf(folder: Path, files: Iterator[tuple[str, bytes]]) -> HistoryService:
    """Return the history of these files, by name."""
    month = folder / "data" / "2026" / "07"
    month.mkdir(parents=True)
    for name, data in files:
        (month / f"{name}.jsonl").write_bytes(data)
    return HistoryService(folder / "data", folder / "index.db")


async def look_around(history: HistoryService) -> int:
    """List and search, and return how many conversations there are."""
    listing = await history.list()
    for each in listing.conversations[:20]:
        await history.load(each.id)
    await history.search(Query("one"))
    await history.search(Query(".", is_regex=True))
    await history.tallies("day")
    return len(listing.conversations) + len(listing.faults)


def has_messages(seed: int) -> bool:
    """Whether there are any in such a file, or it cannot be read."""
    try:
        conversation = records.decode(journal(seed), "c1")
        return bool(conversation.messages or conversation.damaged_lines)
    except HistoryError:
        return True


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_no_file_makes_the_index_fail(quick: Path) -> None:
    count = 3_000
    history = shelf(quick, ((f"{chance(seed).getrandbits(64):016x}", journal(seed)) for seed in range(count)))
    assert await look_around(history) == sum(map(has_messages, range(count))) >= count // 5


async def test_a_file_of_a_newer_format_does_not_keep_the_others_from_being_checked(quick: Path) -> None:
    whole = journal_of(conversation_of(turns(1)))
    files = [("aaaa", whole + b"damaged\n"), ("bbbb", b'{"v":3,"type":"message"}\n'), ("cccc", whole + b"damaged\n")]
    history = shelf(quick, iter(files))
    assert {damage.path.stem for damage in await history.upkeep.check()} >= {"aaaa", "cccc"}


def with_field(**fields: object) -> bytes:
    return records.encode(*BASE[:2], {**records.message_record(turns(1)[1]), **fields})


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(with_field(usage={"input_tokens": 10**30, "output_tokens": 1}), id="more tokens than fit"),
        pytest.param(with_field(usage={"input_tokens": -(2**64), "output_tokens": 1}), id="fewer"),
        pytest.param(with_field(at="9999-12-31T23:59:59.999999Z"), id="the last moment of all"),
        pytest.param(with_field(id="m\ud800"), id="half a character in an id"),
    ],
)
async def test_no_value_that_a_file_may_hold_makes_the_index_fail(quick: Path, data: bytes) -> None:
    history = shelf(quick, iter([("aaaa", data), ("bbbb", journal_of(conversation_of(turns(1))))]))
    assert await look_around(history) == 2


@pytest.mark.parametrize("name", [b"2026/07/\xff.jsonl", b"2026/\xff/aaaa.jsonl", b"\xff/07/aaaa.jsonl"])
async def test_no_name_that_a_file_may_have_makes_the_index_fail(quick: Path, name: bytes) -> None:
    history = shelf(quick, iter([("bbbb", journal_of(conversation_of(turns(1))))]))
    path = Path(os.fsdecode(bytes(quick / "data") + b"/" + name))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(journal_of(conversation_of(turns(1))))
    assert await look_around(history) >= 1


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_no_address_makes_the_history_fail_or_look_elsewhere(quick: Path) -> None:
    files = ((f"{number}aaabbbbccccdddd", journal_of(conversation_of(turns(1)))) for number in range(3))
    history = shelf(quick, files)
    (quick / "outside.jsonl").write_bytes(journal_of(conversation_of(turns(1))))
    for path in sorted((quick / "data").rglob("*"), reverse=True):
        os.utime(path, (1e9, 1e9))
    before = {path for path in quick.rglob("*") if not path.name.startswith("index.db")}
    cases, found = 0, 0
    for seed in range(20_000):
        random = chance("address", seed)
        address = random.choice(["", "@", "0aaab", "A title", "../../"]) + text(random, 6)
        with suppress(ConversationNotFoundError), named(f"seed {seed}: {address!r}"):
            found += len((await history.load(address)).messages) == 2
        cases += 1
    assert (cases, found >= 100) == (20_000, True)
    assert {path for path in quick.rglob("*") if not path.name.startswith("index.db")} == before


@pytest.mark.parametrize("address", ["\udcff", "abcd\udcff", "\ud83d\ude00", "title \udcff"])
async def test_an_address_that_is_not_utf_8_names_none(quick: Path, address: str) -> None:
    history = shelf(quick, iter([("aaaa", journal_of(conversation_of(turns(1))))]))
    with pytest.raises(ConversationNotFoundError):
        await history.load(address)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_no_query_makes_the_search_fail(quick: Path) -> None:
    messages = [replace(turns(1)[0], id=f"m{seed}", content=text(chance("content", seed), 60)) for seed in range(200)]
    history = shelf(quick, iter([("aaaa", journal_of(conversation_of(messages)))]))
    for path in sorted((quick / "data").rglob("*"), reverse=True):
        os.utime(path, (1e9, 1e9))
    cases, found = 0, 0
    for seed in range(5_000):
        random = chance("query", seed)
        words = text(random, 8).replace("\0", "")
        if random.random() < 0.5:
            begin = random.choice(messages).content
            words += begin[random.randrange(len(begin) + 1) :][:5].replace("\0", "")
        query = Query(words, is_raw=seed % 3 == 1, is_regex=seed % 3 == 2)
        try:  # regular expressions may change their meaning, which Python warns of
            with warnings.catch_warnings(action="ignore"), named(f"seed {seed}: {query}"):
                found += bool(await history.search(query))
        except UsageError:
            assert query.is_raw or query.is_regex, f"seed {seed}: {query}"
        cases += 1
    assert (cases, found >= 500) == (5_000, True)


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(Query("a\0b"), id="NUL"),
        pytest.param(Query("\0", is_raw=True), id="NUL alone, raw"),
        pytest.param(Query("x" * 60_000), id="long word"),
        pytest.param(Query("word " * 1_100), id="many words"),
        pytest.param(Query("\udcff"), id="not UTF-8"),
        pytest.param(Query("\udcff", is_raw=True), id="not UTF-8, raw"),
    ],
)
async def test_no_query_is_too_strange_to_search_for(quick: Path, query: Query) -> None:
    history = shelf(quick, iter([("aaaa", journal_of(conversation_of(turns(1))))]))
    with suppress(UsageError):
        assert await history.search(query) == []
