"""Stand-ins for what lies beyond the network, and for whoever listens."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any

from chatllm_cli.config.sections import LimitSettings, RetrySettings, TimeoutSettings
from chatllm_cli.errors import ChatllmError, HistoryError
from chatllm_cli.models import BudgetUse, ChatRequest, Chunk, Endpoint, RetryWait, TokenUsage, Trimmed
from chatllm_cli.services.chat import ChatService

ENDPOINT = Endpoint("fake", "model", "http://127.0.0.1:9/v1")
Step = Chunk | Exception | asyncio.Event | float
DONE = Chunk(finish_reason="stop", usage=TokenUsage(7, 3))


class FakeLLM:
    """Plays what was enqueued, a request each, and remembers the requests."""

    def __init__(self) -> None:
        self.requests: list[ChatRequest] = []
        self.closed = 0
        self._scripts: list[Sequence[Step]] = []

    def reply(self, *texts: str, end: Chunk | None = DONE) -> None:
        """Answer the next request with `texts`, a chunk each."""
        self._scripts.append([*(Chunk(text) for text in texts), *([end] if end else [])])

    def fail_next(self, error: Exception) -> None:
        """Fail the next request, before those that were enqueued."""
        self._scripts.insert(0, [error])

    def play(self, *script: Step) -> None:
        """Answer the next request with chunks, raise exceptions, and wait for events or so many seconds."""
        self._scripts.append(script)

    async def ready(self, endpoint: Endpoint) -> None:
        pass

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk]:
        self.requests.append(request)
        try:
            for step in self._scripts.pop(0):
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, Chunk):
                    yield step
                elif isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    await asyncio.sleep(step)
        finally:
            self.closed += 1

    async def list_models(self, endpoint: Endpoint) -> list[str]:
        return ["model"]

    async def aclose(self) -> None:
        pass


def chat_service(
    llm: FakeLLM,
    *,
    timeouts: TimeoutSettings | None = None,
    retries: RetrySettings | None = None,
    limits: LimitSettings | None = None,
    **more: Any,
) -> ChatService:
    """A service with the settings that hold unless others are given."""
    return ChatService(
        llm,
        timeouts=timeouts or TimeoutSettings(),
        retries=retries or RetrySettings(),
        limits=limits or LimitSettings(),
        **more,
    )


class RecordingListener:
    """Writes down what it is told."""

    tells_secrets = True

    def __init__(self) -> None:
        self.chunks: list[str] = []
        self.lent = 0
        self.secrets: list[tuple[list[str], bool]] = []
        self.reasoning: list[str] = []
        self.cached: list[datetime] = []
        self.cache_faults: list[str] = []
        self.waits: list[RetryWait] = []
        self.silences: list[float] = []
        self.fallbacks: list[tuple[str, str]] = []
        self.trimmed: list[Trimmed] = []
        self.budgets: list[BudgetUse] = []
        self.unheld: list[BudgetUse] = []
        self.unpriced: list[str] = []
        self.history_errors: list[HistoryError] = []

    def on_chunk(self, text: str) -> None:
        self.chunks.append(text)

    def lend_terminal(self) -> AbstractContextManager[None]:
        self.lent += 1
        return nullcontext()

    def on_secrets(self, kinds: Sequence[str], *, replaced: bool) -> None:
        self.secrets.append((list(kinds), replaced))

    def on_reasoning(self, text: str) -> None:
        self.reasoning.append(text)

    def on_cached(self, at: datetime) -> None:
        self.cached.append(at)

    def on_cache_fault(self, fault: str) -> None:
        self.cache_faults.append(fault)

    def on_silence(self, seconds: float) -> None:
        self.silences.append(seconds)

    def on_wait(self, wait: RetryWait) -> None:
        self.waits.append(wait)

    def on_trimmed(self, trimmed: Trimmed) -> None:
        self.trimmed.append(trimmed)

    def on_budget(self, use: BudgetUse) -> None:
        self.budgets.append(use)

    def on_unheld(self, use: BudgetUse) -> None:
        self.unheld.append(use)

    def on_unpriced(self, endpoint: Endpoint) -> None:
        self.unpriced.append(endpoint.address)

    def on_fallback(self, error: ChatllmError, endpoint: Endpoint) -> None:
        self.fallbacks.append((getattr(error, "reason", error.message), endpoint.address))

    def on_history_error(self, error: HistoryError) -> None:
        self.history_errors.append(error)


class RecordingPull:
    """Writes down how a model comes."""

    def __init__(self) -> None:
        self.starts: list[tuple[int, int]] = []
        self.done = 0
        self.waits: list[str] = []
        self.checks = 0

    def on_start(self, url: str, done: int, total: int) -> None:
        self.starts.append((done, total))

    def on_bytes(self, done: int) -> None:
        self.done = done

    def on_wait(self, reason: str, seconds: float) -> None:
        self.waits.append(reason)

    def on_check(self) -> None:
        self.checks += 1
