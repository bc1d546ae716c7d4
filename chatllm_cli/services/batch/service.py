"""Several prompts at once, and their answers in the order of the prompts, or as they come."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import field
from typing import Protocol

from chatllm_cli.errors import BudgetError, ChatllmError
from chatllm_cli.frozen import frozen
from chatllm_cli.models import Message
from chatllm_cli.services.batch.items import BadLine, Item
from chatllm_cli.services.batch.results import WHOLE

AHEAD = 4  # times as many answers as prompts are asked at once wait at most for one before them


@frozen
class Outcome:
    """What came of a line."""

    item: Item | BadLine
    reply: Message | None = None  # what there is of it
    error: ChatllmError | None = None
    sent: str = ""  # the prompt, as it was to be sent
    timings: dict[str, float | None] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether it is an answer that is known to be no part of one."""
        return self.error is None and self.reply is not None and self.reply.status in WHOLE


class Answers(Protocol):
    """Where outcomes go."""

    def __call__(self, outcome: Outcome, /) -> object:
        """Put one down."""


class Batch:
    """Asks prompts, so many at once, none of which waits for another."""

    def __init__(
        self, ask: Callable[[Item], Awaitable[Outcome]], put: Answers, *, concurrency: int, in_order: bool
    ) -> None:
        self._ask = ask
        self._put = put
        self._concurrency = concurrency
        self._in_order = in_order
        self._taken = self._put_down = 0  # places in the order
        self._waiting: dict[int, Outcome] = {}  # for those before them
        self._taking = asyncio.Lock()
        self._moved = asyncio.Event()
        self._end: BudgetError | None = None

    async def run(self, items: AsyncGenerator[Item | BadLine]) -> None:
        """Ask all of them. Raises `BudgetError` when the budget is used up: what was asked by then is put down.

        Whatever else is raised, by the cancelling of this, too, whole answers are put down that are there.
        """
        workers = [asyncio.create_task(self._work(items)) for _ in range(self._concurrency)]
        try:
            done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            for worker in done:
                worker.result()
        finally:
            await _stop(workers)
            for place in sorted(self._waiting):
                self._put(self._waiting.pop(place))
        if self._end:
            raise self._end

    async def _work(self, items: AsyncGenerator[Item | BadLine]) -> None:
        while next_ := await self._next(items):
            place, item = next_
            outcome = Outcome(item) if isinstance(item, BadLine) else await self._ask(item)
            if isinstance(outcome.error, BudgetError):
                self._end = outcome.error
                self._moved.set()
            else:
                self._done(place, outcome)

    async def _next(self, items: AsyncGenerator[Item | BadLine]) -> tuple[int, Item | BadLine] | None:
        async with self._taking:
            while self._is_far_ahead and not self._end:
                self._moved.clear()
                await self._moved.wait()
            if self._end or (item := await anext(items, None)) is None:
                return None
            self._taken += 1
            return self._taken, item

    @property
    def _is_far_ahead(self) -> bool:
        """Whether enough answers wait for one before them."""
        return self._in_order and self._taken - self._put_down >= AHEAD * self._concurrency

    def _done(self, place: int, outcome: Outcome) -> None:
        if not self._in_order:
            self._put(outcome)
            return
        self._waiting[place] = outcome
        self._move()

    def _move(self) -> None:
        while (outcome := self._waiting.pop(self._put_down + 1, None)) is not None:
            self._put_down += 1
            self._put(outcome)
        self._moved.set()


async def _stop(workers: list[asyncio.Task[None]]) -> None:
    for worker in workers:
        worker.cancel()
    await asyncio.wait(workers)
    for worker in workers:  # one that failed beside the first tells nothing new
        _ = worker.cancelled() or worker.exception()
