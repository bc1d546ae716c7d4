"""Forks processes that use the history, and kills each at a moment of chance. `test_kills` starts it.

A fork takes milliseconds where a start takes a fifth of a second, so that a thousand kills fit into half a minute.
"""

import asyncio
import itertools
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from chatllm_cli.models import Message, Role
from chatllm_cli.services.history import HistoryService, OpenConversation, records
from chatllm_cli.services.imports import Imports

LONGEST_LIFE = 0.06  # seconds
SIZES = (1, 1, 10, 10, 100, 1_000, 20_000)  # a write of the last is in the kernel for long enough to be hit


def text_of(message_id: str) -> str:
    """Return what a message says, which its id tells."""
    return f"{message_id} " * _chance(message_id).choice(SIZES)


def _chance(seed: object) -> Random:
    return Random(repr(seed))  # noqa: S311  (it keeps no secrets)


def _told(word: str) -> None:
    os.write(1, f"{word}\n".encode())  # unbuffered, and whole lines: all processes share the pipe


async def _write(path: Path, name: str) -> None:
    """Write turn after turn to a conversation, and tell the id of each message that was acknowledged."""
    opened = OpenConversation(records.decode(path.read_bytes() if path.exists() else b"", path.stem), path)
    for number in itertools.count():
        prompt, reply = (
            Message(f"{name}.{number}{role[0]}", role, text_of(f"{name}.{number}{role[0]}"), datetime.now(UTC))
            for role in (Role.USER, Role.ASSISTANT)
        )
        await opened.add(prompt)
        _told(prompt.id)
        third = len(reply.content) // 3
        await opened.mark(reply, reply.content[:third])
        await opened.mark(reply, reply.content[third : 2 * third])
        await opened.add(reply)
        _told(reply.id)


async def _scrub(root: Path) -> None:
    """Change every message from one text to another and back."""
    history = HistoryService(root / "data", root / "index.db")
    paths = list((root / "data").glob("*/*/*.jsonl"))
    while True:
        for old, new in ("ab", "ba"):
            await history.upkeep.scrub(paths, re.compile(old * 50), new * 50)


async def _import(root: Path, file: Path) -> None:
    """Take in what is in a file, and tell of each conversation that was acknowledged, by its title."""
    imports = Imports(HistoryService(root / "data", root / "index.db").intake())
    while True:
        async for read in imports.run(file):
            _told(read.title)


def _kill(work: Coroutine[object, object, None], seconds: float) -> None:
    """Let a process do `work` for as long."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(work)
        except BaseException:  # noqa: BLE001  (it must not go on as its parent)
            traceback.print_exc()
        os._exit(1)
    work.close()
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        sys.exit("it died by itself")


def kill_writers(folder: Path, first: int, last: int, conversations: int) -> None:
    """Kill as many writers as there are numbers; each goes on with one of the conversations."""
    for number in range(first, last):
        path = folder / f"{number % conversations:04}.jsonl"
        _kill(_write(path, f"{number}"), _chance(number).uniform(0, LONGEST_LIFE))


def kill_scrubbers(root: Path, kills: int) -> None:
    """Kill that many who rewrite all conversations, and tell what each kill leaves in every one of them."""
    for number in range(kills):
        _kill(_scrub(root), _chance(number).uniform(0, LONGEST_LIFE))
        for path in (root / "data").glob("*/*/*.jsonl"):
            found = records.decode(path.read_bytes(), path.stem)
            texts = {message.content[:1] for message in found.messages}
            _told(f"{len(found.messages)} {found.damaged_lines} {''.join(sorted(texts))}")


def kill_importers(root: Path, file: Path, kills: int) -> None:
    """Kill that many who take in what is in a file."""
    for number in range(kills):
        _kill(_import(root, file), _chance(number).uniform(0, LONGEST_LIFE))


if __name__ == "__main__":
    if sys.argv[1] == "importers":
        kill_importers(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    elif sys.argv[1] == "writers":
        kill_writers(Path(sys.argv[2]), *map(int, sys.argv[3:]))
    else:
        kill_scrubbers(Path(sys.argv[2]), int(sys.argv[3]))
