"""Conversations as journal records and back; docs/history-format.md describes them for other readers."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from chatllm_cli.errors import HistoryError
from chatllm_cli.models import Conversation, Message, Role, Status, TokenUsage

VERSION = 1

Record = Mapping[str, Any]


def encode(*records: Record) -> bytes:
    """Return the records as lines."""
    return b"".join(_encode_line(record) for record in records)


def _encode_line(record: Record) -> bytes:
    line = {"v": VERSION, **record}
    try:
        return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair, which a provider may send: JSON can escape it
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def conversation_record(conversation: Conversation) -> Record:
    """Describe a new conversation."""
    return {
        "type": "conversation",
        "id": conversation.id,
        "at": format_time(conversation.created_at),
        "title": conversation.title,
        "model": conversation.model,
        "system_prompt": conversation.system_prompt,
    }


def message_record(message: Message) -> Record:
    """Describe a message; what only replies have is left out where it is not set."""
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
    }
    extras = {
        "model": message.model,
        "usage": usage,
        "finish_reason": message.finish_reason,
        "cached": message.cached or None,
        "error": message.error,
        "instead_of": message.instead_of,
        "continues": message.continues,
    }
    return record | {key: value for key, value in extras.items() if value is not None}


def partial_record(reply: Message, text: str) -> Record:
    """Describe the text that has come of `reply` since the last such record."""
    record = {
        "type": "partial",
        "id": reply.id,
        "at": format_time(reply.at),
        "parent": reply.parent,
        "model": reply.model,
        "text": text,
    }
    return record | ({"continues": reply.continues} if reply.continues else {})


def system_prompt_record(conversation: Conversation, at: datetime) -> Record:
    """Describe a system prompt that replaces the earlier one."""
    return {
        "type": "system_prompt",
        "id": conversation.id,
        "at": format_time(at),
        "system_prompt": conversation.system_prompt,
    }


def format_time(moment: datetime) -> str:
    """Return `moment` in UTC to the millisecond, as ISO 8601 has it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def decode(data: bytes, conversation_id: str) -> Conversation:
    r"""Read a journal, skipping and counting damaged lines.

    Lines are split at b"\n" alone: `str.splitlines` would break a record at a U+2028 inside it. A file whose
    first record is lost is read under `conversation_id`. Raises `HistoryError` for a version from the future.
    """
    reader = _Reader(conversation_id)
    for line in data.split(b"\n"):
        if line.strip():
            reader.take(line)
    return reader.conversation()


class _Reader:
    def __init__(self, conversation_id: str) -> None:
        self._header = Conversation(conversation_id, title="", created_at=datetime.fromtimestamp(0, UTC))
        self._messages: dict[str, Message] = {}
        self._finished: set[str] = set()
        self._head: str | None = None
        self._damaged_lines = 0
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "conversation": self._take_conversation,
            "message": self._take_message,
            "partial": self._take_partial,
            "system_prompt": self._take_system_prompt,
        }

    def take(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            version, kind = int(record["v"]), record["type"]
            if version > VERSION:
                raise HistoryError(
                    f"conversation {self._header.id} was written by a newer version of chatllm (format {version})",
                    hint="update chatllm to read it",
                )
            if handler := self._handlers.get(kind):  # other types are a later version's additions
                handler(record)
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            self._damaged_lines += 1

    def conversation(self) -> Conversation:
        messages = tuple(self._messages.values())
        prompts = (message.content for message in messages if message.role is Role.USER)
        title = self._header.title or title_of(next(prompts, ""))
        return replace(
            self._header, title=title, messages=messages, head=self._head, damaged_lines=self._damaged_lines
        )

    def _take_conversation(self, record: dict[str, Any]) -> None:
        self._header = Conversation(
            id=self._header.id,  # the file's name says it; a copied file must not pose as another
            title=_text(record["title"]),
            created_at=_time(record["at"]),
            model=_text(record["model"]),
            system_prompt=_text(record["system_prompt"]),
        )

    def _take_message(self, record: dict[str, Any]) -> None:
        usage = record.get("usage")
        message = Message(
            id=_text(record["id"]),
            role=Role(record["role"]),
            content=_text(record["content"]),
            at=_time(record["at"]),
            parent=_text_or_none(record.get("parent")),
            status=Status(record["status"]),
            model=_text_or_none(record.get("model")),
            usage=TokenUsage(int(usage["input_tokens"]), int(usage["output_tokens"])) if usage else None,
            finish_reason=_text_or_none(record.get("finish_reason")),
            cached=bool(record.get("cached")),
            error=_text_or_none(record.get("error")),
            instead_of=_text_or_none(record.get("instead_of")),
            continues=_text_or_none(record.get("continues")),
        )
        self._messages[message.id] = message
        self._finished.add(message.id)
        self._head = message.id

    def _take_partial(self, record: dict[str, Any]) -> None:
        reply_id, text = _text(record["id"]), _text(record["text"])
        if reply_id in self._finished:
            return
        begun = self._messages.get(reply_id) or Message(
            id=reply_id,
            role=Role.ASSISTANT,
            content="",
            at=_time(record["at"]),
            parent=_text_or_none(record.get("parent")),
            status=Status.INTERRUPTED,
            model=_text_or_none(record.get("model")),
            continues=_text_or_none(record.get("continues")),
        )
        self._messages[reply_id] = replace(begun, content=begun.content + text)
        self._head = reply_id

    def _take_system_prompt(self, record: dict[str, Any]) -> None:
        self._header = replace(self._header, system_prompt=_text(record["system_prompt"]))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _time(value: object) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


TITLE_LENGTH = 60


def title_of(prompt: str) -> str:
    """Return the first line of `prompt` that says something, cut to a length that fits a list."""
    line = next((" ".join(line.split()) for line in prompt.splitlines() if line.strip()), "")
    return line if len(line) <= TITLE_LENGTH else f"{line[: TITLE_LENGTH - 1].rstrip()}…"
