"""What a person at the keyboard waits for: the chat's first prompt, and a key to be seen while a reply streams."""

import os
import random
import select
import statistics
import time
from dataclasses import replace

import pexpect

from bench.figures import Figure
from bench.processes import AS_TERMINAL, COLUMNS, PROMPT, ROWS, compare
from bench.replies import KINDS
from bench.stand import Stand

PACES = {"2,000 chunks a second": 5, "bursts of 500": 500}  # and how many chunks come in a row
KEYS = 100  # for each kind of reply
QUIET = (0.02, 0.07)  # seconds from an echo to the next key
FIRST_KEY = 0x4E00  # no reply has those characters
PATIENCE = 30  # seconds
PERCENTILE = 95


def run(stand: Stand) -> list[Figure]:
    """Measure, and return the figures."""
    kinds = ["mixed"] if stand.is_quick else [*KINDS]
    plain = stand.bare("import prompt_toolkit")
    chat = replace(stand.ours("chat", "-m", "none", on_terminal=True), until=PROMPT)
    start = compare("chat to its first prompt / import prompt_toolkit", chat, plain, stand.runs, 3)
    return [start, *(_echo(stand, kind, pace) for pace in PACES for kind in kinds)]


def _echo(stand: Stand, kind: str, pace: str) -> Figure:
    """Type while a reply of that kind streams, and see how long each key takes to be on the screen."""
    child = _spawn(stand, f"endless-{PACES[pace]}-{kind}")
    child.expect_exact(PROMPT.decode())
    time.sleep(1 if stand.is_quick else 2)  # what is imported meanwhile is not measured
    child.send("go\r")
    child.expect_exact("↓ 1")  # some text has come
    keys = range(FIRST_KEY, FIRST_KEY + (10 if stand.is_quick else KEYS))
    seconds = sorted(_seconds_to_echo(child, chr(key)) for key in keys)
    child.close(force=True)
    slowest = seconds[len(seconds) * PERCENTILE // 100] * 1000
    detail = f"median {statistics.median(seconds) * 1000:.0f} ms, at most {seconds[-1] * 1000:.0f} ms"
    return Figure(f"a key seen, {kind}, {pace}: {PERCENTILE} % within, ms", [slowest], 50, detail)


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


def _spawn(stand: Stand, model: str) -> "pexpect.spawn[str]":
    child = pexpect.spawn(
        str(stand.chatllm),
        ["chat", "-m", model],
        env={**stand.environment(), **AS_TERMINAL},
        encoding="utf-8",
        dimensions=(ROWS, COLUMNS),
        timeout=PATIENCE,
    )
    child.delaybeforesend = None
    return child
