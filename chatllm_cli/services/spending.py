"""What was spent on answers that are in no conversation: amounts alone, so that budgets hold for those, too.

A file a month, of JSON lines, each what a run spent on one model within about a second. What was said is not in it.
"""

import json
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from chatllm_cli.errors import HistoryError
from chatllm_cli.models import Message
from chatllm_cli.private_files import make_private_folder, open_private, write_all

VERSION = 1
BETWEEN_WRITES = 1.0  # seconds
Amount = tuple[float, int]  # US dollars, and answers that cost nobody knows what
Kept = Callable[[datetime], Awaitable[Amount]]


@dataclass(slots=True)
class _Sum:
    answers: int = 0
    cost: float = 0.0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, reply: Message) -> None:
        self.answers += 1
        self.cost += reply.cost or 0.0
        self.unpriced += reply.is_unpriced
        self.input_tokens += reply.usage.input_tokens if reply.usage else 0
        self.output_tokens += reply.usage.output_tokens if reply.usage else 0


@dataclass(slots=True)
class _Month:
    """What was read of one file."""

    size: int = 0
    entries: list[tuple[float, float, int]] = field(default_factory=list)  # when, and the amount


class Spending:
    """Adds up what was spent: what the history says, and what is noted here beside it."""

    def __init__(self, folder: Path, kept: Kept) -> None:
        self.freshness = 0.0  # seconds that holds what the history said
        self._folder = folder
        self._kept = kept
        self._known: dict[datetime, tuple[float, Amount]] = {}  # of the history, and when it said so
        self._months: dict[Path, _Month] = {}
        self._unwritten: dict[str, _Sum] = {}  # by model
        self._written = monotonic()

    async def since(self, begin: datetime) -> Amount:
        """Return what was spent since then, in US dollars, and how many answers cost nobody knows what.

        Raises `HistoryError`.
        """
        cost, unpriced = await self._kept_since(begin)
        for path in self._files(begin):
            for at, amount, unknown in self._read(path):
                if at >= begin.timestamp():
                    cost, unpriced = cost + amount, unpriced + unknown
        waiting = self._unwritten.values()
        return cost + sum(each.cost for each in waiting), unpriced + sum(each.unpriced for each in waiting)

    def note(self, reply: Message) -> None:
        """Take note of what a reply cost that is in no conversation. Raises `HistoryError`."""
        if reply.cost or reply.is_unpriced:
            self._unwritten.setdefault(reply.model or "", _Sum()).add(reply)
            if monotonic() - self._written >= BETWEEN_WRITES:
                self.write()

    def write(self) -> None:
        """Let all of it be on the disk. Raises `HistoryError`."""
        if not self._unwritten:
            return
        now = datetime.now(UTC)
        lines = [json.dumps(_line(now, model, each)) for model, each in self._unwritten.items()]
        try:
            make_private_folder(self._folder)
            path = self._folder / f"{now:%Y-%m}.jsonl"
            descriptor = open_private(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
            try:
                write_all(descriptor, ("\n" + "\n".join(lines) + "\n").encode())  # a torn line before it is ended
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise HistoryError(
                f"what was spent could not be noted in {self._folder}: {error.strerror or error}",
                hint="make room or check the folder; budgets rely on it",
            ) from error
        self._unwritten.clear()
        self._written = monotonic()

    async def _kept_since(self, begin: datetime) -> Amount:
        if begin in self._known and monotonic() - self._known[begin][0] < self.freshness:
            return self._known[begin][1]
        amount = await self._kept(begin)
        self._known[begin] = monotonic(), amount
        return amount

    def _files(self, begin: datetime) -> list[Path]:
        first = f"{begin.astimezone(UTC):%Y-%m}.jsonl"
        try:
            return [path for path in sorted(self._folder.iterdir()) if path.suffix == ".jsonl" and path.name >= first]
        except OSError:  # nothing was noted yet
            return []

    def _read(self, path: Path) -> list[tuple[float, float, int]]:
        """Return the entries of a file; only what came since the last time is read. Raises `HistoryError`."""
        month = self._months.setdefault(path, _Month())
        try:
            with path.open("rb") as file:
                file.seek(month.size)
                data = file.read()
        except OSError as error:
            raise HistoryError(f"what was spent cannot be read in {path}: {error.strerror}") from error
        end = data.rfind(b"\n") + 1
        month.entries += _entries(data[:end])
        month.size += end
        return month.entries


def _line(at: datetime, model: str, amount: _Sum) -> dict[str, Any]:
    return {
        "v": VERSION,
        "at": at.isoformat(),
        "model": model,
        "answers": amount.answers,
        "input_tokens": amount.input_tokens,
        "output_tokens": amount.output_tokens,
        "cost": amount.cost,
        "unpriced": amount.unpriced,
    }


def _entries(data: bytes) -> Iterator[tuple[float, float, int]]:
    """Yield what whole lines say; one that is damaged says nothing."""
    for line in data.split(b"\n"):
        try:
            entry = json.loads(line)
            yield datetime.fromisoformat(entry["at"]).timestamp(), float(entry["cost"]), int(entry["unpriced"])
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            continue
