"""Summing up what was said earlier, for a request that has no room for all of it."""

import re
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chatllm_cli.errors import ContextLengthError, InvalidReplyError, ProviderError, ProviderTimeoutError
from chatllm_cli.frozen import frozen
from chatllm_cli.message_content import text_in
from chatllm_cli.models import ChatRequest, Endpoint, Message, Role, Status
from chatllm_cli.services.chat.context import options_besides, status_of
from chatllm_cli.services.chat.draft import Draft
from chatllm_cli.services.chat.expenses import Expenses
from chatllm_cli.services.chat.ports import ChatModel, TurnListener
from chatllm_cli.services.chat.sizes import Messages, likely
from chatllm_cli.services.chat.watchdog import watchdog

if TYPE_CHECKING:
    from chatllm_cli.config.sections import TimeoutSettings

ASK = (
    "Sum up the conversation below for somebody who has to go on with it: facts, names, numbers, decisions and open "
    "questions. Answer with the summary alone."
)
NAMES = {Role.USER: "User", Role.ASSISTANT: "Assistant", Role.SYSTEM: "System"}
THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL)
USABLE = {Status.COMPLETE, Status.TRUNCATED, Status.UNKNOWN_END}
SMALLEST_PIECE = 32  # tokens


@frozen
class Room:
    """Tokens that there is room for: in a request, and of them in its answer."""

    request: int
    answer: int


@frozen
class Summing:
    """Who sums up, in how much room, who is told of it, and where it is added up."""

    endpoint: Endpoint
    room: Room
    listener: TurnListener
    expenses: Expenses


@frozen
class Begun:
    """How far a summary has come."""

    earlier: str  # the summary that it goes on from
    text: str  # what it is of besides
    summary: str


class Summaries:
    """Asks a model to sum up what it was told and said; what was paid for a summary that broke off is not lost."""

    def __init__(self, llm: ChatModel, timeouts: "TimeoutSettings") -> None:
        self._llm = llm
        self._timeouts = timeouts
        self._begun: dict[str, Begun] = {}  # by model

    async def sum_up(self, summing: Summing, earlier: str, messages: Messages) -> str:
        """Return a summary of an earlier one and of `messages`, made in as many requests as it takes.

        Raises `ProviderError` and its kinds, as one that is not of everything is none, and `BudgetError`.
        """
        text = "\n\n".join(f"{NAMES[role]}: {text_in(content)}" for role, content in messages)
        begun = self._begun.get(summing.endpoint.address)
        if begun is None or begun.earlier != earlier or not text.startswith(begun.text):
            begun = Begun(earlier, "", earlier)
        try:
            return await self._in_pieces(summing, begun, text)
        except ProviderError as error:
            error.message = f"the oldest turns could not be summed up: {error.message}"
            raise

    async def _in_pieces(self, summing: Summing, begun: Begun, text: str) -> str:
        room = summing.room
        longest = room.request
        while rest := text[len(begun.text) :]:
            tokens = min(room.request - room.answer - likely(ASK) - likely(begun.summary), longest)
            piece = _piece(rest, tokens)
            try:
                summary = await self._ask(summing, _prompt(begun.summary, piece))
            except ContextLengthError:  # it counts otherwise
                if tokens <= SMALLEST_PIECE:
                    raise
                longest = min(tokens, likely(piece)) // 2
                continue
            begun = Begun(begun.earlier, begun.text + piece, summary)
            self._begun[summing.endpoint.address] = begun
            await summing.expenses.check(summing.endpoint)
        return begun.summary

    async def _ask(self, summing: Summing, prompt: str) -> str:
        endpoint = summing.endpoint
        request = ChatRequest(endpoint, ((Role.USER, prompt),), options_besides(endpoint, summing.room.answer))
        draft = Draft(Message("", Role.ASSISTANT, "", at=datetime.now(UTC)))
        draft.request = request
        await self._llm.ready(endpoint)
        try:
            async with (
                watchdog(self._timeouts, patient=endpoint.is_embedded, on_silence=summing.listener.on_silence) as dog,
                aclosing(self._llm.stream(request)) as chunks,
            ):
                async for chunk in chunks:
                    draft.take(chunk)
                    if chunk.size:
                        dog.fed()
        except TimeoutError as error:
            hint = f"{dog.setting} says how long to wait"
            raise ProviderTimeoutError(f"{endpoint.address} {dog.verdict}", hint=hint) from error
        finally:
            if draft.took:
                summing.expenses.add(endpoint, draft.took)
        summary = THOUGHTS.sub("", draft.text).strip()
        if not summary or "<think>" in summary or status_of(draft.finish_reason) not in USABLE:
            raise InvalidReplyError(f"{endpoint.address} wrote no summary")
        return summary


def _prompt(summary: str, piece: str) -> str:
    before = f"What was said before it, summed up:\n{summary}\n\n" if summary else ""
    return f"{ASK}\n\n{before}The conversation:\n{piece}"


def _piece(text: str, tokens: int) -> str:
    """Return the beginning of a text, of about so many tokens, up to where a line ends if one does not far before."""
    length = max(int(len(text) * max(tokens, SMALLEST_PIECE) / max(likely(text), 1)), 1)
    if len(text) <= length:
        return text
    return text[: text.rfind("\n", length // 2, length) + 1 or length]
