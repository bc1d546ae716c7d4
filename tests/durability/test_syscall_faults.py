"""The system refuses: every call of every operation fails in every way, and nothing that was kept is lost by it."""

import errno
import os
import re
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.errors import HistoryError
from chatllm_cli.models import Conversation, Message, Role, Status
from chatllm_cli.services.history import HistoryService, records
from tests.durability.faulty_system import Fault, System
from tests.durability.helpers import NOON, conversation_of, journal_of, turns

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT, errno.EACCES, errno.EINTR)
TORN = b'{"v":1,"type":"message","id":"m9'


class Operation:
    """Something that is done to a history of two conversations, one with a torn tail. `attempt` may fail."""

    messages = ("could not be saved", "cannot be read")

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "data"
        self.month = self.folder / "2026" / "07"
        self.month.mkdir(parents=True)
        self.whole = conversation_of(turns(3), "aaaa000000000000")
        self.torn = conversation_of(turns(2), "bbbb000000000000")
        self.path(self.whole).write_bytes(journal_of(self.whole))
        self.path(self.torn).write_bytes(journal_of(self.torn) + TORN)
        self.index = folder / "cache" / "index.db"
        self.history = HistoryService(self.folder, self.index)

    def path(self, conversation: Conversation) -> Path:
        return self.month / f"{conversation.id}.jsonl"

    def read(self, conversation: Conversation) -> Conversation:
        return records.decode(self.path(conversation).read_bytes(), conversation.id)

    async def prepare(self) -> None:
        """Do what no fault is to meet."""

    async def attempt(self) -> None:
        """Do it."""
        raise NotImplementedError

    async def next_attempt(self) -> None:
        """Do what a person does next."""
        await self.attempt()

    def check_earlier(self) -> None:
        """See that what was there before is there still."""
        for conversation in (self.whole, self.torn):
            assert self.read(conversation).messages[: len(conversation.messages)] == conversation.messages

    def check(self) -> None:
        """See that all is done."""
        raise NotImplementedError


class Turn(Operation):
    """A turn, with two marks while the reply comes, and the prompt of the next one."""

    async def prepare(self) -> None:
        self.opened = self.history.start("Hi", model="hub/model", system_prompt="Be kind.")
        self.prompt, self.reply, self.more = (replace(each, id=f"new-{each.id}") for each in turns(2)[:3])
        self.failures: list[HistoryError] = []

    async def attempt(self) -> None:
        text = self.reply.content
        await self._try(self.opened.add(self.prompt))
        await self._try(self.opened.mark(self.reply, text[:9]))
        await self._try(self.opened.mark(self.reply, text[9:]))
        await self._try(self.opened.add(self.reply))
        if self.failures:
            raise self.failures[0]

    async def next_attempt(self) -> None:
        await self.opened.add(self.more)

    def check(self) -> None:
        conversation = self.opened.conversation
        (path,) = self.folder.glob(f"*/*/{conversation.id}.jsonl")
        found = records.decode(path.read_bytes(), path.stem)
        assert found.messages[-3:] == (self.prompt, self.reply, self.more)
        assert found.messages == conversation.messages
        assert (found.title, found.system_prompt) == (conversation.title, conversation.system_prompt)
        assert found.damaged_lines <= conversation.damaged_lines + 1
        assert self.opened.is_kept

    async def _try(self, work: Awaitable[None]) -> None:
        try:  # as in a turn: a history that cannot be written stops nothing
            await work
        except HistoryError as error:
            self.failures.append(error)


class TurnInTheFirstMonth(Turn):
    async def prepare(self) -> None:
        await super().prepare()
        for conversation in (self.whole, self.torn):
            self.path(conversation).unlink()
        for folder in (self.month, self.month.parent, self.folder):
            folder.rmdir()

    def check_earlier(self) -> None:
        assert list(self.folder.glob("*/*/aaaa*")) == []


class TurnAfterACrash(Turn):
    async def prepare(self) -> None:
        await super().prepare()
        self.opened = await self.history.open(self.torn.id)


class Rename(Operation):
    """Another title, other tags, another branch."""

    async def prepare(self) -> None:
        self.opened = await self.history.open(self.torn.id)

    async def attempt(self) -> None:
        await self.opened.set_title("Another title")
        await self.opened.set_tags(["one"])
        await self.opened.move_head("m001")

    def check(self) -> None:
        found = self.read(self.torn)
        assert (found.title, found.tags, found.head) == ("Another title", ("one",), "m001")


