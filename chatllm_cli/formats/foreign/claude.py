"""The conversations of Claude's export: elements of its `conversations.json`.

Anthropic documents no format; what is known of it, and by whom, stands in tests/data/imports/claude/README.md.
"""

from datetime import datetime
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.reading.fields import ROLES, as_list, as_moment, as_object, as_text
from chatllm_cli.formats.reading.outcomes import of_each
from chatllm_cli.formats.reading.source import Imported, Outcomes, Source
from chatllm_cli.formats.reading.trees import downwards
from chatllm_cli.formats.reading.wording import as_json, called, fenced, joined, note
from chatllm_cli.ids import stable_id
from chatllm_cli.models import Attachment, Conversation, Message, Role, Status

FORMAT = "claude"
NO_PARENT = "00000000-0000-4000-8000-000000000000"  # what the first message hangs on
MOST_SIZE = 2**53  # bytes of a file
PASTED = "pasted text"  # it has no name there
_ENDS = {"max_tokens": Status.TRUNCATED, "refusal": Status.FILTERED, "user_canceled": Status.INTERRUPTED}
_BOOKKEEPING = {"token_budget", "flag"}  # blocks that say nothing


def is_one(value: Any) -> bool:
    """Tell whether a JSON value is one of these conversations."""
    return isinstance(value, dict) and isinstance(value.get("chat_messages"), list) and "uuid" in value


def load(source: Source) -> Outcomes:
    """Yield each conversation that has messages, with its branches where the file has them."""
    yield from of_each(source.data, lambda value: _Reader(value).read())


class _Reader:
    """Reads one conversation."""

    def __init__(self, value: dict[str, Any]) -> None:
        self._value = value
        self._key = as_text(value.get("uuid"))
        if not self._key:  # all that have none would be one
            raise FormatError("it has no id")
        model = as_text(value.get("model"))
        self._model = f"anthropic/{model}" if model else None
        self._entries: dict[str, dict[str, Any]] = {}
        for each in as_list(value.get("chat_messages")):
            entry = as_object(each)
            key = as_text(entry.get("uuid"))
            if key in self._entries:
                raise FormatError(f"the message {key[:40]} stands there twice")
            self._entries[key] = entry

    def read(self) -> Imported | None:
        """Return the conversation; None if nothing was said in it. Raises `FormatError`."""
        begun = as_moment(self._value.get("created_at"))
        parents = self._parents()
        messages: list[Message] = []
        taken: dict[str | None, str | None] = {}  # the nearest message of a place that is taken along
        for key in downwards(parents):
            parent, entry = taken.get(parents[key]), self._entries[key]
            at = as_moment(entry.get("created_at"), messages[-1].at if messages else begun)
            message = self._message(stable_id(FORMAT, self._key, key), entry, parent, at)
            taken[key] = message.id if message else parent
            messages += [message] if message else []
        if not messages:
            return None
        leaf = (
            taken.get(as_text(self._value.get("current_leaf_message_uuid"))) or taken[next(reversed(self._entries))]
        )
        conversation = Conversation(
            stable_id(FORMAT, self._key),
            as_text(self._value.get("name")),
            as_moment(self._value.get("created_at"), messages[0].at),
            self._model or "",
            messages=tuple(messages),
            head=leaf or messages[-1].id,
        )
        return Imported(conversation)

    def _message(self, made: str, entry: dict[str, Any], parent: str | None, at: datetime) -> Message | None:
        """Return what was said; None if it was nothing."""
        role = ROLES.get(as_text(entry.get("sender")), Role.SYSTEM)
        blocks = [as_object(block) for block in as_list(entry.get("content"))]
        attachments = _attachments(entry)
        text = joined(*map(_said, blocks)) or as_text(entry.get("text"))
        text = joined(text, *_notes(entry, {each.name for each in attachments}))
        reasoning = joined(*(as_text(block.get("thinking")) for block in blocks))
        if not (text or attachments or reasoning):
            return None
        if role is not Role.ASSISTANT:
            return Message(made, role, text, at, parent, attachments=attachments)
        reason = as_text(entry.get("stop_reason")) or None
        return Message(
            made, role, text, at, parent, _ENDS.get(reason or "", Status.COMPLETE), self._model,
            finish_reason=reason, reasoning=reasoning, cost=0.0, attachments=attachments,
        )  # fmt: skip

    def _parents(self) -> dict[str, str | None]:
        """Return what each message hangs on: the one before, where the file does not say."""
        parents: dict[str, str | None] = {}
        before = None
        for key, entry in self._entries.items():
            said = as_text(entry.get("parent_message_uuid"))
            is_known = said in self._entries and said != key
            parents[key] = said if is_known else None if said == NO_PARENT else before
            before = key
        return parents


def _said(block: dict[str, Any]) -> str:
    """Return a block as text; an empty one for what is no part of the answer."""
    kind = as_text(block.get("type"))
    if kind in _BOOKKEEPING or "thinking" in kind:
        return ""
    if kind == "tool_use":
        return called(as_text(block.get("name")), block.get("input"))
    if kind == "tool_result":
        return fenced(_result(block.get("content")))
    text = as_text(block.get("text"))
    return text if text or kind == "text" else note("unsupported", kind or "block")


def _result(content: object) -> str:
    """Return what a tool answered, which is a text, or blocks of it."""
    if not isinstance(content, list):
        return "" if content is None else as_json(content)
    return joined(*(as_text(each.get("text")) or as_json(each) for each in map(as_object, content)))


def _attachments(entry: dict[str, Any]) -> tuple[Attachment, ...]:
    """Return what was attached and is there as text."""
    attachments = []
    for each in map(as_object, as_list(entry.get("attachments"))):
        text, kind = as_text(each.get("extracted_content")), as_text(each.get("file_type"))
        size = each.get("file_size")
        if text:
            attachments.append(
                Attachment(
                    as_text(each.get("file_name")) or PASTED,
                    kind if "/" in kind else "text/plain",
                    size if type(size) is int and 0 <= size < MOST_SIZE else len(text.encode("utf-8", "replace")),
                    text,
                )
            )
    return tuple(attachments)


def _notes(entry: dict[str, Any], attached: set[str]) -> list[str]:
    """Return a word on each file that is only named, of which the export has nothing."""
    files = [*as_list(entry.get("attachments")), *as_list(entry.get("files"))]
    names = dict.fromkeys(as_text(as_object(each).get("file_name")) for each in files)
    return [note("file", name) for name in names if name and name not in attached]
