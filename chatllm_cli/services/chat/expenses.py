"""What a turn has cost so far: its answer, tries that failed, and whatever was asked besides."""

from datetime import UTC, datetime

from chatllm_cli.models import Endpoint, TokenUsage
from chatllm_cli.services.chat.budget import Budget
from chatllm_cli.services.chat.ports import PriceList, TurnListener


class Expenses:
    """Adds up what models were asked in one turn, and holds it to the budget."""

    def __init__(self, prices: PriceList | None, budget: Budget | None, listener: TurnListener) -> None:
        self._prices = prices
        self._budget = budget
        self._listener = listener
        self._taken: list[tuple[Endpoint, TokenUsage | None]] = []

    @property
    def has_any(self) -> bool:
        """Whether anything was asked that may have cost something."""
        return bool(self._taken)

    def add(self, endpoint: Endpoint, usage: TokenUsage | None) -> None:
        """Take note of what a model took; None if nobody knows."""
        self._taken.append((endpoint, usage))

    async def total(self, at: datetime) -> float | None:
        """Return what all of it costs in US dollars; None if a part of it is unknown."""
        costs = await self._costs(at)
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None

    async def check(self, endpoint: Endpoint) -> None:
        """Raise `BudgetError` if a model may not be asked any more, with what is not in the history yet."""
        if self._budget:
            now = datetime.now(UTC)
            spent = sum(cost or 0.0 for cost in await self._costs(now))
            await self._budget.check(endpoint, self._listener, now, besides=spent)

    async def _costs(self, at: datetime) -> list[float | None]:
        prices = self._prices
        return [await prices.cost(endpoint, usage, at) if prices else None for endpoint, usage in self._taken]
