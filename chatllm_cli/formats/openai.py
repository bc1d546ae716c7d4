"""Conversations as OpenAI's chat format has them, which models are fine-tuned with: a line each."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chatllm_cli.message_content import content_of
from chatllm_cli.models import Attachment, Conversation, Message, Role, Status
from chatllm_cli.surrogates import without_halves


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
