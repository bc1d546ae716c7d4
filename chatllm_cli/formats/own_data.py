"""Our own conversations as plain data, and back: what JSON spells out, and markdown in part."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, TypeVar

from chatllm_cli import ids
from chatllm_cli.errors import FormatError
from chatllm_cli.formats import message_fields
from chatllm_cli.formats.reading.fields import as_object
from chatllm_cli.models import Conversation, Message, Role, Status

Value = TypeVar("Value")
IS_ID = re.compile("[0-9A-Za-z_-]{1,100}")
# A conversation's becomes the name of a file, and an argument: no option, and not as a sync tool names a copy.
IS_CONVERSATION_ID = re.compile(f"(?!-|{ids.IS_ID.pattern}[-_]){IS_ID.pattern}")
OF_THIS_PLACE = {"damaged_lines", "imported_at"}  # what is no part of the conversation
NAMES = tuple(each.name for each in fields(Conversation) if each.name not in OF_THIS_PLACE)
MESSAGE_NAMES = tuple(each.name for each in fields(Message))
_NEEDED = object()


def data_of(conversation: Conversation) -> dict[str, Any]:
    """Return all that is stored of a conversation, its times as text."""
    data = {name: _plain(getattr(conversation, name)) for name in NAMES}
    return data | {"messages": [message_data(each) for each in conversation.messages]}


def message_data(message: Message) -> dict[str, Any]:
    """Return all that is stored of a message, its time as text."""
    data = {name: _plain(getattr(message, name)) for name in MESSAGE_NAMES}
    return data | {
        "usage": message.usage and asdict(message.usage),
        "attachments": [asdict(each) for each in message.attachments],
    }


def conversation_of(value: object, *, also: Collection[str] = ()) -> Conversation:
    """Return the conversation that data describes, which may have fields `also`. Raises `FormatError`."""
    data = as_object(value)
    given = _Fields(data, f"conversation {_shown(data.get('id'))}")
    given.check_names({*NAMES, *also})
    messages = given.take("messages", _list)
    return Conversation(
        id=given.take("id", _conversation_id),
        title=given.take("title", message_fields.text),
        created_at=given.take("created_at", _moment),
        model=given.take("model", message_fields.text, ""),
        system_prompt=given.take("system_prompt", message_fields.text, ""),
        messages=_messages(messages, given.where),
        head=given.take("head", _id_or_none, None),
        tags=given.take("tags", _texts, ()),
    )


def _messages(values: list[object], where: str) -> tuple[Message, ...]:
    """Return messages, each of whose ids is there once."""
    found: dict[str, Message] = {}
    for number, value in enumerate(values, start=1):
        message = message_of(value, f"{where}, message {number}")
        if message.id in found:
            raise FormatError(f"{where}, message {number}: another message has the id {_shown(message.id)}")
        found[message.id] = message
    return tuple(found.values())


def message_of(value: object, where: str) -> Message:
    """Return the message that data describes; `where` it stands is named in a `FormatError`."""
    if not isinstance(value, dict):
        raise FormatError(f"{where}: expected an object")
    given = _Fields(value, where)
    given.check_names(MESSAGE_NAMES)
    return Message(
        id=given.take("id", _id),
        role=given.take("role", Role),
        content=given.take("content", message_fields.text),
        at=given.take("at", _moment),
        parent=given.take("parent", _id_or_none, None),
        status=given.take("status", Status, Status.COMPLETE),
        model=given.take("model", message_fields.text_or_none, None),
        usage=given.take("usage", message_fields.usage, None),
        finish_reason=given.take("finish_reason", message_fields.text_or_none, None),
        cached=given.take("cached", _flag, otherwise=False),
        error=given.take("error", message_fields.text_or_none, None),
        instead_of=given.take("instead_of", message_fields.text_or_none, None),
        reasoning=given.take("reasoning", message_fields.text, ""),
        continues=given.take("continues", _id_or_none, None),
        cost=given.take("cost", message_fields.cost, None),
        attachments=given.take("attachments", message_fields.attachments, ()),
    )


class _Fields:
    """The fields of one object; what is wrong with one is told with its name, and where the object stands."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values = values
        self.where = where

    def check_names(self, known: Collection[str]) -> None:
        """Refuse what would be lost."""
        if unknown := [name for name in self._values if name not in known]:
            raise FormatError(f"{self.where}: there is no field {_shown(unknown[0])}")

    def take(self, name: str, check: Callable[[Any], Value], otherwise: Any = _NEEDED) -> Value:
        """Return the field as `check` does, `otherwise` for one that is not there."""
        if name not in self._values:
            if otherwise is _NEEDED:
                raise FormatError(f"{self.where}: the field '{name}' is missing")
            return otherwise  # type: ignore[no-any-return]
        try:
            return check(self._values[name])
        except KeyError as error:
            raise FormatError(f"{self.where}: {name}: {error} is missing") from None
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise FormatError(f"{self.where}: {name}: {_said(error)}") from None


def _said(error: Exception) -> str:
    """Return what our own checks say, and in one word what others do."""
    told = str(error)
    if isinstance(error, UnicodeEncodeError):
        return "expected UTF-8"
    return told if told.startswith("expected ") else f"expected something else ({told[:80]})"


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}…"  # noqa: PLR2004  (of one line)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _id(value: object) -> str:
    found = message_fields.text(value)
    if not IS_ID.fullmatch(found):
        raise ValueError(f"expected an id, not {_shown(found)}")
    return found


def _conversation_id(value: object) -> str:
    found = _id(value)
    if not IS_CONVERSATION_ID.fullmatch(found):
        raise ValueError(f"expected an id of its own, not {_shown(found)}")
    return found


def _id_or_none(value: object) -> str | None:
    return None if value is None else _id(value)


def _moment(value: object) -> datetime:
    found = message_fields.moment(value)
    return found.replace(microsecond=found.microsecond // 1000 * 1000)  # as the history keeps it


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("expected true or false")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("expected a list")
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(message_fields.text, _list(value)))
