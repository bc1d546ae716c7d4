"""What of an answer has arrived, as one piece: the HTTP client hands it on in as many as the server sent."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx2

MOST_AHEAD = 262_144  # bytes that are read before somebody takes them
AT_ONCE = 3  # pieces that no lag holds up: it is told when the first text came


class ArrivedStream(httpx2.AsyncByteStream):
    """Reads in a task of its own, and gives all that has come by now; it never waits for more than the first of it.

    Where nobody reads along, it may: for `lag` seconds, and never beyond the end. Whoever iterates once more goes on
    from there, as the client does to use a connection again.
    """

    def __init__(self, stream: httpx2.AsyncByteStream, lag: float = 0.0) -> None:
        self._stream = stream
        self._lag = lag
        self._given = 0
        self._pieces: list[bytes] = []
        self._size = 0
        self._changed, self._taken = asyncio.Event(), asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
            self._reader.add_done_callback(lambda _: self._changed.set())
        while self._pieces or not self._reader.done():
            if self._pieces:
                if self._lag and self._given >= AT_ONCE:
                    await asyncio.wait([self._reader], timeout=self._lag)
                self._given += 1
                yield self._take()
            else:
                self._changed.clear()
                await self._changed.wait()
        self._reader.result()

    async def aclose(self) -> None:
        """Read no more."""
        try:
            if self._reader:
                self._reader.cancel()
                await asyncio.wait([self._reader])
                _ = self._reader.cancelled() or self._reader.exception()  # of which nobody wants to know any more
        finally:  # who is stopped while waiting for that has let go of the connection, too
            await self._stream.aclose()

    def _take(self) -> bytes:
        arrived = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        self._taken.set()
        return arrived

    async def _read(self) -> None:
        stream: Any = aiter(self._stream)  # a generator, which its type does not say
        async with aclosing(stream):
            async for piece in stream:
                self._pieces.append(piece)
                self._size += len(piece)
                self._changed.set()
                if self._size > MOST_AHEAD:
                    self._taken.clear()
                    await self._taken.wait()
