"""Conversations as JSON: everything that is stored, every branch included, and back without loss.

One object a conversation. A .json file has one, indented, or an array of them; in a .jsonl file each is a line.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.own_data import conversation_of, data_of
from chatllm_cli.formats.reading.json_values import values
from chatllm_cli.formats.reading.source import Imported, Outcomes, Source
from chatllm_cli.ids import SHA256
from chatllm_cli.models import Conversation

VERSION = 1
FORMAT = re.compile("chatllm ([0-9]{1,9})")
Files = Mapping[str, bytes]  # what is attached, by its SHA-256
NONE: Files = {}


def dump(conversation: Conversation, files: Files = NONE) -> str:
    """Return the conversation as one indented JSON object, with the bytes of what is attached to it."""
    return _spelled(_document(conversation, files), indent=2)


def dump_line(conversation: Conversation, files: Files = NONE) -> str:
    """Return the conversation as one line of JSON, with the bytes of what is attached to it."""
    return _spelled(_document(conversation, files), separators=(",", ":"))


def dump_data(items: object) -> str:
    """Return plain data, or a sequence of it, as indented JSON."""
    data = [asdict(item) for item in items] if isinstance(items, list | tuple) else items
    return json.dumps(data, default=_plain, indent=2) + "\n"


def is_one(value: Any) -> bool:
    """Tell whether the first JSON value of a file is a conversation as `dump` has it, of whatever version."""
    named = value.get("format") if isinstance(value, dict) else None
    return isinstance(named, str) and FORMAT.fullmatch(named) is not None


def load(source: Source) -> Outcomes:
    """Yield each conversation of a file. Raises `FormatError` if nothing of it is JSON."""
    for number, value in enumerate(values(source.data), start=1):
        try:
            yield _imported(value)
        except FormatError as error:
            yield FormatError(f"number {number}: {error.message}", hint=error.hint)


def _imported(value: Any) -> Imported:
    if isinstance(value, FormatError):
        raise value
    if not is_one(value):
        raise FormatError("it is no conversation as chatllm writes it: the field 'format' does not say so")
    version = int(value["format"].removeprefix("chatllm "))
    if version > VERSION:
        raise FormatError(
            f"it was written by a newer version of chatllm (format {version})", hint="update chatllm to read it"
        )
    conversation = conversation_of(value, also=("format", "files"))
    return Imported(conversation, _files(value.get("files", {}), conversation))


def _files(value: object, conversation: Conversation) -> dict[str, bytes]:
    """Return the bytes of what is attached to the conversation, each checked against its hash."""
    if not isinstance(value, dict):
        raise FormatError("the field 'files' is no object")
    wanted = {each.sha256 for message in conversation.messages for each in message.attachments}
    found: dict[str, bytes] = {}
    for sha256, spelled in value.items():
        if not SHA256.fullmatch(sha256) or sha256 not in wanted:
            raise FormatError(f"files: nothing that is attached has the SHA-256 '{sha256[:70]}'")
        try:
            data = base64.b64decode(spelled, validate=True)
        except (ValueError, TypeError):
            raise FormatError(f"files: what stands at {sha256} is no base64") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise FormatError(f"files: what stands at {sha256} has another SHA-256: it is damaged")
        found[sha256] = data
    return found


def _document(conversation: Conversation, files: Files) -> dict[str, Any]:
    document = {"format": f"chatllm {VERSION}", **data_of(conversation)}
    if files:
        document["files"] = {sha256: base64.b64encode(files[sha256]).decode() for sha256 in sorted(files)}
    return document


def _spelled(document: object, **how: Any) -> str:
    text = json.dumps(document, ensure_ascii=False, **how)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which a provider may send: JSON can escape it
        text = json.dumps(document, **how)
    return f"{text}\n"


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value).__name__}")
