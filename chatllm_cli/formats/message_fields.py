"""The fields of conversations and messages as JSON has them, checked: in journals, and in our own exports.

Each function raises ValueError, TypeError or KeyError for what is not as it should be; of a number that is beyond all
bounds perhaps OverflowError.
"""

from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Any

from chatllm_cli.ids import SHA256
from chatllm_cli.models import MOST_TOKENS, Attachment, TokenUsage

MOST_DOLLARS = 1e12  # that one message can have cost
MOST_BYTES = 2**60  # that one attachment can have


def text(value: object) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value


def text_or_none(value: object) -> str | None:
    """Return a text, or None."""
    return None if value is None else text(value)


def identifier(value: object) -> str:
    """Return an id, which an index can hold."""
    found = text(value)
    found.encode()  # raises ValueError
    return found


def identifier_or_none(value: object) -> str | None:
    """Return an id, or None."""
    return None if value is None else identifier(value)


def usage(value: Any) -> TokenUsage | None:
    """Return what a request took, of an object; None if nothing is said of it."""
    if not value:
        return None
    counts = (value["input_tokens"], value["output_tokens"], value.get("cached_tokens", 0))
    return TokenUsage(*map(_tokens, counts))


def attachments(value: object) -> tuple[Attachment, ...]:
    """Return what goes with a prompt, of a list, or of None."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise TypeError("expected a list")
    return tuple(map(attachment, value))


def attachment(value: Any) -> Attachment:
    """Return one attachment, of an object with its text or the hash of its bytes."""
    if not isinstance(value, dict):
        raise TypeError("expected an object")
    size, sha256 = value["size"], text(value.get("sha256", ""))
    if type(size) is not int or not 0 <= size < MOST_BYTES:
        raise ValueError("expected a number of bytes")
    if sha256 and not SHA256.fullmatch(sha256):  # it becomes a file's name
        raise ValueError("expected a SHA-256")
    found = "" if sha256 else text(value["text"])
    return Attachment(text(value["name"]), text(value["media_type"]), size, found, sha256)


def cost(value: object) -> float | None:
    """Return an amount of US dollars, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MOST_DOLLARS:
        raise ValueError("expected an amount of money")
    return float(value)


def moment(value: object) -> datetime:
    """Return a time in UTC, of ISO 8601; one without a zone is UTC already."""
    found = datetime.fromisoformat(text(value))
    if not MINYEAR < found.year < MAXYEAR:
        raise ValueError("expected a moment that every time zone has")
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def _tokens(value: object) -> int:
    number = int(value)  # type: ignore[call-overload]
    if not 0 <= number < MOST_TOKENS:
        raise ValueError("expected a number of tokens")
    return int(number)