class Fork(Operation):
    async def attempt(self) -> None:
        self.forked = await self.history.fork(self.whole.id)

    def check(self) -> None:
        (path,) = self.folder.glob(f"*/*/{self.forked.id}.jsonl")
        contents = [message.content for message in records.decode(path.read_bytes(), path.stem).messages]
        assert contents == [message.content for message in self.whole.messages]


class Scrub(Operation):
    messages = ("could not be changed", "cannot be read")

    async def attempt(self) -> None:
        paths = [self.path(each) for each in (self.whole, self.torn)]
        await self.history.upkeep.scrub(paths, re.compile("message"), "[removed]")

    def check_earlier(self) -> None:
        for conversation in (self.whole, self.torn):
            contents = [message.content for message in conversation.messages]
            scrubbed = [content.replace("message", "[removed]") for content in contents]
            assert [message.content for message in self.read(conversation).messages] in (contents, scrubbed)

    def check(self) -> None:
        found = [message for each in (self.whole, self.torn) for message in self.read(each).messages]
        assert len(found) == 10
        assert [message for message in found if "message" in message.content] == []


class RemoveMessage(Operation):
    messages = ("could not be changed", "cannot be read")

    async def attempt(self) -> None:
        await self.history.upkeep.remove_message(self.path(self.whole), "m002")

    def check_earlier(self) -> None:
        kept = {"m000", "m001", "m003", "m004", "m005"}
        assert {message.id for message in self.read(self.whole).messages} >= kept
        assert self.read(self.torn).messages == self.torn.messages

    def check(self) -> None:
        assert [message.id for message in self.read(self.whole).messages] == ["m000", "m001", "m003", "m004", "m005"]


class Repair(Operation):
    messages = ("could not be changed", "cannot be read")

    async def attempt(self) -> None:
        await self.history.upkeep.repair()

    def check_earlier(self) -> None:
        super().check_earlier()
        assert TORN in b"".join(path.read_bytes() for path in self.month.iterdir())

    def check(self) -> None:
        assert self.read(self.torn) == self.torn
        assert {path.read_bytes() for path in self.month.glob("*.corrupt-*")} == {TORN + b"\n"}


class Remove(Operation):
    messages = ("could not be changed", "cannot be read")

    async def prepare(self) -> None:
        await self.history.upkeep.repair()
        await self.history.list()

    async def attempt(self) -> None:
        await self.history.upkeep.remove([self.torn.id])

    def check_earlier(self) -> None:
        assert self.read(self.whole) == self.whole

    def check(self) -> None:
        assert list(self.month.iterdir()) == [self.path(self.whole)]


class List(Operation):
    async def attempt(self) -> None:
        self.found = await self.history.list()

    def check(self) -> None:
        assert {(each.id, each.messages) for each in self.found.conversations} == {
            (self.whole.id, 6),
            (self.torn.id, 4),
        }
        assert self.found.faults == ()


class Check(Operation):
    async def attempt(self) -> None:
        self.damage = await self.history.upkeep.check()

    def check(self) -> None:
        assert [(each.path, each.lines) for each in self.damage] == [(self.path(self.torn), 1)]


OPERATIONS: tuple[type[Operation], ...] = (
    Turn,
    TurnInTheFirstMonth,
    TurnAfterACrash,
    Rename,
    Fork,
    Scrub,
    RemoveMessage,
    Repair,
    Remove,
    List,
    Check,
)


