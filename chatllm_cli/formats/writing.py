"""The formats that conversations are written in, by name and ending: one of them, or several after each other."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import PurePath
from typing import TYPE_CHECKING

from chatllm_cli.errors import UsageError
from chatllm_cli.models import Conversation

if TYPE_CHECKING:
    from chatllm_cli.formats.html.page import Page


class Format(StrEnum):
    """What a conversation can be exported as."""

    MARKDOWN = "markdown"
    JSON = "json"
    JSONL = "jsonl"
    HTML = "html"
    TEXT = "text"
    OPENAI = "openai"


Files = Mapping[str, bytes]  # what is attached, by its SHA-256
ENDINGS = {
    Format.MARKDOWN: ".md",
    Format.JSON: ".json",
    Format.JSONL: ".jsonl",
    Format.HTML: ".html",
    Format.TEXT: ".txt",
    Format.OPENAI: ".jsonl",
}
_BY_ENDING = {ending: kind for kind, ending in reversed(ENDINGS.items())} | {
    ".markdown": Format.MARKDOWN,
    ".htm": Format.HTML,
}
WITH_BRANCHES = frozenset({Format.MARKDOWN, Format.JSON, Format.JSONL})
WITH_FILES = frozenset({Format.JSON, Format.JSONL, Format.HTML, Format.OPENAI})


def format_of(path: PurePath) -> Format:
    """Return the format that a file's ending tells; markdown for a name without. Raises `UsageError` for another."""
    ending = path.suffix.lower()
    if ending and ending not in _BY_ENDING:
        known = ", ".join(_BY_ENDING)
        raise UsageError(f"'{path.suffix}' tells no format", hint=f"--format says which it is; {known} tell it")
    return _BY_ENDING.get(ending, Format.MARKDOWN)


def dump(kind: Format, conversation: Conversation, files: Files, *, branches: bool = False) -> str:
    """Return one conversation as a document; empty if there is nothing in it for this format."""
    # Only what is asked for is imported: the parts of a page take 0.1 s.
    match kind:
        case Format.JSON | Format.JSONL:
            from chatllm_cli.formats import json  # noqa: PLC0415

            return (json.dump if kind is Format.JSON else json.dump_line)(conversation, files)
        case Format.HTML:
            from chatllm_cli.formats.html import page  # noqa: PLC0415

            return page.dump(conversation, files)
        case Format.TEXT:
            from chatllm_cli.formats import text  # noqa: PLC0415

            return text.dump(conversation)
        case Format.OPENAI:
            from chatllm_cli.formats import openai  # noqa: PLC0415

            return openai.dump(conversation, files)
        case Format.MARKDOWN:
            from chatllm_cli.formats import markdown  # noqa: PLC0415

            return markdown.dump(conversation, branches=branches)


class Document:
    """Several conversations in one document, which is written as they come: only a page has to wait for all."""

    def __init__(self, kind: Format, *, branches: bool = False, is_for_one: bool = False) -> None:
        self._kind = kind
        self._branches = branches
        self._is_for_one = is_for_one
        self._page = _new_page() if kind is Format.HTML and not is_for_one else None
        self.conversations = 0  # that something was, or will be, written of

    def add(self, conversation: Conversation, files: Files) -> str | None:
        """Return what is to be written of a conversation now; None if there is nothing in it for this format."""
        if self._page:
            self._page.add(conversation, files)
            self.conversations += 1
            return ""
        dumped = dump(self._kind, conversation, files, branches=self._branches)
        if not dumped:
            return None
        self.conversations += 1
        return self._before(is_first=self.conversations == 1) + dumped

    def _before(self, *, is_first: bool) -> str:
        if self._kind is Format.JSON and not self._is_for_one:
            return "[\n" if is_first else ",\n"
        between = {Format.MARKDOWN: "\n", Format.TEXT: "\n\n"}
        return "" if is_first else between.get(self._kind, "")

    def end(self) -> Iterator[str]:
        """Yield what is to be written after all of them."""
        if self._page:
            yield from self._page.pieces()
        elif self._kind is Format.JSON and not self._is_for_one:
            yield "]\n"


def _new_page() -> "Page":
    from chatllm_cli.formats.html.page import Page  # noqa: PLC0415

    return Page()
