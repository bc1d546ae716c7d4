"""What a person at the keyboard waits for: the chat's first prompt, and a key to be seen while a reply streams."""

import multiprocessing
import os
import random
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection

import pexpect

from bench.figures import Figure
from bench.processes import CHATLLM, timed
from bench.rendering import KINDS, PIECE
from tests.fake_openai import FakeOpenAI, Handler
from tests.fault_modes import FAULT_MODES

PACES = {"2,000 chunks a second": 5, "bursts of 500": 500}  # and how many chunks come in a row
CHUNKS_PER_SECOND = 2000
KEYS = 150  # for each kind of reply
QUIET = (0.02, 0.07)  # seconds from an echo to the next key
FIRST_KEY = 0x4E00  # no reply has those characters
COLUMNS, ROWS = 100, 30
PATIENCE = 30  # seconds
PROMPT = ">"  # nothing that is shown before has one
PERCENTILE = 95


def run(runs: int, *, quick: bool) -> list[Figure]:
    """Measure, and return the figures."""
    with _server() as base_url:
        kinds = ["mixed"] if quick else [*KINDS]
        return [_start(runs), *(_echo(base_url, kind, pace) for pace in PACES for kind in kinds)]


def _start(runs: int) -> Figure:
    with tempfile.TemporaryDirectory() as home:
        environment, children = _environment(home, "http://127.0.0.1:9/v1"), []

        def chat() -> None:
            children.append(_spawn(["chat", "-m", "none"], environment))
            children[-1].expect_exact(PROMPT)

        def plain() -> None:
            subprocess.run([sys.executable, "-c", "import prompt_toolkit"], env=environment, check=True)

        chat(), plain()
        pairs = []
        for _ in range(max(runs, 10)):
            pairs.append((timed(chat), timed(plain)))
            children.pop().close(force=True)
    ours, other = (statistics.median(each) for each in zip(*pairs, strict=True))
    detail = f"{ours * 1000:.0f} ms / {other * 1000:.0f} ms"
    return Figure("chat to its first prompt / import prompt_toolkit", ours / other, 3, detail)


def _echo(base_url: str, kind: str, pace: str) -> Figure:
    """Type while a reply of that kind streams, and see how long each key takes to be on the screen."""
    with tempfile.TemporaryDirectory() as home:
        child = _spawn(["chat", "-m", f"{kind}/{pace}"], _environment(home, base_url))
        child.expect_exact(PROMPT)
        time.sleep(2)  # what is imported meanwhile is not measured
        child.send("go\r")
        child.expect_exact("↓ 1")  # some text has come
        seconds = sorted(_seconds_to_echo(child, chr(FIRST_KEY + number)) for number in range(KEYS))
        child.close(force=True)
    most = seconds[len(seconds) * PERCENTILE // 100] * 1000
    return Figure(f"a key seen, {kind}, {pace}: ms", most, 50, f"at most {seconds[-1] * 1000:.0f} ms")


def _seconds_to_echo(child: "pexpect.spawn[str]", key: str) -> float:
    _read(child, random.uniform(*QUIET), until=None)  # noqa: S311  (keys are to come at any point of a frame)
    begin = time.perf_counter()
    child.send(key)
    _read(child, PATIENCE, until=key.encode())
    return time.perf_counter() - begin


def _read(child: "pexpect.spawn[str]", seconds: float, *, until: bytes | None) -> None:
    """Take what is written to the terminal, for so long or until something is there. Raises `TimeoutError`."""
    end, came = time.perf_counter() + seconds, b""
    while (left := end - time.perf_counter()) > 0:
        if select.select([child.child_fd], [], [], left)[0]:
            came = came[-3:] + os.read(child.child_fd, 65536)
            if until and until in came:
                return
    if until:
        raise TimeoutError(f"no {until.decode()} in {seconds} s")


def _spawn(arguments: list[str], environment: Mapping[str, str]) -> "pexpect.spawn[str]":
    child = pexpect.spawn(
        CHATLLM, arguments, env=dict(environment), encoding="utf-8", dimensions=(ROWS, COLUMNS), timeout=PATIENCE
    )
    child.delaybeforesend = None
    return child


def _environment(home: str, base_url: str) -> dict[str, str]:
    environment = {**os.environ, "CHATLLM_HOME": home, "CHATLLM_BASE_URL": base_url, "TERM": "xterm-256color"}
    environment["PROMPT_TOOLKIT_NO_CPR"] = "1"  # nobody would answer where the cursor is
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


@contextmanager
def _server() -> Iterator[str]:
    """Run the fake provider in a process of its own: it is not to take turns with whoever measures."""
    ours, its = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_serve, args=[its], daemon=True)
    process.start()
    yield ours.recv()
    ours.send("stop")
    process.join()


def _serve(connection: Connection) -> None:
    for kind in KINDS:
        for pace, in_a_row in PACES.items():
            FAULT_MODES[f"{kind}/{pace}"] = lambda handler, kind=kind, most=in_a_row: _talk(handler, kind, most)
    with FakeOpenAI() as fake:
        connection.send(fake.base_url)
        connection.recv()


def _talk(handler: Handler, kind: str, in_a_row: int) -> None:
    """Send a reply without an end at that pace, for as long as there is somebody who reads it."""
    handler.start_stream()
    begin, unit, _ = KINDS[kind]
    handler.say(begin)
    text, at, due = unit * (PIECE * 50), 0, time.monotonic()
    while True:
        for _ in range(in_a_row):
            handler.say(text[at : at + PIECE])
            at = (at + PIECE) % len(text)
        due = max(due + in_a_row / CHUNKS_PER_SECOND, time.monotonic())
        handler.pause(max(due - time.monotonic(), 0.0))
