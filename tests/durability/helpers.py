"""What the durability tests share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random

from chatllm_cli.errors import ChatllmError
from chatllm_cli.formats import json as json_format
from chatllm_cli.formats import markdown
from chatllm_cli.models import Conversation, Message, Role, Status
from chatllm_cli.services.history import records

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def chance(*seed: object) -> Random:
    """Return a source of random choices that is the same each time."""
    return Random(repr(seed))  # noqa: S311  (it keeps no secrets)


def turns(count: int, size: int = 60) -> tuple[Message, ...]:
    """Return the messages of so many turns, each below the one before, about `size` characters long."""
    messages: list[Message] = []
    for number in range(count * 2):
        is_reply = number % 2 == 1
        parent = messages[-1].id if messages else None
        text = f"message {number} sagt „Grüße 😀“ to you. " * (size // 36 + 1)
        messages.append(
            Message(
                f"m{number:03}",
                Role.ASSISTANT if is_reply else Role.USER,
                text,
                NOON + timedelta(minutes=number),
                parent,
                Status.COMPLETE,
                model="hub/model" if is_reply else None,
            )
        )
    return tuple(messages)


def conversation_of(messages: Sequence[Message], conversation_id: str = "aaaabbbbccccdddd") -> Conversation:
    """Return a conversation of these messages, the last of which is its head."""
    head = messages[-1].id if messages else None
    return Conversation(conversation_id, "A title", NOON, "hub/model", "Be kind.", tuple(messages), head)


def journal_of(conversation: Conversation) -> bytes:
    """Return the journal that this conversation leaves behind."""
    messages = map(records.message_record, conversation.messages)
    return records.encode(records.conversation_record(conversation), *messages)


def use(conversation: Conversation) -> None:
    """Do everything that is done to a conversation that was read."""
    conversation.thread()
    conversation.aside()
    assert conversation.updated_at
    assert isinstance(conversation.last_model, str)
    for message in conversation.messages:
        conversation.find(message.id)
    assert isinstance(markdown.dump(conversation), str)
    assert isinstance(json_format.dump(conversation), str)


@contextmanager
def named(case: str) -> Iterator[None]:
    """Say which case it was that met an error which is none of ours."""
    try:
        yield
    except ChatllmError:
        raise
    except Exception as error:
        raise AssertionError(case) from error
