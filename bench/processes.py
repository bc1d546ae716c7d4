"""Whole processes, timed from outside."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.figures import Figure

CHATLLM = str(Path(sys.executable).with_name("chatllm"))


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds it takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def peak_memory(command: Sequence[str], home: Path) -> float:
    """Return what a command takes at most, in megabytes."""
    environment = os.environ | {"CHATLLM_HOME": str(home)}
    with Path(os.devnull).open("w") as nowhere:
        process = subprocess.Popen(command, env=environment, stdout=nowhere)
        _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return usage.ru_maxrss / 1024


def pair(
    name: str,
    a: Sequence[str],
    b: Sequence[str],
    home: Path,
    runs: int,
    *,
    goal: float | None,
    variables: Mapping[str, str] | None = None,
) -> Figure:
    """Run two commands in turn and return the median of the ratios."""
    environment = {**os.environ, "CHATLLM_HOME": str(home), **(variables or {})}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def seconds(command: Sequence[str]) -> float:
        nowhere = subprocess.DEVNULL
        return timed(
            lambda: subprocess.run(
                command, env=environment, stdin=nowhere, stdout=nowhere, stderr=nowhere, check=True
            )
        )

    seconds(a), seconds(b)
    pairs = [(seconds(a), seconds(b)) for _ in range(runs)]
    ratio = statistics.median(one / other for one, other in pairs)
    times = f"{statistics.median(one for one, _ in pairs) * 1000:.0f} ms"
    return Figure(name, ratio, goal, times)
