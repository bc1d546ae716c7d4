"""What was typed in the REPL, for the arrow keys of later sessions: a line of JSON each, the newest last."""

import asyncio
import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chatllm_cli.errors import HistoryError
from chatllm_cli.private_files import is_still_at, make_private_folder, open_private, replace_private_file, write_all

MOST_KEPT = 5000
MOST_BYTES = 4_000_000  # of a file: what a paste of megabytes takes is not kept for ever
LONGEST = 200_000  # bytes of one: the conversation has it anyway
Change = Callable[[list[str]], list[str]]


class InputHistory:
    """A file that several sessions add to at once. What is wrong with it costs the recall, never the prompt."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> list[str]:
        """Return what was typed, the oldest first; nothing of a line that is damaged. Raises OSError."""
        try:
            return list(_texts(self._path.read_bytes()))[-MOST_KEPT:]
        except FileNotFoundError:
            return []

    def add(self, text: str) -> None:
        """Keep `text`; it is on the disk when this returns. Raises OSError."""
        line = _line(text)
        if len(line) > LONGEST:
            return
        make_private_folder(self._path.parent)
        with self._locked(os.O_CREAT) as descriptor:
            size = os.fstat(descriptor).st_size
            torn = bool(size) and os.pread(descriptor, 1, size - 1) != b"\n"  # by a crash: the next one stands apart
            write_all(descriptor, b"\n" + line if torn else line)
            os.fsync(descriptor)
            if size + len(line) > MOST_BYTES:
                self._rewrite(lambda texts: _newest(texts, MOST_BYTES // 2))

    async def forget(self, is_gone: Callable[[str], bool]) -> None:
        """Forget what is to be gone. Raises `HistoryError`."""
        await self._change(lambda kept: [text for text in kept if not is_gone(text)])

    async def scrub(self, pattern: re.Pattern[str], replacement: str) -> None:
        """Replace what `pattern` matches. Raises `HistoryError`."""
        await self._change(
            lambda kept: [pattern.sub(lambda found: replacement if found[0] else "", text) for text in kept]
        )

    async def matches(self, pattern: re.Pattern[str]) -> bool:
        """Tell whether `pattern` matches anything in it; what cannot be read matches nothing."""
        with suppress(OSError):
            return any(pattern.search(text) for text in await asyncio.to_thread(self.load))
        return False

    async def _change(self, change: Change) -> None:
        try:
            await asyncio.to_thread(self._change_now, change)
        except OSError as error:
            raise HistoryError(f"what was typed, in {self._path}, could not be changed: {error.strerror}") from error

    def _change_now(self, change: Change) -> None:
        if self._path.exists():
            with self._locked():
                self._rewrite(change)

    def _rewrite(self, change: Change) -> None:
        texts = list(_texts(self._path.read_bytes()))
        if (changed := change(texts)) != texts:
            replace_private_file(self._path, b"".join(map(_line, changed)))

    @contextmanager
    def _locked(self, flags: int = 0) -> Iterator[int]:
        """Open the file for appending and hold its lock, when it is still there by then."""
        while True:
            descriptor = open_private(self._path, os.O_RDWR | os.O_APPEND | flags)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if is_still_at(self._path, descriptor):
                    yield descriptor
                    return
            finally:
                os.close(descriptor)


def _line(text: str) -> bytes:
    return json.dumps(text).encode() + b"\n"


def _texts(data: bytes) -> Iterator[str]:
    for line in data.split(b"\n"):
        try:
            text = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(text, str):
            yield text


def _newest(texts: list[str], room: int) -> list[str]:
    """Return the last texts that take no more than so many bytes."""
    kept: list[str] = []
    for text in reversed(texts):
        room -= len(_line(text))
        if room < 0 or len(kept) == MOST_KEPT:
            break
        kept.append(text)
    return kept[::-1]
