"""How a command runs: on one event loop that signals stop, with services that get closed."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.config import Settings, find_places
from chatllm_cli.models import Conversation, Endpoint
from chatllm_cli.render.renderer import Renderer

Result = TypeVar("Result")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(work: Callable[[Services], Awaitable[Result]], settings: Settings) -> Result:
    """Run `work` on the services that `settings` describe, and close them.

    INT, TERM and HUP cancel it, so that it can save what it has; the exit code then is 128 and the signal.
    """
    return asyncio.run(_run(work, Services(settings, find_places())))


async def choose(
    services: Services, renderer: Renderer, model: str | None, *, resume: bool
) -> tuple[Endpoint, Conversation | None]:
    """Return who answers, and the conversation to go on with if that is asked for; say if nobody chose."""
    last = await services.history.last() if resume else None
    providers = services.providers
    if last and last.last_model and not model:
        return providers.resumed(last.last_model), last
    endpoint = providers.endpoint(model or "")
    if providers.stands_in(endpoint, model or ""):
        renderer.stand_in(endpoint.address)
    return endpoint, last


async def _run(work: Callable[[Services], Awaitable[Result]], services: Services) -> Result:
    task = asyncio.ensure_future(work(services))
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup means it
    for number in handled:
        loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if received:
            raise typer.Exit(128 + received[0]) from None
        raise
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
        await services.aclose()