@dataclass
class Trial:
    """One operation after another, each in a folder of its own, with one fault in each."""

    monkeypatch: pytest.MonkeyPatch
    folder: Path
    operation: type[Operation]
    cases: int = 0
    failures: list[str] = field(default_factory=list)

    async def calls(self) -> Counter[str]:
        """Return how many calls of each kind the operation makes."""
        return (await self._run(None)).counts

    async def meet(self, fault: Fault) -> None:
        """Let the operation meet a fault, and take note if that is dealt with other than it should be."""
        self.cases += 1
        try:
            await self._run(fault)
        except Exception as error:  # noqa: BLE001  (any is noted)
            self.failures.append(f"{self.operation.__name__}, {fault}: {type(error).__name__}: {error}"[:300])

    async def _run(self, fault: Fault | None) -> System:
        folder = self.folder / f"{self.operation.__name__}{self.cases}"
        operation = self.operation(folder)
        await operation.prepare()
        with self.monkeypatch.context() as monkeypatch:
            system = System(monkeypatch, folder)
            system.fault = fault
            has_failed = True
            try:
                await operation.attempt()
                has_failed = False
            except HistoryError as error:
                assert fault, "it fails without a fault"
                assert any(message in error.message for message in operation.messages), error.message
                assert "\n" not in error.message
                if fault.error and fault.error != errno.EINTR:
                    assert os.strerror(fault.error) in error.message
        operation.check_earlier()
        if not has_failed and not isinstance(operation, Turn):
            operation.check()
        await operation.next_attempt()
        assert list(operation.folder.rglob(".*")) == [], "a temporary file is left"
        operation.check()
        return system


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_refusal_is_an_error_of_ours_that_loses_nothing_and_passes(
    monkeypatch: pytest.MonkeyPatch, quick: Path, operation: type[Operation]
) -> None:
    trial = Trial(monkeypatch, quick, operation)
    calls = [(call, number) for call, count in (await trial.calls()).items() for number in range(count)]
    for call, number in calls:
        for error in ERRORS:
            await trial.meet(Fault(call, number, error))
    assert trial.failures == []
    assert trial.cases >= LEAST_CASES[operation.__name__]


LEAST_CASES = {
    "Turn": 120,
    "TurnInTheFirstMonth": 150,
    "TurnAfterACrash": 90,
    "Rename": 80,
    "Fork": 200,
    "Scrub": 90,
    "RemoveMessage": 40,
    "Repair": 80,
    "Remove": 50,
    "List": 40,
    "Check": 0,
}


@pytest.mark.parametrize("operation", [Turn, TurnAfterACrash, Rename, Scrub, RemoveMessage, Repair])
async def test_a_write_of_which_the_system_takes_a_part_is_gone_on_with(
    monkeypatch: pytest.MonkeyPatch, quick: Path, operation: type[Operation]
) -> None:
    trial = Trial(monkeypatch, quick, operation)
    calls = await trial.calls()
    for number in range(calls["write"]):
        for length in (1, 2, 17, 100):
            await trial.meet(Fault("write", number, short=length))
    assert trial.failures == []
    assert trial.cases == calls["write"] * 4 >= 4


async def marked(monkeypatch: pytest.MonkeyPatch, folder: Path, written: int) -> tuple[str, Conversation]:
    """Mark a reply thrice while the disk is full after so many bytes of the second mark; return its text, and what is kept."""
    history = HistoryService(folder)
    opened = history.start("Hi", model="")
    await opened.add(Message("m1", Role.USER, "Hi", NOON))
    reply = Message("m2", Role.ASSISTANT, "", NOON, "m1")
    await opened.mark(reply, "one ")
    with monkeypatch.context() as patch:
        system = System(patch, folder)
        system.fault = Fault("write", 0, short=written)
        second = Fault("write", 1, errno.ENOSPC)

        real = os.write

        def write(descriptor: int, data: Any) -> int:
            taken = real(descriptor, data)
            system.fault = second
            return taken

        patch.setattr(os, "write", write)
        with suppress(HistoryError):
            await opened.mark(reply, "two ")
    await opened.mark(reply, "two three ")
    (path,) = folder.glob("*/*/*.jsonl")
    return "one two three ", records.decode(path.read_bytes(), path.stem)


@pytest.mark.parametrize("is_all_but_the_newline", [False, True])
async def test_a_mark_that_is_torn_by_a_full_disk_is_written_again_and_counts_once(
    monkeypatch: pytest.MonkeyPatch, quick: Path, is_all_but_the_newline: bool
) -> None:
    size = len(records.encode(records.partial_record(Message("m2", Role.ASSISTANT, "", NOON, "m1"), "two ", 4)))
    lengths = [size - 1] if is_all_but_the_newline else range(1, size - 1)
    for length in lengths:
        text, found = await marked(monkeypatch, quick / f"{length}", length)
        assert [(each.content, each.status) for each in found.messages[1:]] == [(text, Status.INTERRUPTED)]
    assert len(lengths) >= 1
