"""Power cuts: whatever a cut may leave of a write, what was acknowledged is there, and the next message is kept."""

import os
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.models import Conversation, Message, Role
from chatllm_cli.services.history import HistoryService, OpenConversation, records
from tests.durability.helpers import NOON, conversation_of, journal_of, turns

NEXT = Message("next", Role.USER, "And now?", NOON)
SECTOR = 512


async def write_log(path: Path) -> list[int]:
    """Have a conversation with everything in it, and return where each of its appends ends."""
    opened = OpenConversation(conversation_of([]), path)
    ends = [0]

    async def after(*writes: Awaitable[None]) -> None:
        for write in writes:
            await write
            ends.append(path.stat().st_size)

    for number, message in enumerate(turns(8)):
        if message.role is Role.ASSISTANT:
            half = len(message.content) // 2
            await after(opened.mark(message, message.content[:half]), opened.mark(message, message.content[half:]))
        if number != 9:  # of that reply only the marks come
            await after(opened.add(message))
    await after(opened.set_title("Ein anderer Titel\u2028"), opened.set_tags(["one", "two"]))
    await after(opened.move_head("m001"))
    opened.set_system_prompt("Be brief.")
    await after(opened.add(replace(NEXT, id="other", parent="m001")))
    return ends


def torn(write: bytes) -> Iterator[bytes]:
    """What may be left of a write: any part of it, alone, with zeros to its end, or with a sector of them."""
    for length in range(len(write) + 1):
        part = write[:length]
        yield part
        yield part + b"\0" * (len(write) - length)
        yield part + b"\0" * SECTOR


def known(conversation: Conversation) -> tuple[object, ...]:
    return (conversation.title, conversation.tags, conversation.system_prompt, conversation.messages)


@pytest.mark.slow
async def test_what_was_acknowledged_is_there_after_a_crash_and_so_is_what_is_said_next(quick: Path) -> None:
    log, path = quick / "log.jsonl", quick / "aaaabbbbccccdddd.jsonl"
    ends = await write_log(log)
    data = log.read_bytes()
    cases = 0
    for begin, end in pairwise(ends):
        # A write may be of two records, the first of which may come alone.
        wholes = [begin, data.index(b"\n", begin) + 1, end]
        allowed = [known(records.decode(data[:whole], path.stem)) for whole in wholes]
        for tail in torn(data[begin:end]):
            path.write_bytes(data[:begin] + tail)
            opened = OpenConversation(records.decode(path.read_bytes(), path.stem), path)
            case = f"{len(tail)} bytes after byte {begin}"
            assert known(opened.conversation) in allowed, case
            await opened.add(replace(NEXT, parent=opened.conversation.head))
            found = records.decode(path.read_bytes(), path.stem)
            assert found.messages == opened.conversation.messages, case
            assert found.find("next") == replace(NEXT, parent=found.messages[-1].parent), case
            assert (found.head, found.damaged_lines <= 1) == ("next", True), case
            cases += 1
    assert cases >= 20_000


@dataclass
class Step:
    """One thing that the system was asked to do."""

    kind: str  # create, write, sync, sync folder, rename, remove
    path: Path
    data: bytes = b""
    target: Path = field(default_factory=Path)


