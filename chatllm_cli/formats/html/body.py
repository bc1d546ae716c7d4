"""What was said, as HTML: markdown without anything that acts, loads or leads astray, and code in colours.

It takes a time that grows with the length alone: what is very long, or made to be slow, is shown as it was written.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from html import escape
from time import process_time
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from pygments import format as formatted
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from chatllm_cli.formats.mathematics import mathematics

MOST_MARKDOWN = 500_000  # characters of one message
MOST_IN_A_PARAGRAPH = 20_000  # characters, and of those that mean something:
MOST_SIGNS = 1_000
MOST_NESTING = 20  # quotes and lists
MOST_CODE = 100_000  # characters of one block: lexers are made of regular expressions, many of which take a time
LONGEST_RUN = 2_000  # that grows with the square, or worse, of a line, or of blanks and newlines in a row;
MOST_SECONDS = 1.0  # and others take it piece by piece
SCHEMES = ("http://", "https://", "mailto:")
_SIGNS = re.compile(r"[][*_`!<~$\\&]")
_RUNS = re.compile(r"[^\n]+|\s+")
_LANGUAGE = re.compile(r"[\w+#.-]{1,30}")


def body_of(text: str, *, keeps_line_breaks: bool = False) -> str:
    """Return markdown as HTML; a line ends where one was typed, if it `keeps_line_breaks`."""
    if len(text) > MOST_MARKDOWN:
        return plain_of(text)
    return str(_parser(keeps_line_breaks=keeps_line_breaks).render(text))


def plain_of(text: str) -> str:
    """Return a text as it is."""
    return f'<pre class="plain">{escape(text)}</pre>\n'


@cache
def _parser(*, keeps_line_breaks: bool) -> MarkdownIt:
    options = {"html": False, "breaks": keeps_line_breaks, "maxNesting": MOST_NESTING}
    parser = _Parser("commonmark", options, renderer_cls=_Renderer).enable(["table", "strikethrough"])
    parser.inline.ruler.before("escape", "mathematics", mathematics)
    parser.core.ruler.before("inline", "bounds", _leave_as_it_is)
    return parser


class _Parser(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802  (markdown-it's name)
        """Tell whether a link may stay one: without a scheme it would lead to wherever the page lies."""
        return url.strip().lower().startswith(SCHEMES)


def _leave_as_it_is(state: StateCore) -> None:
    """Take out of the parser's hands what it would be at for long."""
    for token in state.tokens:
        content = token.content
        if token.type == "inline" and (
            len(content) > MOST_IN_A_PARAGRAPH or len(_SIGNS.findall(content)) > MOST_SIGNS
        ):
            token.type, token.children = "plain", []


class _Renderer(RendererHTML):
    """Writes what may be within a page of many messages; the names are those of tokens."""

    def plain(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """Write a paragraph that was not looked into."""
        return escape(tokens[idx].content)

    def heading_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """Write a heading beneath those of the page, which are two levels."""
        return f"<h{_level(tokens[idx])}>"

    def heading_close(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """End it."""
        return f"</h{_level(tokens[idx])}>\n"

    def link_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """Write a link that tells nobody where it was followed from."""
        return _link(str(tokens[idx].attrGet("href") or ""), str(tokens[idx].attrGet("title") or ""))

    def image(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """Write a link to a picture: a page that loads one tells its server who reads it."""
        token = tokens[idx]
        address = str(token.attrGet("src") or "")
        told = escape(self.renderInlineAsText(token.children or [], options, env) or address)
        is_in_link = sum(each.nesting for each in tokens[:idx] if each.type.startswith("link_"))
        return f"[{told}]" if is_in_link else f"{_link(address)}[{told}]</a>"

    def table_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """Write a table that is scrolled where it is too wide."""
        return '<div class="wide" tabindex="0"><table>\n'

    def table_close(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """End it."""
        return "</table></div>\n"

    def fence(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """Write a block of code in colours, under the name of its language."""
        language = _LANGUAGE.match(tokens[idx].info.strip())
        return code_of(tokens[idx].content, language[0] if language else "")

    def code_block(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """Write an indented block of code."""
        return code_of(tokens[idx].content, "")


def code_of(code: str, language: str) -> str:
    """Return a block of code in colours, as far as the language is known."""
    label = f'<span class="language">{escape(language)}</span>' if language else ""
    return f'<div class="code">{label}<pre tabindex="0"><code>{_coloured(code, language)}</code></pre></div>\n'


def _coloured(code: str, language: str) -> str:
    is_short = len(code) <= MOST_CODE and max(map(len, _RUNS.findall(code)), default=0) <= LONGEST_RUN
    if not language or not is_short:
        return escape(code)
    try:
        lexer = get_lexer_by_name(language.lower(), stripnl=False)
        return str(formatted(_in_time(lexer.get_tokens(code)), HtmlFormatter(nowrap=True)))
    except (ClassNotFound, TimeoutError):
        return escape(code)


def _in_time(tokens: Iterable[Any]) -> Iterator[Any]:
    """Yield the pieces of a block of code. Raises `TimeoutError` when it takes too long."""
    end = process_time() + MOST_SECONDS
    for token in tokens:
        if process_time() > end:
            raise TimeoutError
        yield token


def _link(address: str, title: str = "") -> str:
    if not address:  # it leads nowhere
        return "<a>"
    told = f' title="{escape(title)}"' if title else ""
    return f'<a href="{escape(address)}"{told} rel="noopener noreferrer">'


def _level(token: Token) -> int:
    return min(int(token.tag.removeprefix("h")) + 2, 6)
