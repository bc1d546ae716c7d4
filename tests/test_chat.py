import asyncio
import fcntl
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.config.sections import LimitSettings, RetrySettings, TimeoutSettings
from chatllm_cli.errors import (
    AuthenticationError,
    IncompleteAnswerError,
    InvalidReplyError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    QuotaError,
    RateLimitError,
    UsageError,
)
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
)
from chatllm_cli.services.cache import ResponseCache
from chatllm_cli.services.chat.context import GO_ON, context, status_of
from chatllm_cli.services.history import Aside, HistoryService, OpenConversation
from chatllm_cli.services.redaction import PromptGuard
from tests.fakes import DONE, ENDPOINT, FakeLLM, RecordingListener, Step, chat_service

Said = list[tuple[Role, str, Status]]


class Desk:
    """A chat service over a fake model and real files, and one conversation on it."""

    def __init__(
        self,
        places: Places,
        *,
        cache: ResponseCache | None = None,
        timeouts: TimeoutSettings | None = None,
        retries: RetrySettings | None = None,
        limits: LimitSettings | None = None,
    ) -> None:
        self.llm = FakeLLM()
        self.listener = RecordingListener()
        self.history = HistoryService(places.conversations)
        self.chat = chat_service(self.llm, timeouts=timeouts, retries=retries, limits=limits, cache=cache)
        self.log: OpenConversation = self.history.start("prompt", model=ENDPOINT.address)

    async def send(self, prompt: str, *, endpoints: Sequence[Endpoint] = (ENDPOINT,)) -> Message:
        return await self.chat.send(self.log, prompt, endpoints, ChatOptions(), self.listener)

    async def go_on(self, *, endpoints: Sequence[Endpoint] = (ENDPOINT,)) -> Message:
        return await self.chat.go_on(self.log, endpoints, ChatOptions(), self.listener)

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

    await chat_service(Nosy()).send(desk.log, "mine", [ENDPOINT], ChatOptions(), desk.listener)
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


async def test_a_turn_that_is_cancelled_while_its_prompt_is_saved_says_that_its_answer_was_stopped(
    desk: Desk, places: Places
) -> None:
    desk.llm.play(Chunk("first"), DONE)
    await desk.send("one")
    (journal,) = places.conversations.rglob("*.jsonl")
    with journal.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        turn = asyncio.ensure_future(desk.send("two"))
        await asyncio.sleep(0.05)
        turn.cancel()
        await asyncio.sleep(0.05)
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert await desk.stored() == [
        (Role.USER, "one", Status.COMPLETE),
        (Role.ASSISTANT, "first", Status.COMPLETE),
        (Role.USER, "two", Status.COMPLETE),
        (Role.ASSISTANT, "", Status.INTERRUPTED),
    ]
    assert len(desk.llm.requests) == 1


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
    with pytest.raises(ProviderTimeoutError, match=r"fake/model sent nothing for 0\.05 s"):
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
        (
            [("user", "a"), ("assistant", "I look"), ("system", "found: 3"), ("assistant", "It is 3"), ("user", "c")],
            [("user", "a"), ("assistant", "I look\n\nfound: 3\n\nIt is 3"), ("user", "c")],
        ),
        (
            [("system", "a tool's"), ("user", "a"), ("assistant", ""), ("system", "late"), ("user", "c")],
            [("user", "a"), ("assistant", "late"), ("user", "c")],
        ),
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
        ("error", Status.ERROR),
        ("42", Status.UNKNOWN_END),
        ("content_filter", Status.FILTERED),
        (None, Status.UNKNOWN_END),
    ],
)
def test_the_finish_reason_decides_what_a_reply_is_worth(finish_reason: str | None, status: Status) -> None:
    assert status_of(finish_reason) is status


OTHER = replace(ENDPOINT, provider="other")
THIRD = replace(ENDPOINT, provider="third")
NO_WAIT = RetrySettings(first_delay=0.01, max_retries=2)


