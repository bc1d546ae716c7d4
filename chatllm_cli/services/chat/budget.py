"""What may be spent in a month or a day, held against what the history says was."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime, time
from typing import TYPE_CHECKING

from chatllm_cli.amounts import dollars
from chatllm_cli.errors import BudgetError
from chatllm_cli.frozen import frozen
from chatllm_cli.models import BudgetUse, Endpoint
from chatllm_cli.services.chat.ports import PriceList, TurnListener

if TYPE_CHECKING:
    from chatllm_cli.config.sections import BudgetSettings

NEARLY = 0.8
Spend = Callable[
    [datetime], Awaitable[tuple[float, int]]
]  # what was spent since a moment, and for how many it is unknown


@frozen
class Period:
    """A month or a day that a budget is set for, on this machine's clock."""

    name: str
    setting: str
    limit: float
    begin: datetime


class Budget:
    """The budgets in force; what has to be told of one is told once."""

    def __init__(self, settings: "BudgetSettings", spend: Spend, prices: PriceList) -> None:
        self._settings = settings
        self._spend = spend
        self._prices = prices
        self._told: set[str] = set()

    async def check(self, endpoint: Endpoint, listener: TurnListener, now: datetime, *, besides: float = 0.0) -> None:
        """Raise `BudgetError` if a budget is used up and asking this model would cost something, or may.

        `besides` was spent, too, and is not in the history yet.
        """
        in_force = periods(self._settings, now)
        if self._settings.over or not in_force or await self._prices.costs_nothing(endpoint):
            return
        for period in in_force:
            spent, unpriced = await self._spend(period.begin)
            use = BudgetUse(period.name, spent + besides, period.limit, unpriced)
            if use.is_used_up:
                raise BudgetError(
                    f"the budget for {use.period} is used up: {dollars(use.spent)} of {dollars(use.limit)}",
                    hint=f"--over-budget asks all the same; {period.setting} sets it",
                )
            if use.spent >= NEARLY * use.limit and self._is_news(period.setting):
                listener.on_budget(use)
            if use.unpriced and self._is_news("replies"):
                listener.on_unheld(use)
        if not await self._prices.is_known(endpoint) and self._is_news(endpoint.address):
            listener.on_unpriced(endpoint)

    def _is_news(self, what: str) -> bool:
        is_news = what not in self._told
        self._told.add(what)
        return is_news


def periods(settings: "BudgetSettings", now: datetime) -> list[Period]:
    """Return the month and the day that `now` is in, as far as there is a budget for them."""
    today = now.astimezone().date()
    day, month = _beginning(today), _beginning(today.replace(day=1))
    wanted = ((f"{today:%B}", "budget.month", settings.month, month), ("today", "budget.day", settings.day, day))
    return [Period(name, setting, limit, begin) for name, setting, limit, begin in wanted if limit is not None]


def _beginning(day: date) -> datetime:
    """Return the first moment of a day, with the offset that was in force then: the clocks may have changed since."""
    begin = datetime.combine(day, time()).astimezone()
    # Where they are put forward at midnight there is none, and the day before might be meant.
    return begin if begin.date() == day else datetime.combine(day, time(fold=1)).astimezone()
