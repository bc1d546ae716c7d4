"""A conversation as a markdown document: what was said down to the head, to be read."""

import json

from chatllm_cli.models import Conversation, Message, Role, Status


def dump(conversation: Conversation) -> str:
    """Return the conversation with a front matter and one heading per message."""
    front_matter = {
        "id": conversation.id,
        "title": conversation.title,
        "model": conversation.model,
        "created": conversation.created_at.isoformat(),
        "updated": conversation.updated_at.isoformat(),
    }
    # A JSON string is a YAML string once what cannot be printed is escaped.
    head = "".join(
        f"{key}: {json.dumps(value, ensure_ascii=not value.isprintable())}\n" for key, value in front_matter.items()
    )
    parts = [f"---\n{head}---\n"]
    if conversation.system_prompt:
        parts.append(f"## System\n\n{conversation.system_prompt}\n")
    parts += [f"## {_heading(message)}\n\n{message.content}\n" for message in conversation.thread()]
    return "\n".join(parts)


def _heading(message: Message) -> str:
    if message.role is Role.USER:
        return "User"
    details = [message.model or "", "" if message.status is Status.COMPLETE else message.status]
    shown = ", ".join(detail for detail in details if detail)
    return f"Assistant ({shown})" if shown else "Assistant"
