"""Conversations as journal records and back; docs/history-format.md describes them for other readers."""

import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from chatllm_cli.errors import HistoryError
from chatllm_cli.formats import message_fields
from chatllm_cli.models import Attachment, Conversation, Message, Role, Status

VERSION = 2
CHECKED_SINCE = 2  # the version from which on a line without a checksum is a damaged one
CHECKSUM = re.compile(rb',"crc":"([^"]*)"}\s*\Z')
CUT = "…"  # ends a title that is not all of a line
LOST = "[…]"  # stands in an interrupted reply where a mark is missing
HASHES = re.compile(rb'"sha256":\s*"([0-9a-f]{64})"')  # within a text the quotes would have backslashes before them

Record = Mapping[str, Any]


def encode(*records: Record) -> bytes:
    """Return the records as lines."""
    return b"".join(_encode_line(record) for record in records)


def _encode_line(record: Record) -> bytes:
    line = {"v": VERSION, **record}
    try:
        data = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which a provider may send: JSON can escape it
        data = json.dumps(line, separators=(",", ":")).encode()
    body = data.removesuffix(b"}")
    return body + f',"crc":"{zlib.crc32(body):08x}"}}\n'.encode()


def conversation_record(conversation: Conversation) -> Record:
    """Describe a new conversation."""
    record = {
        "type": "conversation",
        "id": conversation.id,
        "at": format_time(conversation.created_at),
        "title": conversation.title,
        "model": conversation.model,
        "system_prompt": conversation.system_prompt,
    }
    return record | ({"imported": format_time(conversation.imported_at)} if conversation.imported_at else {})


def message_record(message: Message, *, is_aside: bool = False) -> Record:
    """Describe a message; what only replies have is left out where it is not set.

    One that stands aside leaves the head where it is: no moment lies between the two at which a kill would move it.
    """
    record = {
        "type": "message",
        "id": message.id,
        "at": format_time(message.at),
        "parent": message.parent,
        "role": message.role,
        "content": message.content,
        "status": message.status,
    }
    usage = message.usage and {
        "input_tokens": message.usage.input_tokens,
        "output_tokens": message.usage.output_tokens,
        **({"cached_tokens": message.usage.cached_tokens} if message.usage.cached_tokens else {}),
    }
    extras = {
        "model": message.model,
        "usage": usage,
        "finish_reason": message.finish_reason,
        "cached": message.cached or None,
        "reasoning": message.reasoning or None,
        "error": message.error,
        "instead_of": message.instead_of,
        "continues": message.continues,
        "cost": message.cost,
        "attachments": [_attachment_entry(each) for each in message.attachments] or None,
        "aside": is_aside or None,
    }
    return record | {key: value for key, value in extras.items() if value is not None}


def _attachment_entry(attachment: Attachment) -> Record:
    holds = {"sha256": attachment.sha256} if attachment.sha256 else {"text": attachment.text}
    return {"name": attachment.name, "media_type": attachment.media_type, "size": attachment.size, **holds}


def journal_of(conversation: Conversation, at: datetime | None = None) -> bytes:
    """Return the journal that is read as this conversation.

    What has a time of its own in it, tags and the head, is as old as the conversation unless it was set `at` another.
    """
    messages = conversation.messages
    lines = [conversation_record(conversation), *map(message_record, messages)]
    if conversation.tags:
        lines.append(tags_record(conversation.id, conversation.tags, at or conversation.created_at))
    if messages and conversation.head != messages[-1].id:
        lines.append(head_record(conversation.id, conversation.head, at or conversation.updated_at))
    return encode(*lines)


def hashes_in(data: bytes) -> set[str]:
    """Return the SHA-256 of every attachment that a journal names, damaged lines included."""
    return {found.decode() for found in HASHES.findall(data)}


def partial_record(reply: Message, text: str, begin: int, *, is_aside: bool = False) -> Record:
    """Describe text of `reply` that begins with its character number `begin`; as for the message if it is aside."""
    record = {
        "type": "partial",
        "id": reply.id,
        "at": format_time(reply.at),
        "parent": reply.parent,
        "model": reply.model,
        "from": begin,
        "text": text,
    }
    extras = {"continues": reply.continues, "aside": is_aside}
    return record | {key: value for key, value in extras.items() if value}


