"""Fetching a model: whole and checked under its name, or not there; what came of it is kept to go on from."""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

from chatllm_cli.config.sections import RetrySettings, TimeoutSettings
from chatllm_cli.errors import ChatllmError, InvalidReplyError, ProviderError, ProviderUnavailableError
from chatllm_cli.frozen import frozen
from chatllm_cli.models import told_size
from chatllm_cli.private_files import make_private_folder, sync_folder, write_all
from chatllm_cli.services.local.gguf import HEADER, fault_of
from chatllm_cli.services.local.pulled import (
    PulledModel,
    PulledModels,
    locked,
    read_record,
    record_of,
    write_record,
)
from chatllm_cli.services.local.sources import Source, without_query
from chatllm_cli.services.local.transfers import Arrival, Part, PartMismatchError, request
from chatllm_cli.services.local.weights import hash_of

RESERVE = 64_000_000  # bytes that a disk keeps free: the history has to be written, too
PROGRESS = 1_000_000  # bytes after which a connection was worth something
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class PullListener(Protocol):
    """Whoever is told how far a model has come."""

    def on_start(self, url: str, done: int, total: int) -> None:
        """Bytes begin to come, behind `done` that are there already; told again after a cut."""

    def on_bytes(self, done: int) -> None:
        """So many bytes are there."""

    def on_wait(self, reason: str, seconds: float) -> None:
        """Go on after a wait: the connection broke."""

    def on_check(self) -> None:
        """All bytes are there, and their hash is computed."""


@frozen
class _Known:
    """What was written down beside a part: where it is from, and what the server said of the whole."""

    url: str = ""
    validator: str = ""
    total: int = 0
    sha256: str | None = None

    def may_be(self, other: "_Known") -> bool:
        """Tell whether this is the same file, by what is known of both. Not every server heeds If-Range."""
        is_same = (self.total, self.sha256) == (other.total, other.sha256)
        return is_same and self.validator in {"", other.validator}


class Downloads:
    """Fetches models into their folder."""

    def __init__(self, models: PulledModels, timeouts: TimeoutSettings, retries: RetrySettings) -> None:
        self._models = models
        self._timeouts = timeouts
        self._retries = retries

    async def pull(self, source: Source, listener: PullListener, sha256: str | None = None) -> PulledModel:
        """Fetch a model, or the rest of it, and return it once it is whole and its hash is right; at once if it is.

        Raises `ProviderError` and its kinds where it does not come, `ChatllmError` where it is not what it should
        be or cannot be kept.
        """
        part = self._models.part(source.name)
        with _telling(part):
            make_private_folder(self._models.folder)
            with locked(part) as descriptor:
                transfer = _Transfer(source, part, descriptor, listener)
                try:
                    if found := self._models.find(source.name):
                        return _same(found, source, sha256)
                    await self._fetch(transfer)
                    return await self._keep(transfer, sha256)
                finally:
                    transfer.tidy()

    async def _fetch(self, transfer: "_Transfer") -> None:
        """Take up what breaks off, as long as each connection is worth it. What cannot begin fails at once."""
        failures, furthest = 0, transfer.done  # the same bytes again, after a beginning anew, are no progress
        while not transfer.is_whole:
            try:
                await transfer.go_on(self._timeouts)
            except ProviderError as error:
                failures = 1 if transfer.done - furthest >= PROGRESS else failures + 1
                furthest = max(furthest, transfer.done)
                if not (error.is_passing and transfer.has_begun) or failures > self._retries.max_retries:
                    raise _with_way_on(error, transfer) from error
                seconds = min(self._retries.first_delay * 2 ** (failures - 1), self._retries.longest_delay)
                transfer.listener.on_wait(error.message, seconds)
                await asyncio.sleep(seconds)

    async def _keep(self, transfer: "_Transfer", sha256: str | None) -> PulledModel:
        """Put what came in its place if it is what it should be, and remove it if not."""
        transfer.listener.on_check()
        await asyncio.to_thread(os.fsync, transfer.descriptor)
        actual, expected = await asyncio.to_thread(hash_of, transfer.part), sha256 or transfer.known.sha256
        if expected and actual != expected:
            transfer.discard()
            raise ChatllmError(
                f"{transfer.source.told} is not what was expected, and is removed: "
                f"its SHA-256 is {actual[:12]}…, not {expected[:12]}…",
                hint="somebody changed it, or it was damaged on its way: compare it with what its publisher says",
            )
        name, path = transfer.source.name, self._models.path(transfer.source.name)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        model = PulledModel(
            name, path, transfer.source.told, actual, at=now, address_sha256=transfer.source.address_sha256
        )
        self._models.note(model, transfer.part)
        transfer.part.replace(path)
        record_of(transfer.part).unlink(missing_ok=True)
        sync_folder(self._models.folder)
        return cast("PulledModel", self._models.find(name))


def _same(found: PulledModel, source: Source, sha256: str | None) -> PulledModel:
    """Return the model that is there already if it is the one that is wanted. Raises `ChatllmError`."""
    is_address = found.source == source.told and found.address_sha256 in {"", source.address_sha256}
    if sha256 == found.sha256 if sha256 else is_address:
        return found
    raise ChatllmError(
        f"there is another model local/{source.name} already",
        hint=f"`chatllm models rm {source.name}` removes it, --name gives the new one another name",
    )


