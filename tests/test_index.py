import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chatllm_cli.models import Attachment, Conversation, Filter, Message, Role, TokenUsage
from chatllm_cli.services.history import journal, records, search
from chatllm_cli.services.history.catch_up import UNSETTLED
from chatllm_cli.services.history.index import Index

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
LONG_AGO = 1_000_000_000  # a time that will not come again
SUFFIXES = ("", "-wal", "-shm")


class Shelf:
    """Journals in a folder, and the index of them."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "data"
        self.path = root / "cache" / "index.db"
        self.index = Index(self.path, self.folder)
        self.progress: list[tuple[int, int]] = []

    def store(self, conversation_id: str, *texts: str, month: str = "2026/07", settled: bool = True) -> Path:
        """Write a journal as another program would, and let its times be old."""
        path = self.folder / month / f"{conversation_id}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        messages = [
            Message(f"{conversation_id}{place}", Role.USER, text, NOON + timedelta(minutes=place))
            for place, text in enumerate(texts)
        ]
        conversation = Conversation(conversation_id, texts[0], NOON, messages=tuple(messages))
        lines = [records.conversation_record(conversation), *map(records.message_record, messages)]
        path.write_bytes(records.encode(*lines))
        if settled:
            self.settle()
        return path

    def settle(self) -> None:
        """Let every time be one that will not come again, as it is after a few seconds."""
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if time.time_ns() - path.stat().st_mtime_ns < UNSETTLED:
                os.utime(path, ns=(LONG_AGO, path.stat().st_mtime_ns - 2 * UNSETTLED))

    def titles(self) -> set[str]:
        found = self.index.ask(
            lambda db: search.list_conversations(db, Filter()), lambda *done: self.progress.append(done)
        )
        return {each.title for each in found}

    def found(self, text: str) -> set[str]:
        hits = self.index.ask(lambda db: search.search(db, search.Query(text), Filter(), 20))
        return {"".join(part for part, _ in hit.snippet) for hit in hits}

    def read(self) -> list[tuple[int, int]]:
        """What the next look reads, as the progress tells it."""
        self.progress.clear()
        self.titles()
        return list(self.progress)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_what_lies_in_the_files_is_in_the_index(shelf: Shelf) -> None:
    shelf.store("aaaa", "one", "two")
    shelf.store("bbbb", "three", month="2025/12")
    assert (shelf.titles(), shelf.found("two")) == ({"one", "three"}, {"two"})


def test_what_did_not_change_is_not_read_again(shelf: Shelf) -> None:
    for number in range(5):
        shelf.store(f"aaa{number}", "old")
    assert shelf.read() == [(done, 5) for done in range(1, 6)]
    assert shelf.read() == []
    shelf.store("bbbb", "new")
    assert shelf.read() == [(1, 1)]


async def test_an_append_is_seen_though_it_changes_no_folder_by_itself(shelf: Shelf) -> None:
    path = shelf.store("aaaa", "one")
    shelf.titles()
    message = Message("m9", Role.USER, "appended", NOON)
    await journal.append(path, records.encode(records.message_record(message)), durable=True)
    assert shelf.found("appended") == {"appended"}


@pytest.mark.parametrize("settled", [True, False])
def test_a_file_that_another_program_puts_in_its_place_is_seen(shelf: Shelf, settled: bool) -> None:
    path = shelf.store("aaaa", "first", settled=settled)
    assert shelf.titles() == {"first"}
    new = shelf.store("aaaa", "other", month="elsewhere/x", settled=False)  # just as long
    os.utime(new, ns=(LONG_AGO, path.stat().st_mtime_ns))
    if settled:  # a time that was seen for good is not given to something else
        os.utime(new)
    new.replace(path)
    assert (shelf.titles(), shelf.found("first")) == ({"other"}, set())


def test_a_file_that_is_taken_away_is_gone_from_the_index(shelf: Shelf) -> None:
    path = shelf.store("aaaa", "one")
    shelf.store("bbbb", "two", month="2026/08")
    assert shelf.titles() == {"one", "two"}
    path.unlink()
    assert (shelf.titles(), shelf.found("one")) == ({"two"}, set())
    shutil.rmtree(shelf.folder / "2026" / "08")
    assert shelf.titles() == set()


def test_a_file_that_moves_to_another_month_is_one_conversation(shelf: Shelf) -> None:
    path = shelf.store("aaaa", "one")
    shelf.titles()
    target = shelf.folder / "2027" / "01"
    target.mkdir(parents=True)
    path.rename(target / path.name)
    assert shelf.titles() == {"one"}
    assert shelf.index.ask(lambda db: db.execute("SELECT folder FROM conversations").fetchall()) == [("2027/01",)]


def damage_header(path: Path) -> None:
    path.write_bytes(b"not a database at all" + path.read_bytes()[21:])


def damage_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for place in range(4096, len(data), 7):
        data[place] ^= 0xFF
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def age(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [damage_header, damage_pages, empty, age, remove])
def test_an_index_that_is_missing_damaged_or_of_another_version_is_built_anew(
    shelf: Shelf, harm: Callable[[Path], None]
) -> None:
    for number in range(30):
        shelf.store(f"aaa{number:02}", f"text {number}")
    shelf.titles()
    with sqlite3.connect(shelf.path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    for suffix in SUFFIXES[1:]:
        Path(f"{shelf.path}{suffix}").unlink(missing_ok=True)
    harm(shelf.path)
    assert shelf.titles() == {f"text {number}" for number in range(30)}
    assert shelf.found("text") == {f"text {number}" for number in range(30)} & shelf.found("text")
    assert len(shelf.found("29")) == 1


def test_an_index_that_cannot_be_kept_is_built_in_memory(shelf: Shelf) -> None:
    shelf.store("aaaa", "one")
    shelf.path.parent.write_text("in the way")
    assert shelf.titles() == {"one"}


def test_looking_at_nothing_writes_nothing(shelf: Shelf) -> None:
    assert shelf.titles() == set()
    assert not shelf.path.parent.exists()


def test_the_index_is_its_owners_alone(shelf: Shelf) -> None:
    shelf.store("aaaa", "one")
    before = os.umask(0)
    try:
        shelf.titles()
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in shelf.path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert shelf.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_purge_leaves_nothing_of_what_is_gone(shelf: Shelf) -> None:
    path = shelf.store("aaaa", "a verysecretword in between")
    shelf.store("bbbb", "harmless")
    shelf.titles()
    path.unlink()
    shelf.index.purge()
    data = b"".join(each.read_bytes() for each in shelf.path.parent.iterdir())
    assert [piece for piece in (b"verysecretword", b"secretw") if piece in data] == []
    assert shelf.titles() == {"harmless"}


def test_tokens_tags_and_the_last_model_are_in_the_list(shelf: Shelf) -> None:
    path = shelf.store("aaaa", "one")
    reply = Message(
        "r", Role.ASSISTANT, "yes", NOON + timedelta(hours=1), "aaaa0", model="hub/m", usage=TokenUsage(10, 5)
    )
    with path.open("ab") as file:
        file.write(records.encode(records.message_record(reply), records.tags_record("aaaa", ["x"], NOON)))
    (summary,) = shelf.index.ask(lambda db: search.list_conversations(db, Filter()))
    assert (summary.tokens, summary.tags, summary.model, summary.messages) == (15, ("x",), "hub/m", 2)
    assert summary.updated_at == NOON + timedelta(hours=1)


async def test_costs_are_in_the_index_also_of_a_reply_without_text_and_once_they_are_known(shelf: Shelf) -> None:
    path = shelf.store("aaaa", "one")
    replies = [
        replace(MESSAGE, id="r1", role=Role.ASSISTANT, model="hub/m", cost=0.5),
        replace(MESSAGE, id="r2", role=Role.ASSISTANT, model="hub/m", content="", cost=0.25),
        replace(MESSAGE, id="r3", role=Role.ASSISTANT, model="hub/m"),
        replace(MESSAGE, id="r4", role=Role.ASSISTANT, model="hub/m", content=""),
        replace(MESSAGE, id="r5", role=Role.ASSISTANT, model="hub/m", content="", reasoning="hm"),
    ]
    for done in (replies, [replace(replies[2], cost=1.0)]):
        await journal.append(path, records.encode(*map(records.message_record, done)), durable=True)
        (summary,) = shelf.index.ask(lambda db: search.list_conversations(db, Filter()))
        (tally,) = shelf.index.ask(lambda db: search.tallies(db, "model", Filter()))
        expected = (0.75, 2) if done is replies else (1.75, 1)
        assert shelf.index.ask(lambda db: search.spent(db, NOON)) == expected
        assert shelf.index.ask(lambda db: search.spent(db, NOON + timedelta(seconds=1))) == (0, 0)
        assert (summary.cost, summary.unpriced) == (tally.cost, tally.unpriced) == expected
    assert shelf.index.ask(lambda db: search.search(db, search.Query("^$", is_regex=True), Filter(), 20)) == []


def test_half_a_character_does_not_stop_the_index(shelf: Shelf) -> None:
    path = shelf.store("aaaa", "one")
    line = json.dumps({"v": 1} | dict(records.message_record(replace(MESSAGE, content="half \ud83d of it"))))
    with path.open("a") as file:
        file.write(f"{line}\n")
    assert shelf.found("half") == {"half \N{REPLACEMENT CHARACTER} of it"}


MESSAGE = Message("m9", Role.USER, "text", NOON)


def test_two_processes_may_build_it_at_once(shelf: Shelf) -> None:
    for number in range(20):
        shelf.store(f"aaa{number:02}", f"text {number}")
    first = shelf.index.up_to_date()
    second = Index(shelf.path, shelf.folder).up_to_date()
    counts = [each.execute("SELECT count(*) FROM messages").fetchone()[0] for each in (first, second)]
    first.close()
    second.close()
    assert counts == [20, 20]


def test_what_was_attached_is_found_by_its_text_and_its_name(tmp_path: Path) -> None:
    path = tmp_path / "data" / "2026" / "07" / "aaaa.jsonl"
    path.parent.mkdir(parents=True)
    attached = Attachment("notes/zebra.txt", "text/plain", 20, "the quagga is extinct \ud83d")
    asked = Message("u1", Role.USER, "", NOON, attachments=(attached,))
    conversation = Conversation("aaaa", "notes/zebra.txt", NOON, messages=(asked,))
    path.write_bytes(records.encode(records.conversation_record(conversation), records.message_record(asked)))
    index = Index(tmp_path / "cache" / "index.db", tmp_path / "data")
    for text in ("quagga", "zebra.txt", "xtinc"):
        (hit,) = index.ask(lambda db, text=text: search.search(db, search.Query(text), Filter(), 5))  # type: ignore[misc]
        assert hit.message == "u1"