async def test_a_passing_failure_is_tried_again_and_told(places: Places) -> None:
    desk = Desk(places, retries=NO_WAIT)
    desk.llm.play(RateLimitError("rate limited by fake", words="slow down"))
    desk.llm.play(ProviderUnavailableError("fake failed"))
    desk.llm.reply("at last")
    reply = await desk.send("prompt")
    assert (reply.content, reply.status, len(desk.llm.requests)) == ("at last", Status.COMPLETE, 3)
    told = {(wait.reason, wait.retry, wait.max_retries) for wait in desk.listener.waits}
    assert told == {("rate limited by fake", 1, 2), ("fake failed", 2, 2)}
    assert [m.content for m in desk.log.conversation.messages] == ["prompt", "at last"]


@pytest.mark.parametrize(
    "failure", [QuotaError("empty"), AuthenticationError("who?"), ProviderError("no"), ProviderTimeoutError("slow")]
)
async def test_a_failure_that_stays_is_not_tried_again(places: Places, failure: ProviderError) -> None:
    desk = Desk(places, retries=NO_WAIT)
    desk.llm.play(failure)
    with pytest.raises(type(failure)):
        await desk.send("prompt")
    assert (len(desk.llm.requests), desk.listener.waits) == (1, [])


async def test_nothing_is_tried_again_once_text_has_come(places: Places) -> None:
    desk = Desk(places, retries=NO_WAIT)
    desk.llm.play(Chunk("some"), ProviderUnavailableError("fake failed"))
    with pytest.raises(IncompleteAnswerError):
        await desk.send("prompt", endpoints=[ENDPOINT, OTHER])
    assert (len(desk.llm.requests), desk.listener.waits, desk.listener.fallbacks) == (1, [], [])


async def test_a_wait_that_is_cancelled_ends_at_once_and_the_prompt_stays(places: Places) -> None:
    desk = Desk(places)
    desk.llm.play(RateLimitError("rate limited by fake", retry_after=30))
    turn = asyncio.ensure_future(desk.send("prompt"))
    while not desk.listener.waits:
        await asyncio.sleep(0.01)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(turn, 1)
    assert await desk.stored() == [(Role.USER, "prompt", Status.COMPLETE), (Role.ASSISTANT, "", Status.INTERRUPTED)]


@pytest.mark.parametrize(
    "failure", [QuotaError("empty"), ProviderTimeoutError("slow"), ProviderUnavailableError("gone", is_passing=False)]
)
async def test_another_model_is_asked_when_one_cannot_answer_and_history_says_which(
    desk: Desk, failure: ProviderError
) -> None:
    desk.llm.play(failure)
    desk.llm.play(failure)
    desk.llm.reply("here")
    reply = await desk.send("prompt", endpoints=[ENDPOINT, OTHER, THIRD])
    assert (reply.content, reply.model) == ("here", "third/model")
    assert desk.listener.fallbacks == [(failure.reason, "other/model"), (failure.reason, "third/model")]
    assert [request.endpoint for request in desk.llm.requests] == [ENDPOINT, OTHER, THIRD]
    stored = await desk.history.load(desk.log.conversation.id)
    assert [message.model for message in stored.messages] == [None, "third/model"]


@pytest.mark.parametrize("failure", [AuthenticationError("who?"), ProviderError("no"), InvalidReplyError("what?")])
async def test_another_model_is_not_asked_for_what_is_wrong_with_the_request(
    desk: Desk, failure: ProviderError
) -> None:
    desk.llm.play(failure)
    with pytest.raises(type(failure)):
        await desk.send("prompt", endpoints=[ENDPOINT, OTHER])
    assert (len(desk.llm.requests), desk.listener.fallbacks) == (1, [])


async def test_when_no_model_answers_the_last_ones_failure_is_told(desk: Desk) -> None:
    desk.llm.play(QuotaError("empty"))
    desk.llm.play(ProviderTimeoutError("other is slow"))
    with pytest.raises(ProviderTimeoutError, match="other is slow"):
        await desk.send("prompt", endpoints=[ENDPOINT, OTHER])
    assert (await desk.stored())[-1] == (Role.ASSISTANT, "", Status.ERROR)
    assert desk.log.conversation.messages[-1].model == "other/model"


