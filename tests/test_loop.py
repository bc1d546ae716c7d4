import asyncio
import gc
import os
import signal
import threading

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.errors import QuotaError
from chatllm_cli.models import Chunk, Status
from tests.desks import (
    CTRL_C,
    CTRL_D,
    ENTER,
    WAIT,
    Desk,
    open_desk,
)


async def test_a_line_is_a_turn_and_ctrl_d_leaves(desk: Desk) -> None:
    desk.llm.reply("Hello ", "you.")
    await desk.run(f"hi{ENTER}{CTRL_D}")
    assert desk.prompts == ["hi"]
    assert desk.stdout.getvalue() == "Hello you."


async def test_a_fault_of_what_is_imported_meanwhile_is_not_told_before_it_is_met_and_garbage_is_collected_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("chatllm_cli.repl.loop.NEEDED_FOR_A_TURN", ["chatllm_cli.no_such_module"])
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)  # which pytest has put its own before
    gc.disable()
    await desk.run(CTRL_D)
    async with asyncio.timeout(5):
        while not gc.isenabled():
            await asyncio.sleep(0.01)
    assert capsys.readouterr().err == ""


async def test_the_first_prompt_is_put_into_what_it_is_to_be_wrapped_in_and_no_other(desk: Desk) -> None:
    desk.begin(wrap="Explain: {}".format)
    desk.llm.reply("one")
    desk.llm.reply("two")
    await desk.run(f"/help{ENTER}a{ENTER}b{ENTER}{CTRL_D}")
    conversation = await desk.services.history.last()
    assert [message.content for message in conversation.thread()] == ["Explain: a", "one", "b", "two"]
    assert conversation.title == "a"


async def test_later_turns_carry_the_earlier_ones(desk: Desk) -> None:
    desk.llm.reply("one")
    desk.llm.reply("two")
    await desk.run(f"a{ENTER}b{ENTER}{CTRL_D}")
    assert [content for _, content in desk.llm.requests[1].messages] == ["a", "one", "b"]
    conversation = await desk.services.history.last()
    assert [message.content for message in conversation.thread()] == ["a", "one", "b", "two"]


async def test_ctrl_c_at_the_prompt_clears_the_line_and_goes_on(desk: Desk) -> None:
    desk.llm.reply("ok")
    await desk.run(f"never mind{CTRL_C}hi{ENTER}{CTRL_D}")
    assert desk.prompts == ["hi"]


async def test_ctrl_c_during_a_reply_stops_the_reply_and_not_the_program(desk: Desk) -> None:
    desk.llm.play(Chunk("half"), 30.0)
    desk.llm.reply("next")
    running = asyncio.ensure_future(desk.run(f"first{ENTER}"))
    while desk.stdout.getvalue() != "half":
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
    while "stopped; what came is kept" not in desk.stderr.getvalue():
        await asyncio.sleep(0.01)
    desk.keys.send_text(f"second{ENTER}{CTRL_D}")
    await running
    assert desk.prompts == ["first", "second"]
    conversation = await desk.services.history.last()
    assert [(m.content, m.status) for m in conversation.thread()][1] == ("half", Status.INTERRUPTED)


async def test_a_failed_turn_is_shown_and_the_session_goes_on(desk: Desk) -> None:
    desk.llm.play(QuotaError("rate limited by fake", hint="wait"))
    desk.llm.reply("ok")
    await desk.run(f"first{ENTER}second{ENTER}{CTRL_D}")
    assert "chatllm: rate limited by fake\n  hint: wait\n" in desk.stderr.getvalue()
    assert desk.stdout.getvalue() == "ok"


async def test_continue_takes_up_an_incomplete_answer(desk: Desk) -> None:
    desk.llm.reply("Once ", end=Chunk(finish_reason="length"))
    desk.llm.reply("upon")
    await desk.run(f"first{ENTER}/continue{ENTER}{CTRL_D}")
    assert desk.stdout.getvalue() == "Once upon"
    assert "the answer is cut off: it reached the limit on its length; /continue goes on\n" in desk.stderr.getvalue()
    conversation = await desk.services.history.last()
    assert [(m.content, m.status) for m in conversation.thread()][1] == ("Once upon", Status.COMPLETE)


async def test_continue_takes_up_the_conversation_that_the_chat_goes_on_with(places: Places, desk: Desk) -> None:
    desk.llm.reply("Once ", end=Chunk(finish_reason="length"))
    await desk.run(f"first{ENTER}{CTRL_D}")
    last = await desk.services.history.last()
    desk.begin(last)
    desk.llm.reply("upon")
    await desk.run(f"/continue{ENTER}{CTRL_D}")
    assert (await desk.services.history.last()).thread()[-1].content == "Once upon"


@pytest.mark.parametrize("said", ["", f"first{ENTER}"])
async def test_continue_with_nothing_to_take_up_says_so(desk: Desk, said: str) -> None:
    desk.llm.reply("whole")
    await desk.run(f"{said}/continue{ENTER}{CTRL_D}")
    assert desk.prompts == (["first"] if said else [])
    reason = (
        "the last answer is complete: there is nothing to continue"
        if said
        else "there is no answer yet to go on with"
    )
    assert f"chatllm: {reason}\n" in desk.stderr.getvalue()


async def test_a_session_that_keeps_nothing_writes_nothing(
    places: Places, home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_HISTORY__ENABLED", "false")
    monkeypatch.setenv("CHATLLM_CACHE__MODE", "always")
    with open_desk(places) as desk:
        desk.llm.reply("ok")
        await desk.run(f"hi{ENTER}/private{ENTER}{CTRL_D}")
    assert desk.stdout.getvalue() == "ok"
    assert "chatllm: nothing of this session is kept anyway" in desk.stderr.getvalue()
    assert not places.state.exists()
    assert not places.data.exists()
    assert not places.cache.exists()


async def test_a_prompt_that_was_wrapped_and_failed_comes_back_as_it_was_typed_and_is_wrapped_again(
    desk: Desk,
) -> None:
    desk.begin(wrap="Explain: {}".format)
    desk.llm.play(QuotaError("nothing left"))
    desk.llm.reply("ok")
    running = asyncio.ensure_future(desk.run(f"hi{ENTER}"))
    while not (desk.line == "hi" and desk.loop.is_reading and "chatllm: nothing left" in desk.told):
        await asyncio.sleep(WAIT)
    desk.keys.send_text(f"{ENTER}{CTRL_D}")
    await running
    assert desk.prompts == ["Explain: hi", "Explain: hi"]
