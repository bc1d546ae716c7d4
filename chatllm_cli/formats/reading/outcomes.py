"""What comes of a file that holds many conversations as JSON, one after another."""

from collections.abc import Callable
from mmap import mmap
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.reading.fields import as_object
from chatllm_cli.formats.reading.json_values import values
from chatllm_cli.formats.reading.source import Imported, Outcomes

MOST_ERRORS = 1000  # that are told: a file of which more cannot be read is something else
TITLE_LENGTH = 40


def of_each(data: bytes | mmap, read: Callable[[dict[str, Any]], Imported | None]) -> Outcomes:
    """Yield what `read` makes of each value, and an error that names it for one that it cannot read.

    `read` returns None for a conversation in which nothing was said. Raises `FormatError` for what is no JSON.
    """
    errors = 0
    for number, value in enumerate(values(data), start=1):
        try:
            if outcome := _read(value, read):
                yield outcome
        except FormatError as error:
            errors += 1
            if errors > MOST_ERRORS:
                yield FormatError(f"more than {MOST_ERRORS:,} conversations cannot be read: the rest is left out")
                return
            yield FormatError(f"conversation {number}{_title(value)}: {error.message}")


def _read(value: object, read: Callable[[dict[str, Any]], Imported | None]) -> Imported | None:
    if isinstance(value, FormatError):
        raise value
    return read(as_object(value))


def _title(value: object) -> str:
    if not isinstance(value, dict):
        return ""
    titles = (value.get(key) for key in ("title", "name"))
    title = next((" ".join(each[:200].split()) for each in titles if each and isinstance(each, str)), "")
    return f" ({title if len(title) <= TITLE_LENGTH else title[:TITLE_LENGTH] + '…'})" if title else ""