async def test_an_end_without_a_reason_is_a_cut_where_the_provider_always_gives_one(desk: Desk) -> None:
    desk.llm.reply("text", end=None)
    desk.llm.reply("text", end=None)
    assert (await desk.send("prompt")).status is Status.UNKNOWN_END
    reply = await desk.send("prompt", endpoints=[replace(ENDPOINT, marks_end=True)])
    assert (reply.status, reply.finish_reason) == (Status.TRUNCATED, None)


async def test_an_answer_that_never_begins_is_none(desk: Desk) -> None:
    desk.llm.play(Chunk())
    with pytest.raises(InvalidReplyError, match="fake/model ended its answer before it began"):
        await desk.send("prompt")


async def test_an_answer_that_takes_too_long_in_all_is_given_up(places: Places) -> None:
    desk = Desk(places, timeouts=TimeoutSettings(total=0.2))
    more: list[Step] = [Chunk("x"), 0.03]
    desk.llm.play(*more * 1000)
    with pytest.raises(IncompleteAnswerError, match=r"fake/model did not finish its answer in 0\.2 s"):
        await asyncio.wait_for(desk.send("prompt"), 10)


async def test_thinking_aloud_counts_as_a_sign_of_life(places: Places) -> None:
    desk = Desk(places, timeouts=TimeoutSettings(first_token=0.1, idle=0.1))
    thinking: list[Step] = [Chunk(reasoning="hm"), 0.05]
    desk.llm.play(*thinking * 6, Chunk("done"), DONE)
    assert (await desk.send("prompt")).content == "done"


async def test_an_answer_without_end_is_cut_at_the_limit(places: Places) -> None:
    desk = Desk(places, limits=LimitSettings(reply_mb=0.001))
    desk.llm.reply(*["x" * 100] * 100)
    with pytest.raises(IncompleteAnswerError, match=r"it passed the limit of 0\.001 MB"):
        await desk.send("prompt")
    assert len((await desk.stored())[-1][1]) == 1100


async def test_an_incomplete_answer_is_taken_up_where_it_stopped(desk: Desk) -> None:
    desk.llm.play(Chunk("Once upon "), QuotaError("empty"))
    with pytest.raises(IncompleteAnswerError):
        await desk.send("prompt")
    desk.listener.chunks.clear()
    desk.llm.reply("a time")
    reply = await desk.go_on()
    assert (reply.content, reply.status, desk.listener.chunks) == ("Once upon a time", Status.COMPLETE, ["a time"])
    assert desk.llm.requests[-1].messages == (
        (Role.USER, "prompt"),
        (Role.ASSISTANT, "Once upon "),
        (Role.USER, GO_ON),
    )
    assert await desk.stored() == [
        (Role.USER, "prompt", Status.COMPLETE),
        (Role.ASSISTANT, "Once upon a time", Status.COMPLETE),
    ]
    stored = await desk.history.load(desk.log.conversation.id)
    assert ([m.content for m in stored.messages], stored.aside()) == (
        ["prompt", "Once upon ", "Once upon a time"],
        (),
    )


async def test_the_embedded_model_goes_on_by_itself(desk: Desk) -> None:
    embedded = replace(ENDPOINT, weights="sha256:…")
    desk.llm.reply("Once ", end=Chunk(finish_reason="length"))
    await desk.send("prompt", endpoints=[embedded])
    desk.llm.reply("upon")
    await desk.go_on(endpoints=[embedded])
    assert desk.llm.requests[-1].messages == ((Role.USER, "prompt"), (Role.ASSISTANT, "Once "))


async def test_an_answer_may_be_taken_up_again_and_again_and_what_was_said_next_carries_all_of_it(desk: Desk) -> None:
    for text in ("a", "b", "c"):
        desk.llm.reply(text, end=Chunk(finish_reason="length"))
    desk.llm.reply("fine")
    await desk.send("prompt")
    await desk.go_on()
    await desk.go_on()
    await desk.send("thanks")
    assert desk.llm.requests[-1].messages == (
        (Role.USER, "prompt"),
        (Role.ASSISTANT, "abc"),
        (Role.USER, "thanks"),
    )
    assert desk.log.conversation.aside() == ()


