"""How the oldest turns are summed up, and what that costs; a word of these is a token."""

from dataclasses import replace

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.errors import (
    BudgetError,
    ContextLengthError,
    InvalidReplyError,
    ProviderUnavailableError,
    QuotaError,
)
from chatllm_cli.message_content import text_in
from chatllm_cli.models import ChatOptions, Chunk, Role, TokenUsage, Trimmed
from chatllm_cli.services.chat.sizes import likely, size_of
from chatllm_cli.services.chat.summaries import ASK
from chatllm_cli.services.chat.trimming import SUMMED_UP
from tests.fakes import DONE
from tests.test_trimming import AT, HUB, PROMPT, SYSTEM, Bench, Desk, turns, words

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
    ((role, content),) = request.messages
    asked = text_in(content)
    assert (role, asked.split("\n\n")[0], request.options) == (Role.USER, ASK, ChatOptions(max_tokens=232))
    assert [name for name in ("u0", "a0", "u1", "a1", "u2", "now") if f"{name} " in asked] == ["u0", "a0", "u1", "a1"]
    assert bench.listener.trimmed == [Trimmed(4, 416, is_summed_up=True)]
    assert await bench.expenses.total(AT) == pytest.approx(10e-6)


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
    plan = await bench.fit(*turns(8), PROMPT)
    asked = [text_in(request.messages[0][1]) for request in bench.llm.requests]
    assert len(asked) > 2
    assert f"summed up:\nS{len(asked) - 2}\n\n" in asked[-1]
    assert plan.request.messages[0] == (Role.SYSTEM, f"{SUMMED_UP}\nS{len(asked) - 1}")
    said = "".join(each.partition("The conversation:\n")[2] for each in asked)
    expected = "\n\n".join(
        f"{'User' if role is Role.USER else 'Assistant'}: {text}" for role, text in turns(8)[: plan.left_out]
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


async def test_a_long_answer_to_come_leaves_a_summary_no_less_room() -> None:
    bench = Bench(8192, "summarise", max_tokens=7500)
    bench.llm.reply("short")
    plan = await bench.fit(*turns(8), PROMPT)
    assert (plan.summary, len(bench.llm.requests)) == ("short", 1)


async def test_a_summary_that_broke_off_goes_on_where_it_stopped_and_is_told_once() -> None:
    bench = Bench(600, "summarise")
    bench.llm.reply("S0")
    bench.llm.play(ProviderUnavailableError("busy"))
    with pytest.raises(ProviderUnavailableError):
        await bench.fit(*turns(8), PROMPT)
    for number in range(1, 9):
        bench.llm.reply(f"S{number}")
    plan = await bench.fit(*turns(8), PROMPT)
    _, failed, again, *_ = [request.messages for request in bench.llm.requests]
    assert failed == again
    assert "summed up:\nS0\n\n" in again[0][1]
    assert (plan.summary, len(bench.listener.trimmed)) == (f"S{len(bench.llm.requests) - 2}", 1)


async def test_other_turns_are_summed_up_from_their_beginning() -> None:
    bench = Bench(600, "summarise")
    bench.llm.reply("S0")
    bench.llm.play(ProviderUnavailableError("busy"))
    with pytest.raises(ProviderUnavailableError):
        await bench.fit(*turns(8), PROMPT)
    for _ in range(9):
        bench.llm.reply("other")
    await bench.fit(*((role, f"other {text}") for role, text in turns(8)), PROMPT)
    assert "S0" not in bench.llm.requests[2].messages[0][1]


async def test_a_summary_is_asked_for_with_the_options_of_its_model_but_for_those_of_its_answers() -> None:
    options = ChatOptions(temperature=0.5, max_tokens=9, stop=("a",), extra=(("provider", '{"zdr": true}'),))
    bench = Bench(ONE_PIECE, "summarise", replace(HUB, options=options))
    bench.llm.reply("short")
    await bench.fit(*turns(4), PROMPT)
    assert bench.llm.requests[0].options == replace(options, max_tokens=232, stop=())


async def test_a_budget_is_held_between_the_pieces_of_a_summary(places: Places) -> None:
    desk = Desk(places, "summarise", 600, budget=15)
    await desk.fill(8)
    for _ in range(9):
        desk.llm.reply("short")  # for 10 dollars
    with pytest.raises(BudgetError, match=r"is used up: \$20.00 of \$15.00"):
        await desk.send(words("now"))
    assert (len(desk.sent), desk.log.conversation.cost) == (2, 20)


async def test_a_summary_that_used_up_the_budget_is_there_when_there_is_money_again(places: Places) -> None:
    desk = Desk(places, "summarise", ONE_PIECE, budget=5)
    await desk.fill()
    desk.llm.reply("short")
    with pytest.raises(BudgetError):
        await desk.send(words("now"))
    desk.forgiven = 10
    desk.llm.reply("fine")
    await desk.send(words("now"))
    assert desk.sent[1:] == ["What u2 a2 u3 a3 now"]


async def test_a_summary_that_was_paid_is_in_the_history_though_nothing_more_came_of_an_answer(
    places: Places,
) -> None:
    desk = Desk(places, "summarise", 800)
    await desk.fill()
    desk.llm.reply("short")
    desk.llm.reply("half", end=Chunk(finish_reason="length", usage=TokenUsage(400, 1)))
    await desk.send(words("now"))
    cost = desk.log.conversation.cost
    desk.llm.reply("shorter")
    desk.llm.play(QuotaError("used up"))
    with pytest.raises(QuotaError):
        await desk.chat.go_on(desk.log, [HUB], ChatOptions(max_tokens=450), desk.listener)
    assert desk.log.conversation.cost == cost + 10
    assert desk.log.conversation.last_text == "half"


async def test_a_summary_that_broke_off_costs_about_what_came(places: Places) -> None:
    desk = Desk(places, "summarise", ONE_PIECE)
    await desk.fill()
    desk.llm.play(Chunk("half"), InvalidReplyError("it broke"))
    with pytest.raises(InvalidReplyError):
        await desk.send(words("now"))
    asked = size_of(desk.llm.requests[0].messages).likely
    assert desk.log.conversation.cost == asked + likely("half")
