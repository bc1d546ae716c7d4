"""What a turn does with the cache: takes an answer that was given before, and keeps one that may be given again."""

from collections.abc import Callable
from contextlib import AsyncExitStack

from chatllm_cli.models import ChatRequest, Completion, Message, Status
from chatllm_cli.services.chat.context import status_of
from chatllm_cli.services.chat.ports import Cache, CacheHit, TurnListener


class Reuse:
    """The cache during one turn. Close it when the turn ends: others may wait for the same answer."""

    def __init__(
        self, cache: Cache, listener: TurnListener, is_fit: Callable[[str], bool], *, is_anew: bool = False
    ) -> None:
        self._cache = cache
        self._listener = listener
        self._is_fit = is_fit
        self._is_anew = is_anew  # whether what is there is passed over, and replaced
        self._looking_up = AsyncExitStack()

    async def find(self, request: ChatRequest) -> CacheHit | None:
        """Return the answer to an identical request, if there is one, or comes while it is waited for."""
        await self.aclose()  # of a model that failed: two turns must not wait for each other
        hit = await self._looking_up.enter_async_context(self._cache.look_up(request))
        self._tell()
        if hit is None or self._is_anew:
            return None
        status = status_of(hit.completion.finish_reason, marks_end=request.endpoint.marks_end)
        if not self._is_good(hit.completion.text, status):
            return None
        self._cache.took(hit)
        return hit

    async def keep(self, request: ChatRequest, reply: Message, conversation: str) -> None:
        """Keep a reply if it is whole and says something, for as long as its conversation is."""
        if reply.cached or not self._is_good(reply.content, reply.status):
            return
        completion = Completion(reply.content, reply.finish_reason, reply.usage, reply.reasoning)
        await self._cache.put(request, completion, conversation=conversation, cost=reply.cost)
        self._tell()

    async def aclose(self) -> None:
        """Let those go on who wait for the answer."""
        await self._looking_up.aclose()

    def _is_good(self, text: str, status: Status) -> bool:
        return status is Status.COMPLETE and bool(text.strip()) and self._is_fit(text)

    def _tell(self) -> None:
        if fault := self._cache.take_fault():
            self._listener.on_cache_fault(fault)
