import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from chatllm_cli.services.llm.arriving import AT_ONCE, MOST_AHEAD, ArrivedStream


class Pieces(httpx2.AsyncByteStream):
    """Gives these pieces; for a None it waits until `go`, and an error it raises."""

    def __init__(self, *pieces: bytes | Exception | None) -> None:
        self.pieces = pieces
        self.go = asyncio.Event()
        self.given = 0
        self.is_closed = self.was_stopped = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                if piece is None:
                    await self.go.wait()
                else:
                    self.given += 1
                    yield piece
        except asyncio.CancelledError:
            self.was_stopped = True
            raise

    async def aclose(self) -> None:
        self.is_closed = True


class Slow(Pieces):
    """Gives its pieces ten milliseconds apart."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in super().__aiter__():
            yield piece
            await asyncio.sleep(0.01)


async def test_what_has_arrived_is_one_piece_and_what_has_not_is_not_waited_for() -> None:
    source = Pieces(b"a", b"b", None, b"c", b"d")
    pieces = aiter(ArrivedStream(source))
    assert await anext(pieces) == b"ab"
    source.go.set()
    assert [piece async for piece in pieces] == [b"cd"]


async def test_what_comes_within_the_lag_is_one_piece_but_for_the_first_few() -> None:
    source = Slow(*[bytes([number]) for number in range(20)])
    pieces = [piece async for piece in ArrivedStream(source, lag=0.5)]
    assert b"".join(pieces) == bytes(range(20))
    assert pieces[:AT_ONCE] == [b"\x00", b"\x01", b"\x02"]
    assert len(pieces) < 12


@pytest.mark.parametrize("end", [None, httpx2.ReadError("broke")])
async def test_the_end_waits_for_no_lag(end: Exception | None) -> None:
    pieces = aiter(ArrivedStream(Slow(b"a", b"b", b"c", b"d", *([end] if end else [])), lag=60))
    async with asyncio.timeout(10):
        assert [await anext(pieces) for _ in range(4)] == [b"a", b"b", b"c", b"d"]
        with pytest.raises(httpx2.ReadError if end else StopAsyncIteration):
            await anext(pieces)


async def test_an_error_comes_after_what_came_before_it() -> None:
    pieces = aiter(ArrivedStream(Pieces(b"a", httpx2.ReadError("broke"))))
    assert await anext(pieces) == b"a"
    with pytest.raises(httpx2.ReadError, match="broke"):
        await anext(pieces)


async def test_whoever_iterates_once_more_goes_on_and_finds_the_end_again() -> None:
    source = Pieces(b"a", None, b"b")
    stream = ArrivedStream(source)
    assert await anext(aiter(stream)) == b"a"
    source.go.set()
    assert [piece async for piece in stream] == [b"b"]
    assert [piece async for piece in stream] == []


async def test_nobody_reads_far_ahead_of_who_takes() -> None:
    source = Pieces(*[b"x" * 1000] * 1000)
    pieces = aiter(ArrivedStream(source))
    first = await anext(pieces)
    await asyncio.sleep(0.01)
    assert source.given <= 2 * (MOST_AHEAD // 1000 + 1)
    assert len(first) + sum([len(piece) async for piece in pieces]) == 1_000_000


@pytest.mark.parametrize("pieces", [[b"a", None], [b"x" * 1000] * 1000])
async def test_closing_ends_the_reading_wherever_it_is(pieces: list[bytes | None]) -> None:
    source = Pieces(*pieces)
    stream = ArrivedStream(source)
    await anext(aiter(stream))
    await stream.aclose()
    assert source.is_closed
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_who_is_stopped_while_closing_has_closed() -> None:
    source = Pieces(b"a", None)
    stream = ArrivedStream(source)
    await anext(aiter(stream))
    closing = asyncio.ensure_future(stream.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert source.is_closed


async def test_an_error_that_nobody_waits_for_is_forgotten() -> None:
    stream = ArrivedStream(Pieces(b"a", httpx2.ReadError("broke")))
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    await anext(aiter(stream))
    await stream.aclose()
    del stream
    await asyncio.sleep(0)
    assert told == []


async def test_a_stream_that_nobody_reads_can_be_closed() -> None:
    source = Pieces(b"a")
    await ArrivedStream(source).aclose()
    assert (source.given, source.is_closed) == (0, True)


async def test_who_waits_can_be_stopped() -> None:
    source = Pieces(None)
    stream = ArrivedStream(source)
    waiting = asyncio.ensure_future(anext(aiter(stream)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await stream.aclose()
    assert source.was_stopped
