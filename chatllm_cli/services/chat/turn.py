"""One turn under way: what is asked, what has come of the reply, and who is told."""

import asyncio
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from datetime import UTC, datetime

from chatllm_cli.frozen import frozen
from chatllm_cli.ids import new_id
from chatllm_cli.models import ChatOptions, ChatRequest, Chunk, Endpoint, Message, Role, TokenUsage
from chatllm_cli.services.chat.context import context, context_to_go_on, with_schema
from chatllm_cli.services.chat.draft import Draft
from chatllm_cli.services.chat.expenses import Expenses
from chatllm_cli.services.chat.ports import Log, TurnListener
from chatllm_cli.services.chat.reuse import Reuse

LARGEST_PIECE = 4096  # characters of a cached answer that are shown at once


@frozen
class Turn:
    """One turn under way."""

    log: Log
    options: ChatOptions
    listener: TurnListener
    draft: Draft
    expenses: Expenses  # without those of the draft
    reuse: Reuse | None
    begun: Message | None = None  # the reply that is taken up

    @property
    def goes_on(self) -> bool:
        """Whether there is text to go on with."""
        return bool(self.begun and self.begun.content)

    def begin(self) -> None:
        """Forget an earlier try, but for what it took."""
        if self.draft.request and self.draft.took:
            self.expenses.add(self.draft.request.endpoint, self.draft.took)
        self.draft.begin()

    def take(self, chunk: Chunk) -> None:
        """Add the next piece to the reply, and show it."""
        text = self.draft.take(chunk)
        if chunk.reasoning:
            self.listener.on_reasoning(chunk.reasoning)
        if text:
            self.listener.on_chunk(text)

    async def take_cached(self, request: ChatRequest) -> bool:
        """Take the answer to an identical request for the reply, as if it came now; tell whether there is one."""
        if self.reuse is None or (hit := await self.reuse.find(request)) is None:
            return False
        self.begin()
        self.listener.on_cached(hit.at)
        self.draft.mark_cached()
        answer = hit.completion
        self.take(Chunk(reasoning=answer.reasoning))
        for begin in range(0, len(answer.text), LARGEST_PIECE):
            self.take(Chunk(answer.text[begin : begin + LARGEST_PIECE]))
            await asyncio.sleep(0)  # Ctrl-C stops this one, too
        self.take(Chunk(finish_reason=answer.finish_reason, usage=TokenUsage(0, 0)))
        return True

    def looking_up(self) -> AbstractAsyncContextManager[object]:
        """Give the turn an end for those who wait for its answer."""
        return aclosing(self.reuse) if self.reuse else nullcontext()

    def kept(self, endpoint: Endpoint) -> int:
        """Return how many messages at the end of the request it would make no sense without."""
        prompts = 1 if endpoint.is_embedded else 2  # see `context_to_go_on`
        return 1 + prompts if self.goes_on else 1

    def request(self, endpoint: Endpoint) -> ChatRequest:
        """Return what asks a model for the reply."""
        conversation = self.log.conversation
        messages = context_to_go_on(conversation, endpoint) if self.goes_on else context(conversation)
        if self.options.schema:
            messages = with_schema(messages, self.options.schema)
        return ChatRequest(endpoint, messages, self.options.over(endpoint.options))


def draft_of(log: Log, begun: Message | None = None) -> Draft:
    """Return a reply to the last prompt of `log`; one that takes up `begun` stands beside it."""
    thread = log.conversation.thread()
    prompts = (message.id for message in reversed(thread) if message.role is Role.USER)
    content, continues = (begun.content, begun.id) if begun else ("", None)
    now = datetime.now(UTC)
    return Draft(Message(new_id(), Role.ASSISTANT, content, at=now, parent=next(prompts, None), continues=continues))
