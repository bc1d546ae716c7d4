"""A conversation as JSON: everything that is stored, every branch included."""

import json
from dataclasses import asdict
from datetime import datetime

from chatllm_cli.models import Conversation


def dump(conversation: Conversation) -> str:
    """Return the conversation as one indented JSON object."""
    document = json.dumps(asdict(conversation), default=_plain, ensure_ascii=False, indent=2) + "\n"
    try:
        document.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which a provider may send: JSON can escape it
        return json.dumps(asdict(conversation), default=_plain, indent=2) + "\n"
    return document


def dump_data(items: object) -> str:
    """Return plain data, or a sequence of it, as indented JSON."""
    data = [asdict(item) for item in items] if isinstance(items, list | tuple) else items
    return json.dumps(data, default=_plain, indent=2) + "\n"


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value).__name__}")
