import asyncio
from collections.abc import Awaitable

import pytest

from chatllm_cli.errors import AuthenticationError, ProviderError, ProviderUnavailableError, RateLimitError
from chatllm_cli.models import ChatRequest, Chunk, Endpoint, Role
from chatllm_cli.services.batch.gate import Gate, GatedModel
from tests.fakes import ENDPOINT, FakeLLM

OTHER = Endpoint("other", "model", "http://127.0.0.1:8/v1")


async def seconds(work: Awaitable[object]) -> float:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    await work
    return loop.time() - begin


async def test_where_one_is_told_to_wait_all_that_ask_that_provider_wait() -> None:
    told: list[tuple[str, float]] = []
    gate = Gate(longest=60, on_hold=lambda *what: told.append(what))
    gate.refused(ENDPOINT, RateLimitError("rate limited", retry_after=0.1))
    gate.refused(ENDPOINT, RateLimitError("rate limited", retry_after=0.05))
    assert await seconds(gate.enter(OTHER)) < 0.05
    waits = await asyncio.gather(*(seconds(gate.enter(ENDPOINT)) for _ in range(5)))
    assert all(0.08 < wait < 0.3 for wait in waits)
    assert told == [("rate limited", 0.1)]


async def test_who_would_wait_too_long_is_told_at_once() -> None:
    gate = Gate(longest=1)
    gate.refused(ENDPOINT, RateLimitError("rate limited", retry_after=5))
    with pytest.raises(RateLimitError, match="rate limited") as caught:
        await gate.enter(ENDPOINT)
    assert caught.value.retry_after == pytest.approx(5, abs=0.5)


async def test_without_a_time_each_refusal_after_a_wait_doubles_it_until_there_is_an_answer() -> None:
    holds: list[float] = []
    gate = Gate(longest=60, on_hold=lambda _, wait: holds.append(wait))
    provider = gate._provider(ENDPOINT)  # noqa: SLF001  (else the test would have to wait)
    for _ in range(3):
        for _ in range(4):  # which left together
            gate.refused(ENDPOINT, RateLimitError("rate limited"))
        provider.held_until = 0
    gate.answered(ENDPOINT)
    gate.refused(ENDPOINT, RateLimitError("rate limited"))
    assert holds == [0.5, 1.0, 2.0, 0.5]


@pytest.mark.parametrize(
    "error", [AuthenticationError("no"), ProviderUnavailableError("failed"), RateLimitError("no", is_passing=False)]
)
async def test_what_says_nothing_of_a_wait_holds_nobody(error: ProviderError) -> None:
    gate = Gate(longest=60)
    gate.refused(ENDPOINT, error)
    assert await seconds(gate.enter(ENDPOINT)) < 0.05


async def test_no_more_than_so_many_a_minute_leave_for_each_provider() -> None:
    gate = Gate(longest=60, rpm=1200)
    waits = await asyncio.gather(*(seconds(gate.enter(ENDPOINT)) for _ in range(4)), seconds(gate.enter(OTHER)))
    assert [round(wait, 1) for wait in waits] == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.0], abs=0.06)


async def test_a_gated_model_passes_on_what_comes_and_tells_the_gate_what_is_refused() -> None:
    llm, gate = FakeLLM(), Gate(longest=0.01)
    model = GatedModel(llm, gate)
    request = ChatRequest(ENDPOINT, ((Role.USER, "hi"),))
    llm.reply("yes")
    llm.play(RateLimitError("rate limited", retry_after=9))
    assert [chunk.text async for chunk in model.stream(request)][:1] == ["yes"]
    with pytest.raises(RateLimitError):
        _: list[Chunk] = [chunk async for chunk in model.stream(request)]
    with pytest.raises(RateLimitError):
        await model.ready(ENDPOINT)


async def test_a_provider_sets_a_pace_of_its_own_until_it_has_room_again() -> None:
    gate = Gate(longest=60)
    gate.paced(ENDPOINT, 0.05)
    waits = await asyncio.gather(*(seconds(gate.enter(ENDPOINT)) for _ in range(3)))
    assert waits == pytest.approx([0.05, 0.1, 0.15], abs=0.04)
    gate.paced(ENDPOINT, 0.0)
    assert await seconds(gate.enter(ENDPOINT)) < 0.04
