"""What a person sees of one turn, on a pipe, on a plain terminal and on one that renders markdown."""

import asyncio
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from chatllm_cli.amounts import about
from chatllm_cli.errors import AnswerFormatError, ChatllmError, HistoryError
from chatllm_cli.models import AS_OFTEN_AS_NEEDED, BudgetUse, Endpoint, RetryWait, Trimmed
from chatllm_cli.render.clean import StreamCleaner
from chatllm_cli.render.json_renderer import JsonRenderer
from chatllm_cli.render.notices import nearly_used_up, secrets_held, unheld, unpriced
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.wishes import Wish

if TYPE_CHECKING:
    from chatllm_cli.render.footer import Footer

SHORTEST_SILENCE = 3  # seconds before it is said how to stop
SPINNER, SPIN = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", 0.1  # and the seconds between two looks of it


class TurnView(ABC):
    """Shows one turn: what is waited for, what comes, and what else there is to say. Close it when the turn ends."""

    def __init__(self, renderer: Renderer, waiting_for: str) -> None:
        self._renderer = renderer
        self._waiting_for = waiting_for
        self._begin = self._wait_begin = time.monotonic()
        self._first_text: float | None = None
        self._characters = 0
        self._is_waiting = False
        self._spinning: asyncio.TimerHandle | None = None
        self._told_retry = 0
        self._lift: Callable[[], AbstractContextManager[None]] = nullcontext
        self._thoughts = StreamCleaner()
        self._last_thought = ""
        self._history_failed = False
        self._await()

    @property
    def timings(self) -> Mapping[str, float | None]:
        """Seconds to the first text, and in all."""
        return {
            "first_text": None if self._first_text is None else round(self._first_text - self._begin, 3),
            "total": round(time.monotonic() - self._begin, 3),
        }

    @property
    def characters(self) -> int:
        """How much of the reply has come."""
        return self._characters

    def refresh(self) -> None:  # noqa: B027  (most show nothing that changes by itself)
        """Show at once what stands beneath the reply, as it is now."""

    def step_aside(self) -> None:  # noqa: B027  (most show nothing that they could take away)
        """Take off the screen whatever would be in the way of others; it comes back with the next piece."""

    def on_chunk(self, text: str) -> None:
        """Show the next piece of the reply."""
        self._stop_waiting()
        self._stop_thinking()
        self._characters += len(text)
        self._first_text = self._first_text or time.monotonic()
        self._take(text)

    def lends(self, lift: Callable[[], AbstractContextManager[None]]) -> None:
        """Take note of what gives the terminal back to whoever asks a person."""
        self._lift = lift

    @contextmanager
    def lend_terminal(self) -> Iterator[None]:
        """Leave the terminal to something else while the block runs."""
        self._stop_waiting()
        self.step_aside()
        with self._lift():
            yield
        self._await()

    @property
    def tells_secrets(self) -> bool:
        """Whether a person is told of secrets that are sent as they are; a script is not."""
        return self._renderer.is_read_by_a_person

    def on_secrets(self, kinds: Sequence[str], *, replaced: bool) -> None:
        """Say what the prompt holds, and what was done about it."""
        self._tell(secrets_held("the prompt holds", kinds, replaced=replaced))

    def on_reasoning(self, text: str) -> None:
        """Show the next piece of what the model thinks aloud, dim on a terminal, before the answer."""
        if not self._renderer.shows_reasoning or self._first_text is not None:
            return
        self._stop_waiting()
        self._think(self._thoughts.feed(text))

    def on_cached(self, at: datetime) -> None:
        """Say that the reply is from the cache."""
        self._stop_waiting()
        self.step_aside()
        self._renderer.cached(at)

    def on_cache_fault(self, fault: str) -> None:
        """Say that the turn goes on without the cache."""
        with self._making_room():
            self._renderer.notice(f"{fault}; it goes on without")

    def on_wait(self, wait: RetryWait) -> None:
        """Count down to the next try; where nothing can be counted, say it once."""
        self._stop_thinking()
        of = f"/{wait.max_retries}" if wait.max_retries < AS_OFTEN_AS_NEEDED else ""
        retry = f"retry {wait.retry}{of} in {math.ceil(wait.seconds_left)} s"
        if not self._shows_waiting:
            if wait.retry != self._told_retry:
                self._renderer.notice(f"{wait.reason}, {retry}")
        elif wait.seconds_left > 0:
            self._stop_waiting()
            self._is_waiting = True
            self._show_waiting(f"{wait.reason}, {retry} (Ctrl-C stops)", f"{retry} (Ctrl-C stops)")
        else:
            self._await()
        self._told_retry = wait.retry

    def on_silence(self, seconds: float) -> None:
        """Let a wait that takes long be seen to go on, and show all that has come."""
        if not self._is_waiting:
            self._catch_up()
        elif self._spinning is None:  # nobody turns it: without an event loop of its own
            self._spin(seconds)

    def on_trimmed(self, trimmed: Trimmed) -> None:
        """Say what is not in the request as it was said."""
        how = "summed up in" if trimmed.is_summed_up else "left out of"
        which = f"the {trimmed.messages} oldest messages, {about(trimmed.tokens)}"
        self._tell(f"{how} the request: {which}; the history keeps them")

    def on_budget(self, use: BudgetUse) -> None:
        """Say how much of a budget is spent."""
        self._tell(nearly_used_up(use))

    def on_unheld(self, use: BudgetUse) -> None:
        """Say how many replies no budget holds."""
        self._tell(unheld(use))

    def on_unpriced(self, endpoint: Endpoint) -> None:
        """Say that no budget holds this model."""
        self._tell(unpriced(endpoint))

    def on_fallback(self, error: ChatllmError, endpoint: Endpoint) -> None:
        """Say who is asked instead."""
        self._told_retry, self._waiting_for = 0, endpoint.address
        self._tell(f"{error.message}; {endpoint.address} is asked instead")

    def on_misfit(self, error: AnswerFormatError) -> None:
        """Say that the answer cannot be used, and is asked for once more."""
        self._tell(f"{error.message}; it is asked for once more")

    def on_history_error(self, error: HistoryError) -> None:
        """Say, once, that the turn goes on but is not kept, without getting in the way of the reply."""
        with self._making_room():
            if not self._history_failed:
                self._renderer.error(error)
        self._history_failed = True

    def close(self) -> None:
        """Show what is left of the reply; closing again does nothing."""
        self._stop_waiting()
        self._stop_thinking()

    def _tell(self, text: str) -> None:
        self._stop_waiting()
        self._stop_thinking()
        self.step_aside()
        self._renderer.notice(text)
        self._await()

    @contextmanager
    def _making_room(self) -> Iterator[None]:
        """Let something be said while the block runs, wherever the reply is."""
        was_waiting = self._is_waiting
        self._stop_waiting()
        self._stop_thinking()
        self._make_room()
        yield
        if was_waiting:
            self._await()

    def _await(self) -> None:
        """Show what is waited for, and for how long, until `_stop_waiting`."""
        self._stop_waiting()
        self._is_waiting = True
        self._wait_begin = time.monotonic()
        self._spin(0.0)

    def _spin(self, seconds: float) -> None:
        if not self._is_waiting or not self._shows_waiting:
            return
        spinner = SPINNER[int(seconds / SPIN) % len(SPINNER)]
        for_long = f" {seconds:.0f} s" if seconds >= 1 else ""
        how = " (Ctrl-C stops)" if seconds >= SHORTEST_SILENCE else ""
        self._show_waiting(
            f"{spinner} waiting for {self._waiting_for}…{for_long}{how}", f"{spinner} waiting…{for_long}{how}"
        )
        with suppress(RuntimeError):  # no loop runs
            loop = asyncio.get_running_loop()
            self._spinning = loop.call_later(SPIN, lambda: self._spin(time.monotonic() - self._wait_begin))

    def _stop_waiting(self) -> None:
        if self._spinning:
            self._spinning.cancel()
            self._spinning = None
        if self._is_waiting:
            self._hide_waiting()
        self._is_waiting = False

    @property
    def _shows_waiting(self) -> bool:
        """Whether what is waited for can be shown, and taken away again."""
        return self._renderer.can_paint

    def _show_waiting(self, text: str, short: str) -> None:
        self._renderer.waiting(text, short)

    def _hide_waiting(self) -> None:
        self._renderer.waited()

    def _stop_thinking(self) -> None:
        """End what was shown of the reasoning, and keep the answer apart from it."""
        if self._last_thought:
            self._think(self._thoughts.flush())
            self._put_thoughts("\n" if self._last_thought == "\n" else "\n\n")
        self._last_thought = ""

    def _think(self, text: str) -> None:
        self._put_thoughts(text)
        self._last_thought = text[-1:] or self._last_thought

    def _put_thoughts(self, text: str) -> None:
        self._renderer.aside(text)

    @abstractmethod
    def _take(self, text: str) -> None:
        """Take the next piece as it came."""

    def _make_room(self) -> None:  # noqa: B027  (most need none)
        """Make way for a line of something else."""

    def _catch_up(self) -> None:  # noqa: B027  (most show everything at once)
        """Show what has come and was not shown yet."""


