"""Lines of a file or a pipe, one after another: no more of it is in memory than one block and one line."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Protocol

BLOCK = 65_536  # bytes that are read at once, at most
LONGEST_LINE = 16_000_000  # bytes: more than any model reads


class Readable(Protocol):
    """A file or a pipe, as it was opened."""

    def read1(self, size: int, /) -> bytes:
        """Return what has come, up to so many bytes; wait for some if nothing has."""


class Splitter:
    """Makes lines of blocks. A line that is too long is None."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, block: bytes) -> Iterator[bytes | None]:
        """Yield the lines that end in this block, without their ends."""
        *ended, rest = block.split(b"\n")
        for piece in ended:
            self._add(piece)
            yield self._taken()
        self._add(rest)

    def end(self) -> Iterator[bytes | None]:
        """Yield what stands behind the last newline, if anything does."""
        if self._size:
            yield self._taken()

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= self._longest:
            self._pieces.append(piece)
        else:
            self._pieces.clear()

    def _taken(self) -> bytes | None:
        line = b"".join(self._pieces) if self._size <= self._longest else None
        self._pieces.clear()
        self._size = 0
        return line


async def lines(stream: Readable) -> AsyncGenerator[bytes | None]:
    """Yield the lines of a stream as they come, without their ends. Raises OSError."""
    splitter = Splitter()
    while block := await asyncio.to_thread(stream.read1, BLOCK):
        for line in splitter.feed(block):
            yield line
    for line in splitter.end():
        yield line


def count_lines(stream: Readable) -> int:
    """Return how many lines of a stream say something. Raises OSError; blocking."""
    splitter, count = Splitter(), 0
    while block := stream.read1(BLOCK):
        count += sum(line is None or not line.isspace() for line in splitter.feed(block) if line != b"")
    return count + sum(line is None or not line.isspace() for line in splitter.end())
