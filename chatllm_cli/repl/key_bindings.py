"""The keys of the prompt."""

import re
from collections.abc import Callable

from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, emacs_mode, has_focus, vi_navigation_mode
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

from chatllm_cli.repl.highlighting import open_fence

LINE_END = re.compile(r"\r\n?")


def build_key_bindings(
    *,
    on_clear: Callable[[], None],
    on_paste: Callable[[str], None],
    is_untouched: Callable[[], bool],
    open_editor: Callable[[], None],
) -> KeyBindings:
    """Return the bindings: Enter sends, but in an open code block, where it begins a new line, as others do anywhere.

    The buffer is a multi-line one, so that a paste with line breaks in it stays one message.
    """
    bindings = KeyBindings()
    typing = has_focus(DEFAULT_BUFFER)

    @bindings.add("enter", filter=typing)
    def _send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if open_fence(buffer.text):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @bindings.add("escape", "enter", filter=typing & emacs_mode)
    @bindings.add("c-j", filter=typing)
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @bindings.add("c-c", filter=typing)
    @bindings.add("<sigint>", filter=typing)
    def _clear(event: KeyPressEvent) -> None:
        event.current_buffer.reset(append_to_history=True)  # Up brings it back
        on_clear()

    @bindings.add("c-d", filter=typing & Condition(is_untouched))
    def _leave(event: KeyPressEvent) -> None:
        event.app.exit(exception=EOFError, style="class:exiting")

    @bindings.add("c-x", "c-e", filter=typing & emacs_mode)
    @bindings.add("v", filter=typing & vi_navigation_mode)
    def _edit(_: KeyPressEvent) -> None:
        open_editor()

    @bindings.add(Keys.Vt100MouseEvent)
    def _pass_over(_: KeyPressEvent) -> None:
        """Do nothing: the mouse is the terminal's, and what only looks like it (a colour) would be a fault."""

    @bindings.add(Keys.BracketedPaste, filter=typing)
    def _paste(event: KeyPressEvent) -> None:
        pasted = LINE_END.sub("\n", event.data)
        event.current_buffer.insert_text(pasted)
        on_paste(pasted)

    return bindings