async def test_a_prompt_whose_answer_never_came_is_answered(desk: Desk) -> None:
    desk.llm.play(QuotaError("empty"))
    with pytest.raises(QuotaError):
        await desk.send("prompt")
    desk.llm.play(QuotaError("still empty"))
    with pytest.raises(QuotaError, match="still empty"):
        await desk.go_on()
    desk.llm.reply("here")
    reply = await desk.go_on()
    assert (reply.content, desk.llm.requests[-1].messages) == ("here", ((Role.USER, "prompt"),))
    assert [m.content for m in desk.log.conversation.messages] == ["prompt", "", "here"]
    assert desk.log.conversation.aside() == ()


async def test_going_on_that_breaks_off_keeps_what_came_of_both(desk: Desk) -> None:
    desk.llm.reply("one ", end=Chunk(finish_reason="length"))
    await desk.send("prompt")
    desk.llm.play(Chunk("two "), 30.0)
    turn = asyncio.ensure_future(desk.go_on())
    while desk.listener.chunks[-1] != "two ":
        await asyncio.sleep(0.01)
    turn.cancel()
    await asyncio.wait([turn])
    assert (await desk.stored())[-1] == (Role.ASSISTANT, "one two ", Status.INTERRUPTED)
    desk.llm.play(QuotaError("empty"))
    with pytest.raises(QuotaError):
        await desk.go_on()
    assert (await desk.stored())[-1] == (Role.ASSISTANT, "one two ", Status.INTERRUPTED)


async def test_a_kill_while_going_on_keeps_what_came_of_both(desk: Desk) -> None:
    desk.llm.reply("one ", end=Chunk(finish_reason="length"))
    await desk.send("prompt")
    desk.llm.play(Chunk("two "), 30.0)
    turn = asyncio.ensure_future(desk.go_on())
    await desk.wait_for_reply("one two ")
    stored = await desk.history.load(desk.log.conversation.id)
    turn.cancel()
    await asyncio.wait([turn])
    assert stored.aside() == ()


async def test_a_whole_answer_cannot_be_taken_up(desk: Desk) -> None:
    desk.llm.reply("whole")
    await desk.send("prompt")
    with pytest.raises(UsageError, match="the last answer is complete: there is nothing to continue"):
        await desk.go_on()
    assert len(desk.llm.requests) == 1


TEXT = Attachment("a.py", "text/plain", 8, "print(1)")
IMAGE = Attachment("a.png", "image/png", 70, sha256="a" * 64)
EMBEDDED = replace(ENDPOINT, model="embedded", weights="sha256:1")


async def test_what_is_attached_is_sent_and_kept_with_its_prompt_and_goes_along_later(desk: Desk) -> None:
    desk.llm.reply("It prints.")
    desk.llm.reply("One.")
    await desk.chat.send(desk.log, "What?", [ENDPOINT], ChatOptions(), desk.listener, attachments=[TEXT, IMAGE])
    await desk.send("How often?")
    asked = ('Image "a.png":', IMAGE, '<document name="a.py">\nprint(1)\n</document>\n\nWhat?')
    assert desk.llm.requests[1].messages == (
        (Role.USER, asked),
        (Role.ASSISTANT, "It prints."),
        (Role.USER, "How often?"),
    )
    stored = (await desk.history.load("@1")).thread()[0]
    assert (stored.content, stored.attachments) == ("What?", (TEXT, IMAGE))


async def test_a_prompt_may_be_empty_if_something_is_attached(desk: Desk) -> None:
    desk.llm.reply("It prints.")
    await desk.chat.send(desk.log, "", [ENDPOINT], ChatOptions(), desk.listener, attachments=[TEXT])
    assert desk.llm.requests[0].messages == ((Role.USER, '<document name="a.py">\nprint(1)\n</document>'),)
    assert (await desk.history.load("@1")).messages[0].content == ""


