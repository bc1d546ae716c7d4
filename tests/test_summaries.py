"""How the oldest turns are summed up, and what that costs; a word of these is a token."""

from dataclasses import replace

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.errors import ContextLengthError, InvalidReplyError, ProviderUnavailableError
from chatllm_cli.models import ChatOptions, Chunk, Role, TokenUsage, Trimmed
from chatllm_cli.services.chat.summaries import ASK
from chatllm_cli.services.chat.trimming import SUMMED_UP
from tests.fakes import DONE
from tests.test_trimming import HUB, PROMPT, SYSTEM, Bench, Desk, turns, words

ONE_PIECE = 1240  # a window in which four of these turns do not fit, and two can be summed up at once
SUMMARY = (Role.SYSTEM, f"{SUMMED_UP}\nThey said u.")


async def test_the_oldest_turns_are_summed_up_once_and_the_summary_stands_in_the_system_prompt() -> None:
    bench = Bench(ONE_PIECE, "summarise")
    bench.llm.reply("They said ", "u. ")
    for count in (4, 4):
        plan = await bench.fit(*turns(count), PROMPT)
        assert plan.request.messages == (SUMMARY, *turns(4)[4:], PROMPT)
    with_system = await bench.fit(SYSTEM, *turns(4), PROMPT)
    assert with_system.request.messages[0] == (Role.SYSTEM, f"Be kind.\n\n{SUMMED_UP}\nThey said u.")
    (request,) = bench.llm.requests
    ((role, asked),) = request.messages
    assert (role, asked.split("\n\n")[0], request.options) == (Role.USER, ASK, ChatOptions(max_tokens=232))
    assert [name for name in ("u0", "a0", "u1", "a1", "u2", "now") if f"{name} " in asked] == ["u0", "a0", "u1", "a1"]
    assert bench.listener.trimmed == [Trimmed(4, 416, is_summed_up=True)]
    assert bench.paid == [(HUB, TokenUsage(7, 3))]


async def test_a_summary_is_summed_up_with_what_was_said_since() -> None:
    bench = Bench(ONE_PIECE, "summarise")
    bench.llm.reply("FIRST")
    bench.llm.reply("SECOND")
    await bench.fit(*turns(4), PROMPT)
    plan = await bench.fit(*turns(6), PROMPT)
    assert plan.request.messages[0] == (Role.SYSTEM, f"{SUMMED_UP}\nSECOND")
    ((_, asked),) = bench.llm.requests[-1].messages
    assert [name for name in ("FIRST", "u0", "u1", "u2", "a3", "u4") if f"{name}" in asked] == ["FIRST", "u2", "a3"]


async def test_what_is_too_long_to_be_summed_up_at_once_is_in_pieces() -> None:
    bench = Bench(600, "summarise")
    for number in range(9):
        bench.llm.reply(f"S{number}")
    plan = await bench.fit(*turns(4), PROMPT)
    asked = [request.messages[0][1] for request in bench.llm.requests]
    assert len(asked) > 2
    assert f"summed up:\nS{len(asked) - 2}\n\n" in asked[-1]
    assert plan.request.messages[0] == (Role.SYSTEM, f"{SUMMED_UP}\nS{len(asked) - 1}")
    said = "".join(each.partition("The conversation:\n")[2] for each in asked)
    expected = "\n\n".join(
        f"{'User' if role is Role.USER else 'Assistant'}: {text}" for role, text in turns(4)[: plan.left_out]
    )
    assert said == expected


async def test_smaller_pieces_are_tried_where_the_provider_refuses_larger_ones() -> None:
    bench = Bench(ONE_PIECE, "summarise")
    bench.llm.play(ContextLengthError("too long"))
    for number in range(4):
        bench.llm.reply(f"S{number}")
    plan = await bench.fit(*turns(4), PROMPT)
    lengths = [len(request.messages[0][1]) for request in bench.llm.requests]
    assert max(lengths[1:]) < lengths[0]
    assert plan.summary == f"S{len(lengths) - 2}"


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ([DONE], InvalidReplyError, "hub/m wrote no summary"),
        ([Chunk("  \n"), DONE], InvalidReplyError, "hub/m wrote no summary"),
        ([Chunk("<think>so on and"), DONE], InvalidReplyError, "hub/m wrote no summary"),
        ([Chunk("no", finish_reason="content_filter")], InvalidReplyError, "hub/m wrote no summary"),
        ([Chunk("half"), ProviderUnavailableError("it broke")], ProviderUnavailableError, "it broke"),
    ],
)
async def test_without_a_summary_the_turn_fails_and_nothing_is_cut(
    script: list[Chunk | Exception], kind: type[Exception], message: str
) -> None:
    bench = Bench(ONE_PIECE, "summarise")
    bench.llm.play(*script)
    with pytest.raises(kind) as caught:
        await bench.fit(*turns(4), PROMPT)
    assert getattr(caught.value, "message", "") == f"the oldest turns could not be summed up: {message}"
    bench.llm.reply("better")
    assert (await bench.fit(*turns(4), PROMPT)).summary == "better"


async def test_thoughts_are_no_part_of_a_summary() -> None:
    bench = Bench(ONE_PIECE, "summarise")
    bench.llm.reply("<think>hm\nhm</think>\nshort")
    assert (await bench.fit(*turns(4), PROMPT)).summary == "short"


async def test_the_cost_of_a_summary_is_in_that_of_the_answer(places: Places) -> None:
    desk = Desk(places, "summarise", ONE_PIECE)
    await desk.fill()
    desk.llm.reply("short")
    desk.llm.reply("fine", end=replace(DONE, usage=TokenUsage(100, 1)))
    reply = await desk.send(words("now"))
    assert (reply.usage, reply.cost) == (TokenUsage(100, 1), 7 + 3 + 101)


async def test_a_summary_that_was_paid_for_a_turn_that_failed_is_in_the_history(places: Places) -> None:
    desk = Desk(places, "summarise", ONE_PIECE)
    await desk.fill()
    desk.llm.reply("short")
    desk.llm.play(InvalidReplyError("it broke"))
    with pytest.raises(InvalidReplyError):
        await desk.send(words("now"))
    assert desk.log.conversation.thread()[-1].cost == 10


async def test_nobody_is_told_to_trim_who_does() -> None:
    bench = Bench(ONE_PIECE, "summarise")
    bench.llm.reply(words("endless", 2000))
    with pytest.raises(ContextLengthError) as caught:
        await bench.fit(*turns(4), PROMPT)
    assert caught.value.message.startswith("the conversation is about ")
    assert caught.value.hint == "shorten the prompt, or take a model with a longer context"
