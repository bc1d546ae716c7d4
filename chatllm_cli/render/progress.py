"""How far something has come that takes long: a bar on a terminal, a line at either end on a pipe."""

import time
from collections import deque

from chatllm_cli.models import told_size
from chatllm_cli.render.renderer import Renderer

REPAINT = 0.1  # seconds between two looks of the bar
PATIENCE, REPAINT_COUNT = 1.0, 0.2  # seconds before a count is shown, and between two looks of it
WINDOW = 5.0  # seconds that the speed is taken from
BAR = 20  # columns
STALLED = 1.0  # seconds of no byte after which an estimate means nothing


class ProgressBar:
    """Shows on stderr how many bytes of how many have come, how fast, and how long it will take."""

    def __init__(self, renderer: Renderer, name: str) -> None:
        self._renderer = renderer
        self._name = name
        self._total = 0
        self._painted = 0.0
        self._seen: deque[tuple[float, int]] = deque()

    def start(self, origin: str, done: int, total: int) -> None:
        """Begin, or go on, with `done` bytes of `total`."""
        is_first, self._total = not self._total, total
        self._seen.clear()
        if not self._renderer.can_paint and is_first:
            there = f", of which {told_size(done)} are there" if done else ""
            self._renderer.notice(f"fetching {self._name}, {told_size(total)}{there}, from {origin}")
        self.show(done)

    def show(self, done: int) -> None:
        """Show that so many bytes are there."""
        now = time.monotonic()
        self._seen.append((now, done))
        while now - self._seen[0][0] > WINDOW and len(self._seen) > 1:
            self._seen.popleft()
        if now - self._painted >= REPAINT or done == self._total:
            self._painted = now
            share = done / max(self._total, 1)
            parts = (
                f"{int(share * 100)} %",
                f"{told_size(done)} of {told_size(self._total)}",
                self._pace(now, done),
            )
            line = " · ".join(part for part in parts if part)
            self._renderer.waiting(f"{self._name} {bar(share)} {line}", f"{self._name} {line}")

    def say(self, text: str) -> None:
        """Show in place of the bar what is done meanwhile; on a pipe, nothing."""
        self._renderer.waiting(text)

    def end(self) -> None:
        """Take the bar away."""
        self._renderer.waited()

    def _pace(self, now: float, done: int) -> str:
        """Return how fast bytes come, and how long the rest takes at that pace."""
        begin, before = self._seen[0]
        if now - begin < STALLED or done <= before:
            return ""
        speed = (done - before) / (now - begin)
        return f"{told_size(int(speed))}/s · {clock((self._total - done) / speed)} left"


class Counter:
    """Shows on a terminal how many conversations of how many are done, once that takes long enough to wonder."""

    def __init__(self, renderer: Renderer, doing: str) -> None:
        self._renderer = renderer
        self._doing = doing
        self._begin = time.monotonic()
        self._shown = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Show it, unless that was a moment ago; at the end take it away."""
        now = time.monotonic()
        if done == total or now - self._begin < PATIENCE or now - self._shown < REPAINT_COUNT:
            if done == total and self._shown:
                self._renderer.waited()
            return
        self._shown = now
        count = f"{self._doing}: {done} of {total} conversations"
        self._renderer.waiting(f"{self._doing} {bar(done / total)} {done} of {total} conversations", count)


def bar(share: float) -> str:
    """Return a bar that is filled to `share`."""
    filled = int(share * BAR)
    return f"[{'=' * filled}{'.' * (BAR - filled)}]"


def clock(seconds: float) -> str:
    """Return a time as a clock shows it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
