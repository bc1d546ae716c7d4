import asyncio
import math
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count, pairwise
from random import Random
from typing import Any

import pytest

from chatllm_cli.config.sections import RetrySettings
from chatllm_cli.errors import (
    AuthenticationError,
    ContextLengthError,
    InvalidReplyError,
    ModelNotFoundError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    QuotaError,
    RateLimitError,
)
from chatllm_cli.models import (
    AS_OFTEN_AS_NEEDED,
    ChatOptions,
    ChatRequest,
    Chunk,
    Conversation,
    Message,
    RetryWait,
    Role,
    Status,
)
from chatllm_cli.services.chat.retries import Patience, next_wait, spelled
from tests.fakes import DONE, ENDPOINT, FakeLLM, RecordingListener, chat_service
from tests.test_watchdog import simulate, simulated

TURNS = 10_000
PLAYED_TURNS = 1000
CANCELLATIONS = 20
AT_ONCE = 0.05  # seconds
HOUR = 3600.0
OTHER = replace(ENDPOINT, model="other")
ENDPOINTS = (ENDPOINT, OTHER, replace(ENDPOINT, model="third"))

Settings = dict[str, Any]
NONE: Settings = {}
BUSY = RateLimitError("busy")

# told is what the provider asks for; then the number of the retry, seconds waited before, jitter, settings, the wait
TOLD: list[tuple[float, int, float, float, Settings, float | None]] = [
    (0.0, 1, 0, 1, NONE, 0.0),
    (0.001, 1, 0, 1, NONE, 0.001),
    (1.0, 1, 0, 0, NONE, 1.0),
    (1.0, 1, 0, 0.5, NONE, 1.0),
    (1.0, 5, 0, 1, NONE, 1.0),
    (1.0, 6, 0, 1, NONE, None),
    (25.0, 1, 0, 0, NONE, 25.0),  # beyond the longest delay, which is for our own waits
    (25.0, 1, 0, 0, {"longest_delay": 0.1}, 25.0),
    (0.25, 1, 0, 1, {"first_delay": 8}, 0.25),  # below what we would wait
    (60.0, 1, 0, 0, NONE, 60.0),
    (60.001, 1, 0, 0, NONE, None),
    (60.0, 1, 0.001, 0, NONE, None),
    (20.0, 2, 40, 0, NONE, 20.0),
    (20.0, 2, 40.001, 0, NONE, None),
    (0.0, 2, 60, 0, NONE, 0.0),
    (300.0, 1, 0, 0, {"max_wait": 300}, 300.0),
    (1e9, 1, 0, 0, NONE, None),
    (1e9, 1, 0, 0, {"max_wait": 86400}, None),
    (math.inf, 1, 0, 0, {"max_wait": 86400}, None),
    (math.nan, 1, 0, 0, NONE, None),
    (0.001, 1, 0, 0, {"max_wait": 0}, None),
    (0.0, 1, 0, 0, {"max_wait": 0}, 0.0),
    (1.0, 1, 0, 0, {"max_retries": 0}, None),
    (1.0, 100, 0, 0, {"max_retries": 100}, 1.0),
    (1.0, 101, 0, 0, {"max_retries": 100}, None),
    (1.0, 1000, 0, 0, {"max_retries": AS_OFTEN_AS_NEEDED}, 1.0),
]

LONGEST = {"max_retries": AS_OFTEN_AS_NEEDED, "max_wait": 86400, "first_delay": 86400, "longest_delay": 86400}

# the number of the retry, seconds waited before, jitter, settings, the wait
UNTOLD: list[tuple[int, float, float, Settings, float | None]] = [
    (1, 0, 0, NONE, 0.0),
    (1, 0, 0.5, NONE, 0.25),
    (1, 0, 1, NONE, 0.5),
    (2, 0, 1, NONE, 1.0),
    (3, 0, 1, NONE, 2.0),
    (3, 0, 0.5, NONE, 1.0),
    (4, 0, 1, NONE, 4.0),
    (4, 0, 0, NONE, 0.0),
    (5, 0, 1, NONE, 8.0),
    (6, 0, 1, NONE, None),
    (6, 0, 1, {"max_retries": 9}, 16.0),
    (7, 0, 1, {"max_retries": 9}, 20.0),  # 32 by doubling
    (7, 0, 0.5, {"max_retries": 9}, 10.0),
    (9, 0, 1, {"max_retries": 9}, 20.0),
    (100, 0, 1, {"max_retries": 100}, 20.0),
    (1000, 0, 1, {"max_retries": AS_OFTEN_AS_NEEDED}, 20.0),
    (1000, 0, 1, LONGEST | {"max_wait": 86399}, None),
    (1000, 0, 1, LONGEST, 86400.0),
    (1, 0, 1, {"first_delay": 50}, 20.0),
    (1, 0, 1, {"first_delay": 4, "longest_delay": 4}, 4.0),
    (2, 0, 1, {"first_delay": 4, "longest_delay": 4}, 4.0),
    (1, 59.5, 1, NONE, 60 - 59.5),
    (1, 59.75, 1, NONE, None),
    (1, 59.75, 0.5, NONE, 0.25),
    (1, 60, 0, NONE, 0.0),
    (1, 0, 1, {"max_wait": 0}, None),
    (1, 0, 1, {"max_wait": 0.5}, 0.5),
    (1, 0, 1, {"max_wait": 0.25}, None),
    (1, 0, 1, {"max_retries": 0}, None),
]

