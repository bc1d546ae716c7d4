import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from chatllm_cli.errors import BudgetError
from chatllm_cli.models import Message, Role, Status
from chatllm_cli.services.batch.items import BadLine, Item
from chatllm_cli.services.batch.service import Batch, Outcome


async def items(count: int, taken: list[int] | None = None) -> AsyncGenerator[Item | BadLine]:
    for number in range(1, count + 1):
        if taken is not None:
            taken.append(number)
        yield Item(number, number, "x")


def whole(item: Item) -> Outcome:
    return Outcome(item, Message("m", Role.ASSISTANT, "text", datetime.now(UTC)))


class Asked:
    """Answers when it is told to."""

    def __init__(self, *slow: int) -> None:
        self.under_way = self.most = 0
        self.slow = dict.fromkeys(slow, 0.05)
        self.put: list[int] = []

    async def ask(self, item: Item) -> Outcome:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(self.slow.get(item.line, 0))
        self.under_way -= 1
        return whole(item)

    def batch(self, *, in_order: bool, concurrency: int = 3) -> Batch:
        return Batch(
            self.ask, lambda outcome: self.put.append(outcome.item.line), concurrency=concurrency, in_order=in_order
        )


async def test_so_many_are_asked_at_once_and_no_more() -> None:
    asked = Asked(*range(12))
    await asked.batch(in_order=True).run(items(12))
    assert asked.most == 3


@pytest.mark.parametrize(
    ("in_order", "check"),
    [(True, lambda put: put == [1, 2, 3, 4, 5, 6]), (False, lambda put: put[-1] == 1 and len(put) == 6)],
)
async def test_answers_come_in_order_or_as_they_come(in_order: bool, check: Callable[[Sequence[int]], bool]) -> None:
    asked = Asked(1)
    await asked.batch(in_order=in_order).run(items(6))
    assert check(asked.put)


async def test_few_are_read_ahead_of_one_that_takes_long() -> None:
    asked, taken = Asked(1), list[int]()
    asked.slow[1] = 60
    task = asyncio.create_task(asked.batch(in_order=True).run(items(100_000, taken)))
    await asyncio.sleep(0.05)
    assert len(taken) == 12
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert asked.put == [*range(2, 13)], "whole answers were lost"


async def test_a_line_that_cannot_be_used_is_put_down_at_its_place() -> None:
    async def mixed() -> AsyncGenerator[Item | BadLine]:
        yield Item(1, 1, "x")
        yield BadLine(2, "bad")
        yield Item(3, 3, "x")

    asked = Asked(1)
    await asked.batch(in_order=True).run(mixed())
    assert asked.put == [1, 2, 3]


@pytest.mark.parametrize("in_order", [True, False])
async def test_when_the_budget_is_used_up_no_more_is_read_and_what_was_asked_is_put_down(in_order: bool) -> None:
    put: list[int] = []

    async def ask(item: Item) -> Outcome:
        await asyncio.sleep(0.02 if item.line == 1 else 0)
        return Outcome(item, error=BudgetError("used up")) if item.line == 3 else whole(item)

    batch = Batch(ask, lambda outcome: put.append(outcome.item.line), concurrency=3, in_order=in_order)
    taken: list[int] = []
    with pytest.raises(BudgetError):
        await batch.run(items(1000, taken))
    assert sorted(put) == [line for line in taken if line != 3]
    assert len(taken) < 15


async def test_what_breaks_stops_all_and_is_raised() -> None:
    async def ask(item: Item) -> Outcome:
        if item.line == 2:
            raise OSError("no room")
        await asyncio.sleep(60)
        return whole(item)

    with pytest.raises(OSError, match="no room"):
        await Batch(ask, lambda _: None, concurrency=3, in_order=True).run(items(9))


@pytest.mark.parametrize(
    ("status", "is_whole"), [(Status.COMPLETE, True), (Status.UNKNOWN_END, True), (Status.TRUNCATED, False)]
)
def test_only_what_is_known_to_be_cut_is_not_whole(status: Status, is_whole: bool) -> None:
    reply = Message("m", Role.ASSISTANT, "text", datetime.now(UTC), status=status)
    assert Outcome(Item(1, 1, "x"), reply).is_whole is is_whole
    assert not Outcome(Item(1, 1, "x"), reply, BudgetError("x")).is_whole
