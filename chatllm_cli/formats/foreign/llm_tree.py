"""One conversation of llm's while it is put together: its messages as a tree, and what is attached to them.

A message's id is made of all that was said down to it. So a conversation that an older llm began and a newer one went
on with is one tree, in which each message stands once, wherever it was read.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.reading.attached_files import AttachedFiles
from chatllm_cli.formats.reading.fields import as_moment, as_object, as_text, as_tokens
from chatllm_cli.formats.reading.json_values import parse
from chatllm_cli.formats.reading.source import MOST_BYTES
from chatllm_cli.formats.reading.sqlite_files import Database
from chatllm_cli.frozen import frozen
from chatllm_cli.ids import stable_id
from chatllm_cli.models import Attachment, Message, Role, Status, TokenUsage

_ATTACHMENT_COLUMNS = ("id", "type", "path", "url", "content")
# What is known of a reply besides its text: columns that the older tables have as well as the newer ones.
REPLY_COLUMNS = ("model", "datetime_utc", "duration_ms", "input_tokens", "output_tokens", "token_details",
                 "response_json")  # fmt: skip
MOST_DETAILS = 2**20  # characters of a provider's answer that are looked into
LONGEST_WAIT = 10**9  # milliseconds
_STATUSES = {"length": Status.TRUNCATED, "content_filter": Status.FILTERED}


@dataclass(slots=True)
class Said:
    """What one message says, part by part."""

    texts: list[str] = field(default_factory=list)
    reasoning: str = ""
    attachments: list[Attachment] = field(default_factory=list)

    @property
    def content(self) -> str:
        """All parts, a blank line between each and the next."""
        return "\n\n".join(text for text in self.texts if text)

    def call(self, name: object, arguments: object) -> None:
        """Take a call of a tool."""
        try:
            shown = json.dumps(arguments, ensure_ascii=False)
        except RecursionError:
            raise FormatError("the arguments of a tool are nested too deeply") from None
        self.texts.append(f"[called {as_text(name)} {shown}]")

    def result(self, name: object, output: object, exception: object) -> None:
        """Take what a tool returned."""
        failed = f"\n{as_text(exception)}" if exception else ""
        self.texts.append(f"[{as_text(name)} returned]\n{as_text(output)}{failed}")


@frozen
class Place:
    """Where a conversation goes on: below a message, with the system prompt that holds there."""

    below: str | None = None
    system: str = ""


class Tree:
    """The messages of one conversation, by their ids, in the order they came."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._left = MOST_BYTES
        self.messages: dict[str, Message] = {}
        self._attached = AttachedFiles()
        self.system_prompt = ""

    @property
    def files(self) -> dict[str, bytes]:
        """The bytes of images, by their SHA-256."""
        return self._attached.files

    def grow(
        self, place: Place, role: Role, said: Said, at: datetime, facts: Mapping[str, Any] | None = None
    ) -> Place:
        """Add a message, unless it says nothing or is there already, and return the place below it."""
        content = said.content
        if not (content or said.attachments or said.reasoning):
            return place
        attached = (each.sha256 or each.text for each in said.attachments)
        made = stable_id("llm", self._key, place.below, role, content, *attached)
        if made not in self.messages:
            self._charge(len(content) + len(said.reasoning))
            attachments = tuple(said.attachments)
            self.messages[made] = Message(
                made,
                role,
                content,
                at,
                place.below,
                reasoning=said.reasoning,
                attachments=attachments,
                **(facts or {}),
            )
        return Place(made, place.system)

    def instruct(self, place: Place, text: str, at: datetime) -> Place:
        """Take a system prompt: the first one is the conversation's, each other that comes in its place a message."""
        if not text or text == place.system:
            return place
        is_first = place.below is None and (text == self.system_prompt or not self.messages)
        if is_first:
            self.system_prompt = text
        place = Place(place.below, text)
        return place if is_first else self.grow(place, Role.SYSTEM, Said([text]), at)

    def attach(self, said: Said, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add what is attached to a message: what is only named, or can be neither shown nor read, by its name."""
        for row in rows:
            data, name = row["content"], as_text(row["path"] or row["url"]) or f"attachment {as_text(row['id'])[:8]}"
            attachment = self._attachment(name, data) if isinstance(data, bytes) and data else None
            if attachment:
                said.attachments.append(attachment)
            else:
                said.texts.append(f"[attached: {name}]")

    def _attachment(self, name: str, data: bytes) -> Attachment | None:
        self._charge(len(data))
        if image := self._attached.image(name, data):
            return image
        with suppress(UnicodeDecodeError):
            if b"\0" not in data:
                return Attachment(name, "text/plain", len(data), data.decode())
        return None

    def counted(self, text: str) -> str:
        """Return a text that may stand in many messages. Raises `FormatError` when all is too much."""
        self._charge(len(text))
        return text

    def _charge(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise FormatError(f"it is larger than {MOST_BYTES // 2**20} MiB")


def asked_at(row: Mapping[str, Any]) -> datetime:
    """Return when a turn began."""
    return as_moment(as_text(row["datetime_utc"]))


def answered_at(row: Mapping[str, Any]) -> datetime:
    """Return when a turn ended."""
    waited = row["duration_ms"]
    known = type(waited) is int and 0 <= waited < LONGEST_WAIT
    return asked_at(row) + timedelta(milliseconds=waited if known else 0)


def reply_facts(row: Mapping[str, Any] | None, *, is_last: bool = True) -> dict[str, Any]:
    """Return what a reply has besides its text: what a turn took stands on its last one."""
    if row is None:
        return {"cost": 0.0}
    facts: dict[str, Any] = {"model": as_text(row["model"]) or None, "cost": 0.0}
    if not is_last:
        return facts
    reason = _finish_reason(row["response_json"])
    return facts | {
        "usage": _usage(row),
        "finish_reason": reason,
        "status": _STATUSES.get(reason or "", Status.COMPLETE),
    }


def _finish_reason(details: object) -> str | None:
    if isinstance(details, str) and len(details) <= MOST_DETAILS:
        with suppress(FormatError):
            return as_text(as_object(parsed(details)).get("finish_reason")) or None
    return None


def _usage(row: Mapping[str, Any]) -> TokenUsage | None:
    if row["input_tokens"] is None and row["output_tokens"] is None:
        return None
    details = as_object(parsed(row["token_details"])) if row["token_details"] else {}
    cached = details.get("prompt_tokens_details")
    cached_tokens = cached.get("cached_tokens") if isinstance(cached, dict) else None
    return TokenUsage(*map(as_tokens, (row["input_tokens"], row["output_tokens"], cached_tokens)))


def fragment(database: Database, key: object) -> str:
    """Return the text of a fragment. Raises `FormatError` if it is gone."""
    if type(key) is int and database.has("fragments", "id", "content"):
        for row in database.rows("fragments", ("content",), "WHERE id = ?", key):
            return as_text(row["content"])
    raise FormatError("one of its fragments is missing")


def attachment_rows(database: Database, key: object) -> Iterator[dict[str, Any]]:
    """Yield the attachment with an id. Raises `FormatError` if it is gone."""
    if isinstance(key, str) and database.has("attachments", "id"):
        for row in database.rows("attachments", _ATTACHMENT_COLUMNS, "WHERE id = ?", key):
            yield row
            return
    raise FormatError("one of its attachments is missing")


def parsed(text: object) -> Any:
    """Return the value that JSON in a column spells. Raises `FormatError`."""
    return parse(as_text(text).encode("utf-8", "surrogatepass"))
