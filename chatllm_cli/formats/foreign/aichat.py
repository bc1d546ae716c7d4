"""A session of aichat: one YAML file, as serde_yaml writes it, which knows no aliases and no tags."""

import hashlib
import re
from datetime import datetime
from pathlib import PurePath
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.reading.attached_files import AttachedFiles
from chatllm_cli.formats.reading.fields import ROLES, Said, as_list, as_moment, as_object, as_text, chained
from chatllm_cli.formats.reading.source import Imported, Outcomes, Source
from chatllm_cli.formats.reading.wording import as_json, called, fenced, joined, note
from chatllm_cli.ids import stable_id
from chatllm_cli.models import Conversation, Role

FORMAT = "aichat"
MOST_BYTES = 16 * 2**20
_KEYS = (re.compile(rb"^model: ", re.MULTILINE), re.compile(rb"^messages:", re.MULTILINE))
_CLIENTS = {"claude": "anthropic"}  # that are called otherwise here
_AUTONAMED = re.compile(r"(\d{8}T\d{6})(?:-|\.|$)")  # a session that was not named has its time for a name


def is_one(source: Source) -> bool:
    """Tell whether a file is such a session, by its keys."""
    head = source.data[:MOST_BYTES]
    return len(source.data) <= MOST_BYTES and all(key.search(head) for key in _KEYS)


def load(source: Source) -> Outcomes:
    """Yield the conversation, if anything was said in it; `FormatError` if the file is no session."""
    from chatllm_cli.formats.reading import plain_yaml  # noqa: PLC0415  (PyYAML takes 20 ms)

    session = as_object(plain_yaml.parse(source.text(MOST_BYTES)))
    model = _model(as_text(session.get("model")))
    attached = AttachedFiles()
    entries = [*as_list(session.get("compressed_messages")), *as_list(session.get("messages"))]
    paths = as_object(session.get("data_urls") or {})
    said = [_said(as_object(entry), attached, paths, model) for entry in entries]
    system = as_text(session.get("agent_instructions"))
    if said and said[0].role is Role.SYSTEM and not said[0].attachments:
        system, said = said[0].content, said[1:]
    said = [each for each in said if each.content.strip() or each.attachments]
    if not said:
        return
    name = PurePath(source.name).name
    begun = _begun(name, source.at)
    key = stable_id(FORMAT, name, next((each.content for each in said if each.role is Role.USER), ""))
    messages = chained(key, said, begun)
    yield Imported(Conversation(key, "", begun, model, system, messages, messages[-1].id), attached.files)


def _model(name: str) -> str:
    """Return the address of a model, which aichat writes CLIENT:MODEL."""
    client, sign, model = name.partition(":")
    return f"{_CLIENTS.get(client, client)}/{model}" if sign else name


def _begun(name: str, otherwise: datetime) -> datetime:
    stamp = _AUTONAMED.match(name)
    try:
        return as_moment(stamp[1]) if stamp else otherwise
    except FormatError:
        return otherwise


def _said(entry: dict[str, Any], attached: AttachedFiles, paths: dict[str, Any], model: str) -> Said:
    role = ROLES.get(as_text(entry.get("role")), Role.SYSTEM)
    content = entry.get("content")
    if isinstance(content, dict):
        return Said(Role.SYSTEM, _calls(content))
    if not isinstance(content, list):
        return Said(role, as_text(content), model=(model or None) if role is Role.ASSISTANT else None)
    texts, images = [], []
    for part in map(as_object, content):
        if as_text(part.get("type")) == "text":
            texts.append(as_text(part.get("text")))
            continue
        url = as_text(as_object(part.get("image_url")).get("url"))
        image = attached.image_in(url, _name(url, paths))
        images += [image] if image else []
        texts += [] if image else [note("image", "" if url.startswith("data:") else url)]
    return Said(role, joined(*texts), attachments=tuple(images))


def _name(url: str, paths: dict[str, Any]) -> str:
    """Return where an image came from, which aichat keeps by the hash of what it became."""
    return as_text(paths.get(hashlib.sha256(url.encode("utf-8", "replace")).hexdigest())) or "image"


def _calls(content: dict[str, Any]) -> str:
    """Return the calls of tools, and what came of them, as text."""
    texts = [as_text(content.get("text"))]
    for result in map(as_object, as_list(content.get("tool_results"))):
        call = as_object(result.get("call"))
        texts.append(called(as_text(call.get("name")), call.get("arguments")))
        texts.append(fenced(as_json(result.get("output") or "")))
    return joined(*texts)
