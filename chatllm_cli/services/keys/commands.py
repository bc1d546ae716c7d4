"""Commands of the user's that print a key, such as those of a password manager."""

import asyncio
import os
import select
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from chatllm_cli.config.secrets import checked_key
from chatllm_cli.errors import AuthenticationError

MOST_OUTPUT = 65_536  # bytes that are looked at
LOOK = 0.05  # seconds between two looks whether it has ended, or is to be


async def key_from_command(command: str, name: str) -> str:
    """Run a command and return the first line that it prints. Raises `AuthenticationError`.

    It has the terminal, so that it can ask for a passphrase. What it leaves running is not waited for.
    """
    stop = threading.Event()
    try:
        status, output = await in_daemon_thread(lambda: _run(command, stop))
    finally:
        stop.set()
    if status:
        raise AuthenticationError(
            f"the command that has the key for {name} failed with status {status}",
            hint=f"run it by hand; it is api_key_cmd of {name} in the settings",
        )
    line = output.decode(errors="replace").strip().partition("\n")[0]
    try:
        if key := checked_key(line):
            return key
    except ValueError as error:
        raise AuthenticationError(f"the command that has the key for {name} printed none: {error}") from None
    raise AuthenticationError(f"the command that has the key for {name} printed nothing")


def _run(command: str, stop: threading.Event) -> tuple[int, bytes]:
    """Return how a command ended and what it printed, as much of it as is looked at."""
    output = bytearray()
    with subprocess.Popen(command, shell=True, stdout=subprocess.PIPE) as process:  # noqa: S602  (it is the user's)
        pipe = process.stdout.fileno() if process.stdout else -1
        while not stop.is_set():
            has_ended = (
                process.poll() is not None
            )  # before the look: all that it printed is seen by one after its end
            if select.select([pipe], [], [], LOOK)[0]:
                if not (piece := os.read(pipe, MOST_OUTPUT)):
                    break
                output += piece[: MOST_OUTPUT - len(output)]
            elif has_ended:
                break
        else:
            process.kill()
        return process.wait(), bytes(output)


async def in_daemon_thread(work: Callable[[], Any]) -> Any:
    """Do what may wait for a person, in a thread that Ctrl-C need not wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def tell(setter: Callable[[Any], None], value: Any) -> None:
        if not done.cancelled():
            setter(value)

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  (whoever waits gets it)
            outcome: tuple[Callable[[Any], None], Any] = (done.set_exception, error)
        else:
            outcome = (done.set_result, result)
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(tell, *outcome)

    threading.Thread(target=run, daemon=True).start()
    return await done
