"""What a person sees of one turn, on a pipe, on a plain terminal and on one that renders markdown."""

from abc import ABC, abstractmethod
from datetime import datetime

from chatllm_cli.errors import HistoryError
from chatllm_cli.render.clean import StreamCleaner
from chatllm_cli.render.markdown_stream import MarkdownStream
from chatllm_cli.render.renderer import Renderer


class TurnView(ABC):
    """Shows one turn: what comes of the reply, and what else there is to say. Close it when the turn ends."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._history_failed = False

    @abstractmethod
    def on_chunk(self, text: str) -> None:
        """Show the next piece of the reply."""

    def on_cached(self, at: datetime) -> None:
        """Say that the reply is from the cache."""
        self._renderer.cached(at)

    def on_history_error(self, error: HistoryError) -> None:
        """Say, once, that the turn goes on but is not kept."""
        if not self._history_failed:
            self._renderer.error(error)
        self._history_failed = True

    @abstractmethod
    def close(self) -> None:
        """Show what is left of the reply; closing again does nothing."""


class PipeView(TurnView):
    """Passes the reply on exactly as it comes."""

    def on_chunk(self, text: str) -> None:
        """Pass the next piece on, at once."""
        self._renderer.stdout.write(text)
        self._renderer.stdout.flush()

    def close(self) -> None:
        """Do nothing: all of it was passed on."""


class TerminalView(TurnView):
    """A view on a terminal: waits visibly, shows clean text, leaves the cursor on a line of its own."""

    def __init__(self, renderer: Renderer, waiting_for: str) -> None:
        super().__init__(renderer)
        self._cleaner = StreamCleaner()
        self._is_waiting = True
        renderer.waiting(f"waiting for {waiting_for}")

    def on_chunk(self, text: str) -> None:
        """Show the next piece, clean."""
        self._stop_waiting()
        self._show(self._cleaner.feed(text))

    def on_cached(self, at: datetime) -> None:
        """Say that the reply is from the cache."""
        self._stop_waiting()
        super().on_cached(at)

    def on_history_error(self, error: HistoryError) -> None:
        """Say, once, that the turn goes on but is not kept, without getting in the way of the reply."""
        self._stop_waiting()
        self._make_room()
        super().on_history_error(error)

    def close(self) -> None:
        """Show what is left of the reply."""
        self._stop_waiting()
        self._show(self._cleaner.flush())
        self._finish()

    def _stop_waiting(self) -> None:
        if self._is_waiting:
            self._renderer.waited()
        self._is_waiting = False

    @abstractmethod
    def _show(self, text: str) -> None:
        """Show the next piece, which is clean."""

    @abstractmethod
    def _make_room(self) -> None:
        """Make way for a line of something else."""

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

    def __init__(self, renderer: Renderer, waiting_for: str) -> None:
        super().__init__(renderer, waiting_for)
        self._stream = MarkdownStream(renderer.console)

    def _show(self, text: str) -> None:
        self._stream.feed(text)

    def _make_room(self) -> None:
        self._stream.make_room()

    def _finish(self) -> None:
        self._stream.finish()


def open_turn_view(renderer: Renderer, waiting_for: str) -> TurnView:
    """Return the view that fits where stdout goes."""
    if not renderer.is_terminal:
        return PipeView(renderer)
    if renderer.is_plain or renderer.console.is_dumb_terminal:
        return PlainView(renderer, waiting_for)
    return MarkdownView(renderer, waiting_for)
