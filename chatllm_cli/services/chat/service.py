"""ChatService: one turn. Both front doors call it, and nothing else does a turn."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from chatllm_cli.config import TimeoutSettings
from chatllm_cli.errors import (
    ChatllmError,
    HistoryError,
    IncompleteAnswerError,
    ProviderTimeoutError,
    UsageError,
)
from chatllm_cli.models import (
    ChatOptions,
    ChatRequest,
    Chunk,
    Completion,
    Conversation,
    Endpoint,
    Message,
    Role,
    Status,
    TokenUsage,
)
from chatllm_cli.services.history import new_id
from chatllm_cli.surrogates import ends_in_half, join_pairs

SECONDS_BETWEEN_MARKS = 1.0
# OpenAI's words, and those of compatible servers that pass on the words of the model behind them.
FINISH_REASONS = {
    **dict.fromkeys(("stop", "end_turn", "stop_sequence", "eos", "eos_token"), Status.COMPLETE),
    **dict.fromkeys(("length", "max_tokens", "model_length"), Status.TRUNCATED),
    **dict.fromkeys(("content_filter", "safety", "refusal"), Status.FILTERED),
}


class ChatModel(Protocol):
    """What a turn needs of `LLMService`."""

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

    async def get(self, request: ChatRequest) -> CacheHit | None:
        """Return the answer to an identical request."""

    async def put(self, request: ChatRequest, completion: Completion) -> None:
        """Keep a complete answer."""


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

    def on_chunk(self, text: str) -> None:
        """Show the next piece of the reply."""

    def on_cached(self, at: datetime) -> None:
        """Say that the reply is from the cache, and how old."""

    def on_history_error(self, error: HistoryError) -> None:
        """Say that the turn goes on, but is not kept."""


class ChatService:
    """Sends turns: the prompt is on the disk before the request, the reply before `send` returns."""

    def __init__(self, llm: ChatModel, timeouts: TimeoutSettings, cache: Cache | None = None) -> None:
        self._llm = llm
        self._timeouts = timeouts
        self._cache = cache

    async def send(
        self, log: Log, prompt: str, endpoint: Endpoint, options: ChatOptions, listener: TurnListener
    ) -> Message:
        """Do one turn at the head of `log` and return the reply, whose status tells whether it is whole.

        Raises `UsageError` for a prompt that says nothing, `ProviderError` if no text came, and
        `IncompleteAnswerError` if it broke off after some had; what came is in the log either way, also when
        the turn is cancelled. A history that cannot be written is told to the listener and stops nothing.
        """
        if not prompt.strip():
            raise UsageError("the prompt is empty", hint='give it as an argument or on stdin: chatllm ask "…"')
        await _keep(log, _message(Role.USER, prompt, log), listener)
        request = ChatRequest(endpoint, context(log.conversation), options)
        draft = _Draft(_message(Role.ASSISTANT, "", log, model=endpoint.address))
        if self._cache and (hit := await self._cache.get(request)):
            listener.on_cached(hit.at)
            listener.on_chunk(hit.completion.text)
            draft.take(Chunk(hit.completion.text, hit.completion.finish_reason, hit.completion.usage))
            return await _keep(log, replace(draft.ended(Status.COMPLETE), cached=True), listener)
        reply = await self._stream(log, request, draft, listener)
        if self._cache and reply.status is Status.COMPLETE and reply.content.strip():
            await self._cache.put(request, Completion(reply.content, reply.finish_reason, reply.usage))
        return reply

    async def _stream(self, log: Log, request: ChatRequest, draft: "_Draft", listener: TurnListener) -> Message:
        try:
            async with (
                _marks(log, draft),
                self._watchdog(request.endpoint, draft) as stalls,
                aclosing(self._llm.stream(request)) as chunks,
            ):
                async for chunk in chunks:
                    text = draft.take(chunk)
                    if chunk.text:
                        stalls.reschedule(asyncio.get_running_loop().time() + self._timeouts.idle)
                    if text:
                        listener.on_chunk(text)
        except ChatllmError as error:
            await _keep(log, replace(draft.ended(Status.ERROR), error=error.message), listener)
            if not draft.text:
                raise
            kept = "what came of it is in the history" if log.is_kept else None
            raise IncompleteAnswerError(f"the answer broke off: {error.message}", hint=kept) from error
        except BaseException:  # cancelled, a closed pipe, or a bug: what came is kept all the same
            await _keep(log, draft.ended(Status.INTERRUPTED), listener)
            raise
        return await _keep(log, draft.ended(status_of(draft.finish_reason)), listener)

    @asynccontextmanager
    async def _watchdog(self, endpoint: Endpoint, draft: "_Draft") -> AsyncIterator[asyncio.Timeout]:
        """Give up on a stream that stalls; only text puts it off, since some servers send empty chunks for ever.

        The embedded model has no network to hang on, and may take long over a long prompt. A reply that said
        why it ended is whole, even if the server then holds the connection.
        """
        try:
            async with asyncio.timeout(None if endpoint.is_embedded else self._timeouts.first_token) as stalls:
                yield stalls
        except TimeoutError as error:
            if draft.finish_reason is not None:
                return
            raise ProviderTimeoutError(
                f"{endpoint.address} stopped answering", hint="the settings in [timeouts] say how long to wait"
            ) from error


def context(conversation: Conversation) -> tuple[tuple[Role, str], ...]:
    """Return what to send: system prompt, earlier turns, prompt.

    A prompt that brought no text back stays in the history but is not sent again: the next prompt stands in
    its place, and many servers refuse two prompts in a row.
    """
    sent = [(Role.SYSTEM, conversation.system_prompt)] if conversation.system_prompt else []
    prompt: Message | None = None
    for message in conversation.thread():
        if message.role is Role.USER:
            prompt = message
        elif prompt and message.content:
            sent += [(Role.USER, prompt.content), (Role.ASSISTANT, message.content)]
            prompt = None
    if prompt:
        sent.append((Role.USER, prompt.content))
    return tuple(sent)


def status_of(finish_reason: str | None) -> Status:
    """Return what a reply is worth that ended with `finish_reason`, as the provider named it.

    Only an end that is known to be one makes a whole answer; a reason that nobody knows is none.
    """
    return FINISH_REASONS.get((finish_reason or "").lower(), Status.UNKNOWN_END)


class _Draft:
    """A reply while it streams."""

    def __init__(self, reply: Message) -> None:
        self.reply = reply
        self.finish_reason: str | None = None
        self.grown = asyncio.Event()
        self._usage: TokenUsage | None = None
        self._pieces: list[str] = []
        self._half = ""
        self._marked = 0

    @property
    def text(self) -> str:
        return join_pairs("".join(self._pieces))

    def take(self, chunk: Chunk) -> str:
        """Add `chunk` and return what it lets be shown: half of a surrogate pair waits for the other."""
        if chunk.text:
            self._pieces.append(chunk.text)
            self.grown.set()
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self._usage = chunk.usage or self._usage
        text, self._half = join_pairs(self._half + chunk.text), ""
        if ends_in_half(text):
            text, self._half = text[:-1], text[-1]
        return text

    async def mark(self, log: Log) -> None:
        """Keep in `log` what came since the last mark that was kept."""
        self.grown.clear()
        unmarked = self._pieces[self._marked :]
        await log.mark(self.reply, "".join(unmarked))
        self._marked += len(unmarked)

    def ended(self, status: Status) -> Message:
        return replace(
            self.reply,
            content=self.text,
            at=datetime.now(UTC),
            status=status,
            usage=self._usage,
            finish_reason=self.finish_reason,
        )


@asynccontextmanager
async def _marks(log: Log, draft: _Draft) -> AsyncIterator[None]:
    """Keep what has come of `draft`, at once and then every second, until the block ends."""
    task = asyncio.create_task(_mark_regularly(log, draft))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _mark_regularly(log: Log, draft: _Draft) -> None:
    while True:
        await draft.grown.wait()
        with suppress(HistoryError):  # the reply itself will meet the same fault, and tell; or it passes
            await draft.mark(log)
        await asyncio.sleep(SECONDS_BETWEEN_MARKS)


def _message(role: Role, content: str, log: Log, model: str | None = None) -> Message:
    return Message(new_id(), role, content, at=datetime.now(UTC), parent=log.conversation.head, model=model)


async def _keep(log: Log, message: Message, listener: TurnListener) -> Message:
    try:
        await log.add(message)
    except HistoryError as error:
        listener.on_history_error(error)
    return message
