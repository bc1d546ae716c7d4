import asyncio
import io
from contextlib import suppress
from datetime import UTC, datetime

from chatllm_cli.errors import AuthenticationError, HistoryError, RateLimitError
from chatllm_cli.models import BudgetUse, Message, Role, Status
from chatllm_cli.render.batch_progress import BatchProgress, BatchView
from chatllm_cli.render.renderer import Renderer
from tests.fakes import ENDPOINT
from tests.terminal import FakeTerminal


def reply(cost: float | None = 0.0, status: Status = Status.COMPLETE) -> Message:
    return Message("m", Role.ASSISTANT, "text", datetime.now(UTC), cost=cost, status=status, finish_reason="length")


async def shown(progress: BatchProgress) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(progress.keep_showing(), 0.05)


def without_times(line: str) -> list[str]:
    return line.rstrip("\n").split(" · ")[:-1]


async def test_a_terminal_sees_how_far_it_is_and_then_what_came_of_it(
    on_terminal: Renderer, err: FakeTerminal
) -> None:
    progress = BatchProgress(on_terminal)
    progress.total = 8
    progress.counts.there = 1
    for is_whole in (True, True, False):
        progress.count(reply(0.5), is_whole=is_whole)
    await shown(progress)
    assert err.text.startswith("[==========..........] 4 of 8 · ")
    assert "/s · 1 failed · $1.50 · 0:0" in err.text
    progress.end()
    assert without_times(err.text) == ["2 answered", "1 failed", "1 were there", "$1.50"]


async def test_where_nobody_knows_how_many_there_are_they_are_counted(
    on_terminal: Renderer, err: FakeTerminal
) -> None:
    progress = BatchProgress(on_terminal)
    progress.count(reply(None), is_whole=True)
    await shown(progress)
    assert err.text.startswith("1 · ")
    assert err.text.endswith("/s · price unknown")


async def test_a_wait_of_all_is_seen_and_on_a_pipe_said(
    on_terminal: Renderer, err: FakeTerminal, on_pipe: Renderer, err_pipe: io.StringIO
) -> None:
    progress = BatchProgress(on_terminal)
    progress.holds("rate limited by x", 9.4)
    await shown(progress)
    assert err.text == "0 · rate limited by x, 9 s"
    BatchProgress(on_pipe).holds("rate limited by x", 9.4)
    assert err_pipe.getvalue() == "rate limited by x: all that ask it wait 9.4 s\n"


async def test_a_pipe_gets_errors_and_a_line_at_the_end(on_pipe: Renderer, err_pipe: io.StringIO) -> None:
    progress = BatchProgress(on_pipe)
    await progress.keep_showing()
    progress.failed(7, AuthenticationError("no \x1b[31mkey", hint="get one"))
    progress.cut(8, reply(status=Status.TRUNCATED))
    progress.end()
    *lines, last = err_pipe.getvalue().splitlines()
    assert lines == [
        "chatllm: line 7: no ^[[31mkey",
        "  hint: get one",
        "line 8: the answer is cut off: it reached the limit on its length",
    ]
    assert last == "0 answered"


def test_what_is_about_many_prompts_is_told_once(on_pipe: Renderer, err_pipe: io.StringIO) -> None:
    progress = BatchProgress(on_pipe)
    for _ in range(3):
        view = BatchView(progress, tells_secrets=False)
        view.on_secrets(["a key"], replaced=True)
        view.on_budget(BudgetUse("today", 0.9, 1.0))
        view.on_unheld(BudgetUse("today", 0.9, 1.0, 2))
        view.on_unpriced(ENDPOINT)
        view.on_fallback(RateLimitError("rate limited"), ENDPOINT)
        view.on_cache_fault("the cache is down")
        view.on_history_error(HistoryError("it is full"))
    assert err_pipe.getvalue().splitlines() == [
        "a prompt holds what looks like a secret: a key; it was replaced (redact in the settings)",
        "the budget for today is nearly used up: $0.90 of $1.00",
        "the price of 2 answers of today is unknown: it does not count towards the budget",
        "the price of fake/model is unknown: what it costs does not count towards the budget",
        "rate limited; fake/model is asked instead",
        "the cache is down; it goes on without",
        "chatllm: it is full",
    ]


def test_a_view_keeps_the_times_of_its_turn(on_pipe: Renderer) -> None:
    view = BatchView(BatchProgress(on_pipe), tells_secrets=False)
    before = view.timings
    view.on_chunk("a")
    view.on_chunk("b")
    assert before["first_text"] is None
    first, total = view.timings["first_text"], view.timings["total"]
    assert first is not None
    assert total is not None
    assert 0 <= first <= total
