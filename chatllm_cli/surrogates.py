"""Halves of surrogate pairs, which JSON can spell and UTF-8 cannot hold: some providers send a half per chunk."""

import re

_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_HALF = re.compile("[\ud800-\udfff]")


def join_pairs(text: str) -> str:
    """Return `text` with each pair made the one character that it stands for; lone halves stay."""
    return _PAIR.sub(_join, text)


def without_halves(text: str) -> str:
    """Return `text` as UTF-8 can hold it: pairs joined, lone halves replaced."""
    return _HALF.sub("\N{REPLACEMENT CHARACTER}", join_pairs(text))


def ends_in_half(text: str) -> bool:
    """Tell whether the last character waits for another."""
    return "\ud800" <= text[-1:] <= "\udbff"


def _join(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le")
