"""Summing up what was said earlier, for a request that has no room for all of it."""

import re
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass

from chatllm_cli.config.sections import TimeoutSettings
from chatllm_cli.errors import ContextLengthError, InvalidReplyError, ProviderError, ProviderTimeoutError
from chatllm_cli.models import ChatOptions, ChatRequest, Endpoint, Role, Status, TokenUsage
from chatllm_cli.services.chat.context import status_of
from chatllm_cli.services.chat.ports import ChatModel, TurnListener
from chatllm_cli.services.chat.sizes import Messages, likely
from chatllm_cli.services.chat.watchdog import watchdog

ASK = (
    "Sum up the conversation below for somebody who has to go on with it: facts, names, numbers, decisions and open "
    "questions. Answer with the summary alone."
)
NAMES = {Role.USER: "User", Role.ASSISTANT: "Assistant", Role.SYSTEM: "System"}
THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL)
USABLE = {Status.COMPLETE, Status.TRUNCATED, Status.UNKNOWN_END}
SMALLEST_PIECE = 32  # tokens
Paid = tuple[Endpoint, TokenUsage | None]  # who was asked something besides the answer, and what it took


@dataclass(frozen=True, slots=True)
class Room:
    """Tokens that there is room for: in a request, and of them in its answer."""

    request: int
    answer: int


@dataclass(frozen=True, slots=True)
class Summing:
    """Who sums up, in how much room, and who is told what it took."""

    endpoint: Endpoint
    room: Room
    listener: TurnListener
    paid: list[Paid]


class Summaries:
    """Asks a model to sum up what it was told and said."""

    def __init__(self, llm: ChatModel, timeouts: TimeoutSettings) -> None:
        self._llm = llm
        self._timeouts = timeouts

    async def sum_up(self, summing: Summing, earlier: str, messages: Messages) -> str:
        """Return a summary of an earlier one and of `messages`, made in as many requests as it takes.

        Raises `ProviderError` and its kinds: one that is not of everything is none.
        """
        text = "\n\n".join(f"{NAMES[role]}: {content}" for role, content in messages)
        room = summing.room
        try:
            return await self._in_pieces(summing, earlier, text, room.request - 2 * room.answer - likely(ASK))
        except ProviderError as error:
            error.message = f"the oldest turns could not be summed up: {error.message}"
            raise

    async def _in_pieces(self, summing: Summing, earlier: str, text: str, tokens: int) -> str:
        summary = earlier
        try:
            for piece in _pieces(text, tokens):
                summary = await self._ask(summing, _prompt(summary, piece))
        except ContextLengthError:  # it counts otherwise
            if tokens <= SMALLEST_PIECE:
                raise
            return await self._in_pieces(summing, earlier, text, tokens // 2)
        return summary

    async def _ask(self, summing: Summing, prompt: str) -> str:
        endpoint = summing.endpoint
        text, reason, usage = "", None, None
        request = ChatRequest(endpoint, ((Role.USER, prompt),), ChatOptions(max_tokens=summing.room.answer))
        await self._llm.ready(endpoint)
        try:
            async with (
                watchdog(self._timeouts, patient=endpoint.is_embedded, on_silence=summing.listener.on_silence) as dog,
                aclosing(self._llm.stream(request)) as chunks,
            ):
                async for chunk in chunks:
                    text += chunk.text
                    reason, usage = chunk.finish_reason or reason, chunk.usage or usage
                    if chunk.size:
                        dog.fed()
        except TimeoutError as error:
            hint = f"{dog.setting} says how long to wait"
            raise ProviderTimeoutError(f"{endpoint.address} {dog.verdict}", hint=hint) from error
        summing.paid.append((endpoint, usage))
        summary = THOUGHTS.sub("", text).strip()
        if not summary or "<think>" in summary or status_of(reason) not in USABLE:
            raise InvalidReplyError(f"{endpoint.address} wrote no summary")
        return summary


def _prompt(summary: str, piece: str) -> str:
    before = f"What was said before it, summed up:\n{summary}\n\n" if summary else ""
    return f"{ASK}\n\n{before}The conversation:\n{piece}"


def _pieces(text: str, tokens: int) -> Iterator[str]:
    """Yield a text in pieces of about so many tokens, broken where a line ends if one does not far before."""
    length = max(int(len(text) * max(tokens, SMALLEST_PIECE) / max(likely(text), 1)), 1)
    while len(text) > length:
        end = text.rfind("\n", length // 2, length) + 1 or length
        yield text[:end]
        text = text[end:]
    yield text
