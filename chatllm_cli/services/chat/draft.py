"""A reply while it streams, and the marks that keep what has come of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

from chatllm_cli.errors import HistoryError
from chatllm_cli.models import ChatRequest, Chunk, Endpoint, Message, Status, TokenUsage
from chatllm_cli.services.chat.ports import Log
from chatllm_cli.services.chat.sizes import likely, size_of
from chatllm_cli.surrogates import ends_in_half, join_pairs

SECONDS_BETWEEN_MARKS = 1.0


class Draft:
    """A reply while it streams; one that continues another begins with that one's text."""

    def __init__(self, reply: Message) -> None:
        self.finish_reason: str | None = None
        self.grown = asyncio.Event()
        self.request: ChatRequest | None = None  # that was sent for it
        self._reply = reply
        self._usage: TokenUsage | None = None
        self._pieces = [reply.content] if reply.content else []
        self._begun = len(self._pieces)
        self._thoughts: list[str] = []
        self._half = ""
        self._marked = 0
        self.size = 0  # bytes that have come, thoughts included

    @property
    def text(self) -> str:
        """All of it so far."""
        return join_pairs("".join(self._pieces))

    @property
    def has_grown(self) -> bool:
        """Whether any text has come."""
        return len(self._pieces) > self._begun

    def ask(self, endpoint: Endpoint, first: Endpoint) -> None:
        """Take note of who is asked for it, and who was first."""
        instead_of = first.address if endpoint is not first else None
        self._reply = replace(self._reply, model=endpoint.address, instead_of=instead_of)

    @property
    def took(self) -> TokenUsage | None:
        """What it took of the model; about, if that was not counted: counts come last. None if none of it came."""
        if self._usage or self.request is None or not self.size:
            return self._usage
        came = [*self._pieces[self._begun :], *self._thoughts]
        sees = not self.request.endpoint.is_embedded
        return TokenUsage(size_of(self.request.messages, sees=sees).likely, likely(join_pairs("".join(came))))

    def begin(self) -> None:
        """Forget an earlier try, which brought no text."""
        self.finish_reason = self._usage = self.request = None
        self.size = 0
        self._thoughts.clear()

    def take(self, chunk: Chunk) -> str:
        """Add `chunk` and return what it lets be shown: half of a surrogate pair waits for the other."""
        if chunk.text:
            self._pieces.append(chunk.text)
            self.grown.set()
        if chunk.reasoning:
            self._thoughts.append(chunk.reasoning)
        self.size += chunk.size
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self._usage = chunk.usage or self._usage
        text, self._half = join_pairs(self._half + chunk.text), ""
        if ends_in_half(text):
            text, self._half = text[:-1], text[-1]
        return text

    def mark_cached(self) -> None:
        """Take note that what comes was given before."""
        self._reply = replace(self._reply, cached=True)

    async def mark(self, log: Log) -> None:
        """Keep in `log` what came since the last mark that was kept."""
        self.grown.clear()
        unmarked = self._pieces[self._marked :]
        await log.mark(self._reply, join_pairs("".join(unmarked)))
        self._marked += len(unmarked)

    def ended(self, status: Status, *, error: str | None = None) -> Message:
        """Return the reply as it stands, at its end."""
        return replace(
            self._reply,
            content=self.text,
            at=datetime.now(UTC),
            status=status,
            usage=self._usage,
            reasoning=join_pairs("".join(self._thoughts)),
            finish_reason=self.finish_reason,
            error=error,
        )


@asynccontextmanager
async def marks(log: Log, draft: Draft) -> AsyncIterator[None]:
    """Keep what has come of `draft`, at once and then every second, until the block ends."""
    task = asyncio.create_task(_mark_regularly(log, draft))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _mark_regularly(log: Log, draft: Draft) -> None:
    while True:
        await draft.grown.wait()
        with suppress(HistoryError):  # the reply itself will meet the same fault, and tell; or it passes
            await draft.mark(log)
        await asyncio.sleep(SECONDS_BETWEEN_MARKS)