class PipeView(TurnView):
    """Passes the reply on exactly as it comes, or clean if that is wished."""

    def __init__(self, renderer: Renderer, waiting_for: str) -> None:
        super().__init__(renderer, waiting_for)
        self._cleaner = StreamCleaner() if renderer.cleans else None

    def close(self) -> None:
        """Pass on what is left of the reply."""
        super().close()
        if self._cleaner:
            self._renderer.put(self._cleaner.flush())

    def _take(self, text: str) -> None:
        self._renderer.put(self._cleaner.feed(text) if self._cleaner else text)


class SilentView(TurnView):
    """Shows only that the reply comes: what is wanted of it is put out at the end."""

    def on_chunk(self, _: str) -> None:
        """Take note of the next piece."""
        self._stop_thinking()
        if self._first_text is None:
            self._first_text = time.monotonic()
            self._waiting_for = f"the end of the answer of {self._waiting_for}"
        if not self._is_waiting:
            self._await()

    def _take(self, text: str) -> None:
        """Show nothing."""


class JsonStreamView(TurnView):
    """Puts out each piece of the reply, and of the reasoning before it, as an object of its own."""

    def on_reasoning(self, text: str) -> None:
        """Put out the next piece of the reasoning."""
        if self._renderer.looks.reasoning:
            self._renderer.put(json.dumps({"reasoning": text}) + "\n")

    def _take(self, text: str) -> None:
        self._renderer.put(json.dumps({"text": text}) + "\n")


