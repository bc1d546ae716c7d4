"""Mathematics in markdown: a rule for markdown-it, whoever renders it."""

import re

from markdown_it.rules_inline import StateInline

# Mathematics as models write it: \(…\), \[…\], $$…$$, and $…$ where it can hardly be money.
MATHEMATICS = re.compile(r"\\\(.+?\\\)|\\\[.+?\\\]|\$\$.+?\$\$|\$(?![\s\d])[^$\n]*[^$\s]\$(?!\d)", re.DOTALL)


def mathematics(state: StateInline, silent: bool) -> bool:
    """Leave mathematics as it is: its backslashes and stars are no markdown."""
    found = MATHEMATICS.match(state.src, state.pos) if state.src[state.pos] in "\\$" else None
    if found is None:
        return False
    if not silent:
        state.push("text", "", 0).content = found[0]
    state.pos = found.end()
    return True
