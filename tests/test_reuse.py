"""What turns do with the cache: which answers are kept, how they are given again, and that each is asked for once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.config.sections import LimitSettings, RetrySettings, TimeoutSettings
from chatllm_cli.errors import ChatllmError, ProviderUnavailableError, QuotaError
from chatllm_cli.models import (
    ChatOptions,
    ChatRequest,
    Chunk,
    Completion,
    Endpoint,
    Message,
    Role,
    Status,
    TokenUsage,
)
from chatllm_cli.services.cache import ResponseCache
from chatllm_cli.services.history import HistoryService
from tests.caches import disk_cache
from tests.fakes import DONE, ENDPOINT, FakeLLM, RecordingListener, Step, chat_service

SPARE = replace(ENDPOINT, model="spare")
STRICT = replace(ENDPOINT, marks_end=True)


class Counter:
    """Turns over a fake model, each in a conversation of its own."""

    def __init__(self, places: Places, cache: ResponseCache) -> None:
        self.llm = FakeLLM()
        self.cache = cache
        self.history = HistoryService(places.conversations)
        self.listeners: list[RecordingListener] = []
        self.chat = chat_service(
            self.llm,
            cache=cache,
            timeouts=TimeoutSettings(first_token=0.3, idle=0.3),
            retries=RetrySettings(max_retries=0),
            limits=LimitSettings(reply_mb=0.001),
        )

    async def send(self, prompt: str = "prompt", endpoints: Sequence[Endpoint] = (ENDPOINT,)) -> Message:
        self.listeners.append(RecordingListener())
        log = self.history.start(prompt, model=ENDPOINT.address)
        return await self.chat.send(log, prompt, endpoints, ChatOptions(), self.listeners[-1])

    @property
    def asked(self) -> int:
        return len(self.llm.requests)


@pytest.fixture
async def counter(places: Places) -> AsyncIterator[Counter]:
    cache = disk_cache(places.responses, mode="always")
    yield Counter(places, cache)
    await cache.aclose()


async def test_a_complete_answer_is_given_again_as_it_came_and_takes_nothing(counter: Counter) -> None:
    counter.llm.play(Chunk(reasoning="hm"), Chunk("ans"), Chunk("wer"), DONE)
    first = await counter.send()
    again = await counter.send()
    assert (first.content, first.cached, first.usage) == ("answer", False, TokenUsage(7, 3))
    assert (again.content, again.reasoning, again.finish_reason) == ("answer", "hm", "stop")
    assert (again.cached, again.usage, again.status) == (True, TokenUsage(0, 0), Status.COMPLETE)
    listener = counter.listeners[-1]
    assert (listener.reasoning, listener.chunks, counter.asked) == (["hm"], ["answer"], 1)
    assert [at.date() for at in listener.cached] == [datetime.now(UTC).date()]


NEVER_KEPT: dict[str, Sequence[Step]] = {
    "nothing at all": [],
    "an end alone": [DONE],
    "white space": [Chunk(" \n\t"), DONE],
    "a thought alone": [Chunk(reasoning="hm"), DONE],
    "no end": [Chunk("text")],
    "an end that is empty": [Chunk("text"), Chunk(finish_reason="")],
    "too long": [Chunk("text"), Chunk(finish_reason="length")],
    "filtered": [Chunk("text"), Chunk(finish_reason="content_filter")],
    "a tool is wanted": [Chunk("text"), Chunk(finish_reason="tool_calls")],
    "a function is wanted": [Chunk("text"), Chunk(finish_reason="function_call")],
    "an end of another kind": [Chunk("text"), Chunk(finish_reason="weird")],
    "a failure before": [QuotaError("slow down")],
    "a failure amidst": [Chunk("text"), QuotaError("slow down")],
    "a crash amidst": [Chunk("text"), RuntimeError("a bug")],
    "a stall before": [asyncio.Event()],
    "a stall amidst": [Chunk("text"), asyncio.Event()],
    "more than is taken": [Chunk("x" * 1_001), DONE],
}


@pytest.mark.parametrize("script", NEVER_KEPT.values(), ids=NEVER_KEPT)
async def test_an_answer_that_is_not_whole_is_never_kept(counter: Counter, script: Sequence[Step]) -> None:
    for _ in range(2):
        counter.llm.play(*script)
        with suppress(ChatllmError, RuntimeError):
            await counter.send(endpoints=[STRICT])
    assert counter.asked == 2
    counter.llm.reply("whole")
    assert (await counter.send(endpoints=[STRICT])).content == "whole"


async def test_an_answer_that_is_stopped_is_never_kept(counter: Counter) -> None:
    counter.llm.play(Chunk("text"), asyncio.Event())
    turn = asyncio.ensure_future(counter.send())
    while not (counter.listeners and counter.listeners[0].chunks):
        await asyncio.sleep(0.01)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    counter.llm.reply("whole")
    assert (await counter.send()).content == "whole"


async def test_half_an_answer_is_no_key_to_the_other_half(counter: Counter) -> None:
    for _ in range(2):
        log = counter.history.start("prompt", model=ENDPOINT.address)
        counter.llm.reply("one ", end=Chunk(finish_reason="length"))
        counter.llm.reply("two")
        await counter.chat.send(log, "prompt", [ENDPOINT], ChatOptions(), RecordingListener())
        await counter.chat.go_on(log, [ENDPOINT], ChatOptions(), RecordingListener())
    assert counter.asked == 4


async def test_two_identical_requests_at_once_are_one(counter: Counter) -> None:
    counter.llm.play(Chunk("ans"), 0.1, Chunk("wer"), DONE)
    replies = await asyncio.gather(*(counter.send() for _ in range(8)))
    assert [reply.content for reply in replies] == ["answer"] * 8
    assert (sorted(reply.cached for reply in replies), counter.asked) == ([False] + [True] * 7, 1)


async def test_different_requests_do_not_wait_for_each_other(counter: Counter) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    for gate in gates:
        counter.llm.play(gate, Chunk("answer"), DONE)
    turns = [asyncio.ensure_future(counter.send(prompt)) for prompt in ("one", "two")]
    while counter.asked < 2:
        await asyncio.sleep(0.01)
    for gate in gates:
        gate.set()
    assert [reply.cached for reply in await asyncio.gather(*turns)] == [False, False]


@pytest.mark.parametrize("end", [Chunk(finish_reason="length"), QuotaError("slow down")], ids=["cut", "failed"])
async def test_whoever_waited_for_an_answer_that_is_not_whole_asks_at_once(counter: Counter, end: Step) -> None:
    counter.llm.play(0.05, Chunk("te"), end)
    for _ in range(3):
        counter.llm.play(0.2, Chunk("text"), DONE)
    begin = asyncio.get_running_loop().time()
    results = await asyncio.gather(*(counter.send() for _ in range(4)), return_exceptions=True)
    assert asyncio.get_running_loop().time() - begin < 0.5  # not three times 0.2 s, one after the other
    assert counter.asked == 4
    assert [each.content for each in results if isinstance(each, Message)].count("text") == 3


async def test_whoever_waits_can_be_stopped_and_holds_nobody_up(counter: Counter) -> None:
    gate = asyncio.Event()
    counter.llm.play(gate, Chunk("answer"), DONE)
    turns = [asyncio.ensure_future(counter.send())]
    while counter.asked < 1:
        await asyncio.sleep(0.01)
    turns += [asyncio.ensure_future(counter.send()) for _ in range(2)]
    await asyncio.sleep(0.1)
    turns[1].cancel()
    gate.set()
    results = await asyncio.gather(*turns, return_exceptions=True)
    assert [type(each) for each in results] == [Message, asyncio.CancelledError, Message]
    assert counter.asked == 1


async def test_a_model_that_failed_holds_nobody_up_while_another_answers(counter: Counter) -> None:
    counter.llm.play(0.02, ProviderUnavailableError("no"))
    counter.llm.play(0.02, ProviderUnavailableError("no"))
    counter.llm.play(0.02, ProviderUnavailableError("no"))
    counter.llm.play(0.02, ProviderUnavailableError("no"))
    async with asyncio.timeout(5):
        results = await asyncio.gather(
            counter.send(endpoints=[ENDPOINT, SPARE]),
            counter.send(endpoints=[SPARE, ENDPOINT]),
            return_exceptions=True,
        )
    assert {type(each) for each in results} == {ProviderUnavailableError}


async def test_a_fallbacks_answer_is_kept_as_its_own(counter: Counter) -> None:
    counter.llm.play(ProviderUnavailableError("no"))
    counter.llm.reply("answer")
    await counter.send(endpoints=[ENDPOINT, SPARE])
    assert (await counter.send(endpoints=[SPARE])).cached
    counter.llm.reply("another")
    assert (await counter.send()).content == "another"


async def test_refreshing_asks_again_and_replaces_the_answer(places: Places) -> None:
    cache, fresh = (disk_cache(places.responses, mode=mode) for mode in ("always", "refresh"))
    old, new = Counter(places, cache), Counter(places, fresh)
    old.llm.reply("old")
    await old.send()
    new.llm.reply("new")
    assert (await new.send()).cached is False
    reply = await old.send()
    assert (reply.content, reply.cached) == ("new", True)
    new.llm.play(0.05, Chunk("newer"), DONE)
    at_once = await asyncio.gather(new.send(), new.send())
    assert [each.content for each in at_once] == ["newer", "newer"]
    await cache.aclose()
    await fresh.aclose()


async def test_a_refresh_that_waited_never_takes_the_old_answer(places: Places) -> None:
    cache, fresh = (disk_cache(places.responses, mode=mode) for mode in ("always", "refresh"))
    old, new = Counter(places, cache), Counter(places, fresh)
    old.llm.reply("old")
    await old.send()
    new.llm.play(0.1, QuotaError("slow down"))
    new.llm.reply("new")
    results = await asyncio.gather(new.send(), new.send(), return_exceptions=True)
    assert [each.content for each in results if isinstance(each, Message)] == ["new"]
    await cache.aclose()
    await fresh.aclose()


@pytest.mark.parametrize(
    "completion", [Completion(" ", "stop"), Completion("text", "length"), Completion("text", None)], ids=range(3)
)
async def test_an_entry_that_is_no_whole_answer_is_not_given(counter: Counter, completion: Completion) -> None:
    await counter.cache.put(ChatRequest(STRICT, ((Role.USER, "prompt"),)), completion)
    counter.llm.reply("whole")
    assert (await counter.send(endpoints=[STRICT])).content == "whole"


async def test_an_answer_whose_conversation_was_removed_meanwhile_is_not_kept(counter: Counter) -> None:
    gate = asyncio.Event()
    counter.llm.play(Chunk("ans"), gate, Chunk("wer"), DONE)
    turn = asyncio.ensure_future(counter.send())
    while not (counter.listeners and counter.listeners[0].chunks):
        await asyncio.sleep(0.01)
    (listed,) = (await counter.history.list()).conversations
    await counter.history.upkeep.remove([listed.id])
    gate.set()
    await turn
    assert (await counter.cache.stats()).entries == 0


async def test_a_long_cached_answer_can_be_stopped_and_what_was_shown_is_kept(counter: Counter) -> None:
    counter.llm.reply("short")
    await counter.send()
    await counter.cache.put(counter.llm.requests[0], Completion("word " * 100_000, "stop"))

    class Impatient(RecordingListener):
        def on_chunk(self, text: str) -> None:
            super().on_chunk(text)
            if len(self.chunks) == 2:
                turn.cancel()

    log = counter.history.start("prompt", model=ENDPOINT.address)
    turn = asyncio.ensure_future(counter.chat.send(log, "prompt", [ENDPOINT], ChatOptions(), Impatient()))
    with pytest.raises(asyncio.CancelledError):
        await turn
    reply = log.conversation.thread()[-1]
    assert (reply.status, reply.cached) == (Status.INTERRUPTED, True)
    assert 0 < len(reply.content) < 20_000