FINAL: list[ProviderError] = [
    QuotaError("used up"),
    QuotaError("used up", retry_after=1),
    AuthenticationError("no key"),
    ModelNotFoundError("no model"),
    ContextLengthError("too long"),
    ContextLengthError("too long", retry_after=1),
    InvalidReplyError("no chat"),
    ProviderTimeoutError("silent"),
    ProviderError("refused"),
    RateLimitError("busy", is_passing=False, retry_after=1),
    ProviderUnavailableError("down", is_passing=False),
]
PASSING: list[ProviderError] = [
    RateLimitError("busy"),
    ProviderUnavailableError("down"),
    ProviderTimeoutError("no connection", is_passing=True),
    ProviderError("refused", is_passing=True),
]


def test_the_tables_are_as_long_as_they_were() -> None:
    assert (len(TOLD), len(UNTOLD), len(FINAL), len(PASSING)) == (26, 29, 11, 4)


@pytest.mark.parametrize(("told", "retry", "waited", "jitter", "settings", "wait"), TOLD)
def test_the_provider_is_asked_again_when_it_says_and_not_at_all_if_that_is_too_late(
    told: float, retry: int, waited: float, jitter: float, settings: Settings, wait: float | None
) -> None:
    error = RateLimitError("busy", retry_after=told)
    limits = RetrySettings(**settings)
    assert next_wait(error, retry=retry, waited=waited, settings=limits, jitter=jitter) == wait


@pytest.mark.parametrize(("retry", "waited", "jitter", "settings", "wait"), UNTOLD)
def test_a_wait_that_nobody_names_is_random_up_to_a_limit_that_doubles(
    retry: int, waited: float, jitter: float, settings: Settings, wait: float | None
) -> None:
    limits = RetrySettings(**settings)
    assert next_wait(BUSY, retry=retry, waited=waited, settings=limits, jitter=jitter) == wait


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_what_does_not_pass_is_never_tried_again(error: ProviderError) -> None:
    for retry in (1, 2, 5):
        assert next_wait(error, retry=retry, waited=0, settings=RetrySettings(), jitter=0) is None


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_whatever_passes_is_tried_again(error: ProviderError) -> None:
    assert next_wait(error, retry=1, waited=0, settings=RetrySettings(), jitter=1) == 0.5


KINDS = (
    *[RateLimitError, ProviderUnavailableError] * 4,
    QuotaError,
    ProviderError,
    ProviderTimeoutError,
    AuthenticationError,
    ModelNotFoundError,
    ContextLengthError,
    InvalidReplyError,
)


def any_error(random: Random) -> ProviderError:
    told = random.choice([None, None, None, 0.0, 0.001, random.uniform(0, 5), random.uniform(0, 120), HOUR, 1e9])
    kind = random.choice(KINDS)
    is_passing = None if kind is QuotaError else random.choice([None, None, None, True, False])
    return kind("it failed", retry_after=told, is_passing=is_passing)


def any_settings(random: Random, longest: float = 86400) -> RetrySettings:
    return RetrySettings(
        max_retries=random.choice([0, 1, 2, 4, 4, 10, AS_OFTEN_AS_NEEDED]),
        max_wait=random.choice([0, 0.5, 10, 60, 60, random.uniform(0, 100), longest]),
        first_delay=random.choice([0.001, 0.5, 0.5, random.uniform(0.001, 30), longest]),
        longest_delay=random.choice([0.001, 20, 20, random.uniform(0.001, 60), longest]),
    )


def own_limit(settings: RetrySettings, retry: int) -> float:
    return float(min(settings.longest_delay, math.ldexp(settings.first_delay, retry - 1)))


