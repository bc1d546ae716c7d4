"""Which format a file is of: told by what is in it, never by its name."""

import importlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import PurePath
from typing import Any, Protocol, cast

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.reading import json_values
from chatllm_cli.formats.reading.source import Outcomes, Source
from chatllm_cli.services.imports.journals import JOURNAL, is_journal

# The names that a person gives, each with its module in formats/. Those of JSON are told by their first value, in
# this order: what a format has that no other has is looked for first.
JSON = {
    "chatllm": "json",
    "chatgpt": "foreign.chatgpt",
    "claude": "foreign.claude",
    "openai": "openai",
    "gptme": "foreign.gptme",
    "shell_gpt": "foreign.shell_gpt",
}
OTHERS = {"llm": "foreign.llm_logs", "markdown": "markdown", "aichat": "foreign.aichat"}
JSON_ENDINGS = {".json", ".jsonl", ".ndjson"}
MOST_LOOKED_AT = 50  # values of a file
NAMES = (*JSON, JOURNAL, *OTHERS)


class Loader(Protocol):
    """A module of formats/ that reads conversations."""

    is_one: Callable[[Any], bool]

    def load(self, source: Source) -> Outcomes:
        """Yield each conversation, or why it cannot be read. Raises `FormatError` if none of it can."""


def loader(name: str) -> Loader:
    """Return what reads the format with a name."""
    module = importlib.import_module(f"chatllm_cli.formats.{(JSON | OTHERS)[name]}")
    return cast("Loader", module)


def detected(source: Source) -> str | None:
    """Return the name of the format that a file is of; None if it is of none."""
    if _is_json(source):
        return next(filter(None, map(_format_of, _first_values(source))), None)
    for name in OTHERS:
        try:
            if loader(name).is_one(source):
                return name
        except FormatError:
            continue
    return None


def spoiled(source: Source) -> FormatError | None:
    """Return what is wrong with a file that may hold conversations, but cannot be read; None for any other."""
    if _is_json(source) and PurePath(source.name).suffix.lower() in JSON_ENDINGS:
        first = next(_first_values(source), None)
        return first if isinstance(first, FormatError) else None
    try:
        loader("llm").is_one(source)
    except FormatError as error:
        return error
    return None


def _is_json(source: Source) -> bool:
    begin = bytes(source.data[:4096]).removeprefix(json_values.BOM).lstrip()
    return begin[:1] in {b"[", b"{"}


def _first_values(source: Source) -> Iterator[Any]:
    """Yield the first values of a file, or why they cannot be read."""
    try:
        yield from islice(json_values.values(source.data), MOST_LOOKED_AT)
    except FormatError as error:
        yield error


def _format_of(value: Any) -> str | None:
    if is_journal(value):
        return JOURNAL
    return next((name for name in JSON if loader(name).is_one(value)), None)
