"""The line that prompts are typed in: its history, keys, colours, completion and toolbar."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import Completer
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import History
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.key_binding.vi_state import InputMode
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style

from chatllm_cli.errors import ChatllmError
from chatllm_cli.render.footer import PROMPT
from chatllm_cli.repl.completion import is_to_be_completed
from chatllm_cli.repl.highlighting import MarkdownLexer
from chatllm_cli.repl.key_bindings import build_key_bindings
from chatllm_cli.repl.ports import Draft
from chatllm_cli.repl.prompt_editor import edit
from chatllm_cli.repl.recall import Suggest
from chatllm_cli.repl.type_ahead import texts_in

if TYPE_CHECKING:
    from prompt_toolkit import Application

    from chatllm_cli.config.settings import Settings

EDIT_PROMPT = "edit> "
VI_MODES = {InputMode.INSERT: "[insert] ", InputMode.NAVIGATION: "[normal] ", InputMode.REPLACE: "[replace] "}
MENU_ROWS = 6
STYLE = Style.from_dict(
    {
        "bottom-toolbar": "noreverse ansibrightblack",
        "md.code": "ansicyan",
        "md.strong": "bold",
        "md.emphasis": "italic",
        "md.heading": "bold",
        "md.quote": "ansibrightblack",
        "md.link": "underline",
        "md.file": "ansigreen",
        "md.item": "ansiyellow",
        "md.command": "ansimagenta",
        "auto-suggestion": "ansibrightblack",
    }
)


class PromptLine:
    """Reads prompts."""

    def __init__(
        self,
        history: History,
        completer: Completer,
        toolbar: Callable[[int], str],
        tell: Callable[[ChatllmError], None],
        *,
        on_shown: Callable[[], None] = lambda: None,
    ) -> None:
        """Make the line; `on_shown` is called when it is on the screen for the first time."""
        self._draft = Draft()
        self._toolbar = toolbar
        self._shows_toolbar = True
        self._tell = tell
        self.is_edited = False  # in an editor, now
        self.pasted = ""  # in this session: a name in there was not typed, and may be recalled
        self._session: PromptSession[str] = PromptSession(
            self._message,
            multiline=True,
            key_bindings=build_key_bindings(
                on_clear=self._forget,
                on_paste=self._take_paste,
                is_untouched=self._is_untouched,
                open_editor=self._open_editor,
            ),
            prompt_continuation=lambda width, *_: " " * width,
            history=history,
            auto_suggest=Suggest(),
            completer=completer,
            complete_while_typing=Condition(self._is_to_be_completed),
            reserve_space_for_menu=MENU_ROWS,
            lexer=MarkdownLexer(),
            style=STYLE,
            bottom_toolbar=self._bottom,
            enable_suspend=True,
            search_ignore_case=True,
        )
        self._on_shown = on_shown
        self._session.app.after_render += self._tell_shown

    @property
    def text(self) -> str:
        """What stands in it."""
        return self._session.default_buffer.text

    @property
    def is_open(self) -> bool:
        """Whether something is being typed in it now."""
        return self._session.app.is_running

    @property
    def is_typed_ahead(self) -> bool:
        """Whether keys wait that were typed before it was open."""
        return bool(self._typed_ahead)

    @property
    def _is_vi(self) -> bool:
        return self._session.editing_mode == EditingMode.VI

    def use(self, settings: "Settings") -> None:
        """Behave as the settings say."""
        editing = EditingMode.VI if settings.repl.editing == "vi" else EditingMode.EMACS
        self._session.editing_mode = editing
        self._shows_toolbar = settings.repl.toolbar
        self._session.color_depth = ColorDepth.DEPTH_1_BIT if settings.output.theme == "none" else None

    async def read(self, draft: Draft) -> tuple[str, Draft]:
        """Return what was typed, and the draft that it came of. Raises EOFError for Ctrl-D."""
        self._draft = draft
        self.pasted += draft.pasted
        opens_editor = draft.opens_editor
        try:
            text = await self._session.prompt_async(
                default=draft.text, handle_sigint=False, pre_run=self._open_editor if opens_editor else None
            )
        except (asyncio.CancelledError, EOFError, OSError):  # the session is to end, or its terminal has ended
            self._session.default_buffer.append_to_history()  # there in the next one
            raise
        return text, self._draft

    def keep_typed_ahead(self) -> None:
        """Keep what waits for a line that will not come, for the next session."""
        for text in texts_in(self._typed_ahead):
            self._session.history.append_string(text)

    def clear(self) -> None:
        """Take what was typed away, as Ctrl-C does."""
        self._session.app.key_processor.send_sigint()

    def refresh(self) -> None:
        """Show what has changed in the toolbar."""
        self._session.app.invalidate()

    @property
    def _typed_ahead(self) -> list[KeyPress]:
        keys = get_typeahead(self._session.app.input)
        store_typeahead(self._session.app.input, keys)
        return keys

    def _open_editor(self) -> None:
        self._session.app.create_background_task(self._edit())

    async def _edit(self) -> None:
        self.is_edited = True
        try:
            await edit(self._session.default_buffer, self._tell)
        finally:
            self.is_edited = False

    def _tell_shown(self, app: "Application[str]") -> None:
        app.after_render -= self._tell_shown
        self._on_shown()

    def _message(self) -> str:
        return EDIT_PROMPT if self._draft.instead_of else PROMPT

    def _bottom(self) -> str | None:
        if not self._shows_toolbar:
            return None
        mode = VI_MODES.get(self._session.app.vi_state.input_mode, "") if self._is_vi else ""
        return mode + self._toolbar(self._session.app.output.get_size().columns - len(mode))

    def _is_to_be_completed(self) -> bool:
        return is_to_be_completed(self._session.default_buffer.document.text_before_cursor)

    def _is_untouched(self) -> bool:
        return self._draft.came_back and self.text == self._draft.text

    def _forget(self) -> None:
        self._draft = Draft()

    def _take_paste(self, text: str) -> None:
        self.pasted += f"\n{text}"