def reason_to_give_up(error: ProviderError, retry: int, clock: float, settings: RetrySettings) -> str:
    """Return the rule by which the turn may end here; nothing if there is none."""
    if isinstance(error, QuotaError):
        return "quota"
    if not error.is_passing:
        return "no use"
    if retry > settings.max_retries:
        return "too often"
    wait = own_limit(settings, retry) if error.retry_after is None else error.retry_after
    return "too long" if clock + wait > settings.max_wait else ""


def test_ten_thousand_random_turns_never_ask_too_early_too_often_or_for_too_long() -> None:
    random = Random(16)  # noqa: S311  (it keeps no secrets)
    tally: Counter[str] = Counter()
    for _ in range(TURNS):
        settings, clock = any_settings(random), 0.0
        for _ in range(random.randint(1, 3)):  # models, one after the other
            for retry in count(1):
                error = any_error(random)
                wait = next_wait(error, retry=retry, waited=clock, settings=settings, jitter=random.random())
                reason = reason_to_give_up(error, retry, clock, settings)
                if wait is None:
                    assert reason
                    tally[reason] += 1
                    break
                assert reason in {"", "too long"}  # our own wait may fit by chance
                assert retry <= settings.max_retries
                if error.retry_after is None:
                    assert 0 <= wait <= own_limit(settings, retry)
                else:
                    assert wait == error.retry_after
                tally["told" if error.retry_after is not None else "own"] += 1
                clock += wait
                assert clock <= settings.max_wait
        tally["turns"] += 1
    assert tally["turns"] == TURNS
    assert min(tally[reason] for reason in ("quota", "no use", "too often", "too long", "told", "own")) > 500


@dataclass
class MemoryLog:
    """A conversation without a disk."""

    conversation: Conversation
    is_kept: bool = False

    async def add(self, message: Message) -> None:
        messages = (*self.conversation.messages, message)
        self.conversation = replace(self.conversation, messages=messages, head=message.id)

    async def mark(self, reply: Message, text: str) -> None:
        pass


def memory_log() -> MemoryLog:
    return MemoryLog(Conversation("id", "title", datetime.now(UTC)))


