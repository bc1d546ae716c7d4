"""The code blocks of a markdown text."""

from markdown_it import MarkdownIt


def code_blocks(markdown: str) -> list[str]:
    """Return the contents of every fenced or indented code block, in order, those in lists and quotes too."""
    tokens = MarkdownIt().parse(markdown)
    return [token.content for token in tokens if token.type in {"fence", "code_block"}]
