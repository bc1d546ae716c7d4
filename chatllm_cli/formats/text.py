"""A conversation as a plain transcript: who spoke and when, and the words as they are."""

from datetime import UTC, datetime

from chatllm_cli.models import Conversation, Message, Role, Status
from chatllm_cli.surrogates import without_halves


def dump(conversation: Conversation) -> str:
    """Return what was said down to the head, times in UTC. Half a surrogate pair becomes U+FFFD."""
    parts = [" ".join(conversation.title.split())] if conversation.title.strip() else []
    if conversation.system_prompt:
        parts.append(_paragraph("System", conversation.created_at, conversation.system_prompt))
    parts += [_paragraph(_speaker(each), each.at, _said(each)) for each in conversation.thread()]
    return without_halves("\n\n".join(parts) + "\n")


def _paragraph(speaker: str, at: datetime, text: str) -> str:
    named = f"{speaker}, {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC:"
    return f"{named}\n{text}" if text else named


def _speaker(message: Message) -> str:
    if message.role is not Role.ASSISTANT:
        return message.role.capitalize()
    name = " ".join((message.model or "assistant").split())
    return name if message.status is Status.COMPLETE else f"{name} ({message.status})"


def _said(message: Message) -> str:
    attached = [f"Attached: {' '.join(each.told.split())}\n{each.text}".rstrip("\n") for each in message.attachments]
    said = message.content.strip("\n")
    return "\n\n".join(text for text in (said, *attached) if text)
