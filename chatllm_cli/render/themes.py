"""The colours of an answer, by what the terminal's background is."""

from collections.abc import Mapping

from chatllm_cli.errors import ConfigError
from chatllm_cli.frozen import frozen

DARK_BACKGROUNDS = {"0", "1", "2", "3", "4", "5", "6", "8"}  # of the 16 colours, as COLORFGBG numbers them
BY_BACKGROUND = {"dark": "ansi_dark", "light": "ansi_light"}
# Rich paints code on black, and some of its colours cannot be read on white.
STYLES = {
    "dark": {"markdown.code": "bold cyan", "markdown.code_block": "cyan"},
    "light": {
        "markdown.code": "bold blue",
        "markdown.code_block": "blue",
        "markdown.block_quote": "magenta",
        "markdown.link": "blue",
        "markdown.link_url": "underline blue",
        "markdown.item.bullet": "bold blue",
        "markdown.item.number": "bold blue",
    },
    "none": {"markdown.code": "bold", "markdown.code_block": "none"},
}


@frozen
class Looks:
    """How answers are to look, as the settings say."""

    plain: bool = False
    markdown: bool = False  # rendered on a pipe, too
    clean: str = "auto"
    theme: str = "auto"
    code_theme: str = ""
    reasoning: bool = True  # what a model thinks aloud is shown
    usage: str = "auto"  # when it is said what an answer took


def check_code_theme(name: str) -> None:
    """Raise `ConfigError` if there is no such style for code."""
    from pygments.styles import get_all_styles, get_style_by_name  # noqa: PLC0415  (for those who set one)
    from pygments.util import ClassNotFound  # noqa: PLC0415

    try:
        get_style_by_name(name)
    except ClassNotFound:
        raise ConfigError(
            f"output.code_theme: there is no Pygments style '{name}'",
            hint=f"one of {', '.join(sorted(get_all_styles()))}",
        ) from None


def background(theme: str, environment: Mapping[str, str]) -> str:
    """Return dark, light or none: what was chosen, or what the terminal tells."""
    if theme != "auto":
        return theme
    told = environment.get("COLORFGBG", "").rpartition(";")[2]
    return "light" if told.isdecimal() and told not in DARK_BACKGROUNDS else "dark"
