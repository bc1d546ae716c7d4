"""Markdown as rich renders it, with a few elements of our own; docs/rendering.md lists what differs and why."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markdown import ListItem, Markdown, MarkdownElement, TableElement, TextElement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from chatllm_cli.render.markdown.parsing import parse

# Rich takes what it does not know for an element that shows nothing, and leaves a blank line after it.
_NOTHING = Token("nothing", "", 0)


def rendered(source: str, code_theme: str = "ansi_dark") -> RenderableType:
    """Return markdown for rich to render; a link shows where it goes, whatever its text says."""
    blocks, _ = parse(source)
    return Document([token for block in blocks for token in block.tokens], code_theme)


class Trimmed:
    """Something without the blanks that rich fills lines with: a wide character miscounted would wrap them.

    The first `skipped` lines are left out.
    """

    def __init__(self, inner: RenderableType, skipped: int = 0) -> None:
        self._inner = inner
        self._skipped = skipped

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render it."""
        for line in console.render_lines(self._inner, options, pad=False)[self._skipped :]:
            yield from _without_blank_end(line)
            yield Segment.line()


class Document(Trimmed):
    """Markdown that is parsed already, or a part of it.

    `is_first` tells that nothing stands above it, `is_continued` that it goes on with the list or quote above.
    """

    def __init__(
        self, tokens: Sequence[Token], code_theme: str, *, is_first: bool = True, is_continued: bool = False
    ) -> None:
        markdown = _Markdown("", code_theme=code_theme, hyperlinks=False)
        markdown.parsed = list(_with_blank_lines(tokens, is_first=is_first))
        super().__init__(markdown, skipped=int(is_continued))  # rich begins every list and quote with a blank line


class HtmlBlock(TextElement):
    """HTML, shown as the text it is: rich shows none of it, and an answer may well be HTML."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render it."""
        yield Text(self.text.plain.rstrip("\n"), style="dim")


class FoldedTable(TableElement):
    """A table that cuts off nothing: what is too wide for its column is broken."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render it."""
        for table in super().__rich_console__(console, options):
            if isinstance(table, Table):
                for column in table.columns:
                    column.overflow = "fold"
            yield table


class NumberedItem(ListItem):
    """An item whose number is as wide as itself: the list's last one, which rich goes by, is not known yet."""

    def render_number(self, console: Console, options: ConsoleOptions, number: int, _: int) -> RenderResult:
        """Render it as rich does a list that ends here."""
        return super().render_number(console, options, number, number + 1)


class _Markdown(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "html_block": HtmlBlock,
        "list_item_open": NumberedItem,
        "table_open": FoldedTable,
    }


def _with_blank_lines(tokens: Sequence[Token], *, is_first: bool) -> Iterator[Token]:
    if not is_first:
        yield _NOTHING
    for token in tokens:
        yield token
        # A rule leaves none, so that a quote that ends in it would not have one above it.
        if token.type == "hr" and token.level:
            yield _NOTHING


def _without_blank_end(line: Sequence[Segment]) -> Sequence[Segment]:
    end = len(line)
    while end and not line[end - 1].text.strip(" ") and not _is_coloured(line[end - 1]):
        end -= 1
    kept = list(line[:end])
    if kept and not _is_coloured(kept[-1]):
        kept[-1] = Segment(kept[-1].text.rstrip(" "), kept[-1].style)
    return kept


def _is_coloured(segment: Segment) -> bool:
    return bool(segment.style and (segment.style.bgcolor or segment.style.underline or segment.style.reverse))