class TerminalView(TurnView):
    """A view on a terminal: shows clean text, leaves the cursor on a line of its own."""

    def __init__(self, renderer: Renderer, waiting_for: str) -> None:
        super().__init__(renderer, waiting_for)
        self._cleaner = StreamCleaner() if renderer.looks.clean != "never" or not renderer.looks.plain else None

    def close(self) -> None:
        """Show what is left of the reply."""
        super().close()
        if self._cleaner:
            self._show(self._cleaner.flush())
        self._finish()

    def _take(self, text: str) -> None:
        self._show(self._cleaner.feed(text) if self._cleaner else text)

    @abstractmethod
    def _show(self, text: str) -> None:
        """Show the next piece, which is clean."""

    @abstractmethod
    def _finish(self) -> None:
        """Show what is left, and end the line."""


class PlainView(TerminalView):
    """Shows the reply on a terminal as the text it is."""

    def __init__(self, renderer: Renderer, waiting_for: str) -> None:
        super().__init__(renderer, waiting_for)
        self._last = "\n"

    def _show(self, text: str) -> None:
        self._renderer.put(text)
        self._last = text[-1:] or self._last

    def _make_room(self) -> None:
        if self._last != "\n":
            self._show("\n")

    def _finish(self) -> None:
        self._make_room()


def open_turn_view(
    renderer: Renderer, waiting_for: str, begun: str = "", wish: Wish | None = None, footer: "Footer | None" = None
) -> TurnView:
    """Return the view that fits where stdout goes; `begun` is the text of a reply that is taken up.

    A footer is shown where the reply is rendered as it comes, and nowhere else.
    """
    if isinstance(renderer, JsonRenderer) and renderer.streams:
        return JsonStreamView(renderer, waiting_for)
    if isinstance(renderer, JsonRenderer) or (wish and wish.is_for_the_end):
        return SilentView(renderer, waiting_for)
    if not renderer.looks.markdown and not renderer.is_terminal:
        return PipeView(renderer, waiting_for)
    if not renderer.looks.markdown and (renderer.looks.plain or renderer.out.is_dumb):
        return PlainView(renderer, waiting_for)
    if footer and renderer.out.can_paint:
        from chatllm_cli.render.footed_view import FootedView  # noqa: PLC0415  (rich, which a pipe does without)

        return FootedView(renderer, waiting_for, begun, footer)
    from chatllm_cli.render.markdown_view import MarkdownView  # noqa: PLC0415  (what a pipe does without)

    return MarkdownView(renderer, waiting_for, begun)
