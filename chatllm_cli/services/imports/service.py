"""Imports: conversations of other programs, and exported ones, read and taken into the history."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from chatllm_cli.errors import ChatllmError, FormatError, HistoryError
from chatllm_cli.formats.reading.source import Imported, Source
from chatllm_cli.frozen import frozen
from chatllm_cli.services.history.files import copied_id
from chatllm_cli.services.history.intake import Intake, Taken
from chatllm_cli.services.imports.detection import detected, loader, spoiled
from chatllm_cli.services.imports.journals import JOURNAL, Journal, journals_under, read_journal
from chatllm_cli.services.imports.sources import sources

AT_ONCE = 6  # conversations that are written; of more the disk makes no better use
Outcome = Imported | Journal | ChatllmError


@frozen
class Read:
    """One conversation that was read, or could not be, and what became of it; nothing of a file without any."""

    source: str
    format: str = ""  # empty if it is not known
    became: Taken | ChatllmError | None = None
    title: str = ""
    conversation: str = ""  # its id


class Imports:
    """Reads conversations from files, and has them taken in."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def run(
        self, path: Path, format_: str | None = None, stdin: BinaryIO | None = None
    ) -> AsyncGenerator[Read]:
        """Take in all that is found at `path`, and yield what became of it; a format is found out unless given.

        Files of a folder or an archive that hold no conversation are passed over, and told once there is one that
        does. Raises `UsageError` for a path that is not there, and `HistoryError` if nothing can be saved any more.
        """
        passed: list[str] = []
        has_any = False
        try:
            for found in sources(path, stdin):
                if isinstance(found, FormatError):
                    has_any = True
                    yield Read(str(path), format_ or "", found)
                    continue
                name, outcomes = _looked_into(found, format_, is_alone=found.path == path)
                first = next(outcomes, None)
                if first is None:
                    passed.append(found.name)
                    continue
                has_any = True
                async with aclosing(self._in_order(found.name, name, chain([first], outcomes))) as reads:
                    async for read in reads:
                        yield read
        finally:  # stopped or not: what was told to be taken in is
            await self._intake.finish()
        if has_any:
            for name in passed:
                yield Read(name)
        else:
            of = f"of the format {format_}" if format_ else "of a known format"
            yield Read(str(path), format_ or "", FormatError(f"{path}: nothing in it is a conversation {of}"))

    async def merge(self, folder: Path) -> AsyncGenerator[Read]:
        """Take in all of another machine's history, given its data folder, and yield what became of it.

        Raises `UsageError` if there is none, and `HistoryError` if nothing can be saved any more.
        """
        try:
            async with aclosing(self._in_order(str(folder), JOURNAL, journals_under(folder))) as reads:
                async for read in reads:
                    yield read
        finally:
            await self._intake.finish()

    async def fold_copies(self) -> AsyncGenerator[Read]:
        """Fold what sync tools left beside our own journals into these, and yield what became of it."""
        async for path, became in self._intake.fold_copies():
            conversation_id = copied_id(path)
            yield Read(str(path), JOURNAL, became, conversation=conversation_id)

    async def _in_order(self, source: str, format_: str, outcomes: Iterator[Outcome]) -> AsyncGenerator[Read]:
        """Have several written at the same time: most of that is waiting for the disk."""
        begun: deque[asyncio.Future[Read]] = deque()
        try:
            for outcome in outcomes:
                begun.append(asyncio.ensure_future(self._read(source, format_, outcome)))
                await asyncio.sleep(0)
                if len(begun) >= AT_ONCE:
                    yield await begun.popleft()
            while begun:
                yield await begun.popleft()
        except HistoryError:  # the others may have met it as well, or not
            while begun:
                with suppress(HistoryError):
                    yield await begun.popleft()
            raise
        finally:
            if begun:  # stopped
                await asyncio.wait(begun)
                for each in begun:
                    _ = each.cancelled() or each.exception()

    async def _read(self, source: str, format_: str, outcome: Outcome) -> Read:
        if isinstance(outcome, ChatllmError):
            return Read(source, format_, FormatError(f"{source}: {outcome.message}", hint=outcome.hint))
        conversation = outcome.conversation
        try:
            if isinstance(outcome, Journal):
                became: Taken | FormatError = await self._intake.take_journal(
                    outcome.data, conversation, outcome.attached
                )
            else:
                became = await self._intake.take(conversation, outcome.files)
        except FormatError as error:  # of one that is here, which the file cannot help
            became = error
        return Read(source, format_, became, conversation.title, conversation.id)


def _looked_into(source: Source, format_: str | None, *, is_alone: bool) -> tuple[str, Iterator[Outcome]]:
    """Return the format of a file, and what is in it; nothing, if that is not for us."""
    if format_ is None:
        if name := detected(source):
            return name, _outcomes(source, name)
        error = spoiled(source)
        return "", iter([error] if error else [])
    outcomes = _outcomes(source, format_)
    if is_alone:
        return format_, outcomes
    begin = list(islice(outcomes, 2))
    # Of many files few are of the format that was named.
    is_another = all(isinstance(each, ChatllmError) for each in begin) and detected(source) != format_
    return format_, iter([]) if is_another else chain(begin, outcomes)


def _outcomes(source: Source, format_: str) -> Iterator[Outcome]:
    try:
        if format_ == JOURNAL:
            yield read_journal(source)
        else:
            yield from loader(format_).load(source)
    except (FormatError, HistoryError) as error:
        yield error
