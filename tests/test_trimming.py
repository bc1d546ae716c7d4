"""What is sent of a conversation that is longer than its model reads; a word of these is a token."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.config.sections import BudgetSettings, PriceSettings, TimeoutSettings
from chatllm_cli.errors import ContextLengthError
from chatllm_cli.message_content import text_in
from chatllm_cli.models import (
    Attachment,
    ChatOptions,
    ChatRequest,
    Chunk,
    Conversation,
    Endpoint,
    Message,
    Role,
    Status,
    TokenUsage,
    Trimmed,
    TrimMode,
)
from chatllm_cli.services.cache import ResponseCache
from chatllm_cli.services.chat import Budget
from chatllm_cli.services.chat.expenses import Expenses
from chatllm_cli.services.chat.sizes import Messages
from chatllm_cli.services.chat.summaries import Summaries
from chatllm_cli.services.chat.trimming import HINT, SMALL, Plan, Trimming, Wanted
from chatllm_cli.services.history import HistoryService, OpenConversation
from chatllm_cli.services.prices import Prices
from tests.caches import disk_cache
from tests.fakes import DONE, FakeLLM, RecordingListener, chat_service

AT = datetime(2026, 7, 1, tzinfo=UTC)
HUB = Endpoint("hub", "m", "https://hub.example/v1")
EMBEDDED = Endpoint("local", "smollm2", "", weights="sha256:1")
TURN = 100  # words in each message: 104 tokens with what stands around them


def words(name: str, count: int = TURN) -> str:
    return f"{name} " * count


def turns(count: int) -> tuple[tuple[Role, str], ...]:
    return tuple(
        message for n in range(count) for message in ((Role.USER, words(f"u{n}")), (Role.ASSISTANT, words(f"a{n}")))
    )


PROMPT = (Role.USER, words("now"))
SYSTEM = (Role.SYSTEM, "Be kind.")


@dataclass
class Bench:
    """A trimming for one window, and one request that it is to fit."""

    window: int | None
    mode: TrimMode = "oldest"
    endpoint: Endpoint = HUB
    max_tokens: int | None = None
    llm: FakeLLM = field(default_factory=FakeLLM)
    listener: RecordingListener = field(default_factory=RecordingListener)

    def __post_init__(self) -> None:
        own = {} if self.window is None else {"hub/m": PriceSettings(input=1, output=1, context=self.window)}
        prices = Prices(own, local_window=self.window or 8192)
        self.trimming = Trimming(self.mode, prices, Summaries(self.llm, TimeoutSettings()))
        self.expenses = Expenses(prices, None, self.listener)

    async def fit(self, *messages: tuple[Role, str], keep: int = 1) -> Plan:
        return await self.trimming.fit(self.wanted(*messages, keep=keep))

    def wanted(self, *messages: tuple[Role, str], keep: int = 1) -> Wanted:
        request = ChatRequest(self.endpoint, messages, ChatOptions(max_tokens=self.max_tokens))
        return Wanted(request, Conversation("c1", "t", AT), keep, self.listener, self.expenses)


AT_MOST = ", and hub/m reads at most"


def names(messages: Messages) -> str:
    return " ".join(text_in(content).split()[0] for _, content in messages)


@pytest.mark.parametrize(
    ("window", "max_tokens", "endpoint", "message"),
    [
        (None, None, HUB, None),
        (2000, None, HUB, None),
        (1000, None, HUB, f"the conversation is about 1,150 tokens{AT_MOST} 1,000"),
        (2000, 1000, HUB, f"the conversation is about 1,150 tokens and its answer may be 1,000{AT_MOST} 2,000"),
        (2000, 800, HUB, None),
        (1000, None, EMBEDDED, "the conversation is about 1,150 tokens, and local/smollm2 reads at most 1,000"),
        (2000, 1000, EMBEDDED, None),  # which only ends the answer where there is no more room
    ],
)  # fmt: skip
async def test_what_surely_does_not_fit_is_refused_with_its_size(
    window: int | None, max_tokens: int | None, endpoint: Endpoint, message: str | None
) -> None:
    bench = Bench(window, "never", endpoint, max_tokens)
    asked = (SYSTEM, *turns(5), PROMPT)
    if message is None:
        assert (await bench.fit(*asked)).request.messages == asked
        return
    with pytest.raises(ContextLengthError) as caught:
        await bench.fit(*asked)
    assert (caught.value.message, caught.value.hint) == (message, HINT)


GPT = Endpoint("openai", "gpt-4", "https://api.openai.com/v1")  # of 8,192 tokens, says the table


@pytest.mark.parametrize(
    ("size", "max_tokens", "mode", "sent"),
    [
        (10_000, None, "never", "u0 a0 now"),
        (10_000, None, "oldest", "now"),
        (10_000, 6000, "oldest", "now"),
        (16_500, None, "never", None),
        (16_500, None, "oldest", None),
        (12_000, 5000, "oldest", None),
    ],
)
async def test_a_window_of_the_table_cuts_but_refuses_only_what_is_far_beyond_it(
    size: int, max_tokens: int | None, mode: TrimMode, sent: str | None
) -> None:
    asked = (*turns(1), (Role.USER, words("now", size)))
    bench = Bench(None, mode, GPT, max_tokens)
    if sent:
        assert names((await bench.fit(*asked)).request.messages) == sent
        return
    with pytest.raises(ContextLengthError, match=r", and openai/gpt-4 reads at most 8,192$"):
        await bench.fit(*asked)


@pytest.mark.parametrize("mode", ["never", "oldest", "summarise"])
async def test_a_prompt_that_alone_does_not_fit_is_refused_whatever_is_wished(mode: TrimMode) -> None:
    with pytest.raises(ContextLengthError) as caught:
        await Bench(60, mode).fit(SYSTEM, PROMPT)
    assert caught.value.message == "the prompt is about 110 tokens, and hub/m reads at most 60"
    assert caught.value.hint == "shorten the prompt, or take a model with a longer context"
    with pytest.raises(ContextLengthError) as caught:
        await Bench(60, mode, EMBEDDED).fit(PROMPT)
    assert caught.value.hint == "shorten the prompt, or raise local.context_size"
    with pytest.raises(ContextLengthError) as caught:
        await Bench(60, mode, replace(EMBEDDED, context_length=60)).fit(PROMPT)
    assert caught.value.hint == "shorten the prompt, or take a model with a longer context"
    with pytest.raises(ContextLengthError) as caught:
        await Bench(200, mode, max_tokens=150).fit(PROMPT)
    assert caught.value.hint == "shorten the prompt, lower --max-tokens, or take a model with a longer context"


FOUR = (*turns(4), PROMPT)  # 936 tokens


@pytest.mark.parametrize(
    ("window", "max_tokens", "messages", "sent", "trimmed"),
    [
        (None, None, FOUR, "u0 a0 u1 a1 u2 a2 u3 a3 now", None),
        (1248, None, FOUR, "u0 a0 u1 a1 u2 a2 u3 a3 now", None),
        (1246, None, FOUR, "u1 a1 u2 a2 u3 a3 now", Trimmed(2, 208)),
        (1000, 60, FOUR, "u0 a0 u1 a1 u2 a2 u3 a3 now", None),
        (1000, 100, FOUR, "u1 a1 u2 a2 u3 a3 now", Trimmed(2, 208)),
        (1000, 600, FOUR, "u3 a3 now", Trimmed(6, 624)),
        (500, None, FOUR, "u3 a3 now", Trimmed(6, 624)),
        (400, None, FOUR, "now", Trimmed(8, 832)),
        (120, None, FOUR, "now", Trimmed(8, 832)),  # without much room for an answer, but it fits
        (500, None, (SYSTEM, *FOUR), "Be u3 a3 now", Trimmed(6, 624)),
        (300, None, (SYSTEM, PROMPT), "Be now", None),
        (120, None, (PROMPT,), "now", None),
        (20_000, None, FOUR, "u0 a0 u1 a1 u2 a2 u3 a3 now", None),
    ],
)
async def test_the_oldest_turns_are_left_out_until_the_rest_fits(
    window: int | None,
    max_tokens: int | None,
    messages: Sequence[tuple[Role, str]],
    sent: str,
    trimmed: Trimmed | None,
) -> None:
    bench = Bench(window, max_tokens=max_tokens)
    plan = await bench.fit(*messages)
    assert names(plan.request.messages) == sent
    assert bench.listener.trimmed == ([trimmed] if trimmed else [])


@pytest.mark.parametrize(("keep", "endpoint"), [(2, EMBEDDED), (3, HUB)])
async def test_an_answer_that_is_taken_up_stays_with_its_prompt(keep: int, endpoint: Endpoint) -> None:
    tail = ((Role.USER, words("prompt")), (Role.ASSISTANT, words("begun")), (Role.USER, words("go")))[:keep]
    plan = await Bench(500, endpoint=endpoint).fit(*turns(3), *tail, keep=keep)
    assert names(plan.request.messages) == names(tail)


async def test_a_small_request_needs_no_table_of_windows() -> None:
    small, large = (Role.USER, words("w", SMALL - 100)), (Role.USER, words("w", SMALL))
    for prompt, is_loaded in ((small, False), (large, True)):
        prices = Prices({}, local_window=8192)
        trimming = Trimming("oldest", prices, Summaries(FakeLLM(), TimeoutSettings()))
        request = ChatRequest(HUB, (prompt,))
        listener = RecordingListener()
        expenses = Expenses(prices, None, listener)
        await trimming.fit(Wanted(request, Conversation("c1", "t", AT), 1, listener, expenses))
        assert (prices._loading is not None) is is_loaded  # noqa: SLF001  (whether it was loaded shows nowhere else)


async def test_what_was_left_out_stays_left_out_and_is_told_when_it_is_more() -> None:
    bench = Bench(700)
    sent = [names((await bench.fit(*turns(count), PROMPT)).request.messages) for count in (2, 3, 4)]
    assert sent == ["u0 a0 u1 a1 now", "u1 a1 u2 a2 now", "u2 a2 u3 a3 now"]
    assert bench.listener.trimmed == [Trimmed(2, 208), Trimmed(4, 416)]
    other = tuple((role, f"other {text}") for role, text in turns(1))
    assert names((await bench.fit(*other, PROMPT)).request.messages) == "other other now"  # another branch


async def test_a_provider_that_counts_otherwise_gets_less_each_time_until_nothing_is_left() -> None:
    bench, refused = Bench(None), ContextLengthError("too long", hint="theirs")
    plan = await bench.fit(*turns(6), PROMPT)
    sent = []
    while plan.rest:
        plan = await bench.trimming.cut_more(plan, refused)
        sent.append(names(plan.request.messages))
    assert sent == ["u2 a2 u3 a3 u4 a4 u5 a5 now", "u4 a4 u5 a5 now", "u5 a5 now", "now"]
    assert [trimmed.messages for trimmed in bench.listener.trimmed] == [4, 8, 10, 12]
    with pytest.raises(ContextLengthError, match="too long"):
        await bench.trimming.cut_more(plan, refused)
    assert refused.hint == "theirs"


@pytest.mark.parametrize(("messages", "hint"), [((*turns(1), PROMPT), HINT), ((PROMPT,), "theirs")])
async def test_a_refusal_of_the_provider_names_what_would_help(
    messages: Sequence[tuple[Role, str]], hint: str
) -> None:
    bench, refused = Bench(None, "never"), ContextLengthError("too long", hint="theirs")
    plan = await bench.fit(*messages)
    with pytest.raises(ContextLengthError, match="too long"):
        await bench.trimming.cut_more(plan, refused)
    assert refused.hint == hint


async def test_a_prompt_that_leaves_no_room_is_refused_before_anything_is_summed_up() -> None:
    bench = Bench(150, "summarise", max_tokens=100)
    with pytest.raises(ContextLengthError, match=r"^the prompt is about 104 tokens and its answer may be 100, and"):
        await bench.fit(*turns(4), PROMPT)
    assert (bench.llm.requests, bench.listener.trimmed) == ([], [])


async def test_the_embedded_model_gets_half_of_its_window_at_the_least_whatever_the_limit_on_its_answer() -> None:
    plan = await Bench(700, "oldest", EMBEDDED, max_tokens=4096).fit(*turns(4), PROMPT)
    assert names(plan.request.messages) == "u3 a3 now"


class Desk:
    """A chat over a fake model with a window, and a conversation of four turns in real files."""

    def __init__(
        self,
        places: Places,
        mode: TrimMode,
        window: int | None = 1000,
        *,
        budget: float | None = None,
        cache: ResponseCache | None = None,
    ) -> None:
        self.llm, self.listener = FakeLLM(), RecordingListener()
        context = {} if window is None else {"context": window}
        own = {"hub/m": PriceSettings.model_validate({"input": 1e6, "output": 1e6, **context})}
        prices = Prices(own, local_window=8192)
        self.forgiven = 0.0
        held = Budget(BudgetSettings(month=budget), self.spent, prices)
        self.chat = chat_service(self.llm, prices=prices, trim=mode, budget=held, cache=cache)
        self.log: OpenConversation = HistoryService(places.conversations).start("t", model=HUB.address)

    async def spent(self, since: datetime) -> tuple[float, int]:
        return self.log.conversation.cost - self.forgiven, 0

    async def fill(self, count: int = 4) -> None:
        for number, (role, text) in enumerate(turns(count)):
            parent = self.log.conversation.head
            await self.log.add(Message(f"m{number}", role, text, AT, parent, model="other/m" if number % 2 else None))

    async def send(self, prompt: str) -> Message:
        return await self.chat.send(self.log, prompt, [HUB], ChatOptions(), self.listener)

    @property
    def sent(self) -> list[str]:
        return [names(request.messages) for request in self.llm.requests]


async def test_a_turn_sends_what_fits_and_the_history_keeps_all(places: Places) -> None:
    desk = Desk(places, "oldest")
    await desk.fill()
    desk.llm.reply("fine")
    await desk.send(words("now"))
    assert desk.sent == ["u1 a1 u2 a2 u3 a3 now"]
    assert len(desk.log.conversation.thread()) == 10


async def test_a_turn_that_is_refused_sends_nothing_and_keeps_the_prompt(places: Places) -> None:
    desk = Desk(places, "never", window=800)
    await desk.fill()
    with pytest.raises(ContextLengthError):
        await desk.send(words("now"))
    thread = desk.log.conversation.thread()
    assert (desk.sent, thread[-2].content, thread[-1].status) == ([], words("now"), Status.ERROR)


async def test_a_turn_that_the_provider_refuses_is_sent_again_with_less(places: Places) -> None:
    desk = Desk(places, "oldest", window=None)
    await desk.fill()
    desk.llm.play(ContextLengthError("too long"))
    desk.llm.play(ContextLengthError("too long"))
    desk.llm.reply("fine")
    reply = await desk.send(words("now"))
    assert desk.sent == ["u0 a0 u1 a1 u2 a2 u3 a3 now", "u2 a2 u3 a3 now", "u3 a3 now"]
    assert (reply.content, reply.status) == ("fine", Status.COMPLETE)


async def test_an_answer_may_be_taken_up_in_a_request_that_is_cut(places: Places) -> None:
    desk = Desk(places, "oldest", window=700)
    await desk.fill()
    desk.llm.reply("half", end=Chunk(finish_reason="length"))
    await desk.send(words("now"))
    desk.llm.reply(" whole")
    reply = await desk.chat.go_on(desk.log, [HUB], ChatOptions(), desk.listener)
    assert desk.sent == ["u2 a2 u3 a3 now", "u3 a3 now half Your"]
    assert reply.content == "half whole"


async def counted(desk: Desk, tokens: int) -> None:
    """Let the provider have counted so many for the last answer."""
    desk.llm.reply("fine", end=replace(DONE, usage=TokenUsage(tokens, 1)))
    await desk.send(words("first"))
    desk.llm.reply("fine")


async def test_a_count_of_all_turns_is_none_of_those_that_are_left(places: Places) -> None:
    desk = Desk(places, "oldest", window=1600)
    await desk.fill()
    await counted(desk, 900)
    await desk.send(words("now", 1000))
    assert desk.sent[-1] == "first fine now"


async def test_a_count_refuses_nothing_as_it_may_be_of_another_system_prompt(places: Places) -> None:
    desk = Desk(places, "never", window=1600)
    await counted(desk, 1500)
    await desk.send(words("now", 1000))
    assert desk.sent[-1] == "first fine now"


async def test_a_request_is_cut_by_what_the_provider_counted_of_those_like_it(places: Places) -> None:
    desk = Desk(places, "oldest", window=1600)
    await desk.fill()
    await counted(desk, 1400)  # half as much again as is estimated
    await desk.send(words("now"))
    assert desk.sent[-1] == "u2 a2 u3 a3 first fine now"


async def test_an_answer_to_a_request_that_was_cut_is_found_again_by_whoever_lets_it_be_cut(places: Places) -> None:
    cache = disk_cache(places.cache, mode="always")
    replies = []
    modes: tuple[TrimMode, ...] = ("oldest", "oldest", "never")
    for number, mode in enumerate(modes):
        desk = Desk(places, mode, cache=cache)  # another process
        await desk.fill()
        desk.llm.reply(f"fine {number}")
        replies.append(await desk.send(words("now")))
    await cache.aclose()
    assert [(reply.content, reply.cached) for reply in replies] == [
        ("fine 0", False),
        ("fine 0", True),
        ("fine 2", False),
    ]


@pytest.mark.parametrize("mode", ["never", "oldest"])
async def test_images_that_the_embedded_model_does_not_get_take_none_of_its_window(mode: TrimMode) -> None:
    images = tuple(Attachment(f"{n}.png", "image/png", 70, sha256="a" * 64) for n in range(50))
    bench = Bench(2000, mode, EMBEDDED)
    request = ChatRequest(EMBEDDED, ((Role.USER, (*images, "What?")), (Role.ASSISTANT, "So."), PROMPT))
    plan = await bench.trimming.fit(Wanted(request, Conversation("c1", "t", AT), 1, bench.listener, bench.expenses))
    assert (plan.left_out, plan.request) == (0, request)
