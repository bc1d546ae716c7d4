from dataclasses import replace

import pytest

from chatllm_cli.models import Bill, Chunk, TokenUsage
from chatllm_cli.repl.toolbar import status_line
from tests.desks import CTRL_D, ENTER, Desk


async def said(desk: Desk) -> None:
    desk.llm.reply("one", end=Chunk(finish_reason="stop", usage=TokenUsage(1200, 34)))
    await desk.run(f"What is a whale?{ENTER}{CTRL_D}")


async def test_before_the_first_prompt_it_says_who_answers(desk: Desk) -> None:
    assert status_line(desk.session, 80) == "fake/model"


async def test_it_says_what_the_conversation_is_and_has_taken(desk: Desk) -> None:
    await said(desk)
    assert status_line(desk.session, 80) == "fake/model · What is a whale? · ↑ 1.2k ↓ 34"
    desk.session.bill = Bill(TokenUsage(1200, 34), 0.1, 0.1, 0, 12_340)
    assert desk.session.conversation
    assert (
        status_line(desk.session, 80, coming=1000) == "fake/model · What is a whale? · ↑ 1.2k ↓ 1.0k · context 10 %"
    )


async def test_what_is_private_and_what_may_be_cached_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_CACHE__MODE", "always")
    desk.begin()
    assert status_line(desk.session, 80) == "fake/model · cache"
    desk.session.begin(private=True)
    assert status_line(desk.session, 80) == "fake/model · private"


async def test_a_narrow_terminal_goes_without_the_title_first_and_keeps_who_answers(desk: Desk) -> None:
    await said(desk)
    desk.session.bill = Bill(TokenUsage(1200, 34), 0.1, 0.1, 0, 12_340)
    assert [status_line(desk.session, width) for width in (60, 40, 26, 10, 5)] == [
        "fake/model · What is a whale? · ↑ 1.2k ↓ 34 · context 10 %",
        "fake/model · ↑ 1.2k ↓ 34 · context 10 %",
        "fake/model · context 10 %",
        "fake/model",
        "fake…",
    ]


async def test_a_title_is_cleaned_and_cut(desk: Desk) -> None:
    await said(desk)
    assert desk.session.conversation
    await desk.session.set_title("a\x1b[31m" + "b" * 100)
    line = status_line(desk.session, 200)
    assert "\x1b" not in line
    assert len(line) < 80
    desk.session.endpoints = [replace(desk.session.endpoints[0], model="m\x1b[2J")]
    assert "\x1b" not in status_line(desk.session, 200)
