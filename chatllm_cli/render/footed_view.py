"""A reply as rendered markdown, with what is typed meanwhile beneath it."""

from collections.abc import Iterator
from contextlib import contextmanager

from chatllm_cli.render.footer import Footer
from chatllm_cli.render.footing import Footing, Prelude
from chatllm_cli.render.markdown.live import LiveArea
from chatllm_cli.render.markdown.stream import MarkdownStream
from chatllm_cli.render.markdown_view import MarkdownView
from chatllm_cli.render.renderer import Renderer


class FootedView(MarkdownView):
    """Shows rendered markdown above a footer.

    What is waited for and what the model thinks stand above that, too: all that changes is one area of the screen.
    """

    def __init__(self, renderer: Renderer, waiting_for: str, begun: str, footer: Footer) -> None:
        self._live = LiveArea(lambda: renderer.console.size)
        self._footing = Footing(footer, renderer.out)
        self._prelude = Prelude(renderer, self._live, self._footing)
        super().__init__(renderer, waiting_for, begun)

    def refresh(self) -> None:
        """Show at once what is typed."""
        if self._is_waiting or self._last_thought:
            self._prelude.refresh()
        else:
            self._stream.refresh()

    def step_aside(self) -> None:
        """Take the footer, and what stands above it, off the screen."""
        self._make_room()

    @contextmanager
    def lend_terminal(self) -> Iterator[None]:
        """Leave the terminal to something else, without a footer, while the block runs."""
        self._footing.is_shown = False
        with super().lend_terminal():
            try:
                yield
            finally:
                self._footing.is_shown = True

    def close(self) -> None:
        """Show what is left of the reply, and no footer."""
        self._footing.is_shown = False
        super().close()

    def _open_stream(self, begun: str) -> MarkdownStream:
        renderer = self._renderer
        return MarkdownStream(renderer.console, begun, renderer.code_theme, live=self._live, foot=self._footing.rows)

    @property
    def _has_rows(self) -> bool:
        return True  # the footer's

    @property
    def _shows_waiting(self) -> bool:
        return True

    def _show_waiting(self, text: str, short: str) -> None:
        self._prelude.wait(text, short)

    def _hide_waiting(self) -> None:
        """Leave it where it is: whatever comes next takes its place."""

    def _put_thoughts(self, text: str) -> None:
        self._prelude.think(text)

    def _stop_thinking(self) -> None:
        was_thinking = bool(self._last_thought)
        super()._stop_thinking()
        if was_thinking:
            self._prelude.refresh()

    def _catch_up(self) -> None:
        if self._last_thought:
            self._prelude.refresh()
        else:
            super()._catch_up()
