"""Nothing dangerous reaches a terminal: every string from outside passes `clean` on its way there.

What is dangerous, and what is shown instead, `chatllm_cli.harmless` knows.
"""

import re

from chatllm_cli.harmless import clean
from chatllm_cli.surrogates import ends_in_half, join_pairs

__all__ = ["StreamCleaner", "clean", "clean_line"]


def clean_line(text: str) -> str:
    """Return `text` cleaned and on one line, for titles, names and messages."""
    return " ".join(clean(text).split())


class StreamCleaner:
    """Cleans a text that comes in chunks: a flag or a surrogate pair split between two is joined first."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, chunk: str) -> str:
        """Return what can be shown now."""
        text = join_pairs(self._held + chunk)
        cut = len(text) - _unfinished(text)
        self._held = text[cut:]
        return clean(text[:cut])

    def flush(self) -> str:
        """Return what was held back, at the end."""
        held, self._held = self._held, ""
        return clean(held)


_LONGEST_FLAG = 7
_FLAG_START = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{0,5}[\ud800-\udbff]?$")


def _unfinished(text: str) -> int:
    """Return how many characters at the end may belong together with what comes next."""
    if flag := _FLAG_START.search(text[-_LONGEST_FLAG:]):
        return len(flag[0])
    return int(ends_in_half(text))
