"""What a turn does with the cache: takes an answer that was given before, and keeps one that may be given again."""

from contextlib import AsyncExitStack

from chatllm_cli.models import ChatRequest, Completion, Message, Status
from chatllm_cli.services.chat.ports import Cache, CacheHit, TurnListener


class Reuse:
    """The cache during one turn. Close it when the turn ends: others may wait for the same answer."""

    def __init__(self, cache: Cache, listener: TurnListener) -> None:
        self._cache = cache
        self._listener = listener
        self._looking_up = AsyncExitStack()

    async def find(self, request: ChatRequest) -> CacheHit | None:
        """Return the answer to an identical request, if there is one, or comes while it is waited for."""
        await self.aclose()  # of a model that failed: two turns must not wait for each other
        hit = await self._looking_up.enter_async_context(self._cache.look_up(request))
        self._tell()
        return hit

    async def keep(self, request: ChatRequest, reply: Message, conversation: str) -> None:
        """Keep a reply if it is whole and says something, for as long as its conversation is."""
        if reply.status is not Status.COMPLETE or reply.cached or not reply.content.strip():
            return
        completion = Completion(reply.content, reply.finish_reason, reply.usage, reply.reasoning)
        await self._cache.put(request, completion, conversation=conversation, cost=reply.cost)
        self._tell()

    async def aclose(self) -> None:
        """Let those go on who wait for the answer."""
        await self._looking_up.aclose()

    def _tell(self) -> None:
        if fault := self._cache.take_fault():
            self._listener.on_cache_fault(fault)
