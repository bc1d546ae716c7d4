"""Whole processes, measured from outside: how long they take, how much of the processor, and how much memory."""

import fcntl
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.figures import Figure

ROWS, COLUMNS = 30, 100  # of a terminal
AS_TERMINAL = {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}  # nobody would answer where the cursor is
PROMPT = b">"  # of a chat: nothing that is shown before has one
PATIENCE = 60  # seconds that a terminal may stay silent

# A process counts what its parent took at most as its own, up to where it runs something else: so a small one has to
# start what is measured, and not the benchmark, which has grown large.
PROBE = """
import os, sys
report, nowhere = os.dup(1), os.open(os.devnull, os.O_RDWR)
for descriptor in (0, 1, 2):
    os.dup2(nowhere, descriptor)
_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
os.write(report, str(usage.ru_maxrss).encode())
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Took:
    """What one run took, in seconds."""

    seconds: float
    cpu: float  # of the processor, that of its children included


@dataclass(frozen=True)
class Command:
    """What is to be measured; on a terminal all that it writes is read, and it may be ended once some text came."""

    arguments: Sequence[str | Path]
    environment: Mapping[str, str]
    on_terminal: bool = False
    until: bytes | None = None

    def run(self) -> Took:
        """Run it to its end. Raises `CalledProcessError` if it fails."""
        with tempfile.TemporaryFile() as complaints:
            begin = time.perf_counter()
            process = self._on_terminal() if self.on_terminal else self._on_nothing(complaints)
            end = time.perf_counter() if self.until else None
            _, status, usage = os.wait4(process.pid, 0)
            end = end or time.perf_counter()
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode and not self.until:
                complaints.seek(0)
                print(complaints.read()[-2000:].decode(errors="replace"), file=sys.stderr)
                raise subprocess.CalledProcessError(process.returncode, list(map(str, self.arguments)))
        return Took(end - begin, usage.ru_utime + usage.ru_stime)

    def _on_nothing(self, complaints: IO[bytes]) -> "subprocess.Popen[bytes]":
        nowhere = subprocess.DEVNULL
        return subprocess.Popen(
            self.arguments, env=self.environment, stdin=nowhere, stdout=nowhere, stderr=complaints
        )

    def _on_terminal(self) -> "subprocess.Popen[bytes]":
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        process = subprocess.Popen(
            self.arguments,
            env={**self.environment, **AS_TERMINAL},
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        )
        os.close(its)
        try:
            self._drain(ours)
        except RuntimeError:
            process.kill()
            process.wait()
            raise
        finally:
            os.close(ours)
        if self.until:
            process.kill()
        return process

    def _drain(self, terminal: int) -> None:
        """Read until it ends, or what it is waited for has come. Raises `RuntimeError` if that does not come."""
        came = b""
        while select.select([terminal], [], [], PATIENCE)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:  # how a terminal says that nobody is at its other end
                data = b""
            if self.until:
                came += data
                if self.until in came:
                    return
            if not data:
                break
        else:
            raise RuntimeError(f"{self.arguments[0]} says nothing more")
        if self.until:
            raise RuntimeError(
                f"{self.arguments[0]} ended without what was waited for; its last words: {came[-200:]!r}"
            )

    def peak_memory(self) -> float:
        """Return what it takes at most, in megabytes."""
        probe = [sys.executable, "-I", "-S", "-c", PROBE, *map(str, self.arguments)]
        done = subprocess.run(probe, env=self.environment, stdout=subprocess.PIPE, check=True)
        return int(done.stdout) / 1024


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds it takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def compare(name: str, ours: Command, other: Command, runs: int, goal: float | None = None, note: str = "") -> Figure:
    """Run two commands in turn: the figure is how long ours takes, divided by how long the other one does."""
    if runs > 1:  # else it is only to be seen that they work
        ours.run(), other.run()  # for what is written or read only once
    pairs = [(ours.run(), other.run()) for _ in range(runs)]
    cpu = statistics.median(one.cpu / two.cpu for one, two in pairs)
    times = [f"{statistics.median(took.seconds for took in side) * 1000:.0f}" for side in zip(*pairs, strict=True)]
    detail = f"{' / '.join(times)} ms, CPU {cpu:.2f}{note and f', {note}'}"
    return Figure(name, [one.seconds / two.seconds for one, two in pairs], goal, detail)


def compare_memory(name: str, ours: Command, other: Command, runs: int, goal: float | None = None) -> Figure:
    """Compare what two commands take of memory at most."""
    pairs = [(ours.peak_memory(), other.peak_memory()) for _ in range(runs)]
    most = [f"{statistics.median(side):.0f}" for side in zip(*pairs, strict=True)]
    return Figure(name, [one / two for one, two in pairs], goal, f"{' / '.join(most)} MB")
