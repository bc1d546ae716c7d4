"""The keys of the prompt, typed at a desk."""

import asyncio
from pathlib import Path

import pytest

from chatllm_cli.errors import QuotaError
from tests.desks import (
    ALT_ENTER,
    CTRL_C,
    CTRL_D,
    CTRL_J,
    CTRL_R,
    CTRL_U,
    CTRL_X_CTRL_E,
    ENTER,
    ESCAPE,
    PASTE_BEGINS,
    PASTE_ENDS,
    RIGHT,
    TAB,
    UP,
    WAIT,
    Desk,
)


@pytest.fixture
def desk(desk: Desk) -> Desk:
    for text in ("one", "two", "three"):
        desk.llm.reply(text)
    return desk


async def type_slowly(desk: Desk, *keys: str) -> None:
    """Type piece by piece, as a person does, and leave."""
    running = asyncio.ensure_future(desk.run(""))
    for each in keys:
        await settled(desk, running)
        desk.keys.send_text(each)
    while not running.done():
        await settled(desk, running)
        desk.keys.send_text(CTRL_D)  # which does nothing on a line that is not empty
        await asyncio.wait([running], timeout=0.1)
    await running


async def settled(desk: Desk, running: asyncio.Future[None]) -> None:
    """Let all that was typed be taken, and the line be open again."""
    await asyncio.sleep(0.05)
    for _ in range(20):
        while not (desk.loop.is_reading or running.done()):
            await asyncio.sleep(WAIT)
        await asyncio.sleep(0)


async def test_enter_sends(desk: Desk) -> None:
    await desk.run(f"hi{ENTER}{CTRL_D}")
    assert desk.prompts == ["hi"]


@pytest.mark.parametrize("new_line", [ALT_ENTER, CTRL_J])
async def test_a_prompt_may_have_several_lines(desk: Desk, new_line: str) -> None:
    await desk.run(f"one{new_line}two{ENTER}{CTRL_D}")
    assert desk.prompts == ["one\ntwo"]


