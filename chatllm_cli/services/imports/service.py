"""Imports: conversations of other programs, and exported ones, read and taken into the history."""

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from chatllm_cli.errors import ChatllmError, FormatError, HistoryError
from chatllm_cli.formats.source import Imported, Source
from chatllm_cli.services.history import Intake, Taken
from chatllm_cli.services.imports.detection import detected, loader
from chatllm_cli.services.imports.journals import JOURNAL, Journal, journals_under, read_journal
from chatllm_cli.services.imports.sources import sources


@dataclass(frozen=True, slots=True)
class Read:
    """One conversation that was read, or could not be, and what became of it."""

    source: str
    format: str  # empty if it is not known
    title: str
    became: Taken | ChatllmError


class Imports:
    """Reads conversations from files, and has them taken in."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def run(
        self, path: Path, format_: str | None = None, stdin: BinaryIO | None = None
    ) -> AsyncGenerator[Read]:
        """Take in all that is found at `path`, and yield what became of it; a format is found out unless given.

        Files of a folder or an archive that hold no conversation are passed over. Raises `UsageError` for a path that
        is not there, and `HistoryError` if nothing can be saved any more.
        """
        has_any = False
        for found in sources(path, stdin):
            if isinstance(found, FormatError):
                has_any = True
                yield Read(str(path), format_ or "", "", found)
            elif name := format_ or detected(found):
                async for read in self._take_all(found, name):
                    has_any = True
                    yield read
        if not has_any:
            yield Read(str(path), "", "", FormatError(f"{path}: nothing in it is a conversation of a known format"))

    async def merge(self, folder: Path) -> AsyncGenerator[Read]:
        """Take in all of another machine's history, given its data folder, and yield what became of it.

        Raises `UsageError` if there is none, and `HistoryError` if nothing can be saved any more.
        """
        for path, found in journals_under(folder):
            if isinstance(found, Journal):
                taken = await self._intake.take_journal(found.data, found.conversation, found.attached)
                yield Read(str(path), JOURNAL, found.conversation.title, taken)
            else:
                yield Read(str(path), JOURNAL, "", found)

    async def fold_copies(self) -> AsyncGenerator[Read]:
        """Fold what sync tools left beside our own journals into these, and yield what became of it."""
        async for path, became in self._intake.fold_copies():
            yield Read(str(path), JOURNAL, "", became)

    async def _take_all(self, source: Source, format_: str) -> AsyncGenerator[Read]:
        for outcome in _outcomes(source, format_):
            if isinstance(outcome, ChatllmError):
                error = FormatError(f"{source.name}: {outcome.message}", hint=outcome.hint)
                yield Read(source.name, format_, "", error)
            else:
                yield Read(source.name, format_, outcome.conversation.title, await self._take(outcome))

    async def _take(self, read: "Imported | Journal") -> Taken:
        if isinstance(read, Journal):
            return await self._intake.take_journal(read.data, read.conversation)
        return await self._intake.take(read.conversation, read.files)


def _outcomes(source: Source, format_: str) -> "Iterator[Imported | Journal | ChatllmError]":
    try:
        if format_ == JOURNAL:
            yield read_journal(source)
        else:
            yield from loader(format_).load(source)
    except (FormatError, HistoryError) as error:
        yield error
