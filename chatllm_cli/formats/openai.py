"""Conversations as OpenAI's fine-tuning takes them: JSON Lines, each an object with `messages`."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.reading.attached_files import AttachedFiles
from chatllm_cli.formats.reading.fields import ROLES, Said, as_list, as_object, as_text, chained
from chatllm_cli.formats.reading.outcomes import of_each
from chatllm_cli.formats.reading.source import Imported, Outcomes, Source
from chatllm_cli.formats.reading.wording import called, joined, note
from chatllm_cli.ids import stable_id
from chatllm_cli.message_content import content_of
from chatllm_cli.models import Attachment, Conversation, Message, Role, Status
from chatllm_cli.surrogates import without_halves

FORMAT = "openai"
_INSTRUCTIONS = {"system", "developer"}
_TEXTS = ("text", "refusal")


def is_one(value: Any) -> bool:
    """Tell whether a JSON value is such an object, or a request that has one."""
    messages = value.get("messages") if isinstance(value, dict) else None
    if not isinstance(messages, list) or not messages or not isinstance(messages[0], dict):
        return False
    return "role" in messages[0] and "head" not in value  # which our own JSON has


def load(source: Source) -> Outcomes:
    """Yield a conversation for each line, or each element of an array; equal ones have the same id."""
    yield from of_each(source.data, lambda value: _conversation(value, source.at))


def _conversation(value: dict[str, Any], at: datetime) -> Imported | None:
    if "messages" not in value:
        raise FormatError("it has no messages")
    attached = AttachedFiles()
    model = as_text(value.get("model"))
    entries = [as_object(entry) for entry in as_list(value["messages"])]
    system = ""
    if entries and as_text(entries[0].get("role")) in _INSTRUCTIONS:
        system, _ = _content(entries.pop(0).get("content"), attached)
    said = [each for entry in entries for each in _said(entry, attached, model or None)]
    if not said:
        return None
    key = stable_id(FORMAT, _canonical(value))
    messages = chained(key, said, at)
    return Imported(
        Conversation(key, "", at, model, system, messages, messages[-1].id),
        attached.files,
    )


def _canonical(value: dict[str, Any]) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except RecursionError:
        raise FormatError("it is nested too deeply") from None


def _said(entry: dict[str, Any], attached: AttachedFiles, model: str | None) -> list[Said]:
    """Return what a message says, and the calls of tools that it makes as a message of their own."""
    role = ROLES.get(as_text(entry.get("role")), Role.SYSTEM)
    text, images = _content(entry.get("content"), attached)
    text = joined(text, as_text(entry.get("refusal"))) if entry.get("refusal") else text
    said = Said(role, text, model=model if role is Role.ASSISTANT else None, attachments=images)
    calls = Said(Role.SYSTEM, _calls(entry))
    return [each for each in (said, calls) if each.content.strip() or each.attachments]


def _calls(entry: dict[str, Any]) -> str:
    functions = [as_object(as_object(call).get("function") or {}) for call in as_list(entry.get("tool_calls"))]
    functions += [as_object(entry["function_call"])] if entry.get("function_call") else []  # as it was until 2023
    return joined(*(called(as_text(each.get("name")), each.get("arguments")) for each in functions))


def _content(content: object, attached: AttachedFiles) -> tuple[str, tuple[Attachment, ...]]:
    """Return the text and the images of a content, which is a text or parts of it."""
    if not isinstance(content, list):
        return as_text(content), ()
    texts: list[str] = []
    images: list[Attachment] = []
    for part in map(as_object, content):
        kind = as_text(part.get("type"))
        if "image_url" in part:
            image, told = _image(part["image_url"], attached)
            images += [image] if image else []
            texts.append(told)
        else:
            text = next(filter(None, (as_text(part.get(key)) for key in _TEXTS)), "")
            texts.append(text if text or kind in _TEXTS else note("unsupported", kind or "part"))
    return joined(*texts), tuple(images)


def _image(value: object, attached: AttachedFiles) -> tuple[Attachment | None, str]:
    """Return an image, or the word that stands for it."""
    url = as_text(value.get("url")) if isinstance(value, dict) else as_text(value)
    image = attached.image_in(url, "image")
    return image, "" if image else note("image", "" if url.startswith("data:") else url)


def dump(conversation: Conversation, files: Mapping[str, bytes]) -> str:
    """Return the system prompt and the whole turns down to the head as one line; empty if there is no whole turn.

    A turn that has no answer, or one that is incomplete, or an image of which the bytes are gone, is left out.
    `files` has the bytes of images by their SHA-256.
    """
    turns = [turn for turn in _turns(conversation.thread()) if _is_whole(turn, files)]
    if not turns:
        return ""
    prompt = [{"role": Role.SYSTEM, "content": conversation.system_prompt}] if conversation.system_prompt else []
    said = [_dumped(message, files) for turn in turns for message in turn]
    return without_halves(json.dumps({"messages": [*prompt, *said]}, ensure_ascii=False)) + "\n"


def _turns(thread: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Yield each prompt with what came of it, up to the next one."""
    begins = [place for place, message in enumerate(thread) if message.role is Role.USER]
    for begin, end in zip(begins, [*begins[1:], len(thread)], strict=False):
        yield thread[begin:end]


def _is_whole(turn: Sequence[Message], files: Mapping[str, bytes]) -> bool:
    answers = [message for message in turn if message.role is Role.ASSISTANT]
    images = [each.sha256 for message in turn for each in message.attachments if each.sha256]
    are_whole = all(each.status is Status.COMPLETE and each.content.strip() for each in answers)
    return bool(answers) and are_whole and all(each in files for each in images)


def _dumped(message: Message, files: Mapping[str, bytes]) -> dict[str, Any]:
    content = content_of(message)
    if isinstance(content, str):
        return {"role": message.role, "content": content}
    return {"role": message.role, "content": [_part(each, files) for each in content]}


def _part(part: str | Attachment, files: Mapping[str, bytes]) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    spelled = base64.b64encode(files[part.sha256]).decode()
    return {"type": "image_url", "image_url": {"url": f"data:{part.media_type};base64,{spelled}"}}
