import asyncio
import selectors
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any, TypeVar

import pytest

from chatllm_cli.config.sections import TimeoutSettings
from chatllm_cli.services.chat.watchdog import LEEWAY, LONGEST_BREATH, TICK, Breath, Watchdog, watchdog

T = TypeVar("T")
HOUR = 3600.0
MOMENT = 1e-9  # seconds that a turn of the loop takes at least
LATENESS = 0.1  # seconds
ROUNDING = 1e-4  # seconds
SCHEDULES = 2000


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Has a clock of its own: what runs takes next to no time of it, and every wait is over at once."""

    def __init__(self) -> None:
        self.now = 0.0
        self.suspended = 0.0
        super().__init__(_Leaper(self))

    def time(self) -> float:
        return self.now

    def suspend(self, seconds: float) -> None:
        """Let time pass in which nothing of this process runs."""
        self.now += seconds
        self.suspended += seconds


class _Leaper(selectors.SelectSelector):
    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nothing is left that could happen")
        if not ready:
            self._loop.now += max(timeout or 0.0, MOMENT)
        return ready


def simulate(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main` on a clock of its own."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main())


def simulated() -> SimulatedLoop:
    """Return the loop that runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    return loop


LIMITS = TimeoutSettings(first_token=100, idle=30)
IN_ALL = TimeoutSettings(first_token=100, idle=30, total=70)
HASTY = TimeoutSettings(first_token=0.5, idle=30)
NO_FEED: list[float] = []
NEVER = (HOUR, "")
Block = Callable[[Watchdog], Awaitable[None]]


async def verdict_on(
    block: Block,
    timeouts: TimeoutSettings,
    *,
    patient: bool = False,
    on_silence: Callable[[float], None] | None = None,
) -> str:
    """Return why `block` was given up; nothing if it came to its end."""
    async with asyncio.TaskGroup():  # which would fail if the task stayed cancelled
        try:
            async with watchdog(timeouts, patient=patient, on_silence=on_silence) as dog:
                await block(dog)
        except TimeoutError:
            assert (dog.setting == "timeouts.total") is dog.verdict.startswith("did not finish")
            return dog.verdict
    assert (dog.verdict, dog.setting) == ("", "")
    return ""


