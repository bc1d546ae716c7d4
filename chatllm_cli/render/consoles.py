"""Rich's console on a stream, as it is to look."""

import os

from rich.console import Console
from rich.theme import Theme

from chatllm_cli.render.terminal import Stream, is_size
from chatllm_cli.render.themes import STYLES, Looks, background

SIZES = {"COLUMNS", "LINES"}


def open_console(stream: Stream, looks: Looks) -> Console:
    """Return a console that takes the stream for what it is."""
    theme = background(looks.theme, os.environ)
    # No markup, emoji codes or highlighting: the strings come from outside.
    return Console(
        file=stream.file,
        force_terminal=stream.is_terminal or stream.is_forced,
        no_color=theme == "none" or not stream.has_colour,
        theme=Theme(STYLES[theme]),
        # Rich takes whatever they say for a size, and shows nothing in no columns.
        _environ={name: value for name, value in os.environ.items() if name not in SIZES or is_size(value)},
        markup=False,
        emoji=False,
        highlight=False,
    )
