"""What foreign files hold, field by field: checked, and as our own data has it."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.reading.source import LONG_AGO
from chatllm_cli.frozen import frozen
from chatllm_cli.ids import stable_id
from chatllm_cli.models import MOST_TOKENS, Attachment, Message, Role, TokenUsage

ROLES = {"user": Role.USER, "human": Role.USER, "assistant": Role.ASSISTANT}  # others are a program's own words


def as_object(value: object) -> dict[str, Any]:
    """Return a JSON object. Raises `FormatError` for anything else."""
    if not isinstance(value, dict):
        raise FormatError(f"an object was expected, not {_shown(value)}")
    return value


def as_list(value: object) -> list[Any]:
    """Return a list; an empty one for None. Raises `FormatError` for anything else."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise FormatError(f"a list was expected, not {_shown(value)}")
    return value


def as_text(value: object) -> str:
    """Return a text; an empty one for None. Raises `FormatError` for anything else."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise FormatError(f"a text was expected, not {_shown(value)}")
    return value


def as_moment(value: object, otherwise: datetime = LONG_AGO) -> datetime:
    """Return a moment, in UTC and to the millisecond: from seconds since 1970 or ISO 8601; `otherwise` for None.

    A time without a zone is taken for UTC. Raises `FormatError` for what is no time.
    """
    if value is None or value == "":
        return otherwise
    try:
        moment = _moment(value)
    except (ValueError, OverflowError, OSError):
        raise FormatError(f"a time was expected, not {_shown(value)}") from None
    if not MINYEAR < moment.year < MAXYEAR:
        raise FormatError(f"a time was expected, not {_shown(value)}")
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def as_tokens(value: object) -> int:
    """Return a number of tokens; 0 for None. Raises `FormatError` for anything else."""
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value < MOST_TOKENS:
        raise FormatError(f"a number of tokens was expected, not {_shown(value)}")
    return value


def _moment(value: object) -> datetime:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004  (told as any other)
    moment = datetime.fromisoformat(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _shown(value: object) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    shown = repr(value[:50] if isinstance(value, str) else value)
    return shown if len(shown) <= 40 else f"{shown[:40]}…"  # noqa: PLR2004  (of one line)


@frozen
class Said:
    """One message of a format that has neither ids nor branches."""

    role: Role
    content: str
    at: datetime | None = None
    model: str | None = None
    usage: TokenUsage | None = None
    cost: float = 0.0  # of a reply; nothing is known to be owed where the file does not say it
    attachments: tuple[Attachment, ...] = ()


def chained(key: str, said: Iterable[Said], begun: datetime = LONG_AGO) -> tuple[Message, ...]:
    """Return messages, each below the one before; their ids are made of `key` and all that was said down to them.

    So what was read before is known again when more follows on it, and stands on a branch where it goes on otherwise.
    What has no date has that of the one before, and the first that of `begun`.
    """
    messages: list[Message] = []
    parent, at = None, begun
    for each in said:
        at = each.at or at
        made = stable_id(key, parent, each.role, each.content)
        cost = each.cost if each.role is Role.ASSISTANT else None  # none of our money
        message = Message(made, each.role, each.content, at, parent, model=each.model, usage=each.usage, cost=cost)
        messages.append(replace(message, attachments=each.attachments))
        parent = made
    return tuple(messages)