async def feed(dog: Watchdog, moments: Iterable[float]) -> None:
    """Feed `dog` at `moments` from now on."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for moment in moments:
        await asyncio.sleep(began + moment - loop.time())
        dog.fed()


async def give_up(
    timeouts: TimeoutSettings, *, patient: bool, fed: Iterable[float] = (), suspended: Iterable[float] = ()
) -> tuple[float, str]:
    """Return after how many seconds a block is given up, and why; it lasts an hour of running at most.

    The watchdog is fed at the moments `fed`, and the process suspended for an hour at each of `suspended`.
    """
    loop = simulated()

    async def block(dog: Watchdog) -> None:
        for moment in suspended:
            loop.call_at(moment, loop.suspend, HOUR)
        await feed(dog, fed)
        while (left := HOUR + loop.suspended - loop.now) > 0:
            await asyncio.sleep(left)

    verdict = await verdict_on(block, timeouts, patient=patient)
    return loop.now, verdict


@pytest.mark.parametrize(
    ("timeouts", "patient", "fed", "end"),
    [
        (LIMITS, False, NO_FEED, (100, "sent nothing for 100 s")),
        (LIMITS, False, [0], (30, "sent nothing for 30 s")),
        (LIMITS, False, [0.25], (30.25, "sent nothing for 30 s")),
        (LIMITS, False, [99.5], (129.5, "sent nothing for 30 s")),
        (LIMITS, False, [10, 30, 59.75], (89.75, "sent nothing for 30 s")),
        (LIMITS, False, range(0, 3600, 29), NEVER),
        (LIMITS, False, range(90, 3600, 29), NEVER),
        (LIMITS, True, NO_FEED, NEVER),
        (LIMITS, True, [1000], (1030, "sent nothing for 30 s")),
        (IN_ALL, False, NO_FEED, (70, "did not finish its answer in 70 s")),
        (IN_ALL, False, [20], (50, "sent nothing for 30 s")),
        (IN_ALL, False, range(0, 3600, 7), (70, "did not finish its answer in 70 s")),
        (IN_ALL, True, NO_FEED, (70, "did not finish its answer in 70 s")),
        (IN_ALL, True, [41], (70, "did not finish its answer in 70 s")),
        (IN_ALL, True, [39], (69, "sent nothing for 30 s")),
        (HASTY, False, NO_FEED, (0.5, "sent nothing for 0.5 s")),
        (HASTY, False, [0.25], (30.25, "sent nothing for 30 s")),
        (TimeoutSettings(first_token=5, total=5), False, NO_FEED, (5, "sent nothing for 5 s")),
    ],
)
def test_a_block_is_given_up_to_the_second(
    timeouts: TimeoutSettings, patient: bool, fed: Iterable[float], end: tuple[float, str]
) -> None:
    seconds, verdict = simulate(lambda: give_up(timeouts, patient=patient, fed=fed))
    assert (round(seconds, 4), verdict) == end


def test_a_limit_shorter_than_a_tick_is_met_within_the_tick() -> None:
    timeouts = TimeoutSettings(first_token=100, idle=0.25)
    for fed in (0.0, 0.125, 0.5, 0.875, 10.0, 10.25, 10.75):
        end, _ = simulate(lambda fed=fed: give_up(timeouts, patient=False, fed=[fed]))  # type: ignore[misc]
        assert fed + 0.25 <= end < fed + 0.25 + TICK


@pytest.mark.parametrize(
    ("timeouts", "patient", "fed", "suspended"),
    [
        (LIMITS, False, NO_FEED, [0.5]),
        (LIMITS, False, NO_FEED, [50]),
        (LIMITS, False, NO_FEED, [50, 51 + HOUR, 52 + 2 * HOUR]),
        (LIMITS, False, [10], [25]),
        (LIMITS, False, [10], [10]),
        (LIMITS, False, [10], [9.75]),
        (LIMITS, False, [10], [10.25, 11 + HOUR, 12 + 2 * HOUR]),
        (IN_ALL, True, NO_FEED, [60]),
        (IN_ALL, True, NO_FEED, [10, 20 + HOUR, 30 + 2 * HOUR]),
    ],
)
def test_an_hour_of_suspension_gives_nothing_up_but_the_silence_around_it_does(
    timeouts: TimeoutSettings, patient: bool, fed: Iterable[float], suspended: list[float]
) -> None:
    ordinary, verdict = simulate(lambda: give_up(timeouts, patient=patient, fed=fed))
    assert verdict
    end, same = simulate(lambda: give_up(timeouts, patient=patient, fed=fed, suspended=suspended))
    assert same == verdict
    ran = end - HOUR * len(suspended)
    # Never earlier: what passed between the looks around a suspension does not count at all. (A piece that is due
    # in one comes right after it: 0.25 s early, by the clock of what ran.)
    assert ordinary - 0.25 - ROUNDING <= ran <= ordinary + len(suspended) * (TICK + LEEWAY) + ROUNDING


@pytest.mark.parametrize(
    ("timeouts", "fed", "setting"),
    [
        (LIMITS, NO_FEED, "timeouts.first_token"),
        (LIMITS, [10], "timeouts.idle"),
        (IN_ALL, [10, 30, 50], "timeouts.total"),
    ],
)
def test_the_setting_that_held_is_named(timeouts: TimeoutSettings, fed: list[float], setting: str) -> None:
    async def main() -> str:
        try:
            async with watchdog(timeouts, patient=False) as dog:
                await feed(dog, fed)
                await asyncio.sleep(HOUR)
        except TimeoutError:
            pass
        return dog.setting

    assert simulate(main) == setting


@pytest.mark.parametrize(
    ("fed", "lasts", "told"),
    [
        (NO_FEED, 1.75, [0, 0.5, 1, 1.5]),
        ([1.25], 2.75, [0, 0.5, 1, 0.25, 0.75, 1.25]),
        ([0.375, 0.875, 1.375], 1.75, [0, 0.125, 0.125, 0.125]),
    ],
)
def test_a_silence_is_told_at_each_look(fed: list[float], lasts: float, told: list[float]) -> None:
    silences: list[float] = []

    async def block(dog: Watchdog) -> None:
        await feed(dog, fed)
        await asyncio.sleep(lasts - simulated().now)

    assert simulate(partial(verdict_on, block, LIMITS, on_silence=silences.append)) == ""
    assert silences == pytest.approx(told, abs=ROUNDING)


def test_a_silence_is_told_as_long_as_it_lasts_and_no_longer() -> None:
    silences: list[float] = []

    async def main() -> float:
        assert await verdict_on(lambda _: asyncio.sleep(HOUR), LIMITS, on_silence=silences.append)
        await asyncio.sleep(HOUR)
        return simulated().now

    assert simulate(main) == pytest.approx(LIMITS.first_token + HOUR, abs=ROUNDING)
    assert silences == pytest.approx([look * TICK for look in range(200)], abs=ROUNDING)


async def farewell(timeouts: TimeoutSettings, *, quiet_for: float, patient: bool = False) -> float:
    """Return how long after its end an answer is waited for that is held open; `quiet_for` lies before the end."""
    loop = simulated()

    async def block(dog: Watchdog) -> None:
        dog.fed()
        await asyncio.sleep(quiet_for)
        while True:  # what comes behind the end puts nothing off
            dog.finished()
            await asyncio.sleep(0.5)

    assert await verdict_on(block, timeouts, patient=patient)
    return loop.now - quiet_for


SHORT = TimeoutSettings(first_token=100, idle=0.5)


@pytest.mark.parametrize(("timeouts", "seconds"), [(LIMITS, 2.0), (SHORT, 0.5)])
@pytest.mark.parametrize("patient", [False, True])
def test_an_answer_at_its_end_is_not_waited_for_much_longer(
    timeouts: TimeoutSettings, seconds: float, patient: bool
) -> None:
    took = simulate(partial(farewell, timeouts, quiet_for=0.0, patient=patient))
    assert seconds - ROUNDING <= took <= seconds + TICK + ROUNDING


EARLIER_SILENCE = "finished() leaves the silence before the end in the account of what follows it"


@pytest.mark.parametrize("quiet_for", [1.5, 10.25, 29.0])
def test_what_follows_the_end_has_its_time_however_long_the_end_took(quiet_for: float) -> None:
    took = simulate(partial(farewell, LIMITS, quiet_for=quiet_for))
    assert 2.0 - ROUNDING <= took <= 2.0 + TICK + ROUNDING


def test_a_process_that_was_busy_for_less_than_the_leeway_was_not_suspended() -> None:
    async def block(_: Watchdog) -> None:
        for moment in range(5, 95, 5):
            simulated().call_at(moment + 0.5, simulated().suspend, LEEWAY - 0.125)
        await asyncio.sleep(HOUR)

    async def main() -> float:
        assert await verdict_on(block, LIMITS)
        return simulated().now

    assert simulate(main) == pytest.approx(LIMITS.first_token, abs=ROUNDING)


async def silence_at_the_end(random: Random, timeouts: TimeoutSettings) -> tuple[float, float, int]:
    """Feed and suspend at random moments until the watchdog gives up.

    Return the limit that held, the silence up to then while the process ran, and how often it did not.
    """
    loop = simulated()
    limit, fed_at, suspensions = timeouts.first_token, 0.0, 0

    def suspend() -> None:
        nonlocal suspensions
        suspensions += 1
        loop.suspend(random.choice([3.0, 60.0, HOUR, 24 * HOUR]))

    async def block(dog: Watchdog) -> None:
        nonlocal limit, fed_at, suspensions
        while True:
            if random.random() < 0.6:
                loop.call_later(random.uniform(0, 10), suspend)
            await asyncio.sleep(random.uniform(0, 15))
            await asyncio.sleep(0)  # the watchdog looks first
            if not dog.verdict:  # else it is too late, by a hair
                dog.fed()
                limit, fed_at, suspensions = timeouts.idle, loop.now - loop.suspended, 0

    assert await verdict_on(block, timeouts) == f"sent nothing for {limit:g} s"
    return limit, loop.now - loop.suspended - fed_at, suspensions


def test_two_thousand_random_schedules_are_given_up_for_silence_that_the_process_lived_through() -> None:
    random = Random(16)  # noqa: S311  (it keeps no secrets)
    tally: Counter[str] = Counter()
    for _ in range(SCHEDULES):
        timeouts = TimeoutSettings(first_token=random.uniform(3, 12), idle=random.uniform(3, 12))
        limit, silence, suspensions = simulate(partial(silence_at_the_end, random, timeouts))
        assert limit - ROUNDING <= silence <= limit + suspensions * (TICK + LEEWAY) + ROUNDING
        tally.update({"schedules": 1, "suspended": bool(suspensions), "fed": limit == timeouts.idle})
    assert tally["schedules"] == SCHEDULES
    assert min(tally["suspended"], tally["fed"]) > SCHEDULES / 20


@pytest.mark.parametrize("blocked", [60.0, HOUR], ids=["a minute", "an hour"])
def test_a_piece_that_comes_right_after_a_suspension_does_not_put_the_limit_off_by_it(blocked: float) -> None:
    fed_at = 0.0

    async def block(dog: Watchdog) -> None:
        nonlocal fed_at
        await asyncio.sleep(10.5)
        dog.fed()
        simulated().suspend(blocked)  # while that piece is shown
        dog.fed()  # the next one had come together with it
        fed_at = simulated().now
        await asyncio.sleep(10 * HOUR)

    async def main() -> float:
        assert await verdict_on(block, LIMITS)
        return simulated().now - fed_at

    assert LIMITS.idle - TICK - LEEWAY <= simulate(main) <= LIMITS.idle + TICK


HASTE = TimeoutSettings(first_token=0.2, idle=0.2)


@pytest.mark.parametrize(
    ("timeouts", "patient", "fed", "end", "verdict"),
    [
        (TimeoutSettings(first_token=0.1), False, NO_FEED, 0.1, "sent nothing for 0.1 s"),
        (TimeoutSettings(first_token=0.1, idle=0.3), False, [0.05], 0.35, "sent nothing for 0.3 s"),
        (HASTE, False, [0.1, 0.2, 0.3], 0.5, "sent nothing for 0.2 s"),
        (TimeoutSettings(first_token=0.1, idle=1), True, [0.2], 1.2, "sent nothing for 1 s"),
        (TimeoutSettings(first_token=5, total=0.2), False, NO_FEED, 0.2, "did not finish its answer in 0.2 s"),
        (TimeoutSettings(first_token=5, idle=5, total=0.3), False, [0.1], 0.3, "did not finish its answer in 0.3 s"),
        (TimeoutSettings(first_token=0.1, total=0.2), True, NO_FEED, 0.2, "did not finish its answer in 0.2 s"),
    ],
)
async def test_a_limit_is_met_on_a_real_clock(
    timeouts: TimeoutSettings, patient: bool, fed: list[float], end: float, verdict: str
) -> None:
    async def block(dog: Watchdog) -> None:
        await feed(dog, fed)
        await asyncio.sleep(10)

    async def late_as_any_timer() -> float:
        for begin, moment in pairwise([0.0, *fed, end]):
            await asyncio.sleep(moment - begin)
        return loop.time() - began

    async def given_up() -> float:
        assert await verdict_on(block, timeouts, patient=patient) == verdict
        return loop.time() - began

    loop = asyncio.get_running_loop()
    began = loop.time()
    took, at_best = await asyncio.gather(given_up(), late_as_any_timer())
    assert end - 0.01 <= took <= at_best + LATENESS


@pytest.mark.parametrize(
    ("timeouts", "patient"),
    [
        (TimeoutSettings(first_token=0.2, total=0.2), False),
        (TimeoutSettings(first_token=0.05), True),
    ],
)
async def test_a_block_that_ends_in_time_is_left_alone_and_so_is_what_follows_it(
    timeouts: TimeoutSettings, patient: bool
) -> None:
    async def block(dog: Watchdog) -> None:
        await asyncio.sleep(0.1)

    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
    assert await verdict_on(block, timeouts, patient=patient) == ""
    await asyncio.sleep(0.2)
    assert complaints == []


@pytest.mark.parametrize("error", [KeyError("mine"), TimeoutError("mine"), asyncio.CancelledError("mine")])
async def test_what_the_block_itself_raises_passes_through(error: BaseException) -> None:
    dogs: list[Watchdog] = []

    async def block() -> None:
        async with watchdog(TimeoutSettings(), patient=False) as dog:
            dogs.append(dog)
            raise error

    with pytest.raises(type(error), match="mine") as raised:
        await block()
    assert raised.value is error
    assert dogs[0].verdict == ""


async def wait_under_watch(timeouts: TimeoutSettings) -> None:
    async with watchdog(timeouts, patient=False):
        await asyncio.sleep(HOUR)


async def test_cancelling_from_outside_is_no_timeout() -> None:
    task = asyncio.create_task(wait_under_watch(TimeoutSettings(total=5)))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_cancelling_from_outside_at_the_moment_of_the_limit_is_no_timeout() -> None:
    async def main() -> asyncio.Task[None]:
        task = asyncio.create_task(wait_under_watch(LIMITS))
        simulated().call_at(LIMITS.first_token, task.cancel)
        await asyncio.wait([task])
        return task

    assert simulate(main).cancelled()


def test_cancelling_from_outside_around_the_limit_is_one_of_the_two() -> None:
    async def main(moment: float) -> str:
        task = asyncio.create_task(wait_under_watch(LIMITS))
        simulated().call_at(moment, task.cancel)
        await asyncio.wait([task])
        return "cancelled" if task.cancelled() else type(task.exception()).__name__

    moments = (0.0, 0.5, 99.0, 99.99, 100.01, 101.0)
    assert [simulate(partial(main, moment)) for moment in moments] == ["cancelled"] * 4 + ["TimeoutError"] * 2


async def test_a_loop_over_what_has_come_lets_others_have_their_turn_now_and_then() -> None:
    others: list[float] = []
    loop, breath = asyncio.get_running_loop(), Breath()

    def count() -> None:
        others.append(loop.time())
        loop.call_soon(count)

    loop.call_soon(count)
    end = loop.time() + 10 * LONGEST_BREATH
    rounds = 0
    while loop.time() < end:
        rounds += 1
        await breath.take()
    assert 3 <= len(others) <= 10
    assert rounds > 10 * len(others)
