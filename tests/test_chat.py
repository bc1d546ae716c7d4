import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chatllm_cli.config import CacheSettings, Places, TimeoutSettings
from chatllm_cli.errors import IncompleteAnswerError, ProviderTimeoutError, QuotaError, UsageError
from chatllm_cli.models import ChatOptions, ChatRequest, Chunk, Conversation, Message, Role, Status, TokenUsage
from chatllm_cli.services.cache import ResponseCache
from chatllm_cli.services.chat import ChatService
from chatllm_cli.services.chat.context import context, status_of
from chatllm_cli.services.history import HistoryService, OpenConversation
from tests.fakes import DONE, ENDPOINT, FakeLLM, RecordingListener, Step

Said = list[tuple[Role, str, Status]]


class Desk:
    """A chat service over a fake model and real files, and one conversation on it."""

    def __init__(
        self, places: Places, *, cache: ResponseCache | None = None, timeouts: TimeoutSettings | None = None
    ) -> None:
        self.llm = FakeLLM()
        self.listener = RecordingListener()
        self.history = HistoryService(places.conversations)
        self.chat = ChatService(self.llm, timeouts=timeouts, cache=cache)
        self.log: OpenConversation = self.history.start("prompt", model=ENDPOINT.address)

    async def send(self, prompt: str, options: ChatOptions | None = None) -> Message:
        return await self.chat.send(self.log, prompt, [ENDPOINT], options or ChatOptions(), self.listener)

    async def stored(self) -> Said:
        """What another process would read now."""
        conversation = await self.history.load(self.log.conversation.id)
        return [(message.role, message.content, message.status) for message in conversation.thread()]

    async def wait_for_reply(self, content: str) -> None:
        """Wait until another process would read `content` of a reply that has not ended."""
        async with asyncio.timeout(10):
            while not self.llm.requests or (await self.stored())[-1] != (Role.ASSISTANT, content, Status.INTERRUPTED):
                await asyncio.sleep(0.01)


@pytest.fixture
def desk(places: Places) -> Desk:
    return Desk(places)


async def test_a_turn_streams_to_the_listener_and_ends_on_the_disk(desk: Desk) -> None:
    desk.llm.reply("a", "b")
    reply = await desk.send("prompt")
    assert desk.listener.chunks == ["a", "b"]
    assert (reply.content, reply.status, reply.usage, reply.model) == (
        "ab",
        Status.COMPLETE,
        TokenUsage(7, 3),
        "fake/model",
    )
    assert await desk.stored() == [
        (Role.USER, "prompt", Status.COMPLETE),
        (Role.ASSISTANT, "ab", Status.COMPLETE),
    ]


async def test_the_prompt_is_on_the_disk_before_the_request(desk: Desk) -> None:
    stored: Said = []

    class Nosy(FakeLLM):
        async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk]:
            stored.extend(await desk.stored())
            yield DONE

    await ChatService(Nosy()).send(desk.log, "mine", [ENDPOINT], ChatOptions(), desk.listener)
    assert stored == [(Role.USER, "mine", Status.COMPLETE)]


