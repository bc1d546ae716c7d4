"""The colours of an answer, by what the terminal's background is."""

from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Looks:
    """How answers are to look, as the settings say."""

    plain: bool = False
    markdown: bool = False  # rendered on a pipe, too
    clean: str = "auto"
    theme: str = "auto"
    code_theme: str = ""


def background(theme: str, environment: Mapping[str, str]) -> str:
    """Return dark, light or none: what was chosen, or what the terminal tells."""
    if theme != "auto":
        return theme
    told = environment.get("COLORFGBG", "").rpartition(";")[2]
    return "light" if told.isdecimal() and told not in DARK_BACKGROUNDS else "dark"
