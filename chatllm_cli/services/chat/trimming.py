"""Whether a request fits into what its model reads, and what is done if it does not."""

from dataclasses import replace

from chatllm_cli.amounts import about
from chatllm_cli.errors import ContextLengthError
from chatllm_cli.frozen import frozen
from chatllm_cli.message_content import text_in
from chatllm_cli.models import ChatRequest, Conversation, Role, Trimmed, TrimMode
from chatllm_cli.services.chat.expenses import Expenses
from chatllm_cli.services.chat.ports import PriceList, TurnListener
from chatllm_cli.services.chat.sizes import UNMEASURED, Measure, Messages, Size, measure, size_of
from chatllm_cli.services.chat.summaries import Room, Summaries, Summing

SMALL = 3000  # tokens: whose window is not at hand reads more than that
LONGEST_ANSWER = 4096  # tokens that are left for an answer of which nobody says how long it may be
DOUBT = 2  # as many times what the table says that a model reads, and it surely does not
MOST_TRIES = 6  # of cutting more for a provider that counts otherwise
SUMMED_UP = "What was said earlier in this conversation, summed up:"
HINT = "--trim oldest leaves out the oldest turns, --trim summarise sums them up; the history keeps them"


@frozen
class Wanted:
    """What is to be sent, with the conversation that it was made of."""

    request: ChatRequest
    conversation: Conversation
    keep: int  # the messages at its end that have to stay
    listener: TurnListener
    expenses: Expenses

    @property
    def sees(self) -> bool:
        """Whether its model may take images: the embedded one gets a line of text for each."""
        return not self.request.endpoint.is_embedded

    @property
    def body(self) -> Messages:
        """The messages that could be left out: all but the system prompt and what has to stay."""
        messages = self.request.messages
        begin = 1 if messages and messages[0][0] is Role.SYSTEM else 0
        return messages[begin : len(messages) - self.keep]


@frozen
class Plan:
    """What is sent of it."""

    wanted: Wanted
    left_out: int = 0  # of the body's messages, the oldest ones
    summary: str = ""  # which stands in their place
    tries: int = 0
    measure: Measure = UNMEASURED  # of the request

    @property
    def request(self) -> ChatRequest:
        """The request without what is left out."""
        if not self.left_out:
            return self.wanted.request
        whole = self.wanted.request
        begin = len(whole.messages) - self.wanted.keep - len(self.wanted.body)
        system = "\n\n".join(text_in(content) for _, content in whole.messages[:begin])
        if self.summary:
            system = f"{system}\n\n{SUMMED_UP}\n{self.summary}".lstrip()
        rest = whole.messages[begin + self.left_out :]
        return replace(whole, messages=((Role.SYSTEM, system), *rest) if system else rest)

    @property
    def rest(self) -> Messages:
        """The messages that could still be left out."""
        return self.wanted.body[self.left_out :]

    @property
    def size(self) -> Size:
        """How many tokens the request is."""
        return size_of(self.request.messages, self.measure, sees=self.wanted.sees)

    def surplus(self, limit: int) -> int:
        """Return how many more messages to leave out, turn by turn and one at least, until the rest fits."""
        size, surplus = self.size.likely, 0
        while surplus + 1 < len(self.rest) and (size > limit or not surplus):
            turn = self.rest[surplus : surplus + 2]
            surplus += 2
            known = self.measure.before(len(self.rest) - surplus + self.wanted.keep)
            size -= size_of(turn, known, sees=self.wanted.sees).likely
        return surplus


