"""A conversation as JSON: everything that is stored, every branch included."""

import json
from dataclasses import asdict
from datetime import datetime

from chatllm_cli.models import Conversation


def dump(conversation: Conversation) -> str:
    """Return the conversation as one indented JSON object."""
    return json.dumps(asdict(conversation), default=_plain, ensure_ascii=not _is_text(conversation), indent=2) + "\n"


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value).__name__}")


def _is_text(conversation: Conversation) -> bool:
    """Tell whether UTF-8 can hold every message; half a surrogate pair has to be escaped."""
    try:
        "".join(message.content for message in conversation.messages).encode()
    except UnicodeEncodeError:
        return False
    return True
