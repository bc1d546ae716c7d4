"""A reply as rendered markdown, on a terminal."""

from functools import cached_property
from typing import TYPE_CHECKING

from chatllm_cli.background_imports import import_in_background
from chatllm_cli.render.clean import clean
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.turn_views import TerminalView

if TYPE_CHECKING:
    from chatllm_cli.render.markdown.stream import MarkdownStream

STREAM = "chatllm_cli.render.markdown.stream"


class MarkdownView(TerminalView):
    """Shows the reply on a terminal as rendered markdown.

    What renders takes 60 ms to import. That is begun when the request is on its way, and done before an answer is.
    """

    def __init__(self, renderer: Renderer, waiting_for: str, begun: str) -> None:
        super().__init__(renderer, waiting_for)
        self._begun = clean(begun)
        self._is_importing = False

    def on_silence(self, seconds: float) -> None:
        """Get ready to render; let a wait that takes long be seen to go on, and show all that has come."""
        if not self._is_importing:
            self._is_importing = True
            import_in_background(STREAM)
        super().on_silence(seconds)

    @cached_property
    def _stream(self) -> "MarkdownStream":
        return self._open_stream(self._begun)

    @property
    def _has_rows(self) -> bool:
        """Whether anything of the reply, or in its place, may be on the screen."""
        return bool("_stream" in self.__dict__ or self._begun)

    def _open_stream(self, begun: str) -> "MarkdownStream":
        from chatllm_cli.render.markdown.stream import MarkdownStream  # noqa: PLC0415

        renderer = self._renderer
        return MarkdownStream(renderer.console, begun, renderer.code_theme, paints=renderer.out.can_paint)

    def _show(self, text: str) -> None:
        if text:
            self._stream.feed(text)

    def _make_room(self) -> None:
        if self._has_rows:
            self._stream.make_room()

    def _catch_up(self) -> None:
        if self._has_rows:
            self._stream.paint()

    def _finish(self) -> None:
        if self._has_rows:
            self._stream.finish()
