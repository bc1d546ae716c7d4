import asyncio
import os
import signal
from collections.abc import Iterator
from io import StringIO

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from chatllm_cli.bootstrap import Services
from chatllm_cli.config.loading import load_settings
from chatllm_cli.config.places import Places
from chatllm_cli.errors import QuotaError
from chatllm_cli.models import ChatOptions, Chunk, Status
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.repl.session import Session
from tests.fakes import ENDPOINT, FakeLLM

ENTER, ALT_ENTER, CTRL_C, CTRL_D, CTRL_J = "\r", "\x1b\r", "\x03", "\x04", "\n"
PASTE_BEGINS, PASTE_ENDS = "\x1b[200~", "\x1b[201~"


class Desk:
    """A session over a fake model, with keys that can be sent and output that can be read."""

    def __init__(self, places: Places, keys: PipeInput) -> None:
        self.keys = keys
        self.llm = FakeLLM()
        self.stdout, self.stderr = StringIO(), StringIO()
        self.services = Services(load_settings(), places, llm=self.llm)
        self.session = Session(self.services, Renderer(self.stdout, self.stderr), [ENDPOINT], ChatOptions())

    async def run(self, keys: str) -> None:
        """Type all of `keys` and wait for the session to end."""
        self.keys.send_text(keys)
        await asyncio.wait_for(self.session.run(), 10)

    @property
    def prompts(self) -> list[str]:
        """What was sent, request by request."""
        return [request.messages[-1][1] for request in self.llm.requests]


@pytest.fixture
def desk(places: Places) -> Iterator[Desk]:
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        yield Desk(places, keys)


async def test_a_line_is_a_turn_and_ctrl_d_leaves(desk: Desk) -> None:
    desk.llm.reply("Hello ", "you.")
    await desk.run(f"hi{ENTER}{CTRL_D}")
    assert desk.prompts == ["hi"]
    assert desk.stdout.getvalue() == "Hello you."


async def test_the_first_prompt_is_put_into_what_it_is_to_be_wrapped_in_and_no_other(desk: Desk) -> None:
    wrapped = Session(
        desk.services, Renderer(desk.stdout, desk.stderr), [ENDPOINT], ChatOptions(), wrap="Explain: {}".format
    )
    desk.session = wrapped
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


@pytest.mark.parametrize("new_line", [ALT_ENTER, CTRL_J])
async def test_a_prompt_may_have_several_lines(desk: Desk, new_line: str) -> None:
    desk.llm.reply("ok")
    await desk.run(f"one{new_line}two{ENTER}{CTRL_D}")
    assert desk.prompts == ["one\ntwo"]


async def test_a_paste_is_one_message(desk: Desk) -> None:
    desk.llm.reply("ok")
    pasted = "\n".join(f"line {number}" for number in range(1000))
    await desk.run(f"{PASTE_BEGINS}{pasted}{PASTE_ENDS}{ENTER}{CTRL_D}")
    assert desk.prompts == [pasted]


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


async def test_help_lists_the_commands_and_exit_leaves(desk: Desk) -> None:
    await desk.run(f"/help{ENTER}/exit{ENTER}")
    assert desk.stdout.getvalue() == (
        "/help      show what can be typed here\n"
        "/continue  take up an incomplete answer where it stopped\n"
        "/exit      leave; the conversation is kept\n"
        "Enter sends, Alt-Enter or Ctrl-J begins a new line, a paste is one message.\n"
        "Ctrl-C stops the answer or clears the line, Ctrl-D leaves.\n"
    )


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
    desk.session = Session(desk.services, Renderer(desk.stdout, desk.stderr), [ENDPOINT], ChatOptions(), last=last)
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


async def test_an_unknown_command_is_not_sent(desk: Desk) -> None:
    await desk.run(f"/hepl{ENTER}{ENTER}   {ENTER}{CTRL_D}")
    assert desk.prompts == []
    assert desk.stderr.getvalue().endswith("there is no command /hepl; did you mean /help?\n")


async def test_a_session_that_keeps_nothing_writes_nothing(
    places: Places, home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_HISTORY__ENABLED", "false")
    monkeypatch.setenv("CHATLLM_CACHE__MODE", "always")
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        desk = Desk(places, keys)
        desk.llm.reply("ok")
        await desk.run(f"hi{ENTER}{CTRL_D}")
    assert desk.stdout.getvalue() == "ok"
    assert not places.data.exists()
    assert not places.cache.exists()
