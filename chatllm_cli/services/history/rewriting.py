"""What a journal becomes when something is taken out of it: pure functions, bytes in and bytes out."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from chatllm_cli.services.history import records

TEXT_FIELDS = ("content", "reasoning", "text", "title", "system_prompt", "error", "tags", "attachments")
ATTACHED_TEXT_FIELDS = ("name", "text")
Replace = Callable[[str], str]
SURROUNDINGS = 20  # characters shown before and after what is found
Item = bytes | dict[str, Any]  # a line that cannot be read, or a record


def split_damaged(data: bytes) -> tuple[bytes, list[bytes]]:
    """Return the lines that can be read, as they are, and those that cannot."""
    good: list[bytes] = []
    bad: list[bytes] = []
    for line in records.lines(data):
        (bad if records.is_damaged(line) else good).append(line)
    return b"".join(line + b"\n" for line in good), bad


def without_message(data: bytes, message_id: str) -> bytes:
    """Return a journal without one message; what stood below it then stands below its parent.

    A title that was made of it goes, too; the next prompt's takes its place.
    """
    items = _with_whole_replies(data)
    parent: str | None = None
    titles = {title for title, prompt in _prompts_by_title(items).items() if prompt["id"] == message_id}
    kept: list[Item] = []
    for item in items:
        if isinstance(item, dict) and item["type"] in {"message", "partial"} and item["id"] == message_id:
            parent = item.get("parent")
            titles.add(records.title_of(_topic(item)))
        elif isinstance(item, dict) or message_id.encode() not in item:
            kept.append(item)
    for record in (item for item in kept if isinstance(item, dict)):
        record.update({field: parent for field in ("parent", "head") if record.get(field) == message_id})
        if record.get("continues") == message_id:
            del record["continues"]
        if record.get("title") in titles:
            record["title"] = ""
    return _write(kept)


def scrubbed(data: bytes, pattern: re.Pattern[str], replacement: str) -> bytes:
    """Return a journal with what `pattern` matches replaced; damaged lines are treated as the text they are."""

    def replace(text: str) -> str:
        return pattern.sub(lambda found: replacement if found[0] else "", text)

    items = _with_whole_replies(data)
    topics = {title: _topic(prompt) for title, prompt in _prompts_by_title(items).items()}
    titles = {title: records.title_of(replace(topic)) for title, topic in topics.items() if replace(topic) != topic}
    return _write([_scrubbed(item, replace, titles) for item in items])


def without_lines_of(data: bytes, message_id: str) -> bytes:
    """Return lines that were taken out of a journal without those that name a message."""
    return b"".join(line + b"\n" for line in records.lines(data) if message_id.encode() not in line)


def places(data: bytes, pattern: re.Pattern[str]) -> list[str]:
    """Return what `pattern` matches in a journal, each with the text around it."""
    found: list[str] = []

    def look(text: str) -> str:
        for match in pattern.finditer(text):
            if match[0]:
                begin, end = max(match.start() - SURROUNDINGS, 0), match.end() + SURROUNDINGS
                found.append(f"{text[begin : match.start()]}[{match[0]}]{text[match.end() : end]}")
        return text

    for item in _with_whole_replies(data):
        _scrubbed(item, look, {})
    return found


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


def _scrubbed(item: Item, replace: Replace, titles: Mapping[str, str]) -> Item:
    """Return a line with `replace` done to its texts; a title that was made of a prompt is made of it anew."""
    if isinstance(item, bytes):
        return replace(item.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    changed = item | {field: _replaced(item[field], replace) for field in TEXT_FIELDS if field in item}
    return changed | {"title": titles[item["title"]]} if item.get("title") in titles else changed


def _replaced(value: Any, replace: Replace) -> Any:
    if isinstance(value, list):
        return [_replaced(each, replace) for each in value]
    if isinstance(value, dict):  # an attachment
        return value | {field: _replaced(value[field], replace) for field in ATTACHED_TEXT_FIELDS if field in value}
    return replace(value) if isinstance(value, str) else value


def _prompts_by_title(items: Iterable[Item]) -> dict[str, dict[str, Any]]:
    """Return the titles that were made of prompts, each with its prompt.

    The one that a conversation begins with is taken for made of the first prompt whatever it says: it may have the
    name of a prompt file before it, or "(fork)" behind it. One that was given later stands for itself.
    """
    read = [item for item in items if isinstance(item, dict)]
    prompts = [item for item in read if item.get("role") == "user"]
    begun = {item["title"]: prompts[0] for item in read if item["type"] == "conversation" and prompts}
    return {records.title_of(_topic(prompt)): prompt for prompt in prompts} | begun


def _topic(item: dict[str, Any]) -> str:
    """Return the text of a record that a title can be made of."""
    names = (each["name"] for each in item.get("attachments") or ())
    return str(item.get("content") or item.get("text") or next(names, ""))


def _read(data: bytes) -> Iterator[Item]:
    """Yield each line's record, or the line itself if it cannot be read. Raises `HistoryError` for a newer format."""
    for line in records.lines(data):
        yield line if records.is_damaged(line) else records.parsed(line)


def _write(items: Iterable[Item]) -> bytes:
    return b"".join(item + b"\n" if isinstance(item, bytes) else records.encode(item) for item in items)
