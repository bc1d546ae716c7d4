"""Watches over a stream: gives up on one that stalls, and keeps one that rushes from holding up all else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatllm_cli.config.sections import TimeoutSettings


TICK = 0.5  # seconds between two looks
LEEWAY = 0.25  # seconds that a look may come late before we must have been suspended: then its time does not count
LONGEST_FAREWELL = 2.0  # seconds for what may follow the end of an answer: its usage, and the end of the stream
LONGEST_BREATH = 0.005  # seconds: keys are read, and clocks tick, only between two
Tell = Callable[[float], None]


class Breath:
    """Lets others have their turn in a loop over what has come already, in which nothing is waited for."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()

    async def take(self) -> None:
        """Let them, if they had none for a while."""
        if self._loop.time() - self._last > LONGEST_BREATH:
            await asyncio.sleep(0)
            self._last = self._loop.time()


class Watchdog:
    """Measures silence, and how long it takes in all.

    It counts only the time in which this process ran: after Ctrl-Z or a suspended machine a provider that had
    no chance to answer is not given up.
    """

    def __init__(
        self, scope: asyncio.Timeout, timeouts: "TimeoutSettings", *, patient: bool, on_silence: Tell | None
    ) -> None:
        self.verdict = self.setting = ""
        self._has_begun = self._has_ended = False
        self._on_silence = on_silence
        self._scope = scope
        self._timeouts = timeouts
        self._silence_limit = float("inf") if patient else timeouts.first_token
        self._silence = self._total = 0.0
        self._loop = asyncio.get_running_loop()
        self._last_look = self._loop.time()
        self._timer = self._loop.call_soon(self._look)

    def fed(self) -> None:
        """Take note that the answer came on."""
        self._silence_limit = self._timeouts.idle
        self._has_begun = True
        self._silence = -self._ran(self._loop.time())  # the next look adds what passed before this, too

    def finished(self) -> None:
        """Take note that the answer is at its end; what follows that has its own time."""
        if not self._has_ended:
            self.fed()
        self._has_ended = True
        self._silence_limit = min(self._timeouts.idle, LONGEST_FAREWELL)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        ran = self._ran(now)
        self._last_look = now
        self._silence += ran
        self._total += ran
        left = min(self._silence_limit - self._silence, (self._timeouts.total or float("inf")) - self._total)
        if left <= 0:
            self.verdict = self._reason()
            self._scope.reschedule(now)
        else:
            self._timer = self._loop.call_later(min(TICK, left), self._look)
            if self._on_silence and self._silence > 0:
                self._on_silence(self._silence)

    def _ran(self, now: float) -> float:
        """Return the seconds since the last look, unless it was too long ago for a process that ran."""
        passed = now - self._last_look
        return passed if passed <= TICK + LEEWAY else 0.0

    def _reason(self) -> str:
        if self._silence >= self._silence_limit:
            self.setting = "timeouts.idle" if self._has_begun else "timeouts.first_token"
            return f"sent nothing for {self._silence_limit:g} s"
        self.setting = "timeouts.total"
        return f"did not finish its answer in {self._timeouts.total:g} s"


@asynccontextmanager
async def watchdog(
    timeouts: "TimeoutSettings", *, patient: bool, on_silence: Tell | None = None
) -> AsyncIterator[Watchdog]:
    """Cancel the block when a limit is passed, and raise TimeoutError; `verdict` then says which.

    `patient` waits for ever for the first piece. `on_silence` is told at each look how long nothing came.
    """
    async with asyncio.timeout(None) as scope:
        dog = Watchdog(scope, timeouts, patient=patient, on_silence=on_silence)
        try:
            yield dog
        finally:
            dog.stop()