class _Transfer:
    """A file on its way, over as many connections as it takes."""

    def __init__(self, source: Source, part: Path, descriptor: int, listener: PullListener) -> None:
        self.source, self.part, self.descriptor, self.listener = source, part, descriptor, listener
        self.done = os.fstat(descriptor).st_size
        self.known = _recall(part)
        self.has_begun = False
        is_same = self.known.url == without_query(source.url) and self.known.validator
        if not is_same or self.done > self.known.total:
            self.done, self.known = 0, _Known()  # what is there gives way once there is something better

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are there."""
        return self.done > 0 and self.done == self.known.total

    async def go_on(self, timeouts: TimeoutSettings) -> None:
        """Fetch what is missing, over one connection. Raises `ProviderError`, or OSError if it cannot be written."""
        part = Part(self.done, self.known.validator) if self.done and self.known.validator else None
        try:
            async with request(self.source.url, part, timeouts) as arrival:
                self._begin(arrival)
                async with aclosing(cast("AsyncGenerator[bytes]", arrival.pieces)) as pieces:
                    async for piece in pieces:
                        self._take(piece)
        except PartMismatchError:
            self._start_anew()
            raise ProviderUnavailableError("the server cannot go on where it stopped") from None
        if not self.is_whole:
            raise ProviderUnavailableError("the connection ended before the file did")

    def _begin(self, arrival: Arrival) -> None:
        self.has_begun = True
        known = _Known(without_query(self.source.url), arrival.validator, arrival.total, arrival.sha256)
        if arrival.start and not known.may_be(self.known):
            raise PartMismatchError
        if not arrival.start:
            self._start_anew()
        _check_room(self.part.parent, self.source.name, arrival.total - self.done)
        self.known = known if known.validator or not arrival.start else replace(known, validator=self.known.validator)
        _remember(self.part, self.known)
        self.listener.on_start(self.source.url, self.done, arrival.total)

    def _take(self, piece: bytes) -> None:
        """Write what came. Not in a thread: nothing else waits, and a thread could not be stopped with the task."""
        if self.done + len(piece) > self.known.total:
            self.discard()
            raise InvalidReplyError("the server sent more than it said the file has")
        os.lseek(self.descriptor, self.done, os.SEEK_SET)
        write_all(self.descriptor, piece)
        before, self.done = self.done, self.done + len(piece)
        if before < HEADER.size <= self.done or (before < HEADER.size and self.is_whole):
            self._check_beginning()
        self.listener.on_bytes(self.done)

    def _check_beginning(self) -> None:
        """Stop at once what is no model: a page that asks to log in, say."""
        if fault := fault_of(os.pread(self.descriptor, HEADER.size, 0), self.known.total):
            self.discard()
            raise ChatllmError(f"what {self.source.told} leads to {fault}")

    def discard(self) -> None:
        """Remove what came, and what is known of it."""
        self.part.unlink(missing_ok=True)
        record_of(self.part).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Leave nothing behind of a transfer that brought nothing."""
        if not os.fstat(self.descriptor).st_size:
            self.discard()

    def _start_anew(self) -> None:
        os.ftruncate(self.descriptor, 0)
        self.done, self.known, self.has_begun = 0, _Known(), True


def _recall(part: Path) -> _Known:
    told = read_record(part)
    url, validator, total, sha256 = (told.get(name) for name in ("url", "validator", "total", "sha256"))
    if isinstance(url, str) and isinstance(validator, str) and isinstance(total, int):
        return _Known(url, validator, total, sha256 if isinstance(sha256, str) else None)
    return _Known()


def _remember(part: Path, known: _Known) -> None:
    told = {"url": known.url, "validator": known.validator, "total": known.total, "sha256": known.sha256}
    write_record(part, told)


def _check_room(folder: Path, name: str, missing: int) -> None:
    free = shutil.disk_usage(folder).free
    if missing + RESERVE > free:
        raise ChatllmError(
            f"there is no room for {name} in {folder}: {told_size(missing)} to come, {told_size(free)} free",
            hint=f"make room; {told_size(RESERVE)} have to stay free",
        )


def _with_way_on(error: ProviderError, transfer: _Transfer) -> ProviderError:
    """Say how much is there, and that it is not lost."""
    if transfer.has_begun and transfer.done and transfer.known.validator and error.is_passing:
        came = f"{told_size(transfer.done)} of {told_size(transfer.known.total)}"
        error.message = f"{transfer.source.name} broke off at {came}: {error.message}"
        error.hint = "run it again: it goes on where it stopped"
    return error


@contextmanager
def _telling(part: Path) -> Iterator[None]:
    """Turn what the disk says into one line."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            hint = "make room, and run it again: it goes on where it stopped"
            raise ChatllmError(f"the disk is full: {part} could not be written further", hint=hint) from error
        raise ChatllmError(f"{part} cannot be written: {error.strerror}") from error
