"""Entries on a Redis server, for several machines. The only module that knows redis.

    chatllm:answer:<key>        an entry, which the server drops when its time is over
    chatllm:conversation:<id>   the keys of the answers that were given in one, as old as the youngest of them
    chatllm:counts              what was counted

No prompt is sent there, and no title: of a request its hash alone, of an answer all of it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError
from redis.exceptions import ConnectionError as NoConnection

from chatllm_cli.config.addresses import without_password
from chatllm_cli.services.cache.stores import LARGEST_ENTRY, LONGEST_WAIT, StoreError

ANSWER, CONVERSATION, COUNTS = "chatllm:answer:", "chatllm:conversation:", "chatllm:counts"
LONGEST_CHORE = 10.0  # seconds for each step of what a person asked for: to clear it, or to forget
REST = 30.0  # seconds that a server is left alone that could not be reached
AT_ONCE = 500  # keys that are looked at together
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
        return without_password(self._url)

    async def get(self, key: str) -> bytes | None:
        """Return what lies under a key, or as much of it as an entry may have."""
        async with self._connected(LONGEST_WAIT) as client:
            found = await client.getrange(f"{ANSWER}{key}", 0, LARGEST_ENTRY)
            return found if found and isinstance(found, bytes) else None

    async def put(self, key: str, data: bytes, *, seconds: float, conversation: str) -> None:
        """Keep `data` for so long, or until its conversation is forgotten."""
        belonging, whole_seconds = f"{CONVERSATION}{conversation}", max(int(seconds), 1)
        async with self._connected(LONGEST_WAIT) as client, client.pipeline(transaction=True) as pipe:
            pipe.sadd(belonging, key)
            pipe.expire(belonging, whole_seconds)
            pipe.set(f"{ANSWER}{key}", data, ex=whole_seconds)
            await pipe.execute()

    async def forget(self, conversations: Sequence[str]) -> None:
        """Drop what belongs to these conversations."""
        belongings = [f"{CONVERSATION}{conversation}" for conversation in conversations]
        for begin in range(0, len(belongings), AT_ONCE):
            some = belongings[begin : begin + AT_ONCE]
            async with self._connected(LONGEST_CHORE) as client, client.pipeline(transaction=False) as pipe:
                for belonging in some:
                    pipe.smembers(belonging)
                found = await pipe.execute(raise_on_error=False)  # what is no set is not ours, and goes
                keys = {key for each in found if isinstance(each, set) for key in each}
                await client.delete(*some, *(ANSWER.encode() + key for key in keys))

    async def remove(self, is_doomed: Callable[[bytes], bool] | None = None) -> int:
        """Drop every entry, or those that are doomed, and return how many those were."""
        removed = 0
        async for keys in self._answers():
            async with self._connected(LONGEST_CHORE) as client:
                values = await _each(client, keys, is_doomed)
                doomed = [
                    key for key, value in zip(keys, values, strict=True) if is_doomed is None or is_doomed(value)
                ]
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
        return {name.decode(errors="replace"): float(amount) for name, amount in found.items()}

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def _answers(self) -> AsyncIterator[list[bytes | str]]:
        """Yield the keys of all entries, many at a time."""
        cursor, first = 0, True
        while cursor or first:
            first = False
            async with self._connected(LONGEST_CHORE) as client:
                cursor, keys = await client.scan(cursor, match=f"{ANSWER}*", count=AT_ONCE)
            if keys:
                yield list(dict.fromkeys(keys))

    @asynccontextmanager
    async def _connected(self, longest: float) -> AsyncIterator[Redis]:
        """Give the client for as many seconds. Raises `StoreError` for whatever goes wrong, or just did."""
        if time.monotonic() < self._rests_until:
            raise StoreError(self._fault)
        try:
            async with asyncio.timeout(longest):
                yield self._opened()
        except (TimeoutError, NoConnection, OSError) as error:
            self._fault = _reason(error)
            self._rests_until = time.monotonic() + REST
            await self.aclose()
            raise StoreError(self._fault) from error
        except (RedisError, ValueError, TypeError) as error:  # it answers, but not with what was asked for
            raise StoreError(_reason(error)) from error

    def _opened(self) -> Redis:
        if self._client is None:
            self._client = Redis.from_url(
                self._url, protocol=2, retry=Retry(NoBackoff(), 0),
                socket_connect_timeout=LONGEST_CHORE, socket_timeout=LONGEST_CHORE,
            )  # fmt: skip
        return self._client


async def _each(client: Redis, keys: Sequence[bytes | str], is_wanted: object) -> Sequence[Any]:
    """Return what lies under each key, if anybody wants to see it; of what is no entry, something that is none."""
    if is_wanted is None:
        return keys
    async with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.getrange(key, 0, LARGEST_ENTRY)
        values: list[Any] = await pipe.execute(raise_on_error=False)
    return values


async def _awaited(result: Any) -> Any:
    """Await what redis declares as a result or the promise of one."""
    return await result if isinstance(result, Awaitable) else result


def _reason(error: Exception) -> str:
    if isinstance(error, AuthenticationError | AuthorizationError):
        return "it does not take the user name and password"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    return " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__