async def test_enter_in_an_open_code_block_begins_a_new_line(desk: Desk) -> None:
    await desk.run(f"what is\n```py{ENTER}1{ENTER}```{ENTER}{CTRL_D}")
    assert desk.prompts == ["what is\n```py\n1\n```"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
async def test_a_paste_is_one_message_whatever_ends_its_lines(desk: Desk, line_end: str) -> None:
    lines = [f"line {number}" for number in range(1000)]
    await desk.run(f"{PASTE_BEGINS}{line_end.join(lines)}{PASTE_ENDS}{ENTER}{CTRL_D}")
    assert desk.prompts == ["\n".join(lines)]


async def test_ctrl_c_clears_the_line_and_up_brings_it_back(desk: Desk) -> None:
    await type_slowly(desk, "draft", CTRL_C, UP, f"!{ENTER}")
    assert desk.prompts == ["draft!"]


async def test_a_draft_that_was_cleared_is_there_in_the_next_session(desk: Desk) -> None:
    await type_slowly(desk, "draft", CTRL_C)
    desk.begin()
    await type_slowly(desk, UP, ENTER)
    assert desk.prompts == ["draft"]


async def test_ctrl_c_on_an_empty_line_does_nothing(desk: Desk) -> None:
    await type_slowly(desk, CTRL_C, CTRL_C, f"hi{ENTER}")
    assert desk.prompts == ["hi"]
    assert desk.services.input_history.load() == ["hi"]


async def test_ctrl_d_leaves_an_empty_line_only(desk: Desk) -> None:
    await type_slowly(desk, "hi", CTRL_D, f"!{ENTER}")
    assert desk.prompts == ["hi!"]


async def test_up_recalls_what_was_typed_in_earlier_sessions(desk: Desk) -> None:
    await desk.run(f"first{ENTER}/list{ENTER}{CTRL_D}")
    desk.begin()
    await type_slowly(desk, UP, UP, f"!{ENTER}")
    assert desk.prompts == ["first", "first!"]


async def test_ctrl_r_searches_what_was_typed(desk: Desk) -> None:
    await desk.run(f"a whale{ENTER}a shark{ENTER}{CTRL_D}")
    desk.begin()
    await type_slowly(desk, CTRL_R, "whal", ENTER, ENTER)
    assert desk.prompts == ["a whale", "a shark", "a whale"]


async def test_the_right_arrow_takes_the_greyed_suggestion(desk: Desk) -> None:
    await desk.run(f"What is a whale?{ENTER}{CTRL_D}")
    desk.begin()
    await type_slowly(desk, "What", RIGHT, ENTER)
    assert desk.prompts == ["What is a whale?"] * 2


async def test_tab_completes_a_command_and_its_argument(desk: Desk) -> None:
    await type_slowly(desk, "/ret", TAB, f"{ENTER}{CTRL_U}", "/set temp", TAB, f"0.5{ENTER}")
    assert desk.told == ["chatllm: there is no prompt to answer again", "temperature is 0.5"]


async def test_vi_keys_edit_if_that_is_wished(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_REPL__EDITING", "vi")
    desk.begin()
    await type_slowly(desk, "hello you", ESCAPE, "0dw", ENTER)
    assert desk.prompts == ["you"]


async def test_vi_keys_can_be_had_in_the_middle_of_a_session(desk: Desk) -> None:
    await type_slowly(desk, f"/set repl.editing vi{ENTER}", "hello you", ESCAPE, "0dw", ENTER)
    assert desk.prompts == ["you"]


async def test_ctrl_x_ctrl_e_opens_what_is_typed_in_the_editor(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "editor"
    script.write_text('#!/bin/sh\ntr a-z A-Z < "$1" > "$1.new" && cat "$1.new" > "$1"\n')
    script.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(script))
    running = asyncio.ensure_future(desk.run(f"shout{CTRL_X_CTRL_E}"))
    while desk.line != "SHOUT":
        await asyncio.sleep(WAIT)
    desk.keys.send_text(f"{ENTER}{CTRL_D}")
    await running
    assert desk.prompts == ["SHOUT"]


async def test_a_prompt_that_failed_comes_back_into_the_line(desk: Desk) -> None:
    desk.llm.fail_next(QuotaError("nothing left"))
    running = asyncio.ensure_future(desk.run(f"hi{ENTER}"))
    while not (desk.line == "hi" and "chatllm: nothing left" in desk.told and desk.loop.is_reading):
        await asyncio.sleep(WAIT)
    desk.keys.send_text(f"!{ENTER}{CTRL_D}")
    await running
    assert desk.prompts == ["hi", "hi!"]
    assert await desk.thread() == ["hi", "", "hi!", "one"]


async def test_a_prompt_that_came_back_does_not_keep_anybody_from_leaving(desk: Desk) -> None:
    desk.llm.fail_next(QuotaError("nothing left"))
    running = asyncio.ensure_future(desk.run(f"hi{ENTER}"))
    while not (desk.line == "hi" and "chatllm: nothing left" in desk.told and desk.loop.is_reading):
        await asyncio.sleep(WAIT)
    desk.keys.send_text(CTRL_D)
    await running
    assert desk.prompts == ["hi"]


async def test_what_was_typed_ahead_outweighs_a_prompt_that_failed(desk: Desk) -> None:
    desk.llm.fail_next(QuotaError("nothing left"))
    await desk.run(f"hi{ENTER}next{ENTER}{CTRL_D}")
    assert desk.prompts == ["hi", "next"]


async def test_a_colour_among_the_keys_is_passed_over(desk: Desk) -> None:
    await desk.run(f"a\x1b[31mb{ENTER}{CTRL_D}")
    assert desk.prompts == ["ab"]


async def test_an_edit_that_nobody_touched_does_not_make_ctrl_d_leave(desk: Desk) -> None:
    await desk.run(f"hi{ENTER}{CTRL_D}")
    desk.begin(await desk.services.history.last())
    await type_slowly(desk, f"/edit{ENTER}", CTRL_D, f"!{ENTER}")
    assert desk.prompts == ["hi", "hi!"]