class Recorder:
    """Writes down what the program asks of the system concerning one folder."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.steps: list[Step] = []
        self._folder = folder
        self._open: dict[int, Path] = {}
        self._real = {name: getattr(os, name) for name in ("open", "write", "fsync", "close", "replace", "unlink")}
        for name in self._real:
            monkeypatch.setattr(os, name, getattr(self, name))

    def open(self, path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        is_new = flags & os.O_CREAT and not os.path.exists(path)  # noqa: PTH110
        descriptor = int(self._real["open"](path, flags, *arguments, **options))
        if Path(path).is_relative_to(self._folder):
            self._open[descriptor] = Path(path)
            if is_new:
                self.steps.append(Step("create", Path(path)))
        return descriptor

    def write(self, descriptor: int, data: Any) -> int:
        written = int(self._real["write"](descriptor, data))
        self._note(descriptor, "write", bytes(data[:written]))
        return written

    def fsync(self, descriptor: int) -> None:
        self._real["fsync"](descriptor)
        is_folder = descriptor in self._open and self._open[descriptor].is_dir()
        self._note(descriptor, "sync folder" if is_folder else "sync")

    def close(self, descriptor: int) -> None:
        self._open.pop(descriptor, None)
        self._real["close"](descriptor)

    def replace(self, source: Any, target: Any, **options: Any) -> None:
        self._real["replace"](source, target, **options)
        self.steps.append(Step("rename", Path(source), target=Path(target)))

    def unlink(self, path: Any, **options: Any) -> None:
        self._real["unlink"](path, **options)
        self.steps.append(Step("remove", Path(path)))

    def _note(self, descriptor: int, kind: str, data: bytes = b"") -> None:
        if descriptor in self._open:
            self.steps.append(Step(kind, self._open[descriptor], data))


Files = dict[Path, bytes]


def crash_states(files: Files, steps: Sequence[Step]) -> Iterator[Files]:
    """Yield what may be on the disk after a crash between any two steps, or after the last.

    Names change in the order in which they were changed, all at the latest when their folder is synced. What was
    written to a file may be there, in part, as zeros or not at all, until that file is synced.
    """
    for length in range(len(steps) + 1):
        done = steps[:length]
        last_sync = max((place for place, step in enumerate(done) if step.kind == "sync folder"), default=-1)
        named = [place for place, step in enumerate(done) if step.kind in {"create", "rename", "remove"}]
        sure = sum(place < last_sync for place in named)
        for changes in range(sure, len(named) + 1):
            for shape in range(4):
                yield state_of(files, done, named[:changes], shape)


def state_of(files: Files, done: Sequence[Step], named: Sequence[int], shape: int) -> Files:
    contents: dict[Path, bytes] = dict(files)  # by the name that the file had when it was written
    for step in done:
        if step.kind == "create":
            contents[step.path] = b""
        elif step.kind == "write":
            is_sure = any(each.kind == "sync" and each.path == step.path for each in done[done.index(step) :])
            contents[step.path] += step.data if is_sure else left_of(step.data, shape)
    state = dict(files)
    for place in named:
        step = done[place]
        if step.kind == "create":
            state[step.path] = contents[step.path]
        elif step.kind == "rename":
            state[step.target] = state.pop(step.path)
        else:
            state.pop(step.path, None)
    return state


def left_of(data: bytes, shape: int) -> bytes:
    return (data, data[: len(data) // 2], b"\0" * len(data), b"")[shape]


class Shelf:
    """One conversation with a damaged line in it, and what is done to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "2026" / "07" / "aaaabbbbccccdddd.jsonl"
        self.path.parent.mkdir(parents=True)
        self.history = HistoryService(folder)
        self.damaged = b'{"v":1,"type":"message","id":"m9'
        self.path.write_bytes(journal_of(conversation_of(turns(3))) + self.damaged + b"\n")

    def files(self) -> Files:
        return {path: path.read_bytes() for path in self.path.parent.iterdir()}

    async def scrub(self) -> None:
        await self.history.upkeep.scrub([self.path], re.compile("message"), "[removed]")

    async def remove_message(self) -> None:
        await self.history.upkeep.remove_message(self.path, "m002")

    async def repair(self) -> None:
        await self.history.upkeep.repair()

    async def remove(self) -> None:
        await self.history.upkeep.remove([self.path.stem])


Change = Callable[[Shelf], Awaitable[None]]


async def recorded(shelf: Shelf, change: Change) -> tuple[Files, list[Step], Files]:
    """Return the files before, what was done, and the files after."""
    before = shelf.files()
    with pytest.MonkeyPatch.context() as monkeypatch:
        recorder = Recorder(monkeypatch, shelf.folder)
        await change(shelf)
    return before, recorder.steps, shelf.files()


@pytest.mark.parametrize("change", [Shelf.scrub, Shelf.remove_message, Shelf.repair, Shelf.remove])
async def test_a_crash_while_a_conversation_is_rewritten_leaves_the_old_one_or_the_new_one(
    quick: Path, change: Change
) -> None:
    shelf = Shelf(quick / "data")
    before, steps, after = await recorded(shelf, change)
    states = list(crash_states(before, steps))
    assert len(states) >= (8 if change is Shelf.remove else 40)
    old, new = before.get(shelf.path), after.get(shelf.path)
    assert old != new
    assert {state.get(shelf.path) for state in states} == {old, new}
    lines_kept = [b"".join(state.values()).count(shelf.damaged) for state in states if shelf.path in state]
    assert min(lines_kept) >= (0 if change is Shelf.scrub else 1)


async def test_every_state_that_a_crash_leaves_can_be_gone_on_with(quick: Path) -> None:
    cases = 0
    for number, change in enumerate((Shelf.scrub, Shelf.remove_message, Shelf.repair, Shelf.remove)):
        shelf = Shelf(quick / f"{number}")
        before, steps, _ = await recorded(shelf, change)
        for state in crash_states(before, steps):
            for path in shelf.files():
                path.unlink()
            for path, data in state.items():
                path.write_bytes(data)
            listing = await shelf.history.list()
            assert (len(listing.conversations), listing.faults) == (int(shelf.path in state), ())
            if shelf.path in state:
                await (await shelf.history.open("@1")).add(NEXT)
                assert (await shelf.history.load("@1")).messages[-1] == NEXT
            cases += 1
    assert cases >= 150


async def test_the_states_are_such_that_a_missing_sync_would_be_seen(quick: Path) -> None:
    shelf = Shelf(quick / "data")
    before, steps, after = await recorded(shelf, Shelf.scrub)
    unsynced = [step for step in steps if step.kind != "sync"]
    contents = {state.get(shelf.path) for state in crash_states(before, unsynced)}
    assert contents > {before[shelf.path], after[shelf.path]}


async def test_nothing_that_a_crash_left_beside_a_conversation_outlives_it(quick: Path) -> None:
    shelf = Shelf(quick / "data")
    before, steps, _ = await recorded(shelf, Shelf.scrub)
    half_done = [state for state in crash_states(before, steps) if len(state) > 1][-1]
    for path, data in half_done.items():
        path.write_bytes(data)
    await shelf.history.upkeep.remove([shelf.path.stem])
    assert [path.name for path in shelf.path.parent.iterdir()] == []
