"""A conversation as a markdown document: what was said down to the head, to be read."""

import json
import re

from chatllm_cli.models import Attachment, Conversation, Message, Role, Status


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
    parts += [f"## {_heading(message)}\n\n{_body(message)}\n" for message in conversation.thread()]
    return "\n".join(parts)


def _body(message: Message) -> str:
    attached = [_attached(each) for each in message.attachments]
    return "\n\n".join(text for text in (message.content, *attached) if text)


def _attached(attachment: Attachment) -> str:
    """Return the name of an attachment, and its text between fences that it cannot end."""
    named = f"Attached: {' '.join(attachment.told.split())}"
    if attachment.sha256:
        return named
    longest = max((len(run) for run in re.findall("`+", attachment.text)), default=0)
    fence = "`" * max(longest + 1, 3)
    end = "" if not attachment.text or attachment.text.endswith("\n") else "\n"
    return f"{named}\n\n{fence}\n{attachment.text}{end}{fence}"


def _heading(message: Message) -> str:
    if message.role is Role.USER:
        return "User"
    details = [message.model or "", "" if message.status is Status.COMPLETE else message.status]
    shown = ", ".join(detail for detail in details if detail)
    return f"Assistant ({shown})" if shown else "Assistant"
