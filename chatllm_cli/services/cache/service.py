"""ResponseCache: answers to requests that were asked before.

Whatever is wrong with it is a miss: it never fails a turn, and never makes one wait for long.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from chatllm_cli.errors import ChatllmError
from chatllm_cli.frozen import frozen
from chatllm_cli.models import ChatRequest, Completion
from chatllm_cli.services.cache.entries import Entry, pack, unpack
from chatllm_cli.services.cache.keys import request_key
from chatllm_cli.services.cache.stores import Store, StoreError

if TYPE_CHECKING:
    from chatllm_cli.config.sections import CacheSettings

A_DAY = timedelta(days=1)  # that the clocks of two machines may differ by
LONGEST_FAREWELL = 0.19  # seconds; with the two waits of a turn, that is less than one in all
HITS, MISSES = "hits", "misses"
INPUT, OUTPUT, COST, UNPRICED = "input_tokens", "output_tokens", "cost", "unpriced"  # what hits saved


@frozen
class CacheStats:
    """What is in the cache, and what it was good for."""

    where: str
    entries: int
    size: int  # bytes
    hits: int
    misses: int
    input_tokens: int  # that hits saved, as far as they were counted
    output_tokens: int
    cost: float  # US dollars that hits saved, as far as prices were known
    unpriced: int  # hits that saved nobody knows what


class ResponseCache:
    """Completions by request."""

    def __init__(
        self,
        store: Store,
        settings: "CacheSettings",
        weights_hash: Callable[[str], Awaitable[str]] | None = None,
        others: Sequence[Store] = (),
        images: Callable[[str], bytes | None] | None = None,
    ) -> None:
        """Open a cache on `store`; what is to be forgotten is forgotten in `others`, too, that were used before.

        `images` returns an image by its SHA-256, if it is still there; blocking.
        """
        self._store = store
        self._others = others
        self._settings = settings
        self._weights_hash = weights_hash
        self._images = images
        self._under_way: dict[str, asyncio.Event] = {}
        self._counting: set[asyncio.Task[None]] = set()
        self._fault: str | None = None
        self._has_told = False

    @property
    def is_shared(self) -> bool:
        """Whether others use it, too."""
        return self._store.is_shared

    @property
    def where(self) -> str:
        """The folder or the server that it lies on, as a person may see it."""
        return self._store.where

    def wants(self, request: ChatRequest) -> bool:
        """Tell whether the settings let this request be answered from the cache: sampling has to differ."""
        mode = self._settings.mode
        return mode in {"always", "refresh"} or (mode == "auto" and request.options.temperature == 0)

    @asynccontextmanager
    async def look_up(self, request: ChatRequest) -> AsyncIterator[Entry | None]:
        """Give the answer to an identical request, if it is still there and whole.

        As long as the block lasts, whoever has the same question waits for its end, where the answer may be kept:
        it is asked once. Whoever waited and found none then asks by itself, all of them at once.
        """
        if not self.wants(request):
            yield None
            return
        key, begin = await self._key(request), datetime.now(UTC)
        if other := self._under_way.get(key):
            await other.wait()
            entry = await self._found(key)
            yield None if entry and self._settings.mode == "refresh" and entry.at < begin else entry
            return
        self._under_way[key] = done = asyncio.Event()
        try:
            yield None if self._settings.mode == "refresh" else await self._found(key)
        finally:
            del self._under_way[key]
            done.set()

    async def put(
        self, request: ChatRequest, completion: Completion, *, conversation: str = "", cost: float | None = None
    ) -> None:
        """Keep a complete answer, for as long as its conversation is; the caller sees to it that it is complete."""
        if not self.wants(request):
            return
        # One that is too large leaves none: the older answer is not to be given either.
        data = pack(Entry(completion, datetime.now(UTC), request.endpoint.address, cost)) or b""
        seconds = self._longest.total_seconds()
        try:
            await self._store.put(await self._key(request), data, seconds=seconds, conversation=conversation)
        except StoreError as error:
            self._note(error)

    def took(self, hit: Entry) -> None:
        """Count an answer that `look_up` gave, and that was taken."""
        self._count(_saved(hit))

    def take_fault(self) -> str | None:
        """Return what is wrong with a cache that somebody set up, the first time that it is."""
        fault, self._fault = self._fault, None
        return fault

    async def forget(self, conversations: Sequence[str]) -> None:
        """Drop the answers that were given in these conversations, without a trace. Raises `ChatllmError`."""
        for store in (self._store, *self._others):
            try:
                await store.forget(conversations)
            except StoreError as error:
                what = f"nothing was removed: what the cache at {store.where} has of it could not be"
                hint = "try again when it can be used" if store.is_shared else "try again"
                raise ChatllmError(f"{what}: {error}", hint=hint) from error

    async def clear(self, *, older_than: datetime | None = None, model: str | None = None) -> int:
        """Drop all answers, or those that are old enough, of models whose address has `model` in it, and count them.

        What cannot be read goes with all, and else when its days are over. Raises `ChatllmError`.
        """

        def is_doomed(data: bytes) -> bool:
            entry = unpack(data)
            return (
                entry is not None
                and (older_than is None or entry.at < older_than)
                and (model or "").lower() in entry.model.lower()
            )

        try:
            return await self._store.remove(is_doomed if older_than or model else None)
        except StoreError as error:
            raise self._unusable(error) from error

    async def stats(self) -> CacheStats:
        """Return what is in it, and what it was good for. Raises `ChatllmError`."""
        try:
            entries, size = await self._store.size()
            counts = await self._store.counts()
        except StoreError as error:
            raise self._unusable(error) from error
        hits, misses, input_tokens, output_tokens, unpriced = (
            int(counts.get(name, 0)) for name in (HITS, MISSES, INPUT, OUTPUT, UNPRICED)
        )
        cost = float(counts.get(COST, 0))
        return CacheStats(self.where, entries, size, hits, misses, input_tokens, output_tokens, cost, unpriced)

    async def aclose(self) -> None:
        """Close it, once what is being counted is, but wait for that no longer than a moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_FAREWELL):
                await asyncio.gather(*self._counting)
                for store in (self._store, *self._others):
                    await store.aclose()

    @property
    def _longest(self) -> timedelta:
        return timedelta(days=self._settings.ttl_days)

    async def _key(self, request: ChatRequest) -> str:
        weights = request.endpoint.weights
        weights = await self._weights_hash(weights) if self._weights_hash else weights
        return request_key(request, weights=weights, missing=await self._missing(request))

    async def _missing(self, request: ChatRequest) -> set[str]:
        """Return the hashes of images in a request that are not there any more."""
        contents = [content for _, content in request.messages if not isinstance(content, str)]
        hashes = {part.sha256 for content in contents for part in content if not isinstance(part, str)}
        return {each for each in hashes if self._images and await asyncio.to_thread(self._images, each) is None}

    async def _found(self, key: str) -> Entry | None:
        try:
            entry = unpack(await self._store.get(key))
        except StoreError as error:
            self._note(error)
            return None
        age = datetime.now(UTC) - entry.at if entry else None
        if age is None or not -A_DAY <= age <= self._longest:  # its keeper may have been told a longer time
            self._count({MISSES: 1})
            return None
        return entry

    def _count(self, amounts: Mapping[str, float]) -> None:
        """Count, while the answer is shown."""
        task = asyncio.ensure_future(self._counted(amounts))
        self._counting.add(task)
        task.add_done_callback(self._counting.discard)

    async def _counted(self, amounts: Mapping[str, float]) -> None:
        with suppress(StoreError):  # it is only a number
            await self._store.count(amounts)

    def _note(self, error: StoreError) -> None:
        """Take note of what is wrong with a cache that somebody set up, once."""
        if self._store.is_shared and not self._has_told:
            self._fault = f"the cache at {self.where} cannot be used: {error}"
            self._has_told = True

    def _unusable(self, error: StoreError) -> ChatllmError:
        return ChatllmError(f"the cache at {self.where} cannot be used: {error}")


def _saved(entry: Entry) -> dict[str, float]:
    """Return what a hit saved."""
    usage = entry.completion.usage
    tokens: dict[str, float] = {INPUT: usage.input_tokens, OUTPUT: usage.output_tokens} if usage else {}
    return {HITS: 1, **tokens, **({UNPRICED: 1} if entry.cost is None else {COST: entry.cost})}
