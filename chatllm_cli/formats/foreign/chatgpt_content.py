"""What one message of ChatGPT says: its parts, of whatever type, as a text and images."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from chatllm_cli.formats.reading.attached_files import AttachedFiles
from chatllm_cli.formats.reading.fields import ROLES, as_list, as_object, as_text
from chatllm_cli.formats.reading.wording import fenced, joined, note
from chatllm_cli.frozen import frozen
from chatllm_cli.models import Attachment, Role

INSTRUCTIONS = "user_editable_context"
THOUGHTS = {"thoughts", "reasoning_recap"}
MEMORY = "model_editable_context"
IMAGE = "image_asset_pointer"
TRANSCRIPT = "audio_transcription"
SOUND = {"audio_asset_pointer", "real_time_user_audio_video_asset_pointer", "video_container_asset_pointer"}
_ASSET = re.compile(r"(?:file-service|sediment)://(file[-_][A-Za-z0-9]+)")


@frozen
class Content:
    """What a message says."""

    role: Role
    text: str
    attachments: tuple[Attachment, ...] = ()
    reasoning: str = ""
    is_thought: bool = False  # it is no reply of its own
    is_instruction: bool = False  # it may be the system prompt


def metadata_of(message: dict[str, Any]) -> dict[str, Any]:
    """Return what a message tells of itself, which may be nothing."""
    metadata = message.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


class Contents:
    """Reads the contents of one conversation's messages."""

    def __init__(self, beside: Callable[[str], bytes | None]) -> None:
        self._beside = beside
        self._attached = AttachedFiles()

    @property
    def files(self) -> dict[str, bytes]:
        """The bytes of the images that were met, by their SHA-256."""
        return self._attached.files

    def of(self, message: dict[str, Any]) -> Content | None:
        """Return what a message says; None for nothing, or what is hidden. Raises `FormatError`."""
        content = as_object(message.get("content") or {})
        kind, metadata = as_text(content.get("content_type")), metadata_of(message)
        role = as_text(as_object(message.get("author") or {}).get("role"))
        if instructions := _instructions(content, metadata):
            return Content(Role.SYSTEM, instructions, is_instruction=True)
        if kind == INSTRUCTIONS or metadata.get("is_visually_hidden_from_conversation") is True:
            return None
        if kind in THOUGHTS:
            reasoning = _reasoning(content)
            return Content(Role.ASSISTANT, "", reasoning=reasoning, is_thought=True) if reasoning else None
        names = _names(metadata)
        text, attachments = self._said(kind, content, names)
        text = joined(text, *(note("file", name) for name in names.values()))
        recipient = message.get("recipient")
        if role == "assistant" and text and isinstance(recipient, str) and recipient not in {"", "all"}:
            return Content(Role.SYSTEM, f"[call {recipient}]\n\n{text}", attachments)
        found = Content(_role(role, kind), text, attachments, is_instruction=role == "system")
        return found if text.strip() or attachments else None

    def _said(self, kind: str, content: dict[str, Any], names: dict[str, str]) -> tuple[str, tuple[Attachment, ...]]:
        """Return the text and the images; the names of those that were found are taken out of `names`."""
        if kind == "code":
            return fenced(as_text(content.get("text")), as_text(content.get("language")).replace("unknown", "")), ()
        if kind == "execution_output":
            return fenced(as_text(content.get("text"))), ()
        if "parts" in content:
            return self._parts(as_list(content["parts"]), names)
        if "screenshot" in content:
            return self._parts([content["screenshot"]], names)
        heads = [as_text(content.get(key)) for key in ("title", "name", "url")]
        bodies = [as_text(content.get(key)) for key in ("text", "result", "summary", "content", "model_set_context")]
        text = joined(" ".join(filter(None, heads)), next(filter(None, bodies), ""))
        return text or ("" if _is_known(kind) else note("unsupported", kind)), ()

    def _parts(self, parts: list[Any], names: dict[str, str]) -> tuple[str, tuple[Attachment, ...]]:
        texts: list[str] = []
        attachments: list[Attachment] = []
        has_transcript = any(isinstance(part, dict) and part.get("content_type") == TRANSCRIPT for part in parts)
        for part in parts:
            if isinstance(part, str):
                texts.append(part)
                continue
            fields = as_object(part or {})
            kind = as_text(fields.get("content_type"))
            if kind == IMAGE:
                asset = _ASSET.match(as_text(fields.get("asset_pointer")))
                name = names.pop(asset[1], "") if asset else ""
                image = asset and self._attached.image_beside(asset[1], name or asset[1], self._beside)
                attachments += [image] if image else []
                texts += [] if image else [note("image", name)]
            elif text := as_text(fields.get("text")):
                texts.append(text)
            elif fields and not (kind in SOUND and has_transcript):
                texts.append(note("unsupported", kind or "part"))
        return "\n".join(text for text in texts if text), tuple(attachments)


def _role(role: str, kind: str) -> Role:
    return Role.SYSTEM if kind == MEMORY else ROLES.get(role, Role.SYSTEM)


def _is_known(kind: str) -> bool:
    return kind in {"", "text", "tether_browsing_display", "tether_quote", "system_error", "sonic_webpage", MEMORY}


def _instructions(content: dict[str, Any], metadata: dict[str, Any]) -> str:
    """Return the custom instructions that a message stands for, of the two forms that they had."""
    if content.get("content_type") == INSTRUCTIONS:
        return joined(*(as_text(content.get(key)) for key in ("user_profile", "user_instructions")))
    told = metadata.get("user_context_message_data")
    if not isinstance(told, dict):
        return ""
    return joined(*(as_text(told.get(key)) for key in ("about_user_message", "about_model_message")))


def _reasoning(content: dict[str, Any]) -> str:
    thoughts = content.get("thoughts")
    if not isinstance(thoughts, list):
        return as_text(thoughts) or as_text(content.get("content"))
    return joined(*(text for thought in thoughts for text in _thought(as_object(thought))))


def _thought(thought: dict[str, Any]) -> Iterator[str]:
    yield as_text(thought.get("summary"))
    yield as_text(thought.get("content"))


def _names(metadata: dict[str, Any]) -> dict[str, str]:
    """Return the names of the files that came with a message, by their ids."""
    attached = metadata.get("attachments")
    entries = [each for each in attached if isinstance(each, dict)] if isinstance(attached, list) else []
    return {
        str(each["id"]): each["name"]
        for each in entries
        if isinstance(each.get("id"), str) and isinstance(each.get("name"), str)
    }
