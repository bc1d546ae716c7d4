"""What a journal becomes when something is taken out of it: pure functions, bytes in and bytes out."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from chatllm_cli.services.history import records

TEXT_FIELDS = ("content", "text", "title", "system_prompt", "error", "tags")
Replace = Callable[[str], str]
Item = bytes | dict[str, Any]  # a line that cannot be read, or a record


def split_damaged(data: bytes) -> tuple[bytes, list[bytes]]:
    """Return the lines that can be read, as they are, and those that cannot."""
    good: list[bytes] = []
    bad: list[bytes] = []
    for line in records.lines(data):
        (bad if records.is_damaged(line) else good).append(line)
    return b"".join(line + b"\n" for line in good), bad


def without_message(data: bytes, message_id: str) -> bytes:
    """Return a journal without one message; what stood below it then stands below its parent."""
    parent: str | None = None
    kept: list[Item] = []
    for item in _read(data):
        if isinstance(item, dict) and item["type"] in {"message", "partial"} and item["id"] == message_id:
            parent = item.get("parent")
        else:
            kept.append(item)
    for record in (item for item in kept if isinstance(item, dict)):
        record.update({field: parent for field in ("parent", "head") if record.get(field) == message_id})
        if record.get("continues") == message_id:
            del record["continues"]
    return _write(kept)


def scrubbed(data: bytes, replace: Replace) -> bytes:
    """Return a journal with `replace` done to every text in it; damaged lines are treated as the text they are."""
    return _write([_scrubbed(item, replace) for item in _with_whole_replies(data)])


def count_changes(data: bytes, replace: Replace) -> int:
    """Return how many records, or damaged lines, `scrubbed` would change."""
    return sum(_scrubbed(item, replace) != item for item in _with_whole_replies(data))


def replacer(pattern: str, replacement: str, *, is_regex: bool) -> Replace:
    """Return what replaces a string, or whatever a regular expression matches. Raises `re.error`."""
    if not is_regex:
        return lambda text: text.replace(pattern, replacement)
    compiled = re.compile(pattern)
    return lambda text: compiled.sub(lambda _: replacement, text)


def _with_whole_replies(data: bytes) -> list[Item]:
    """Return the lines without marks of replies that are there, and with the marks of others in one.

    What is looked for may be spread over two marks.
    """
    items = list(_read(data))
    finished = {item["id"] for item in items if isinstance(item, dict) and item["type"] == "message"}
    marks: dict[str, list[tuple[int, str]]] = {}
    kept: list[Item] = []
    for item in items:
        if isinstance(item, bytes) or item["type"] != "partial":
            kept.append(item)
        elif item["id"] not in finished:
            if item["id"] not in marks:
                kept.append(item)
            earlier = marks.setdefault(item["id"], [])
            earlier.append(records.mark_of(item, earlier))
    for item in kept:
        if isinstance(item, dict) and item["type"] == "partial":
            item |= {"from": 0, "text": records.joined(marks[item["id"]])}
    return kept


def _scrubbed(item: Item, replace: Replace) -> Item:
    if isinstance(item, bytes):
        return replace(item.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    return item | {field: _replaced(item[field], replace) for field in TEXT_FIELDS if field in item}


def _replaced(value: Any, replace: Replace) -> Any:
    if isinstance(value, list):
        return [_replaced(each, replace) for each in value]
    return replace(value) if isinstance(value, str) else value


def _read(data: bytes) -> Iterator[Item]:
    """Yield each line's record, or the line itself if it cannot be read. Raises `HistoryError` for a newer format."""
    for line in records.lines(data):
        yield line if records.is_damaged(line) else records.parsed(line)


def _write(items: Iterable[Item]) -> bytes:
    return b"".join(item + b"\n" if isinstance(item, bytes) else records.encode(item) for item in items)
