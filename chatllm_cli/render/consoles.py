"""Rich's console on a stream, as it is to look."""

import os

from pygments.styles import get_style_by_name
from pygments.util import ClassNotFound
from rich.console import Console
from rich.theme import Theme

from chatllm_cli.errors import ConfigError
from chatllm_cli.render.terminal import Stream
from chatllm_cli.render.themes import STYLES, Looks, background


def open_console(stream: Stream, looks: Looks) -> Console:
    """Return a console that takes the stream for what it is. Raises `ConfigError` for a style that there is not."""
    if looks.code_theme:
        try:
            get_style_by_name(looks.code_theme)
        except ClassNotFound:
            raise ConfigError(f"output.code_theme: there is no Pygments style '{looks.code_theme}'") from None
    theme = background(looks.theme, os.environ)
    # No markup, emoji codes or highlighting: the strings come from outside.
    return Console(
        file=stream.file,
        force_terminal=stream.is_terminal or stream.is_forced,
        no_color=theme == "none" or not stream.has_colour,
        theme=Theme(STYLES[theme]),
        markup=False,
        emoji=False,
        highlight=False,
    )
