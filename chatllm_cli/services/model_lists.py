"""Which models a provider has: asked of it, and remembered for a day."""

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from chatllm_cli.config.addresses import host_of, is_loopback
from chatllm_cli.errors import ProviderTimeoutError
from chatllm_cli.models import Endpoint
from chatllm_cli.private_files import note_json, read_json

A_DAY = 86_400
LONGEST_ANSWER = 30.0  # seconds for all of a list, and for whoever has the key to hand it out
LONGEST_STOP = 0.2
LONGEST_KNOCK = 0.3  # seconds for a server on this machine to let us in

Result = TypeVar("Result")


class ModelLists:
    """Lists of models by provider. What runs on this machine is asked each time: it costs nothing, and changes."""

    def __init__(
        self, folder: Path, ask: Callable[[Endpoint], Awaitable[list[str]]], *, patience: float = LONGEST_ANSWER
    ) -> None:
        self._folder = folder
        self._ask = ask
        self._patience = patience

    async def models_of(self, endpoint: Endpoint, *, refresh: bool = False) -> list[str]:
        """Return the ids of the models that the provider has. Raises `ProviderError`."""
        file = _file(self._folder, endpoint.provider, endpoint.base_url)
        if not refresh and (models := await asyncio.to_thread(_read, file)) is not None:
            return models
        models = await self._ask_in_time(endpoint)
        if not is_loopback(endpoint.base_url):
            await asyncio.to_thread(_write, file, models)
        return models

    async def remembered(self, endpoint: Endpoint) -> list[str]:
        """Return the ids of the models that the provider had when it was asked; nobody is asked."""
        return await asyncio.to_thread(remembered, self._folder, endpoint.provider, endpoint.base_url)

    async def _ask_in_time(self, endpoint: Endpoint) -> list[str]:
        try:
            return await in_time(self._ask(endpoint), self._patience)
        except TimeoutError:
            name = host_of(endpoint.base_url) if endpoint.provider == "default" else endpoint.provider
            raise ProviderTimeoutError(f"{name} did not list its models within {self._patience:g} seconds") from None


async def in_time(work: Awaitable[Result], patience: float) -> Result:
    """Return what `work` comes to. Raises TimeoutError after `patience` seconds, even if it takes long to stop."""
    task = asyncio.ensure_future(work)
    try:
        if (await asyncio.wait({task}, timeout=patience))[0]:
            return task.result()
        task.cancel()
        await asyncio.wait({task}, timeout=LONGEST_STOP)  # so that it has stopped, or can be told so again
        raise TimeoutError
    finally:
        task.cancel()


async def answers(base_url: str) -> bool:
    """Tell whether somebody listens at an address of this machine."""
    parts = urlsplit(base_url)
    try:
        async with asyncio.timeout(LONGEST_KNOCK):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


def remembered(folder: Path, provider: str, base_url: str) -> list[str]:
    """Return what was last heard of a provider's models, however long ago; nobody is asked."""
    return _read(_file(folder, provider, base_url), oldest=math.inf) or []


def _file(folder: Path, provider: str, base_url: str) -> Path:
    return folder / f"{hashlib.sha256(f'{provider} {base_url}'.encode()).hexdigest()}.json"


def _read(file: Path, oldest: float = A_DAY) -> list[str] | None:
    """Return the list in a file that is not too old; whatever is wrong with it, there is none."""
    match read_json(file):
        case {"at": int(at) | float(at), "models": [*models]} if 0 <= time.time() - at < oldest:
            return [str(model) for model in models]
    return None


def _write(file: Path, models: list[str]) -> None:
    with suppress(OSError):  # it is asked again then
        note_json(file, {"at": time.time(), "models": models})
