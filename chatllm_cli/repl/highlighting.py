"""The colours of what is typed: markdown, slash commands and the files that a prompt names."""

import re
from collections.abc import Callable, Iterator

from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.lexers import Lexer

FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
HEADING, QUOTE = re.compile(r" {0,3}#{1,6}(?:\s|$)"), re.compile(r" {0,3}>")
COMMAND = re.compile(r"\s*/[a-z]+(?=\s|$)")
INLINE = re.compile(
    r"(?P<code>`{1,9}[^`\n]+`{1,9})"
    r"|(?P<strong>\*\*\S(?:[^*\n]*\S)?\*\*|__\S(?:[^_\n]*\S)?__)"
    r"|(?P<emphasis>(?<![\w*])\*\S(?:[^*\n]*[^\s*])?\*(?![\w*]))"
    r"|(?P<file>(?<!\S)@(?:\"[^\"\n]+\"|\S+))"
    r"|(?P<link>https?://[^\s<>]+)"
    r"|(?P<item>^ *(?:[-*+]|\d{1,9}[.)])(?= ))"
)


def open_fence(text: str) -> bool:
    """Tell whether `text` ends inside of a code block."""
    mark = ""
    for line in text.split("\n"):
        mark = _after(line, mark)
    return bool(mark)


def _after(line: str, mark: str) -> str:
    """Return the fence that is open after a line, `mark` being the one that was before it."""
    found = FENCE.match(line)
    if found is None:
        return mark
    if not mark:
        is_inline = found[1][0] == "`" and "`" in line[found.end() :]
        return "" if is_inline else found[1]
    closes = found[1].startswith(mark) and not line[found.end() :].strip()
    return "" if closes else mark


class MarkdownLexer(Lexer):
    """Colours a prompt line by line, as the rendered answer has its own."""

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        """Return what colours one line."""
        marks = [""]
        for line in document.lines:
            marks.append(_after(line, marks[-1]))

        def colour(number: int) -> StyleAndTextTuples:
            if number >= len(document.lines):
                return []
            return list(_coloured(document.lines[number], is_code=bool(marks[number]), is_first=not number))

        return colour


def _coloured(line: str, *, is_code: bool, is_first: bool) -> Iterator[tuple[str, str]]:
    if is_code or FENCE.match(line):
        yield "class:md.code", line
    elif is_first and (command := COMMAND.match(line)):
        yield "class:md.command", command[0]
        yield "", line[command.end() :]
    elif HEADING.match(line):
        yield "class:md.heading", line
    else:
        yield from _inline(line, "class:md.quote" if QUOTE.match(line) else "")


def _inline(line: str, style: str) -> Iterator[tuple[str, str]]:
    end = 0
    for found in INLINE.finditer(line):
        yield style, line[end : found.start()]
        yield f"{style} class:md.{found.lastgroup}".strip(), found[0]
        end = found.end()
    yield style, line[end:]
