"""A session that goes on for a long time."""

import asyncio
import gc
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.models import ChatRequest, Chunk, TokenUsage
from tests.desks import CTRL_D, ENTER, WAIT, Desk, open_desk
from tests.fakes import FakeLLM

TURNS, WARM_UP = 2000, 100
MOST_GROWTH = 50  # MB


class TirelessLLM(FakeLLM):
    """Answers for ever, and remembers only how often."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = 0

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk]:
        for word in range(20):
            yield Chunk(f"word{word} ")
        yield Chunk(finish_reason="stop", usage=TokenUsage(7, 3))
        self.answered += 1


def resident() -> float:
    """Return the megabytes of memory that this process has."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def take_turns(desk: Desk, llm: TirelessLLM, until: int) -> None:
    while llm.answered < until:
        before = llm.answered
        desk.keys.send_text(f"prompt {before}{ENTER}")
        while llm.answered == before or not desk.loop.is_reading:
            await asyncio.sleep(WAIT)
        desk.stdout.truncate(0)
        desk.stderr.truncate(0)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_two_thousand_turns_take_no_more_memory_than_what_was_said(places: Places) -> None:
    with open_desk(places) as desk:
        desk.llm = llm = TirelessLLM()
        desk.begin()
        running = asyncio.ensure_future(desk.loop.run())
        await take_turns(desk, llm, WARM_UP)
        before = resident()
        await take_turns(desk, llm, TURNS)
        growth = resident() - before
        desk.keys.send_text(CTRL_D)
        await running
    assert growth < MOST_GROWTH
    (summary,) = (await desk.services.history.list()).conversations
    assert summary.messages == 2 * TURNS
