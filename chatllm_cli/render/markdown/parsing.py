"""Markdown as top-level blocks, with nothing in them that is dangerous to show, or not shown at all.

The parser is markdown-it's with rich's extensions. Where rich would drop something (HTML), show it in another place
than it stands in (pictures) or fail (a `</kbd>` too many), it is made text here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from chatllm_cli.formats.mathematics import mathematics
from chatllm_cli.frozen import frozen
from chatllm_cli.render.clean import clean

References = Mapping[str, Any]  # what markdown-it knows of link definitions, by label

CONTAINERS = {"bullet_list_open", "ordered_list_open", "blockquote_open"}
ENDED_BY_THEIR_LINE = {"heading_open", "hr"}
ENDED_BY_A_BLANK_LINE = {"paragraph_open", "table_open", "blockquote_open"}
LINE_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)

_PARSER = MarkdownIt().enable(["table", "strikethrough"])  # as rich has it
_PARSER.inline.ruler.before("escape", "mathematics", mathematics)


@frozen
class Block:
    """A top-level block, or a part of one: its tokens, and the lines it stands in."""

    tokens: Sequence[Token]
    begin: int
    end: int

    @property
    def kind(self) -> str:
        """What markdown-it calls it."""
        return self.tokens[0].type

    def children(self) -> list["Block"]:
        """Return the items of a list, or the blocks in a quote."""
        return list(_grouped(self.tokens[1:-1], self.tokens[0].level + 1))

    def having(self, children: Sequence["Block"], number: int | None = None) -> "Block":
        """Return the list or quote with these children only; its numbers begin with `number`."""
        opening = self.tokens[0].copy()
        if number is not None:
            opening.attrs = {"start": number}
        inner = [token for child in children for token in child.tokens]
        return Block([opening, *inner, self.tokens[-1]], children[0].begin, children[-1].end)


def parse(source: str, references: References | None = None) -> tuple[list[Block], References]:
    """Return the top-level blocks of `source`, and the link definitions known at its end."""
    environment = {"references": dict(references or {})}
    tokens = _PARSER.parse(source, environment)
    _make_safe(tokens)
    return list(_grouped(tokens, 0)), environment["references"]


def is_finished(block: Block, lines: Sequence[str]) -> bool:
    """Tell whether no line to come can change the last block of these."""
    if block.kind == "fence":
        return _is_closed_fence(block, lines)
    is_followed_by_blank = block.end < len(lines) and not lines[block.end].strip()
    return block.kind in ENDED_BY_THEIR_LINE or (block.kind in ENDED_BY_A_BLANK_LINE and is_followed_by_blank)


def _is_closed_fence(block: Block, lines: Sequence[str]) -> bool:
    """Tell whether a fence has its closing line, and is not only ended by the end of the text."""
    return block.end - block.begin > 1 and bool(closing_line(block.tokens[0].markup).match(lines[block.end - 1]))


def closing_line(opening: str) -> re.Pattern[str]:
    """Return what the line that closes a fence looks like, by the marks that opened it."""
    return re.compile(rf" {{0,3}}{re.escape(opening[0])}{{{len(opening)},}}[ \t]*\n?\Z")


def split_lines(text: str) -> list[str]:
    """Return the lines of a text with their ends: at newlines only, as the parser does."""
    lines = [f"{line}\n" for line in text.split("\n")]
    lines[-1] = lines[-1].removesuffix("\n")
    return lines if lines[-1] else lines[:-1]


def _grouped(tokens: Sequence[Token], level: int) -> Iterator[Block]:
    """Yield the blocks on one level."""
    begin = 0
    for place, token in enumerate(tokens):
        if token.level == level and token.nesting <= 0:  # the end of a block, or a block of one token
            opening = tokens[begin]
            first, end = opening.map or (0, 0)
            yield Block(tokens[begin : place + 1], first, end)
            begin = place + 1


def _make_safe(tokens: Sequence[Token]) -> None:
    """Make HTML and pictures text, and all text clean: parsing has decoded entities and links."""
    for token in tokens:
        token.content, token.info = clean(token.content), clean(token.info)
        token.attrs = {key: clean(value) if isinstance(value, str) else value for key, value in token.attrs.items()}
        if token.children:
            token.children = [_as_text(child) for child in token.children]
            _make_safe(token.children)


def _as_text(token: Token) -> Token:
    if token.type == "html_inline" and LINE_BREAK.fullmatch(token.content):
        token.type = "hardbreak"
    elif token.type == "html_inline":
        token.type = "text"
    elif token.type == "image":
        where = f" ({token.attrs.get('src', '')})"
        return Token("text", "", 0, content=f"🌆 {token.content}{where}", level=token.level)
    return token
