"""Whoever wants to ask a provider goes through its gate: where it tells one to wait, all wait."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from chatllm_cli.errors import ProviderError, RateLimitError
from chatllm_cli.models import ChatRequest, Chunk, Endpoint
from chatllm_cli.services.chat.ports import ChatModel

FIRST_HOLD, LONGEST_HOLD = 0.5, 20.0  # seconds that all wait where the provider names no time; doubled each time
MINUTE = 60.0


@dataclass(slots=True)
class _Provider:
    """What is known of one; times are those of the event loop."""

    held_until: float = 0.0
    why: str = ""
    refusals: int = 0  # without a time, since it last answered
    next_slot: float = 0.0
    pace: float = 0.0  # seconds between two requests, as it says itself


class Gate:
    """Lets requests out to each provider when it may be asked again, and no faster than `rpm`.

    Who would have to wait for longer than `longest` seconds is told so at once, by the error that the provider gave.
    """

    def __init__(
        self,
        *,
        longest: float,
        rpm: float | None = None,
        on_hold: Callable[[str, float], object] = lambda *_: None,
    ) -> None:
        self._longest = longest
        self._interval = MINUTE / rpm if rpm else 0.0
        self._on_hold = on_hold  # told why, and for how many seconds
        self._providers: dict[str, _Provider] = {}

    async def enter(self, endpoint: Endpoint) -> None:
        """Return when a request may leave. Raises `RateLimitError` if that is too far away."""
        loop, provider = asyncio.get_running_loop(), self._provider(endpoint)
        if interval := max(self._interval, provider.pace):
            slot = max(provider.next_slot, loop.time())
            provider.next_slot = slot + interval
            await asyncio.sleep(slot - loop.time())
        while (left := provider.held_until - loop.time()) > 0:
            if left > self._longest:
                raise RateLimitError(provider.why, retry_after=left)
            await asyncio.sleep(left)

    def refused(self, endpoint: Endpoint, error: ProviderError) -> None:
        """Let all wait that want to ask this provider, if its refusal says so."""
        if not error.is_passing or (error.retry_after is None and not isinstance(error, RateLimitError)):
            return
        now, provider = asyncio.get_running_loop().time(), self._provider(endpoint)
        was_held = provider.held_until > now
        seconds = error.retry_after
        if seconds is None:
            if was_held:  # of those that left together one tells enough
                return
            seconds = min(math.ldexp(FIRST_HOLD, min(provider.refusals, 10)), LONGEST_HOLD)
            provider.refusals += 1
        if now + seconds > provider.held_until:
            provider.held_until, provider.why = now + seconds, error.reason
            if not was_held:
                self._on_hold(error.reason, seconds)

    def paced(self, endpoint: Endpoint, seconds: float) -> None:
        """Let requests to a provider leave so many seconds apart, as it says itself; 0 for as it comes."""
        provider, now = self._provider(endpoint), asyncio.get_running_loop().time()
        if seconds > provider.pace:
            provider.next_slot = max(provider.next_slot, now + seconds)
        provider.pace = seconds

    def answered(self, endpoint: Endpoint) -> None:
        """Take note that the provider answers."""
        self._provider(endpoint).refusals = 0

    def _provider(self, endpoint: Endpoint) -> _Provider:
        return self._providers.setdefault(f"{endpoint.provider} {endpoint.base_url}", _Provider())


class GatedModel:
    """A model's service behind a gate."""

    def __init__(self, llm: ChatModel, gate: Gate) -> None:
        self._llm = llm
        self._gate = gate

    async def ready(self, endpoint: Endpoint) -> None:
        """Get ready to ask, and wait for the gate: that is no silence of the provider's."""
        await self._llm.ready(endpoint)
        await self._gate.enter(endpoint)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk]:
        """Yield the completion piece by piece. Raises as the service does."""
        try:
            async with aclosing(self._llm.stream(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except ProviderError as error:
            self._gate.refused(request.endpoint, error)
            raise
        self._gate.answered(request.endpoint)
