"""ChatService: one turn. Both front doors call it, and nothing else does a turn."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chatllm_cli.errors import (
    BudgetError,
    ChatllmError,
    ContextLengthError,
    HistoryError,
    IncompleteAnswerError,
    InvalidReplyError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
    UsageError,
)
from chatllm_cli.ids import new_id
from chatllm_cli.models import (
    Attachment,
    Bill,
    ChatOptions,
    ChatRequest,
    Conversation,
    Endpoint,
    Message,
    Role,
    Status,
    TrimMode,
)
from chatllm_cli.services.chat.attached import checked, named, those_who_see
from chatllm_cli.services.chat.budget import Budget
from chatllm_cli.services.chat.context import (
    context,
    options_besides,
    status_of,
    unfinished_reply,
)
from chatllm_cli.services.chat.draft import marks
from chatllm_cli.services.chat.expenses import Expenses
from chatllm_cli.services.chat.ports import Cache, ChatModel, Log, PriceList, TurnListener
from chatllm_cli.services.chat.retries import Patience
from chatllm_cli.services.chat.reuse import Reuse
from chatllm_cli.services.chat.summaries import Summaries
from chatllm_cli.services.chat.trimming import Trimming, Wanted
from chatllm_cli.services.chat.turn import Turn, draft_of
from chatllm_cli.services.chat.watchdog import Breath, watchdog
from chatllm_cli.services.redaction import PromptGuard

if TYPE_CHECKING:
    from chatllm_cli.config.sections import LimitSettings, RetrySettings, TimeoutSettings

# What another model may do better: the provider cannot be reached, is busy beyond the wait, or wants money that is
# not there.
ANOTHER_MAY_DO = (ProviderUnavailableError, ProviderTimeoutError, RateLimitError, BudgetError)
MEGABYTE = 1_000_000
ASK_FOR_TITLE = "Give this conversation a title of at most six words. Answer with the title alone."
LONGEST_FAREWELL = 1.0  # seconds for the price of an answer, after a signal: there are two in all (cli/running.py)
TITLE_TOKENS, LONGEST_TITLE = 30, 80


class ChatService:
    """Does turns: the prompt is on the disk before the request, the reply before `send` returns."""

    def __init__(
        self,
        llm: ChatModel,
        *,
        timeouts: "TimeoutSettings",
        retries: "RetrySettings",
        limits: "LimitSettings",
        cache: Cache | None = None,
        guard: PromptGuard | None = None,
        prices: PriceList | None = None,
        budget: Budget | None = None,
        trim: TrimMode = "never",
    ) -> None:
        self._llm = llm
        self._timeouts = timeouts
        self._retries = retries
        self._limits = limits
        self._cache = cache
        self._guard = guard or PromptGuard(looks=False, replaces=False)
        self._prices = prices
        self._budget = budget
        self._trim = trim
        self._trimming = Trimming(trim, prices, Summaries(llm, self._timeouts))

    async def send(
        self,
        log: Log,
        prompt: str,
        endpoints: Sequence[Endpoint],
        options: ChatOptions,
        listener: TurnListener,
        *,
        is_fit: Callable[[str], bool] = lambda _: True,
        attachments: Sequence[Attachment] = (),
    ) -> Message:
        """Do one turn at the head of `log` and return the reply, whose status tells whether it is whole.

        An answer that is not `is_fit` is neither kept in the cache nor taken from it.

        The first of `endpoints` is asked, and each further one if that fails in a way that another may not.
        Raises `UsageError` for a prompt that says nothing, or has an image for the embedded model, `ProviderError` if
        no text came, and `IncompleteAnswerError` if it broke off after some had; what came is in the log either way,
        also when the turn is cancelled. A history that cannot be written is told to the listener and stops nothing.
        """
        endpoints = those_who_see(endpoints, attachments)
        await self.put(log, prompt, endpoints[0], listener, attachments=attachments)
        return await self._answer(self._turn(log, options, listener, is_fit=is_fit), endpoints)

    async def put(
        self,
        log: Log,
        prompt: str,
        endpoint: Endpoint,
        listener: TurnListener,
        *,
        attachments: Sequence[Attachment] = (),
    ) -> Message:
        """Keep a prompt, as it may be sent, at the head of `log`, and return it; `endpoint` is to answer it first.

        Raises `UsageError` for one that says nothing.
        """
        if not prompt.strip() and not attachments:
            raise UsageError("the prompt is empty", hint='give it as an argument or on stdin: chatllm ask "…"')
        prompt, attached, secrets = checked(self._guard, prompt, attachments, is_told=listener.tells_secrets)
        if secrets:
            listener.on_secrets(secrets, replaced=self._guard.replaces)
        now, parent = datetime.now(UTC), log.conversation.head
        message = Message(new_id(), Role.USER, prompt, now, parent, attachments=attached)
        try:
            return await _keep(log, message, listener)
        except asyncio.CancelledError:  # the prompt is kept: below it stands that its answer was stopped
            draft = draft_of(log)
            draft.ask(endpoint, endpoint)
            await _keep(log, draft.ended(Status.INTERRUPTED), listener)
            raise

    def checked(self, conversation: Conversation, listener: TurnListener) -> Conversation:
        """Return what was said as it may be sent now, to whomever; the listener is told of secrets in its prompts."""
        messages: list[Message] = []
        secrets: list[str] = []
        for message in conversation.messages:
            if message.role is Role.USER:
                content, attached, kinds = checked(
                    self._guard, message.content, message.attachments, is_told=listener.tells_secrets
                )
                message = replace(message, content=content, attachments=attached)  # noqa: PLW2901  (as it is sent)
                secrets += kinds
            messages.append(message)
        if secrets:
            listener.on_secrets(list(dict.fromkeys(secrets)), replaced=self._guard.replaces)
        return replace(conversation, messages=tuple(messages))

    async def go_on(
        self, log: Log, endpoints: Sequence[Endpoint], options: ChatOptions, listener: TurnListener
    ) -> Message:
        """Take up the last reply where it stopped, or answer the prompt at the head, which has none.

        The listener is told the new text only; the reply that is returned has all of it, and takes the
        incomplete one's place. Raises as `send` does, and `UsageError` if there is nothing to take up.
        """
        begun = unfinished_reply(log.conversation)
        return await self._answer(self._turn(log, options, listener, begun), _who_sees(log, endpoints))

    async def retry(
        self, log: Log, endpoints: Sequence[Endpoint], options: ChatOptions, listener: TurnListener
    ) -> Message:
        """Answer the prompt at the head; a cached answer is passed over, and replaced. Raises as `send` does."""
        return await self._answer(self._turn(log, options, listener, is_anew=True), _who_sees(log, endpoints))

    async def bill(self, conversation: Conversation, reply: Message, endpoints: Sequence[Endpoint]) -> Bill:
        """Return what the turn took that brought `reply`, one of `endpoints` having answered."""
        endpoint = _by_address(endpoints, reply.model)
        window = await self._prices.window(endpoint) if self._prices and endpoint and not reply.cached else None
        return Bill(reply.usage, reply.cost, conversation.cost, conversation.unpriced, window, reply.cached)

    async def title(self, log: Log, endpoint: Endpoint) -> str:
        """Ask for a title for what was said; empty if none comes that could be one. Raises nothing.

        What was attached is only named: it was paid once.
        """
        conversation = log.conversation
        said = replace(conversation, messages=tuple(map(named, conversation.messages)))
        messages = (*context(said), (Role.USER, ASK_FOR_TITLE))
        title, is_whole = "", False
        with suppress(ChatllmError, TimeoutError):
            async with watchdog(self._timeouts, patient=False), aclosing(
                self._llm.stream(ChatRequest(endpoint, messages, options_besides(endpoint, TITLE_TOKENS)))
            ) as chunks:  # fmt: skip
                async for chunk in chunks:
                    title += chunk.text
                    is_whole = is_whole or chunk.finish_reason == "stop"
        if not is_whole or "<think>" in title:
            return ""
        return " ".join(title.split()).strip("\"'.*#` ")[:LONGEST_TITLE]

    def _turn(
        self,
        log: Log,
        options: ChatOptions,
        listener: TurnListener,
        begun: Message | None = None,
        *,
        is_fit: Callable[[str], bool] = lambda _: True,
        is_anew: bool = False,
    ) -> Turn:
        expenses = Expenses(self._prices, self._budget, listener)
        is_half_there = begun is not None and begun.content  # half an answer is no key to the other half
        reuse = Reuse(self._cache, listener, is_fit, is_anew=is_anew) if self._cache and not is_half_there else None
        return Turn(log, options, listener, draft_of(log, begun), expenses, reuse, begun)

    async def _answer(self, turn: Turn, endpoints: Sequence[Endpoint]) -> Message:
        async with turn.looking_up():
            return await self._answer_and_keep(turn, endpoints)

    async def _answer_and_keep(self, turn: Turn, endpoints: Sequence[Endpoint]) -> Message:
        draft = turn.draft
        try:
            request = await self._ask_in_order(turn, endpoints)
        except ChatllmError as error:
            await self._keep_broken(turn, draft.ended(Status.ERROR, error=error.message), endpoints)
            if not draft.has_grown:
                raise
            raise IncompleteAnswerError(f"the answer broke off: {error.message}") from error
        except BaseException:  # cancelled, a closed pipe, or a bug: what came is kept all the same
            is_whole = draft.finish_reason is not None
            broken = draft.ended(status_of(draft.finish_reason) if is_whole else Status.INTERRUPTED)
            await self._keep_broken(turn, broken, endpoints)
            raise
        status = status_of(draft.finish_reason, marks_end=request.endpoint.marks_end)
        reply = await self._keep_priced(turn, draft.ended(status), endpoints)
        if turn.reuse and turn.log.is_kept:  # what was removed meanwhile is not kept elsewhere
            await turn.reuse.keep(request, reply, turn.log.conversation.id)
        return reply

    async def _keep_broken(self, turn: Turn, reply: Message, endpoints: Sequence[Endpoint]) -> None:
        """Keep what came of a reply; one that was taken up, did not grow and cost nothing stands as it is."""
        if turn.draft.has_grown or turn.begun is None or turn.draft.took or turn.expenses.has_any:
            await self._keep_priced(turn, reply, endpoints)

    async def _keep_priced(self, turn: Turn, reply: Message, endpoints: Sequence[Endpoint]) -> Message:
        """Keep a reply with what it costs, and without that if there is no time to find it out."""
        pricing = asyncio.ensure_future(self._priced(turn, reply, endpoints))
        try:
            reply = await asyncio.shield(pricing)
        except asyncio.CancelledError:
            await asyncio.wait([pricing], timeout=LONGEST_FAREWELL)
            raise
        finally:
            is_priced = pricing.done() and not pricing.cancelled()
            pricing.cancel()
            await _keep(turn.log, pricing.result() if is_priced else reply, turn.listener)
        return reply

    async def _priced(self, turn: Turn, reply: Message, endpoints: Sequence[Endpoint]) -> Message:
        """Return a reply with what it costs, and what was asked for it besides; a cached one was paid before."""
        endpoint, took = _by_address(endpoints, reply.model), turn.draft.took
        if endpoint and not reply.cached and (took or not turn.expenses.has_any):
            turn.expenses.add(endpoint, took)
        return replace(reply, cost=await turn.expenses.total(reply.at))

    async def _ask_in_order(self, turn: Turn, endpoints: Sequence[Endpoint]) -> ChatRequest:
        patience = Patience(self._retries, turn.listener)
        endpoint, *others = endpoints
        while True:
            turn.draft.ask(endpoint, endpoints[0])
            request = replace(turn.request(endpoint), trim=self._trim)
            if await turn.take_cached(request):
                return request
            try:
                await self._ask_patiently(turn, request, patience)
            except ANOTHER_MAY_DO as error:
                if isinstance(error, BudgetError):
                    others = [each for each in others if self._prices and await self._prices.costs_nothing(each)]
                if turn.draft.has_grown or not others:
                    raise
                endpoint, *others = others
                turn.listener.on_fallback(error, endpoint)
            else:
                return request

    async def _ask_patiently(self, turn: Turn, request: ChatRequest, patience: Patience) -> None:
        retry = 1
        while True:
            try:
                return await self._ask(turn, request)
            except ProviderError as error:
                if turn.draft.has_grown or not await patience.wait_out(error, retry):
                    raise
            retry += 1

    async def _ask(self, turn: Turn, request: ChatRequest) -> None:
        """Ask once, though less may be sent."""
        turn.begin()
        await turn.expenses.check(request.endpoint)
        await self._stream_fitting(turn, request)
        if turn.draft.finish_reason is None and not turn.draft.has_grown:
            raise InvalidReplyError(f"{request.endpoint.address} ended its answer before it began")

    async def _stream_fitting(self, turn: Turn, request: ChatRequest) -> None:
        """Take the reply to as much of a request as fits."""
        wanted = Wanted(request, turn.log.conversation, turn.kept(request.endpoint), turn.listener, turn.expenses)
        plan = await self._trimming.fit(wanted)
        while True:
            try:
                return await self._stream(turn, plan.request)
            except ContextLengthError as error:
                if turn.draft.has_grown:
                    raise
                plan = await self._trimming.cut_more(plan, error)

    async def _get_ready(self, turn: Turn, endpoint: Endpoint) -> None:
        with turn.listener.lend_terminal() if endpoint.has_key_command else nullcontext():
            await self._llm.ready(endpoint)
        if self._prices:
            self._prices.prepare(endpoint)

    async def _stream(self, turn: Turn, request: ChatRequest) -> None:
        """Take the reply as it comes; once it said why it ended it is whole, whatever the connection does then."""
        draft, endpoint = turn.draft, request.endpoint
        most = self._limits.reply_mb * MEGABYTE
        await self._get_ready(turn, endpoint)
        draft.request, breath = request, Breath()
        try:
            async with (
                marks(turn.log, draft),
                # No network lies before the embedded model, and a long prompt may take it long.
                watchdog(self._timeouts, patient=endpoint.is_embedded, on_silence=turn.listener.on_silence) as dog,
                aclosing(self._llm.stream(request)) as chunks,
            ):
                async for chunk in chunks:
                    await breath.take()
                    turn.take(chunk)
                    if draft.finish_reason is not None:
                        dog.finished()
                    elif chunk.size:
                        dog.fed()
                    if draft.size > most:
                        raise InvalidReplyError(
                            f"it passed the limit of {self._limits.reply_mb:g} MB (limits.reply_mb)"
                        )
        except ProviderError:
            if draft.finish_reason is None:
                raise
        except TimeoutError as error:
            if draft.finish_reason is None:
                hint = f"{dog.setting} says how long to wait"
                raise ProviderTimeoutError(f"{endpoint.address} {dog.verdict}", hint=hint) from error


def _by_address(endpoints: Sequence[Endpoint], address: str | None) -> Endpoint | None:
    return next((endpoint for endpoint in endpoints if endpoint.address == address), None)


async def _keep(log: Log, message: Message, listener: TurnListener) -> Message:
    try:
        await log.add(message)
    except HistoryError as error:
        listener.on_history_error(error)
    return message


def _who_sees(log: Log, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
    """Return those who can be asked about what goes with the last prompt."""
    prompts = [message for message in log.conversation.thread() if message.role is Role.USER]
    return those_who_see(endpoints, prompts[-1].attachments if prompts else ())