class Trimming:
    """Sees to it that requests fit, as far as their size and the model's window are known.

    What was left out of a conversation stays left out, and summed up, as long as the process lives: a summary is
    paid once, and a provider that keeps the beginning of a request finds it again.
    """

    def __init__(self, mode: TrimMode, prices: PriceList | None, summaries: Summaries) -> None:
        self._mode = mode
        self._prices = prices
        self._summaries = summaries
        self._before: dict[tuple[str, str], Plan] = {}  # by conversation and model
        self._told: dict[tuple[str, str], Trimmed] = {}

    async def fit(self, wanted: Wanted) -> Plan:
        """Return what to send. Raises `ContextLengthError` for what cannot fit, or would have to be cut."""
        plan = self._as_before(wanted)
        window = await self._window(plan)
        if window is None:
            return plan
        longest = wanted.request.options.max_tokens
        answer = longest or min(LONGEST_ANSWER, window // 4)
        if wanted.request.endpoint.is_embedded:  # llama.cpp ends an answer where the window does
            longest, answer = None, min(answer, window // 2)
        self._check(
            replace(plan, left_out=len(wanted.body), summary=""), longest or 0, window
        )  # without all before it
        if self._mode != "never" and plan.size.likely > window - answer:
            plan = await self._reduced(plan, window - answer, window)
        self._check(plan, longest or 0, window)
        return plan

    async def cut_more(self, plan: Plan, error: ContextLengthError) -> Plan:
        """Return what to send to a provider to which `plan` was too long. Raises `error` if nothing can be done."""
        if self._mode == "never" or not plan.rest or plan.tries == MOST_TRIES:
            error.hint = HINT if self._mode == "never" and plan.rest else error.hint
            raise error
        limit = plan.size.likely * 3 // 4
        less = await self._reduced(plan, limit, limit)
        return replace(less, tries=plan.tries + 1)

    def _check(self, plan: Plan, answer: int, window: int) -> None:
        """Raise `ContextLengthError` for what surely does not fit: the provider will tell of all else."""
        size, endpoint = plan.size, plan.wanted.request.endpoint
        is_sure = self._prices is not None and self._prices.has_own_window(endpoint)
        most = window if is_sure else DOUBT * window
        if size.least + answer <= most:
            return
        what = "the conversation" if plan.rest else "the prompt"
        room = f" and its answer may be {answer:,}" if size.least <= most else ""
        could_read_more = endpoint.is_embedded and (endpoint.context_length or window + 1) > window
        more = "raise local.context_size" if could_read_more else "take a model with a longer context"
        shorter = f"shorten the prompt{', lower --max-tokens' if room else ''}, or {more}"
        raise ContextLengthError(
            f"{what} is {about(size.likely)}{room}, and {endpoint.address} reads at most {window:,}",
            hint=HINT if plan.rest and self._mode == "never" else shorter,
        )

    async def _window(self, plan: Plan) -> int | None:
        endpoint = plan.wanted.request.endpoint
        if self._prices is None:
            return None
        if plan.size.likely < SMALL and not self._prices.has_own_window(endpoint):
            return None
        return await self._prices.window(endpoint)

    async def _reduced(self, plan: Plan, limit: int, window: int) -> Plan:
        """Return a plan of a request that is within `limit`; one for a summary may take all of `window`."""
        wanted, sums_up = plan.wanted, self._mode == "summarise"
        room = Room(window, min(LONGEST_ANSWER, max(limit // 4, 1)))
        surplus = plan.surplus(limit - room.answer if sums_up else limit)
        if not surplus:
            return plan
        less = replace(plan, left_out=plan.left_out + surplus)
        gone = wanted.body[: less.left_out]
        self._tell(wanted, Trimmed(len(gone), size_of(gone, sees=wanted.sees).likely, is_summed_up=sums_up))
        if sums_up:
            summing = Summing(wanted.request.endpoint, room, wanted.listener, wanted.expenses)
            less = replace(less, summary=await self._summaries.sum_up(summing, plan.summary, plan.rest[:surplus]))
        self._before[_key(wanted)] = less
        return less

    def _tell(self, wanted: Wanted, trimmed: Trimmed) -> None:
        """Tell what is left out, but not once more for each try."""
        if self._told.get(_key(wanted)) != trimmed:
            wanted.listener.on_trimmed(trimmed)
        self._told[_key(wanted)] = trimmed

    def _as_before(self, wanted: Wanted) -> Plan:
        """Return what would be sent if no more were left out than before; the last count was of a request like it."""
        before = self._before.get(_key(wanted))
        if before is None or before.wanted.body[: before.left_out] != wanted.body[: before.left_out]:
            plan = Plan(wanted)
        else:
            plan = replace(before, wanted=wanted, tries=0)
        address = wanted.request.endpoint.address
        known = measure(plan.request.messages, wanted.conversation, address, sees=wanted.sees)
        return replace(plan, measure=known)


def _key(wanted: Wanted) -> tuple[str, str]:
    return wanted.conversation.id, wanted.request.endpoint.address