async def test_an_image_for_the_embedded_model_is_refused_before_anything_is_kept(desk: Desk) -> None:
    with pytest.raises(UsageError, match=r"^a\.png cannot be sent: the embedded model takes no images$"):
        await desk.chat.send(desk.log, "What?", [EMBEDDED], ChatOptions(), desk.listener, attachments=[IMAGE])
    assert (desk.llm.requests, desk.log.conversation.messages) == ([], ())


async def test_the_embedded_model_does_not_stand_in_for_one_that_sees(desk: Desk) -> None:
    desk.llm.play(ProviderUnavailableError("hub is down", is_passing=False))
    with pytest.raises(ProviderUnavailableError):
        await desk.chat.send(desk.log, "", [ENDPOINT, EMBEDDED], ChatOptions(), desk.listener, attachments=[IMAGE])
    assert desk.listener.fallbacks == []
    with pytest.raises(UsageError, match="takes no images"):
        await desk.go_on(endpoints=[EMBEDDED])


async def test_a_secret_in_what_is_attached_is_told(places: Places) -> None:
    desk = Desk(places)
    desk.chat = chat_service(desk.llm, guard=PromptGuard(looks=True, replaces=True))
    desk.llm.reply("ok")
    leak = replace(TEXT, text="sk-proj-" + "a1" * 20)
    await desk.chat.send(desk.log, "hi", [ENDPOINT], ChatOptions(), desk.listener, attachments=[leak])
    assert desk.listener.secrets == [(["OpenAI key"], True)]
    assert (await desk.history.load("@1")).messages[0].attachments == (replace(TEXT, text="[OpenAI key]"),)


async def test_a_prompt_that_is_put_is_answered_by_whoever_is_asked(desk: Desk) -> None:
    prompt = await desk.chat.put(desk.log, "Hi", ENDPOINT, desk.listener)
    assert desk.log.conversation.messages == (prompt,)
    logs: list[OpenConversation | Aside] = [desk.log, *(Aside(desk.log, prompt.id) for _ in range(2))]
    for text, log in zip(("one", "two", "three"), logs, strict=True):
        desk.llm.reply(text)
        await desk.chat.go_on(log, [ENDPOINT], ChatOptions(), desk.listener)
    assert {request.messages for request in desk.llm.requests} == {((Role.USER, "Hi"),)}
    said = [(message.content, message.parent) for message in desk.log.conversation.messages]
    assert said == [("Hi", None), ("one", prompt.id), ("two", prompt.id), ("three", prompt.id)]
    assert desk.log.conversation.last_text == "one"


async def test_a_prompt_that_says_nothing_is_not_put(desk: Desk) -> None:
    with pytest.raises(UsageError, match="the prompt is empty"):
        await desk.chat.put(desk.log, " ", ENDPOINT, desk.listener)
    assert desk.log.conversation.messages == ()


@pytest.mark.parametrize("replaces", [True, False])
def test_secrets_in_what_was_said_are_told_once_and_replaced_if_that_is_wished(*, replaces: bool) -> None:
    key = f"sk-proj-{'a1B2' * 12}"
    prompts = [Message(f"m{n}", Role.USER, f"{n}: {key}", datetime.now(UTC)) for n in range(2)]
    reply = Message("m2", Role.ASSISTANT, key, datetime.now(UTC), parent="m1")
    said = Conversation("c1", "", datetime.now(UTC), messages=(*prompts, reply), head="m2")
    listener = RecordingListener()
    guard = PromptGuard(looks=True, replaces=replaces)
    checked = chat_service(FakeLLM(), guard=guard).checked(said, listener)
    ((kinds, replaced),) = listener.secrets
    shown = f"[{kinds[0]}]" if replaces else key
    assert (len(kinds), replaced) == (1, replaces)
    assert [message.content for message in checked.messages] == [f"0: {shown}", f"1: {shown}", key]
    assert [message.id for message in checked.messages] == ["m0", "m1", "m2"]
