"""What a person sees of a batch: how far it is, on a terminal; what went wrong, and how it ended, everywhere."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime

from chatllm_cli.errors import ChatllmError, HistoryError
from chatllm_cli.models import BudgetUse, Endpoint, Message, RetryWait, Trimmed
from chatllm_cli.render.notices import nearly_used_up, secrets_held, unheld, unpriced
from chatllm_cli.render.progress import bar, clock
from chatllm_cli.render.renderer import Renderer, amount

REPAINT = 0.2  # seconds between two looks
WINDOW = 10.0  # seconds that the rate is taken from


@dataclass
class Counts:
    """What came of a batch so far."""

    whole: int = 0
    failed: int = 0  # those that are not whole included
    there: int = 0  # answered by an earlier run
    cached: int = 0
    cost: float = 0.0  # US dollars, as far as prices are known
    unpriced: int = 0

    @property
    def answered(self) -> int:
        """How many prompts of this run are over."""
        return self.whole + self.failed


class BatchProgress:
    """Counts, and shows what there is to say."""

    def __init__(self, renderer: Renderer) -> None:
        self.counts = Counts()
        self.total: int | None = None  # prompts, as soon as that is known
        self._renderer = renderer
        self._begin = time.monotonic()
        self._seen = deque([(self._begin, 0)])
        self._told: set[str] = set()
        self._held = ("", 0.0)  # why all wait, and until when

    @property
    def is_shown(self) -> bool:
        """Whether it is seen how far it is."""
        return self._renderer.can_paint

    def count(self, reply: Message | None, *, is_whole: bool) -> None:
        """Count a prompt that is over."""
        counts = self.counts
        counts.whole += is_whole
        counts.failed += not is_whole
        if reply:
            counts.cached += reply.cached
            counts.cost += reply.cost or 0.0
            counts.unpriced += reply.is_unpriced

    def failed(self, line: int, error: ChatllmError) -> None:
        """Say what went wrong with the prompt of a line."""
        with self.making_room():
            self._renderer.about(f"line {line}").error(error)

    def cut(self, line: int, reply: Message) -> None:
        """Say that the answer to a line is not whole."""
        with self.making_room():
            self._renderer.about(f"line {line}").ending(reply)

    def tell(self, text: str) -> None:
        """Say something once, however many prompts it is about."""
        if text not in self._told:
            self._told.add(text)
            with self.making_room():
                self._renderer.notice(text)

    def error_once(self, error: ChatllmError) -> None:
        """Say once what is wrong with something else than a prompt."""
        if error.message not in self._told:
            self._told.add(error.message)
            with self.making_room():
                self._renderer.error(error)

    def holds(self, why: str, seconds: float) -> None:
        """Say that all wait before they ask a provider again."""
        self._held = why, time.monotonic() + seconds
        if not self._renderer.can_paint:
            self._renderer.notice(f"{why}: all that ask it wait {seconds:.1f} s")

    async def keep_showing(self) -> None:
        """Show how far it is, again and again, where that can be taken away again."""
        while self.is_shown:
            self._renderer.waiting(self._line(bar_too=True), self._line(bar_too=False))
            await asyncio.sleep(REPAINT)

    def end(self) -> None:
        """Take that away, and say what came of it."""
        self._renderer.waited()
        self._renderer.notice(" · ".join(self._result()))

    def stopped(self, hint: str) -> None:
        """Say what is there though the user stopped it; one who closed the pipe is told nothing."""
        self._renderer.waited()
        self._renderer.farewell(f"stopped · {' · '.join(self._result())}{hint}")

    @contextmanager
    def making_room(self) -> Iterator[None]:
        """Take what is shown away for as long as the block runs, or until it is shown anew."""
        self._renderer.waited()
        yield

    def _result(self) -> list[str]:
        counts, seconds = self.counts, time.monotonic() - self._begin
        there = f"{counts.there:,} were there" if counts.there else ""
        cached = f"{counts.cached:,} cached" if counts.cached else ""
        failed = f"{counts.failed:,} failed" if counts.failed else ""
        took = f"{seconds:.1f} s, {counts.answered / max(seconds, 0.001):.1f}/s" if counts.answered else ""
        return [part for part in (f"{counts.whole:,} answered", failed, there, cached, self._cost(), took) if part]

    def _cost(self) -> str:
        counts = self.counts
        if not (counts.cost or counts.unpriced):
            return ""
        return amount(counts.cost, counts.unpriced) if counts.cost else "price unknown"

    def _line(self, *, bar_too: bool) -> str:
        """Return how far it is, as one line."""
        counts, now = self.counts, time.monotonic()
        done = counts.there + counts.answered
        self._seen.append((now, counts.answered))
        while now - self._seen[0][0] > WINDOW and len(self._seen) > 1:
            self._seen.popleft()
        begin, before = self._seen[0]
        rate = (counts.answered - before) / max(now - begin, REPAINT)
        of = f"{done:,} of {self.total:,}" if self.total is not None else f"{done:,}"
        left = clock((self.total - done) / rate) + " left" if self.total and rate and done <= self.total else ""
        failed = f"{counts.failed:,} failed" if counts.failed else ""
        why, until = self._held
        held = f"{why}, {until - now:.0f} s" if until > now else ""
        parts = (of, f"{rate:.1f}/s" if rate else "", failed, self._cost(), left, held)
        line = " · ".join(part for part in parts if part)
        return f"{bar(min(done / self.total, 1.0))} {line}" if self.total and bar_too else line


class BatchView:
    """Listens to one turn of a batch: keeps its times, and passes on what nobody must be told twice."""

    def __init__(self, progress: BatchProgress, *, tells_secrets: bool) -> None:
        self.tells_secrets = tells_secrets
        self._progress = progress
        self._begin = time.monotonic()
        self._first_text: float | None = None

    @property
    def timings(self) -> dict[str, float | None]:
        """Seconds to the first text, and in all."""
        return {
            "first_text": None if self._first_text is None else round(self._first_text - self._begin, 3),
            "total": round(time.monotonic() - self._begin, 3),
        }

    def on_chunk(self, _: str) -> None:
        """Take note of when the first piece came."""
        if self._first_text is None:
            self._first_text = time.monotonic()

    def lend_terminal(self) -> AbstractContextManager[None]:
        """Take the progress away: a key command may ask a person."""
        return self._progress.making_room()

    def on_secrets(self, kinds: Sequence[str], *, replaced: bool) -> None:
        """Say what prompts hold."""
        self._progress.tell(secrets_held("a prompt holds", kinds, replaced=replaced))

    def on_reasoning(self, text: str) -> None:
        """Show nothing."""

    def on_cached(self, at: datetime) -> None:
        """Show nothing: it is counted."""

    def on_cache_fault(self, fault: str) -> None:
        """Say that it goes on without the cache."""
        self._progress.tell(f"{fault}; it goes on without")

    def on_silence(self, seconds: float) -> None:
        """Show nothing."""

    def on_wait(self, wait: RetryWait) -> None:
        """Show nothing: what all wait for is told by the gate."""

    def on_trimmed(self, trimmed: Trimmed) -> None:
        """Show nothing: a turn has no earlier ones."""

    def on_budget(self, use: BudgetUse) -> None:
        """Say how much of a budget is spent."""
        self._progress.tell(nearly_used_up(use))

    def on_unheld(self, use: BudgetUse) -> None:
        """Say how many replies no budget holds."""
        self._progress.tell(unheld(use))

    def on_unpriced(self, endpoint: Endpoint) -> None:
        """Say that no budget holds this model."""
        self._progress.tell(unpriced(endpoint))

    def on_fallback(self, error: ChatllmError, endpoint: Endpoint) -> None:
        """Say that there is somebody who is asked instead."""
        self._progress.tell(f"{error.message}; {endpoint.address} is asked instead")

    def on_history_error(self, error: HistoryError) -> None:
        """Say that it goes on, but is not kept."""
        self._progress.error_once(error)