async def test_what_streams_is_on_the_disk_at_once_and_then_every_second(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatllm_cli.services.chat.draft.SECONDS_BETWEEN_MARKS", 0.01)
    more = asyncio.Event()
    desk.llm.play(Chunk("a"), more, Chunk("b"), 30.0)
    turn = asyncio.ensure_future(desk.send("prompt"))
    await desk.wait_for_reply("a")
    more.set()
    await desk.wait_for_reply("ab")
    turn.cancel()
    await asyncio.wait([turn])


async def test_a_cancelled_turn_keeps_what_came_and_closes_the_stream(desk: Desk) -> None:
    desk.llm.play(Chunk("half "), Chunk("of it"), 30.0)
    turn = asyncio.ensure_future(desk.send("prompt"))
    while len(desk.listener.chunks) < 2:
        await asyncio.sleep(0.01)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert (await desk.stored())[-1] == (Role.ASSISTANT, "half of it", Status.INTERRUPTED)
    assert desk.llm.closed == 1


async def test_a_listener_that_fails_ends_the_turn_and_keeps_what_came(desk: Desk) -> None:
    class ClosedPipe(RecordingListener):
        def on_chunk(self, text: str) -> None:
            raise BrokenPipeError

    desk.llm.reply("a", "b")
    with pytest.raises(BrokenPipeError):
        await desk.chat.send(desk.log, "prompt", [ENDPOINT], ChatOptions(), ClosedPipe())
    assert (await desk.stored())[-1] == (Role.ASSISTANT, "a", Status.INTERRUPTED)
    assert desk.llm.closed == 1


async def test_a_failure_before_any_text_is_raised_as_it_is_and_marked(desk: Desk) -> None:
    desk.llm.play(QuotaError("slow down"))
    with pytest.raises(QuotaError, match="slow down"):
        await desk.send("prompt")
    assert (await desk.stored())[-1] == (Role.ASSISTANT, "", Status.ERROR)


async def test_a_failure_after_some_text_is_an_incomplete_answer(desk: Desk) -> None:
    desk.llm.play(Chunk("some"), QuotaError("slow down"))
    with pytest.raises(IncompleteAnswerError, match="the answer broke off: slow down") as raised:
        await desk.send("prompt")
    assert isinstance(raised.value.__cause__, QuotaError)
    assert (await desk.stored())[-1] == (Role.ASSISTANT, "some", Status.ERROR)


async def test_silence_is_given_up_after_the_first_token_limit(places: Places) -> None:
    desk = Desk(places, timeouts=TimeoutSettings(first_token=0.05))
    desk.llm.play(30.0)
    with pytest.raises(ProviderTimeoutError, match="fake/model sent nothing for 0.05 s"):
        await desk.send("prompt")


async def test_a_stall_is_given_up_after_the_idle_limit_and_empty_chunks_do_not_count(places: Places) -> None:
    desk = Desk(places, timeouts=TimeoutSettings(first_token=5, idle=0.1))
    empty: list[Step] = [Chunk(), 0.03]
    desk.llm.play(Chunk("some"), *empty * 1000)
    with pytest.raises(IncompleteAnswerError):
        await asyncio.wait_for(desk.send("prompt"), 10)
    assert (await desk.stored())[-1] == (Role.ASSISTANT, "some", Status.ERROR)


async def test_the_embedded_model_may_take_its_time(places: Places) -> None:
    desk = Desk(places, timeouts=TimeoutSettings(first_token=0.02))
    desk.llm.play(0.1, Chunk("slow"), DONE)
    endpoint = replace(ENDPOINT, weights="sha256:…")
    reply = await desk.chat.send(desk.log, "prompt", [endpoint], ChatOptions(), desk.listener)
    assert reply.content == "slow"


@pytest.mark.parametrize("prompt", ["", " ", "\n\t"])
async def test_an_empty_prompt_is_refused_and_not_kept(desk: Desk, places: Places, prompt: str) -> None:
    with pytest.raises(UsageError, match="the prompt is empty"):
        await desk.send(prompt)
    assert not places.conversations.exists()


async def test_a_history_that_fails_is_told_and_the_turn_goes_on(desk: Desk, places: Places) -> None:
    places.data.parent.mkdir(parents=True)
    places.data.write_text("in the way")
    desk.llm.reply("answer")
    reply = await desk.send("prompt")
    assert reply.content == "answer"
    assert len(desk.listener.history_errors) == 2
    places.data.unlink()
    desk.llm.reply("again")
    await desk.send("more")
    assert [content for _, content, _ in await desk.stored()] == ["prompt", "answer", "more", "again"]


async def test_a_complete_answer_is_given_again_from_the_cache(places: Places) -> None:
    cache = ResponseCache(places.responses, CacheSettings(mode="always"))
    desk = Desk(places, cache=cache)
    desk.llm.reply("answer")
    await desk.send("prompt")
    desk.log = desk.history.start("prompt", model=ENDPOINT.address)
    reply = await desk.send("prompt")
    await cache.aclose()
    assert (reply.content, reply.cached, len(desk.llm.requests)) == ("answer", True, 1)
    assert desk.listener.chunks == ["answer", "answer"]
    assert [at.date() for at in desk.listener.cached] == [datetime.now(UTC).date()]


UNFIT: dict[str, Sequence[Step]] = {
    "nothing": [DONE],
    "white space": [Chunk(" \n"), DONE],
    "no end": [Chunk("text")],
    "length": [Chunk("text"), Chunk(finish_reason="length")],
    "filter": [Chunk("text"), Chunk(finish_reason="content_filter")],
    "a failure": [Chunk("text"), QuotaError("slow down")],
}


@pytest.mark.parametrize("script", UNFIT.values(), ids=UNFIT.keys())
async def test_an_answer_that_is_not_whole_is_never_cached(places: Places, script: Sequence[Step]) -> None:
    cache = ResponseCache(places.responses, CacheSettings(mode="always"))
    desk = Desk(places, cache=cache)
    for _ in range(2):
        desk.log = desk.history.start("prompt", model=ENDPOINT.address)
        desk.llm.play(*script)
        try:
            await desk.send("prompt")
        except IncompleteAnswerError:
            continue
    await cache.aclose()
    assert len(desk.llm.requests) == 2


def said(role: Role, content: str, number: int, status: Status = Status.COMPLETE) -> Message:
    parent = str(number - 1) if number else None
    return Message(str(number), role, content, at=datetime.now(UTC), parent=parent, status=status)


@pytest.mark.parametrize(
    ("told", "sent"),
    [
        ([("user", "a")], [("user", "a")]),
        ([("user", "a"), ("assistant", "b"), ("user", "c")], [("user", "a"), ("assistant", "b"), ("user", "c")]),
        ([("user", "failed"), ("assistant", ""), ("user", "c")], [("user", "c")]),
        ([("user", "killed"), ("user", "c")], [("user", "c")]),
        (
            [("user", "a"), ("assistant", "half"), ("user", "c")],
            [("user", "a"), ("assistant", "half"), ("user", "c")],
        ),
        ([("assistant", "orphan"), ("user", "c")], [("user", "c")]),
    ],
)
def test_a_request_carries_each_prompt_that_was_answered_and_the_new_one(
    told: list[tuple[str, str]], sent: list[tuple[str, str]]
) -> None:
    messages = tuple(said(Role(role), content, number) for number, (role, content) in enumerate(told))
    conversation = Conversation("id", "title", datetime.now(UTC), messages=messages, head=messages[-1].id)
    assert list(context(conversation)) == sent
    with_system = replace(conversation, system_prompt="Be kind.")
    assert list(context(with_system)) == [("system", "Be kind."), *sent]


@pytest.mark.parametrize(
    ("finish_reason", "status"),
    [
        ("stop", Status.COMPLETE),
        ("end_turn", Status.COMPLETE),
        ("STOP", Status.COMPLETE),
        ("length", Status.TRUNCATED),
        ("MAX_TOKENS", Status.TRUNCATED),
        ("SAFETY", Status.FILTERED),
        ("tool_calls", Status.UNKNOWN_END),
        ("error", Status.UNKNOWN_END),
        ("42", Status.UNKNOWN_END),
        ("content_filter", Status.FILTERED),
        (None, Status.UNKNOWN_END),
    ],
)
def test_the_finish_reason_decides_what_a_reply_is_worth(finish_reason: str | None, status: Status) -> None:
    assert status_of(finish_reason) is status
