"""How a command runs: on one event loop that signals stop, with services that get closed."""

import asyncio
import gc
import os
import select
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.config.places import find_places
from chatllm_cli.errors import UsageError
from chatllm_cli.models import Conversation, Endpoint
from chatllm_cli.render.progress import Counter
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.repl.quiet_terminal import modes, set_modes

if TYPE_CHECKING:
    from types import FrameType

    from chatllm_cli.config.settings import Settings

Result = TypeVar("Result")
keys_seen: set[str] = set()  # that this process has used: a traceback must not show them

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LONGEST_FAREWELL = 2.0  # seconds to save what there is, after a signal
PAUSE = 0.05
LAST_RESORT = 1.0  # seconds more, for what cannot be cancelled


def run(
    work: Callable[[Services], Awaitable[Result]],
    settings: "Settings | None" = None,
    *,
    dies_by_signals: bool = False,
) -> Result:
    """Run `work` on the services that `settings` describe, and close them; without, they are loaded when needed.

    INT, TERM and HUP cancel it, so that it can save what it has; the exit code then is 128 and the signal.
    What has nothing to save may rather die by them at once.
    """
    gc.freeze()  # what was imported stays
    gc.enable()
    loop = asyncio.new_event_loop()
    services = Services(
        settings,
        find_places(),
        progress=Counter(Renderer(sys.stdout, sys.stderr), "indexing the history"),
        on_key=keys_seen.add,
    )
    try:
        return loop.run_until_complete(_run(work, services, dies_by_signals=dies_by_signals))
    finally:
        _close(loop)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Close the loop as `asyncio.run` does, but for its wait for threads: one may look up a name, or load a model."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def choose(
    services: Services, renderer: Renderer, model: str | None, last: Conversation | None
) -> list[Endpoint]:
    """Return who answers, the conversation's own model unless another is named, and who stands behind.

    Says so if nobody chose the model.
    """
    providers = services.providers
    if last and last.last_model and not model:
        endpoint = providers.resumed(last)
        if last.imported_at and endpoint.address != last.last_model:
            told = f"this conversation was held with {last.last_model}, which is not set up here"
            renderer.notice(f"{told}: {endpoint.address} answers")
    else:
        endpoint = providers.endpoint(model or "")
        if providers.stands_in(endpoint, model or ""):
            renderer.stand_in(endpoint.address)
    return [endpoint, *providers.fallbacks(endpoint)]


def check_differ(chosen: Sequence[Sequence[Endpoint]]) -> None:
    """Raise `UsageError` if a model is to be asked twice, be it by another name."""
    addresses = [endpoints[0].address for endpoints in chosen]
    for address in addresses:
        if addresses.count(address) > 1:
            raise UsageError(f"{address} is named twice: each model is asked once")


async def resumed(services: Services, renderer: Renderer, address: str | None, *, last: bool) -> Conversation | None:
    """Return the conversation to go on with: the one at `address`, or the last one, or none."""
    return await found(services, renderer, address) if last or address is not None else None


async def found(services: Services, renderer: Renderer, address: str | None) -> Conversation:
    """Return the conversation at `address`, or the last one without. Says so if it is damaged."""
    conversation = await (services.history.last() if address is None else services.history.load(address))
    if damaged := conversation.damaged_lines:
        renderer.notice(f"damaged lines in this conversation, skipped: {damaged} (`history check`)")
    return conversation


async def _run(work: Callable[[Services], Awaitable[Result]], services: Services, *, dies_by_signals: bool) -> Result:
    task = asyncio.ensure_future(work(services))
    stopper = _Stopper(task)
    try:
        with handling(signal.SIG_DFL) if dies_by_signals else stopper.listening():
            result = await task
    except BaseException:
        if stopper.received:  # whatever became of it: a terminal that went away takes no last words either
            raise typer.Exit(128 + stopper.received[0]) from None
        raise
    else:
        if stopper.received and stopper.received[0] != signal.SIGPIPE:  # all was done, and still somebody stopped it
            raise typer.Exit(128 + stopper.received[0])
        return result
    finally:
        await services.aclose()


@contextmanager
def handling(
    handler: "signal.Handlers | Callable[[int, FrameType | None], None]", numbers: Iterable[int] = SIGNALS
) -> Iterator[None]:
    """Let `handler` take the signals, but for those that somebody chose to ignore, as nohup does.

    A child begins without a handler that is a function, which it would not if the signals were ignored.
    """
    handled = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in handled}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


class _Stopper:
    """Cancels a task by signals, and when nobody reads its output any more."""

    def __init__(self, task: asyncio.Future[Any]) -> None:
        self.received: list[int] = []
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._modes = modes()

    @contextmanager
    def listening(self) -> Iterator[None]:
        # Not the loop's own handlers: those run in the loop, which may be held up by an output that nobody reads.
        try:
            with handling(lambda number, _: self._stop(number)), self._watching_stdout():
                yield
        finally:
            if self.received:
                signal.setitimer(signal.ITIMER_REAL, 0)

    def _stop(self, number: int) -> None:
        """Cancel the task, and leave it a while to save what there is; no more of it at the second signal."""
        self.received.append(number)
        grace = LONGEST_FAREWELL if len(self.received) == 1 else PAUSE
        self._loop.call_soon_threadsafe(self._cancel, grace)
        signal.signal(signal.SIGALRM, lambda *_: self._die())  # where even the loop does not come to it
        signal.setitimer(signal.ITIMER_REAL, grace + LAST_RESORT)

    def _cancel(self, grace: float) -> None:
        self._task.cancel()
        self._loop.call_later(grace, self._cancel, PAUSE)

    def _die(self) -> None:
        """Leave at once, by the signal, with the terminal as it was."""
        if self._modes:
            set_modes(self._modes)
        signal.signal(self.received[0], signal.SIG_DFL)
        os.kill(os.getpid(), self.received[0])

    @contextmanager
    def _watching_stdout(self) -> Iterator[None]:
        """Notice that a pipe was closed at once, not only when there is something to write: answers cost money."""
        try:
            poll = select.epoll()  # which is readable itself, once it has something to tell
            poll.register(-1 if sys.stdout.isatty() else sys.stdout.fileno(), 0)  # errors are told always
        except (AttributeError, OSError, ValueError):  # no epoll on this system, a terminal, a file, or no stdout
            yield
            return
        self._loop.add_reader(poll.fileno(), self._lost_reader, poll)
        try:
            yield
        finally:
            self._loop.remove_reader(poll.fileno())
            poll.close()

    def _lost_reader(self, poll: "select.epoll") -> None:
        self._loop.remove_reader(poll.fileno())
        self._stop(signal.SIGPIPE)
