"""Processes that use one history at once. `test_concurrency` starts them."""

import asyncio
import itertools
import os
import sys
import traceback
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from chatllm_cli.models import Message, Role
from chatllm_cli.services.history import HistoryService, OpenConversation, records

Work = Callable[[], Coroutine[object, object, None]]


def message(message_id: str, text: str) -> Message:
    """Return a message that says `text`."""
    return Message(message_id, Role.USER, text, datetime.now(UTC))


def text_of(name: str, number: int) -> str:
    """Return what the message with this number of this writer says."""
    return f"{name}{number} " * (1 + number * 97 % 300)


async def write(path: Path, name: str, count: int) -> None:
    """Add so many messages to one conversation, whatever others do."""
    opened = OpenConversation(records.decode(b"", path.stem), path)
    for number in range(count):
        await opened.add(message(f"{name}{number}", text_of(name, number)))


async def run_first(root: Path, name: str) -> None:
    """Do what a first run does to the history: begin a conversation, keep a message, and list what there is."""
    history = HistoryService(root / "data" / "conversations", root / "cache" / "index.db")
    opened = history.start(name, model="hub/model")
    await opened.add(message(name, f"I am {name}"))
    listing = await history.list()
    if listing.faults or opened.conversation.id not in {each.id for each in listing.conversations}:
        raise AssertionError(f"{name} is not listed: {listing}")


async def come_and_go(folder: Path) -> None:
    """Add conversations to a folder and remove them, for ever."""
    history = HistoryService(folder)
    for number in itertools.count():
        opened = history.start(f"{number}", model="")
        await opened.add(message(f"{number}", "hi"))
        if number % 100 == 99:
            await history.upkeep.remove([path.stem for path in folder.glob("*/*/*.jsonl")])


def at_once(works: list[Work]) -> int:
    """Do each work in a process of its own, none before all are there, and return how many ended well."""
    reader, writer = os.pipe()
    children = []
    for work in works:
        children.append(os.fork())
        if children[-1] == 0:
            os.close(writer)
            _do(work, reader)
    os.close(reader)
    os.close(writer)  # which is the sign for all of them
    return sum(os.waitpid(child, 0)[1] == 0 for child in children)


def _do(work: Work, sign: int) -> None:
    try:
        os.read(sign, 1)
        asyncio.run(work())
    except BaseException:  # noqa: BLE001  (it must not go on as its parent)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main(kind: str, place: Path, *numbers: int) -> None:
    """Let a crowd write, run for the first time, or come and go, in the place."""
    if kind == "writers":
        writers, count = numbers
        names = "abcdefgh"[:writers]
        print(at_once([partial(write, place, name, count) for name in names]))  # noqa: T201
    elif kind == "first-runs":
        rounds, runs = numbers
        for number in range(rounds):
            root = place / f"{number}"
            print(at_once([partial(run_first, root, f"run {each}") for each in range(runs)]), flush=True)  # noqa: T201
    else:
        asyncio.run(come_and_go(place))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
