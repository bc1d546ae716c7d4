"""Whether a request is sent again, and when: a pure function, and the waits that it asks for."""

import asyncio
import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from chatllm_cli.errors import ProviderError
from chatllm_cli.models import RetryWait
from chatllm_cli.services.chat.ports import TurnListener

if TYPE_CHECKING:
    from chatllm_cli.config.sections import RetrySettings


def next_wait(
    error: ProviderError, *, retry: int, waited: float, settings: "RetrySettings", jitter: float
) -> float | None:
    """Return the seconds to wait before the request is sent for the `retry`-th time again; None gives up.

    `waited` are the seconds that earlier waits of this turn took, `jitter` is a random number from 0 to 1. Where
    the provider names a time it is never asked earlier; else the wait is anything up to a limit that doubles
    (full jitter: clients that failed together do not come back together).
    """
    if not error.is_passing or retry > settings.max_retries:
        return None
    longest = min(settings.longest_delay, math.ldexp(settings.first_delay, retry - 1))
    wait = error.retry_after if error.retry_after is not None else jitter * longest
    return wait if waited + wait <= settings.max_wait else None


class Patience:
    """What is left of it in one turn: the waits for all its models come out of one purse."""

    def __init__(self, settings: "RetrySettings", listener: TurnListener) -> None:
        self._settings = settings
        self._listener = listener
        self._waited = 0.0

    async def wait_out(self, error: ProviderError, retry: int) -> bool:
        """Wait before the `retry`-th retry and return True; False, at once, if there is to be none."""
        jitter = random.random()  # noqa: S311  (nobody gains by guessing it)
        wait = next_wait(error, retry=retry, waited=self._waited, settings=self._settings, jitter=jitter)
        if wait is None:
            self._explain(error, retry)
            return False
        self._waited += wait
        max_retries = self._settings.max_retries
        await _count_down(
            wait, lambda left: self._listener.on_wait(RetryWait(error.reason, retry, max_retries, left))
        )
        return True

    def _explain(self, error: ProviderError, retry: int) -> None:
        """Let the hint say why there is no further try, if another could have helped."""
        asked, left = error.retry_after, self._settings.max_wait - self._waited
        if not error.is_passing or not self._settings.max_retries:
            return
        if retry > self._settings.max_retries:
            error.hint = f"gave up after {retry - 1} retries; --max-wait SECONDS tries for longer"
        elif asked is not None and self._waited:
            error.hint = f"it asks for another {spelled(asked)}, and {left:.0f} s of --max-wait are left"
        elif asked is not None:
            error.hint = f"it asks to wait {spelled(asked)}, longer than --max-wait ({left:g} s)"
        else:
            error.hint = "gave up when the time of --max-wait was used up"


def spelled(seconds: float) -> str:
    """Return a wait as a person says it."""
    seconds = min(seconds, 1e9)  # a provider may say anything
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


async def _count_down(seconds: float, tell: Callable[[float], None]) -> None:
    """Wait, and tell what is left: at once, whenever another whole second has passed, and at the end."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while (left := end - loop.time()) > 0:
        tell(left)
        await asyncio.sleep(left % 1 or 1)
    tell(0.0)
