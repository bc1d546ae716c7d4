import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.config.sections import BudgetSettings, PriceSettings
from chatllm_cli.errors import BudgetError
from chatllm_cli.models import BudgetUse, Endpoint, Message, Role
from chatllm_cli.services.chat.budget import Budget, periods
from chatllm_cli.services.history import records
from chatllm_cli.services.prices import Prices
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI
from tests.fakes import RecordingListener
from tests.test_spending import COST, MODEL, configure

NOON = datetime(2026, 11, 15, 12, tzinfo=UTC)
PAID = Endpoint("hub", "paid", "https://hub.example/v1")
FREE = Endpoint("hub", "free", "https://hub.example/v1")
UNKNOWN = Endpoint("hub", "unknown", "https://hub.example/v1")
EMBEDDED = Endpoint("local", "smollm2", "", weights="sha256:1")
PRICES = Prices(
    {"hub/paid": PriceSettings(input=1, output=1), "hub/free": PriceSettings(input=0, output=0)}, local_window=8192
)
MONTH, DAY = BudgetSettings(month=5), BudgetSettings(day=1)
BOTH = BudgetSettings(month=5, day=1)
HINT = "--over-budget asks all the same; budget.{} sets it"


@contextmanager
def clock_of(zone: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", zone)
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock is ahead of UTC by one hour, in summer by two."""
    with clock_of("Europe/Berlin", monkeypatch):
        yield


class Ledger:
    """What was spent in the month, and of it today."""

    def __init__(self, month: float, today: float = 0.0, unpriced: int = 0) -> None:
        self.month, self.today, self.unpriced = month, today, unpriced
        self.asked: list[datetime] = []

    async def spend(self, since: datetime) -> tuple[float, int]:
        self.asked.append(since)
        return self.today if since.astimezone().day == NOON.day else self.month, self.unpriced


@pytest.mark.parametrize(
    ("settings", "ledger", "told"),
    [
        (BudgetSettings(), Ledger(99, 99), []),
        (MONTH, Ledger(0), []),
        (MONTH, Ledger(3.99), []),
        (MONTH, Ledger(4.0), [BudgetUse("November", 4.0, 5)]),
        (MONTH, Ledger(4.99, 4.99), [BudgetUse("November", 4.99, 5)]),
        (DAY, Ledger(99, 0.79), []),
        (DAY, Ledger(99, 0.8), [BudgetUse("today", 0.8, 1)]),
        (BOTH, Ledger(4.5, 0.9), [BudgetUse("November", 4.5, 5), BudgetUse("today", 0.9, 1)]),
        (BudgetSettings(month=5, over=True), Ledger(99), []),
    ],
)
async def test_a_budget_that_is_nearly_used_up_is_told_once(
    settings: BudgetSettings, ledger: Ledger, told: list[BudgetUse]
) -> None:
    budget, listener = Budget(settings, ledger.spend, PRICES), RecordingListener()
    for _ in range(2):
        await budget.check(PAID, listener, NOON)
    assert (listener.budgets, listener.unpriced) == (told, [])


@pytest.mark.parametrize(
    ("settings", "ledger", "message", "setting"),
    [
        (MONTH, Ledger(5.02), "the budget for November is used up: $5.02 of $5.00", "month"),
        (MONTH, Ledger(5.0), "the budget for November is used up: $5.00 of $5.00", "month"),
        (MONTH, Ledger(sum([0.1] * 50)), "the budget for November is used up: $5.00 of $5.00", "month"),
        (DAY, Ledger(0, 1.5), "the budget for today is used up: $1.50 of $1.00", "day"),
        (BOTH, Ledger(4.5, 1.0), "the budget for today is used up: $1.00 of $1.00", "day"),
        (BOTH, Ledger(5, 1.0), "the budget for November is used up: $5.00 of $5.00", "month"),
        (BudgetSettings(month=0), Ledger(0), "the budget for November is used up: $0.00 of $0.00", "month"),
    ],
)
@pytest.mark.parametrize("endpoint", [PAID, UNKNOWN])
async def test_a_budget_that_is_used_up_is_an_error(
    settings: BudgetSettings, ledger: Ledger, message: str, setting: str, endpoint: Endpoint
) -> None:
    with pytest.raises(BudgetError) as caught:
        await Budget(settings, ledger.spend, PRICES).check(endpoint, RecordingListener(), NOON)
    assert (caught.value.message, caught.value.hint) == (message, HINT.format(setting))


@pytest.mark.parametrize("endpoint", [FREE, EMBEDDED])
async def test_what_costs_nothing_needs_no_budget(endpoint: Endpoint) -> None:
    ledger, listener = Ledger(99, 99), RecordingListener()
    await Budget(BOTH, ledger.spend, PRICES).check(endpoint, listener, NOON)
    assert (listener.budgets, ledger.asked) == ([], [])


async def test_a_model_of_unknown_price_is_told_once_if_there_is_a_budget() -> None:
    listener = RecordingListener()
    for settings in (BOTH, BudgetSettings()):
        budget = Budget(settings, Ledger(0).spend, PRICES)
        for _ in range(2):
            await budget.check(UNKNOWN, listener, NOON)
    assert listener.unpriced == ["hub/unknown"]


async def test_answers_whose_cost_nobody_knows_are_told_once() -> None:
    budget, listener = Budget(BOTH, Ledger(0, unpriced=2).spend, PRICES), RecordingListener()
    for _ in range(2):
        await budget.check(PAID, listener, NOON)
    assert (listener.unheld, listener.unpriced) == ([BudgetUse("November", 0, 5, unpriced=2)], [])


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("now", "name", "month", "day"),
    [
        ("2026-11-15T12:00Z", "November", "2026-10-31T23:00Z", "2026-11-14T23:00Z"),
        ("2026-10-31T22:59Z", "October", "2026-09-30T22:00Z", "2026-10-30T23:00Z"),
        ("2026-10-31T23:00Z", "November", "2026-10-31T23:00Z", "2026-10-31T23:00Z"),
        ("2026-10-25T12:00Z", "October", "2026-09-30T22:00Z", "2026-10-24T22:00Z"),  # the clocks went back
        ("2026-03-29T12:00Z", "March", "2026-02-28T23:00Z", "2026-03-28T23:00Z"),  # and forth
        ("2026-12-31T23:30Z", "January", "2026-12-31T23:00Z", "2026-12-31T23:00Z"),
    ],
)
def test_months_and_days_are_those_of_this_machines_clock(now: str, name: str, month: str, day: str) -> None:
    found = periods(BOTH, datetime.fromisoformat(now))
    expected = [(name, datetime.fromisoformat(month)), ("today", datetime.fromisoformat(day))]
    assert [(period.name, period.begin) for period in found] == expected


@pytest.mark.parametrize(
    ("zone", "now", "day"),
    [
        ("Africa/Cairo", "2026-04-24T05:00Z", "2026-04-23T22:00Z"),  # from there on it is one o'clock
        ("America/Havana", "2026-03-08T12:00Z", "2026-03-08T05:00Z"),
        ("America/Havana", "2026-11-01T12:00Z", "2026-11-01T04:00Z"),  # an hour later it is midnight again
    ],
)
def test_a_day_begins_when_the_clocks_say_so_though_they_change_at_midnight(
    monkeypatch: pytest.MonkeyPatch, zone: str, now: str, day: str
) -> None:
    with clock_of(zone, monkeypatch):
        (found,) = periods(DAY, datetime.fromisoformat(now))
        assert found.begin == datetime.fromisoformat(day)
        assert found.begin.date() == datetime.fromisoformat(now).astimezone().date()


@pytest.fixture
def tight(provider: FakeOpenAI, places: Places) -> FakeOpenAI:
    """The fake server at a price of half a cent an answer, and a budget of a cent."""
    price = f'[prices."{MODEL}"]\ninput = 400\noutput = 733.4\n'
    configure(places, f'{price}[prices."default/silent"]\ninput = 400\noutput = 733.4\n[budget]\nmonth = 0.01\n')
    return provider


USED_UP = "is used up: $0.010 of $0.010"


def test_nothing_is_sent_any_more_once_the_history_has_cost_the_budget(run: Run, tight: FakeOpenAI) -> None:
    assert COST < 0.005
    assert [run("ask", "hi").exit_code for _ in range(2)] == [0, 0]
    result = run("ask", "hi")
    assert (result.exit_code, result.stdout, len(tight.chats)) == (7, "", 2)
    told = re.fullmatch(r"chatllm: the budget for \w+ (.*)\n  hint: (.*)\n", result.stderr)
    assert told
    assert told.groups() == (USED_UP, HINT.format("month"))
    assert '"kind": "budget"' in run("ask", "--json", "hi").stderr
    assert run("ask", "--over-budget", "hi").exit_code == 0
    assert run("history", "show", "@2").stdout.startswith("## you")  # the prompt that was not sent is kept


def test_answers_without_text_count_too(run: Run, tight: FakeOpenAI) -> None:
    codes = [run("ask", "-m", "default/silent", "hi").exit_code for _ in range(3)]
    assert codes[-1] == 7


def test_what_costs_nothing_goes_past_a_budget_that_is_used_up(run: Run, tight: FakeOpenAI) -> None:
    question = ("ask", "--temperature", "0", "again")
    run(*question)
    run("ask", "hi")
    assert run("ask", "hi").exit_code == 7
    cached = run(*question)
    assert (cached.exit_code, cached.stdout) == (0, "hello there")
    assert run("ask", "-m", "says-free", "hi").stdout == "free"
    fallback = run("ask", "--fallback", MODEL.replace("there", "you"), "hi")
    assert (fallback.exit_code, fallback.stdout) == (0, "hello you")
    assert fallback.stderr.endswith("; default/says-hello-you is asked instead\n")


def test_a_fallback_that_costs_something_is_no_way_around_a_budget(run: Run, tight: FakeOpenAI) -> None:
    for _ in range(2):
        run("ask", "hi")
    asked = len(tight.chats)
    result = run("ask", "--fallback", "default/silent", "hi")
    assert (result.exit_code, len(tight.chats), "instead" in result.stderr) == (7, asked, False)


def test_most_of_a_budget_is_told_before_the_answer(run: Run, tight: FakeOpenAI, places: Places) -> None:
    places.config_file.write_text(places.config_file.read_text().replace("month = 0.01", "day = 0.006"))
    run("ask", "hi")
    told = "the budget for today is nearly used up: $0.0050 of $0.0060\n"
    result = run("ask", "hi")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "hello there", told)


def test_answers_of_unknown_price_are_told_with_the_next_one(run: Run, tight: FakeOpenAI, places: Places) -> None:
    run("ask", "hi")
    (journal,) = places.conversations.rglob("*.jsonl")
    with journal.open("ab") as file:
        reply = Message("r", Role.ASSISTANT, "yes", datetime.now(UTC), model="hub/m")
        file.write(records.encode(records.message_record(reply)))
    told = r"the price of 1 answer of \w+ is unknown: it does not count towards the budget\n"
    assert re.fullmatch(told, run("ask", "hi").stderr)


def test_turns_that_are_not_kept_and_what_was_removed_do_not_count(run: Run, tight: FakeOpenAI) -> None:
    for _ in range(3):
        assert run("ask", "--private", "hi").exit_code == 0
    for _ in range(2):
        run("ask", "hi")
    assert run("ask", "hi").exit_code == 7
    run("history", "rm", "-y", "@2")
    assert run("ask", "hi").exit_code == 0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("month = -1", "budget.month: expected a number greater than or equal to 0"),
        ('day = "x"', "budget.day: expected a valid number"),
        ("week = 1", "budget.week is not a setting"),
    ],
)
def test_a_budget_that_cannot_be_used_is_one_line(run: Run, places: Places, line: str, told: str) -> None:
    configure(places, f"[budget]\n{line}\n")
    result = run("ask", "hi")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, f"chatllm: {places.config_file}: {told}")