class TimedLLM(FakeLLM):
    """Remembers when it was asked for what, and how it then failed."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, float]] = []

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk]:
        self.asked.append((request.endpoint.model, asyncio.get_running_loop().time()))
        async for chunk in super().stream(request):
            yield chunk


def retries_told(listener: RecordingListener) -> list[int]:
    """Return the number of each retry that was waited for to the end."""
    return [wait.retry for wait in listener.waits if wait.seconds_left == 0]


async def play_turn(random: Random, settings: RetrySettings, tally: Counter[str]) -> None:
    """Play a turn in which everything fails, and look at the clock."""
    llm, errors = TimedLLM(), [any_error(random) for _ in range(len(ENDPOINTS) * 100)]
    for error in errors:
        llm.play(error)
    endpoints = ENDPOINTS[: random.randint(1, 3)]
    chat, listener = chat_service(llm, retries=settings), RecordingListener()
    with pytest.raises(ProviderError):
        await chat.send(memory_log(), "prompt", endpoints, ChatOptions(), listener)
    waited = 0.0
    retries: Counter[str] = Counter()
    for (model, before), (next_model, after), error in zip(llm.asked, llm.asked[1:], errors, strict=False):
        pause = after - before
        if next_model != model:
            assert pause < 1e-6
            continue
        retries[model] += 1
        if error.retry_after is None:
            assert pause <= own_limit(settings, retries[model]) + 1e-6
        else:
            assert error.retry_after <= pause <= error.retry_after + 1e-6
        waited += pause
    assert waited <= settings.max_wait + 1e-6
    assert all(number <= settings.max_retries for number in retries.values())
    assert retries_told(listener) == [number for model in endpoints for number in range(1, retries[model.model] + 1)]
    tally.update(turns=1, requests=len(llm.asked), retries=retries.total(), fallbacks=len(listener.fallbacks))


def test_a_thousand_turns_keep_to_the_policy_on_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(4)  # noqa: S311  (it keeps no secrets)
    monkeypatch.setattr("chatllm_cli.services.chat.retries.random", random)
    tally: Counter[str] = Counter()
    for _ in range(PLAYED_TURNS):
        simulate(partial(play_turn, random, any_settings(random, longest=300), tally))
    assert tally["turns"] == PLAYED_TURNS
    assert min(tally["retries"], tally["fallbacks"]) > PLAYED_TURNS / 5


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, [0]),
        (0.25, [0.25, 0]),
        (1.0, [1, 0]),
        (1.25, [1.25, 1, 0]),
        (2.5, [2.5, 2, 1, 0]),
        (4.0, [4, 3, 2, 1, 0]),
    ],
)
def test_a_wait_is_told_at_once_whenever_a_second_is_over_and_at_its_end(seconds: float, told: list[float]) -> None:
    async def main() -> tuple[bool, list[RetryWait], float]:
        listener = RecordingListener()
        patience = Patience(RetrySettings(max_retries=7), listener)
        goes_on = await patience.wait_out(RateLimitError("busy", words="Slow!", retry_after=seconds), 3)
        return goes_on, listener.waits, simulated().now

    goes_on, waits, took = simulate(main)
    assert goes_on
    assert [wait.seconds_left for wait in waits] == pytest.approx(told, abs=1e-6)
    assert {replace(wait, seconds_left=0) for wait in waits} == {RetryWait("busy", 3, 7, 0)}
    assert seconds <= took <= seconds + 1e-6


@pytest.mark.parametrize(("seconds", "told"), [(0.05, [0.05, 0]), (1.2, [1.2, 1, 0])])
async def test_a_wait_takes_as_long_as_it_says_on_a_real_clock(seconds: float, told: list[float]) -> None:
    loop, listener = asyncio.get_running_loop(), RecordingListener()
    began = loop.time()
    assert await Patience(RetrySettings(), listener).wait_out(RateLimitError("busy", retry_after=seconds), 1)
    assert seconds <= loop.time() - began <= seconds + 0.1
    assert [wait.seconds_left for wait in listener.waits] == pytest.approx(told, abs=0.1)
    assert listener.waits[-1].seconds_left == 0


@pytest.mark.parametrize("error", [QuotaError("used up"), RateLimitError("busy", retry_after=61)])
async def test_where_there_is_no_retry_nothing_is_waited_for_and_nothing_told(error: ProviderError) -> None:
    listener = RecordingListener()
    async with asyncio.timeout(AT_ONCE):
        assert not await Patience(RetrySettings(), listener).wait_out(error, 1)
    assert listener.waits == []


TOO_OFTEN = "gave up after 2 retries; --max-wait SECONDS tries for longer"
USED_UP = "gave up when the time of --max-wait was used up"


@pytest.mark.parametrize(
    ("before", "error", "settings", "hint"),
    [
        # waits before; then what cannot be waited out
        ([], BUSY, {"max_retries": 0}, "its own"),
        ([], QuotaError("used up"), NONE, "its own"),
        ([], RateLimitError("busy", is_passing=False, retry_after=90), NONE, "its own"),
        ([], RateLimitError("busy", retry_after=90), NONE, "it asks to wait 90 s, longer than --max-wait (60 s)"),
        (
            [],
            RateLimitError("busy", retry_after=7200),
            NONE,
            "it asks to wait 2 hours, longer than --max-wait (60 s)",
        ),
        (
            [],
            RateLimitError("busy", retry_after=1),
            {"max_wait": 0.5},
            "it asks to wait 1 s, longer than --max-wait (0.5 s)",
        ),
        (
            [],
            RateLimitError("busy", retry_after=1),
            {"max_wait": 0},
            "it asks to wait 1 s, longer than --max-wait (0 s)",
        ),
        ([], BUSY, {"max_wait": 0}, USED_UP),
        (
            [59.5],
            RateLimitError("busy", retry_after=9),
            NONE,
            "it asks for another 9 s, and 0 s of --max-wait are left",
        ),
        (
            [20, 10],
            RateLimitError("busy", retry_after=31),
            NONE,
            "it asks for another 31 s, and 30 s of --max-wait are left",
        ),
        (
            [1],
            RateLimitError("busy", retry_after=90),
            {"max_retries": 2},
            "it asks for another 90 s, and 59 s of --max-wait are left",
        ),
        ([60], BUSY, NONE, USED_UP),
        ([1, 1], BUSY, {"max_retries": 2}, TOO_OFTEN),
        ([1, 1], RateLimitError("busy", retry_after=90), {"max_retries": 2}, TOO_OFTEN),
    ],
)
def test_the_hint_says_why_there_is_no_further_try_where_one_could_have_helped(
    before: list[float], error: ProviderError, settings: Settings, hint: str
) -> None:
    error.hint = "its own"

    async def main() -> None:
        patience = Patience(RetrySettings(**settings), RecordingListener())
        for retry, told in enumerate(before, start=1):
            assert await patience.wait_out(RateLimitError("busy", retry_after=told), retry)
        assert not await patience.wait_out(error, len(before) + 1)

    simulate(main)
    assert error.hint == hint


async def test_a_wait_that_was_refused_takes_nothing_from_the_purse() -> None:
    patience = Patience(RetrySettings(max_wait=0.0625), RecordingListener())
    assert not await patience.wait_out(RateLimitError("busy", retry_after=0.125), 1)
    assert await patience.wait_out(RateLimitError("busy", retry_after=0.0625), 1)
    assert not await patience.wait_out(RateLimitError("busy", retry_after=0.0625), 1)


async def test_cancelling_ends_a_wait_at_any_moment() -> None:
    random, loop = Random(20), asyncio.get_running_loop()  # noqa: S311  (it keeps no secrets)
    took: list[float] = []
    for _ in range(CANCELLATIONS):
        listener = RecordingListener()
        wait = Patience(RetrySettings(), listener).wait_out(RateLimitError("busy", retry_after=30), 1)
        task = asyncio.create_task(wait)
        await asyncio.sleep(random.uniform(0, 0.1))
        began = loop.time()
        task.cancel()
        await asyncio.wait([task])
        took.append(loop.time() - began)
        assert task.cancelled()
        assert [round(wait.seconds_left) for wait in listener.waits] == [30]
    assert len(took) == CANCELLATIONS
    assert max(took) < AT_ONCE


async def test_a_turn_that_is_cancelled_while_it_waits_ends_at_once_and_is_kept_as_interrupted() -> None:
    llm, listener, log = FakeLLM(), RecordingListener(), memory_log()
    llm.play(RateLimitError("busy", retry_after=30))
    turn = asyncio.create_task(chat_service(llm).send(log, "prompt", [ENDPOINT], ChatOptions(), listener))
    while not listener.waits:
        await asyncio.sleep(0.01)
    turn.cancel()
    done, _ = await asyncio.wait([turn], timeout=AT_ONCE)
    assert done
    assert turn.cancelled()
    assert [(message.role, message.status) for message in log.conversation.messages] == [
        (Role.USER, Status.COMPLETE),
        (Role.ASSISTANT, Status.INTERRUPTED),
    ]


async def test_all_models_of_a_turn_wait_out_of_one_purse() -> None:
    llm, listener, settings = TimedLLM(), RecordingListener(), RetrySettings(max_wait=0.375)
    for told in (0.25, 0.25, 0.125, 0.125):
        llm.play(RateLimitError("busy", retry_after=told))
    chat = chat_service(llm, retries=settings)
    with pytest.raises(RateLimitError):
        await chat.send(memory_log(), "prompt", [ENDPOINT, OTHER], ChatOptions(), listener)
    assert [model for model, _ in llm.asked] == ["model", "model", "other", "other"]
    pauses = [after - before for (_, before), (_, after) in pairwise(llm.asked)]
    assert pauses == pytest.approx([0.25, 0, 0.125], abs=0.1)
    assert retries_told(listener) == [1, 1]
    assert listener.fallbacks == [("busy", "fake/other")]


async def test_a_new_turn_has_a_new_purse() -> None:
    llm, listener = TimedLLM(), RecordingListener()
    chat = chat_service(llm, retries=RetrySettings(max_wait=0.0625))
    for _ in range(2):
        llm.play(RateLimitError("busy", retry_after=0.0625))
        llm.reply("fine")
        reply = await chat.send(memory_log(), "prompt", [ENDPOINT], ChatOptions(), listener)
        assert reply.content == "fine"
    assert len(llm.asked) == 4


async def test_nothing_is_asked_again_once_text_has_come() -> None:
    llm, listener = TimedLLM(), RecordingListener()
    llm.play(Chunk("some"), RateLimitError("busy", retry_after=0.01))
    llm.play(Chunk("again"), DONE)
    with pytest.raises(Exception, match="the answer broke off: busy"):
        await chat_service(llm).send(memory_log(), "prompt", [ENDPOINT, OTHER], ChatOptions(), listener)
    assert (len(llm.asked), listener.waits, listener.fallbacks) == (1, [], [])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 s"),
        (1.4, "1 s"),
        (119, "119 s"),
        (120, "2 min"),
        (3600, "60 min"),
        (7200, "2 hours"),
        (90_000, "25 hours"),
        (200_000, "2 days"),
        (1e300, "11574 days"),
    ],
)
def test_a_wait_is_said_as_a_person_says_it(seconds: float, words: str) -> None:
    assert spelled(seconds) == words
