"""What a person sees of one turn, on a pipe, on a plain terminal and on one that renders markdown."""

import math
from abc import ABC, abstractmethod
from datetime import datetime

from chatllm_cli.errors import HistoryError, ProviderError
from chatllm_cli.models import AS_OFTEN_AS_NEEDED, Endpoint, RetryWait
from chatllm_cli.render.clean import StreamCleaner, clean
from chatllm_cli.render.json_renderer import JsonRenderer
from chatllm_cli.render.markdown.stream import MarkdownStream
from chatllm_cli.render.renderer import Renderer

SHORTEST_SILENCE = 3  # seconds before a wait is counted


class TurnView(ABC):
    """Shows one turn: what is waited for, what comes, and what else there is to say. Close it when the turn ends."""

    def __init__(self, renderer: Renderer, waiting_for: str) -> None:
        self._renderer = renderer
        self._waiting_for = waiting_for
        self._is_waiting = False
        self._told_retry = 0
        self._history_failed = False
        self._wait(f"waiting for {waiting_for}…")

    def on_chunk(self, text: str) -> None:
        """Show the next piece of the reply."""
        self._stop_waiting()
        self._take(text)

    def on_cached(self, at: datetime) -> None:
        """Say that the reply is from the cache."""
        self._stop_waiting()
        self._renderer.cached(at)

    def on_wait(self, wait: RetryWait) -> None:
        """Count down to the next try; where nothing can be counted, say it once."""
        of = f"/{wait.max_retries}" if wait.max_retries < AS_OFTEN_AS_NEEDED else ""
        retry = f"retry {wait.retry}{of} in {math.ceil(wait.seconds_left)} s"
        if not self._renderer.can_paint:
            if wait.retry != self._told_retry:
                self._renderer.notice(f"{wait.reason}, {retry}")
        elif wait.seconds_left > 0:
            self._wait(f"{wait.reason}, {retry} (Ctrl-C stops)", f"{retry} (Ctrl-C stops)")
        else:
            self._wait(f"waiting for {self._waiting_for}…")
        self._told_retry = wait.retry

    def on_silence(self, seconds: float) -> None:
        """Let a wait that takes long be seen to go on, and show all that has come."""
        if not self._is_waiting:
            self._catch_up()
        elif seconds >= SHORTEST_SILENCE:
            for_long = f"{seconds:.0f} s (Ctrl-C stops)"
            self._wait(f"waiting for {self._waiting_for}… {for_long}", f"waiting… {for_long}")

    def on_fallback(self, error: ProviderError, endpoint: Endpoint) -> None:
        """Say who is asked instead."""
        self._stop_waiting()
        self._renderer.notice(f"{error.message}; {endpoint.address} is asked instead")
        self._told_retry, self._waiting_for = 0, endpoint.address
        self._wait(f"waiting for {self._waiting_for}…")

    def on_history_error(self, error: HistoryError) -> None:
        """Say, once, that the turn goes on but is not kept, without getting in the way of the reply."""
        was_waiting = self._is_waiting
        self._stop_waiting()
        self._make_room()
        if not self._history_failed:
            self._renderer.error(error)
        self._history_failed = True
        if was_waiting:
            self._wait(f"waiting for {self._waiting_for}…")

    def close(self) -> None:
        """Show what is left of the reply; closing again does nothing."""
        self._stop_waiting()

    def _wait(self, text: str, short: str = "") -> None:
        self._renderer.waiting(text, short)
        self._is_waiting = True

    def _stop_waiting(self) -> None:
        if self._is_waiting:
            self._renderer.waited()
        self._is_waiting = False

    @abstractmethod
    def _take(self, text: str) -> None:
        """Take the next piece as it came."""

    def _make_room(self) -> None:  # noqa: B027  (most need none)
        """Make way for a line of something else."""

    def _catch_up(self) -> None:  # noqa: B027  (most show everything at once)
        """Show what has come and was not shown yet."""


class PipeView(TurnView):
    """Passes the reply on exactly as it comes."""

    def _take(self, text: str) -> None:
        self._renderer.stdout.write(text)
        self._renderer.stdout.flush()


class JsonView(TurnView):
    """Shows nothing of the reply while it comes: the object at the end has all of it."""

    def _take(self, text: str) -> None:
        pass


class TerminalView(TurnView):
    """A view on a terminal: shows clean text, leaves the cursor on a line of its own."""

    def __init__(self, renderer: Renderer, waiting_for: str) -> None:
        super().__init__(renderer, waiting_for)
        self._cleaner = StreamCleaner()

    def close(self) -> None:
        """Show what is left of the reply."""
        super().close()
        self._show(self._cleaner.flush())
        self._finish()

    def _take(self, text: str) -> None:
        self._show(self._cleaner.feed(text))

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
        self._renderer.stdout.write(text)
        self._renderer.stdout.flush()
        self._last = text[-1:] or self._last

    def _make_room(self) -> None:
        if self._last != "\n":
            self._show("\n")

    def _finish(self) -> None:
        self._make_room()


class MarkdownView(TerminalView):
    """Shows the reply on a terminal as rendered markdown."""

    def __init__(self, renderer: Renderer, waiting_for: str, begun: str) -> None:
        super().__init__(renderer, waiting_for)
        self._stream = MarkdownStream(renderer.console, clean(begun))

    def _show(self, text: str) -> None:
        self._stream.feed(text)

    def _make_room(self) -> None:
        self._stream.make_room()

    def _catch_up(self) -> None:
        self._stream.paint()

    def _finish(self) -> None:
        self._stream.finish()


def open_turn_view(renderer: Renderer, waiting_for: str, begun: str = "") -> TurnView:
    """Return the view that fits where stdout goes; `begun` is the text of a reply that is taken up."""
    if isinstance(renderer, JsonRenderer):
        return JsonView(renderer, waiting_for)
    if not renderer.is_terminal:
        return PipeView(renderer, waiting_for)
    if renderer.is_plain or renderer.out.is_dumb:
        return PlainView(renderer, waiting_for)
    return MarkdownView(renderer, waiting_for, begun)
