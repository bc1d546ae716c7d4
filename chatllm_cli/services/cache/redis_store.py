"""Entries on a Redis server, for several machines. The only module that knows redis.

    chatllm:answer:<key>    the id of the conversation that brought it, a line break, and the entry; the server drops
                            it when its time is over
    chatllm:counts          what was counted

No prompt is sent there, and no title: of a request its hash alone, of an answer all of it.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from socket import gaierror
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import TimeoutError as NoAnswer

from chatllm_cli.config.addresses import shown_address
from chatllm_cli.services.cache.entries import LARGEST as LARGEST_UNPACKED
from chatllm_cli.services.cache.stores import LONGEST_WAIT, StoreError, sane

ANSWER, COUNTS = "chatllm:answer:", "chatllm:counts"
LARGEST = LARGEST_UNPACKED + 2**16  # bytes that are read of one: it may not compress at all
LONGEST_ID = 64
LONGEST_CHORE = 3.0  # seconds for each step of what a person asked for: to clear it, or to forget
LONGEST_GOODBYE = 0.05
REST = 30.0  # seconds that a server is left alone that could not be reached
AT_ONCE, FEW = 500, 8  # keys that are looked at together, and entries that are read together
LONGEST_REASON = 200


class RedisStore:
    """A Redis server, connected to with the first use."""

    is_shared = True

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Redis | None = None
        self._rests_until = 0.0
        self._fault = ""

    @property
    def where(self) -> str:
        """Its address, without the password."""
        return shown_address(self._url)

    async def get(self, key: str) -> bytes | None:
        """Return what lies under a key, or as much of it as an entry may have."""
        async with self._connected(LONGEST_WAIT) as client:
            return _entry(await client.getrange(f"{ANSWER}{key}", 0, LARGEST))

    async def put(self, key: str, data: bytes, *, seconds: float, conversation: str) -> None:
        """Keep `data` for so long, or until its conversation is forgotten."""
        value = f"{conversation}\n".encode() + data
        async with self._connected(LONGEST_WAIT) as client:
            if not data:
                await client.delete(f"{ANSWER}{key}")
                return
            await client.set(f"{ANSWER}{key}", value, ex=max(int(seconds), 1))

    async def forget(self, conversations: Sequence[str]) -> None:
        """Drop what belongs to these conversations; all entries are looked at for that, a line of each."""
        wanted = {conversation.encode() for conversation in conversations}
        await self._remove(LONGEST_ID, lambda begin: begin.partition(b"\n")[0] in wanted)

    async def remove(self, is_doomed: Callable[[bytes], bool] | None = None) -> int:
        """Drop every entry, or those that are doomed, and return how many those were."""
        if is_doomed is None:
            return await self._remove(0, lambda _: True)
        return await self._remove(LARGEST, lambda value: is_doomed(_entry(value) or b""))

    async def _remove(self, length: int, is_doomed: Callable[[bytes], bool]) -> int:
        """Drop the entries whose first bytes are doomed, and return how many those were."""
        removed = 0
        async for keys in self._answers(AT_ONCE if length <= LONGEST_ID else FEW):
            async with self._connected(LONGEST_CHORE) as client, client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.getrange(key, 0, length)
                values = await pipe.execute(raise_on_error=False)  # what is no text is not ours
                begins = [value if isinstance(value, bytes) else b"" for value in values]
                doomed = [key for key, begin in zip(keys, begins, strict=True) if is_doomed(begin)]
                removed += await client.delete(*doomed) if doomed else 0
        return removed

    async def size(self) -> tuple[int, int]:
        """Return how many entries there are, and how many bytes they take."""
        entries = size = 0
        async for keys in self._answers():
            async with self._connected(LONGEST_CHORE) as client, client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.strlen(key)
                lengths = await pipe.execute(raise_on_error=False)
            entries, size = entries + len(keys), size + sum(each for each in lengths if isinstance(each, int))
        return entries, size

    async def count(self, amounts: Mapping[str, float]) -> None:
        """Add these amounts to what was counted before, by name."""
        async with self._connected(LONGEST_WAIT) as client, client.pipeline(transaction=False) as pipe:
            for name, amount in amounts.items():
                pipe.hincrbyfloat(COUNTS, name, amount)
            await pipe.execute()

    async def counts(self) -> dict[str, float]:
        """Return what was counted."""
        async with self._connected(LONGEST_CHORE) as client:
            found = await _awaited(client.hgetall(COUNTS))
        return sane({str(name, "utf-8", "replace"): _number(amount) for name, amount in found.items()})

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def _answers(self, at_once: int = AT_ONCE) -> AsyncIterator[list[bytes | str]]:
        """Yield the keys of all entries, so many at a time."""
        cursor, first = 0, True
        while cursor or first:
            first = False
            async with self._connected(LONGEST_CHORE) as client:
                cursor, keys = await client.scan(cursor, match=f"{ANSWER}*", count=AT_ONCE)
            several = list(dict.fromkeys(keys))
            for begin in range(0, len(several), at_once):
                yield several[begin : begin + at_once]

    @asynccontextmanager
    async def _connected(self, longest: float) -> AsyncIterator[Redis]:
        """Give the client for as many seconds. Raises `StoreError` for whatever goes wrong, or just did."""
        if time.monotonic() < self._rests_until:
            raise StoreError(self._fault)
        try:
            async with asyncio.timeout(longest):
                yield self._opened()
        except (TimeoutError, NoAnswer, NoConnection, OSError) as error:
            self._fault = _reason(error)
            self._rests_until = time.monotonic() + REST
            with suppress(Exception):  # the other side of TLS may not say good-bye
                async with asyncio.timeout(LONGEST_GOODBYE):
                    await self.aclose()
            raise StoreError(self._fault) from error
        except Exception as error:  # it answers, but not with what was asked for, or its address has strange options
            raise StoreError(_reason(error)) from error

    def _opened(self) -> Redis:
        if self._client is None:
            self._client = Redis.from_url(
                self._url, protocol=2, retry=Retry(NoBackoff(), 0),
                socket_connect_timeout=LONGEST_CHORE, socket_timeout=LONGEST_CHORE,
            )  # fmt: skip
        return self._client


def _entry(value: object) -> bytes | None:
    """Return the entry that a value holds, if there is one."""
    return value.partition(b"\n")[2] or None if isinstance(value, bytes) else None


def _number(text: object) -> float | None:
    try:
        return float(str(text, "ascii")) if isinstance(text, bytes) else None
    except ValueError:
        return None


async def _awaited(result: Any) -> Any:
    """Await what redis declares as a result or the promise of one."""
    return await result if isinstance(result, Awaitable) else result


def _reason(error: BaseException) -> str:
    """Return in a few words what went wrong."""
    told = " ".join(str(error).split()).rstrip(".")[:LONGEST_REASON] or type(error).__name__
    if isinstance(error, AuthenticationError | AuthorizationError):
        return "it wants a password" if "required" in told.lower() else "it does not take the user name and password"
    if isinstance(error, TimeoutError | NoAnswer):
        return "it does not answer in time"
    below = error.__cause__ or error.__context__
    if isinstance(below, gaierror):
        return "there is no such host"
    if isinstance(below, OSError) and below.errno:
        return os.strerror(below.errno).lower()
    return told