def system_prompt_record(conversation: Conversation, at: datetime) -> Record:
    """Describe a system prompt that replaces the earlier one."""
    return {
        "type": "system_prompt",
        "id": conversation.id,
        "at": format_time(at),
        "system_prompt": conversation.system_prompt,
    }


def title_record(conversation_id: str, title: str, at: datetime) -> Record:
    """Describe a title that replaces the earlier one."""
    return {"type": "title", "id": conversation_id, "at": format_time(at), "title": title}


def tags_record(conversation_id: str, tags: Sequence[str], at: datetime) -> Record:
    """Describe tags that replace the earlier ones."""
    return {"type": "tags", "id": conversation_id, "at": format_time(at), "tags": list(tags)}


def head_record(conversation_id: str, head: str | None, at: datetime) -> Record:
    """Describe that the conversation goes on below another message, or from its beginning."""
    return {"type": "head", "id": conversation_id, "at": format_time(at), "head": head}


def format_time(moment: datetime) -> str:
    """Return `moment` in UTC to the millisecond, as ISO 8601 has it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def decode(data: bytes, conversation_id: str) -> Conversation:
    r"""Read a journal, skipping and counting damaged lines.

    Lines are split at b"\n" alone: `str.splitlines` would break a record at a U+2028 inside it. A file whose
    first record is lost is read under `conversation_id`. Raises `HistoryError` for a version from the future.
    """
    reader = _Reader(conversation_id)
    try:
        for line in lines(data):
            reader.take(line)
    except HistoryError as error:
        named = error.message.replace("it was", f"conversation {conversation_id} was", 1)
        raise HistoryError(named, hint=error.hint) from None
    return reader.conversation()


def lines(data: bytes) -> list[bytes]:
    """Return the lines that hold something; one of NUL bytes, as a power cut leaves, is damage that counts."""
    return [line for line in data.split(b"\n") if line.strip()]


def parsed(line: bytes) -> dict[str, Any]:
    """Return the record in a line, without its checksum.

    Raises ValueError or TypeError for a damaged line, and `HistoryError` for one of a newer format.
    """
    found = CHECKSUM.search(line)
    if found and found[1] != b"%08x" % zlib.crc32(line[: found.start()]):
        raise ValueError("the checksum is another")
    record = json.loads(line)
    if not isinstance(record, dict):
        raise TypeError("expected an object")
    version = int(record["v"])
    if version > VERSION:
        raise HistoryError(
            f"it was written by a newer version of chatllm (format {record['v']})", hint="update chatllm to read it"
        )
    has_checksum = record.pop("crc", None) is not None
    if (has_checksum or version >= CHECKED_SINCE) and not found:
        raise ValueError("the line does not end in its checksum")
    return record


def joined(marks: Iterable[tuple[int, str]]) -> str:
    """Return the text that marks hold, each with its place: in whatever order they stand, or twice, or with gaps."""
    pieces: list[str] = []
    end = 0
    for begin, text in sorted(marks, key=lambda mark: (mark[0], len(mark[1]))):
        if begin > end:
            pieces.append(LOST)
        pieces.append(text[max(end - begin, 0) :])
        end = max(end, begin + len(text))
    return "".join(pieces)


def mark_of(record: Record, earlier: Sequence[tuple[int, str]]) -> tuple[int, str]:
    """Return the place and the text of a mark; in format 1 each went on where the one before it ended."""
    begin = record["from"] if "from" in record else max((at + len(text) for at, text in earlier), default=0)
    if not isinstance(begin, int) or begin < 0:
        raise TypeError("expected a place in the text")
    return begin, message_fields.text(record["text"])


def is_damaged(line: bytes) -> bool:
    """Tell whether a line cannot be read. Raises `HistoryError` for one of a newer format."""
    reader = _Reader("")
    reader.take(line)
    return bool(reader.damaged_lines)


class _Reader:
    def __init__(self, conversation_id: str) -> None:
        self._header = Conversation(conversation_id, title="", created_at=datetime.fromtimestamp(0, UTC))
        self._messages: dict[str, Message] = {}
        self._finished: set[str] = set()
        self._marks: dict[str, list[tuple[int, str]]] = {}  # by the reply's id
        self._head: str | None = None
        self._tags: tuple[str, ...] = ()
        self.damaged_lines = 0
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "conversation": self._take_conversation,
            "message": self._take_message,
            "partial": self._take_partial,
            "system_prompt": self._take_system_prompt,
            "title": self._take_title,
            "tags": self._take_tags,
            "head": self._take_head,
        }

    def take(self, line: bytes) -> None:
        try:
            record = parsed(line)
            kind = record["type"]
            if handler := self._handlers.get(kind):  # other types are a later version's additions
                handler(record)
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            self.damaged_lines += 1

    def conversation(self) -> Conversation:
        unfinished = {reply_id: joined(marks) for reply_id, marks in self._marks.items() if marks}
        for reply_id in unfinished.keys() - self._finished:
            self._messages[reply_id] = replace(self._messages[reply_id], content=unfinished[reply_id])
        messages = tuple(self._messages.values())
        title = self._header.title or title_of(first_prompt(messages))
        return replace(
            self._header,
            title=title,
            messages=messages,
            head=self._head,
            tags=self._tags,
            damaged_lines=self.damaged_lines,
        )

    def _take_conversation(self, record: dict[str, Any]) -> None:
        self._header = Conversation(
            id=self._header.id,  # the file's name says it; a copied file must not pose as another
            title=message_fields.text(record["title"]),
            created_at=message_fields.moment(record["at"]),
            model=message_fields.text(record["model"]),
            system_prompt=message_fields.text(record["system_prompt"]),
            imported_at=message_fields.moment(record["imported"]) if "imported" in record else None,
        )

    def _take_message(self, record: dict[str, Any]) -> None:
        message = Message(
            id=message_fields.identifier(record["id"]),
            role=Role(record["role"]),
            content=message_fields.text(record["content"]),
            at=message_fields.moment(record["at"]),
            parent=message_fields.identifier_or_none(record.get("parent")),
            status=Status(record["status"]),
            model=message_fields.text_or_none(record.get("model")),
            usage=message_fields.usage(record.get("usage")),
            finish_reason=message_fields.text_or_none(record.get("finish_reason")),
            cached=bool(record.get("cached")),
            reasoning=message_fields.text(record.get("reasoning", "")),
            error=message_fields.text_or_none(record.get("error")),
            instead_of=message_fields.text_or_none(record.get("instead_of")),
            continues=message_fields.identifier_or_none(record.get("continues")),
            cost=message_fields.cost(record.get("cost")),
            attachments=message_fields.attachments(record.get("attachments")),
        )
        self._messages[message.id] = message
        self._finished.add(message.id)
        self._move_head(message.id, record)

    def _take_partial(self, record: dict[str, Any]) -> None:
        reply_id = message_fields.identifier(record["id"])
        if reply_id in self._finished:
            return
        begun = Message(
            id=reply_id,
            role=Role.ASSISTANT,
            content="",
            at=message_fields.moment(record["at"]),
            parent=message_fields.identifier_or_none(record.get("parent")),
            status=Status.INTERRUPTED,
            model=message_fields.text_or_none(record.get("model")),
            continues=message_fields.identifier_or_none(record.get("continues")),
        )
        marks = self._marks.setdefault(reply_id, [])
        marks.append(mark_of(record, marks))
        self._messages.setdefault(reply_id, begun)
        self._move_head(reply_id, record)

    def _move_head(self, message_id: str, record: dict[str, Any]) -> None:
        if not record.get("aside"):
            self._head = message_id

    def _take_system_prompt(self, record: dict[str, Any]) -> None:
        self._header = replace(self._header, system_prompt=message_fields.text(record["system_prompt"]))

    def _take_title(self, record: dict[str, Any]) -> None:
        self._header = replace(self._header, title=message_fields.text(record["title"]))

    def _take_tags(self, record: dict[str, Any]) -> None:
        self._tags = tuple(message_fields.text(tag) for tag in record["tags"])

    def _take_head(self, record: dict[str, Any]) -> None:
        self._head = message_fields.identifier_or_none(record["head"])


def first_prompt(messages: Iterable[Message]) -> str:
    """Return what a title is made of."""
    return next((message.topic for message in messages if message.role is Role.USER), "")


TITLE_LENGTH = 60


def title_of(prompt: str) -> str:
    """Return the first line of `prompt` that says something, cut to a length that fits a list."""
    line = next((" ".join(line.split()) for line in prompt.splitlines() if line.strip()), "")
    return line if len(line) <= TITLE_LENGTH else f"{line[: TITLE_LENGTH - 1].rstrip()}{CUT}"
