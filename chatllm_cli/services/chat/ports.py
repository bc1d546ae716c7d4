"""What a turn needs of others, each as small as it can be."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from chatllm_cli.errors import ChatllmError, HistoryError
from chatllm_cli.models import (
    BudgetUse,
    ChatRequest,
    Chunk,
    Completion,
    Conversation,
    Endpoint,
    Message,
    RetryWait,
    TokenUsage,
    Trimmed,
)


class ChatModel(Protocol):
    """What a turn needs of `LLMService`."""

    async def ready(self, endpoint: Endpoint) -> None:
        """Get ready to ask; that is no silence of the provider's."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk]:
        """Yield the completion piece by piece."""


class CacheHit(Protocol):
    """An answer that was given before."""

    @property
    def completion(self) -> Completion:
        """The answer."""

    @property
    def at(self) -> datetime:
        """When it was new."""


class Cache(Protocol):
    """What a turn needs of `ResponseCache`."""

    def look_up(self, request: ChatRequest) -> AbstractAsyncContextManager[CacheHit | None]:
        """Give the answer to an identical request; while the block lasts, others with the same one wait."""

    async def put(
        self, request: ChatRequest, completion: Completion, *, conversation: str, cost: float | None
    ) -> None:
        """Keep a complete answer, and what it cost, for as long as its conversation is."""

    def took(self, hit: Any) -> None:
        """Count an answer that `look_up` gave, and that was taken."""

    def take_fault(self) -> str | None:
        """Return what is wrong with it, if somebody is to be told."""


class PriceList(Protocol):
    """What a turn needs of `Prices`."""

    def prepare(self, endpoint: Endpoint) -> None:
        """Get ready to say what this model costs."""

    async def cost(self, endpoint: Endpoint, usage: TokenUsage | None, at: datetime) -> float | None:
        """Return what an answer costs in US dollars, if its size and its price are known."""

    async def is_known(self, endpoint: Endpoint) -> bool:
        """Tell whether a model has a price, be it nothing."""

    async def costs_nothing(self, endpoint: Endpoint) -> bool:
        """Tell whether a model is known to cost nothing."""

    def has_own_window(self, endpoint: Endpoint) -> bool:
        """Tell whether `window` is no hearsay: it answers at once then, be it that nobody knows."""

    async def window(self, endpoint: Endpoint) -> int | None:
        """Return how many tokens a model takes at most, if that is known."""


class Log(Protocol):
    """What a turn needs of an open conversation."""

    @property
    def conversation(self) -> Conversation:
        """The conversation as it stands now."""

    @property
    def is_kept(self) -> bool:
        """Whether all of it is on the disk."""

    async def add(self, message: Message) -> None:
        """Add a message under the head, on the disk when this returns."""

    async def mark(self, reply: Message, text: str) -> None:
        """Keep what has come of a reply since the last mark."""


class TurnListener(Protocol):
    """Whoever shows a turn while it happens."""

    @property
    def tells_secrets(self) -> bool:
        """Whether anybody is told of secrets that are sent as they are."""

    def on_chunk(self, text: str) -> None:
        """Show the next piece of the reply."""

    def lend_terminal(self) -> AbstractContextManager[None]:
        """Leave the terminal to something else that may ask a person, while the block runs."""

    def on_secrets(self, kinds: Sequence[str], *, replaced: bool) -> None:
        """Say what the prompt holds that looks like a secret, and whether it was replaced; before it is sent."""

    def on_reasoning(self, text: str) -> None:
        """Show the next piece of what the model thinks aloud."""

    def on_cached(self, at: datetime) -> None:
        """Say that the reply is from the cache, and how old."""

    def on_cache_fault(self, fault: str) -> None:
        """Say that the turn goes on without the cache."""

    def on_silence(self, seconds: float) -> None:
        """Show that nothing has come for so long; told about twice a second."""

    def on_wait(self, wait: RetryWait) -> None:
        """Say why the turn waits, and how long still: told anew each second, and with none left at the end."""

    def on_trimmed(self, trimmed: Trimmed) -> None:
        """Say what is left out of the request, or is about to be summed up in it."""

    def on_budget(self, use: BudgetUse) -> None:
        """Say that a budget is nearly used up."""

    def on_unheld(self, use: BudgetUse) -> None:
        """Say that some replies do not count towards a budget, as nobody knows what they cost."""

    def on_unpriced(self, endpoint: Endpoint) -> None:
        """Say that the price of `endpoint` is unknown, so that no budget holds it."""

    def on_fallback(self, error: ChatllmError, endpoint: Endpoint) -> None:
        """Say that `endpoint` is asked instead, and why."""

    def on_history_error(self, error: HistoryError) -> None:
        """Say that the turn goes on, but is not kept."""
