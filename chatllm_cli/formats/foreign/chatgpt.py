"""The conversations of ChatGPT's export: elements of its `conversations.json`, each a tree of messages.

OpenAI documents no format; what is known of it, and by whom, stands in tests/data/imports/chatgpt/README.md.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from chatllm_cli.formats.foreign import chatgpt_content
from chatllm_cli.formats.foreign.chatgpt_content import Content
from chatllm_cli.formats.reading.fields import as_list, as_moment, as_object, as_text
from chatllm_cli.formats.reading.outcomes import of_each
from chatllm_cli.formats.reading.source import Imported, Outcomes, Source
from chatllm_cli.formats.reading.trees import downwards
from chatllm_cli.frozen import frozen
from chatllm_cli.ids import stable_id
from chatllm_cli.models import Conversation, Message, Role, Status

FORMAT = "chatgpt"
NO_MODEL = {"", "auto"}
# How a reply ended, where `finish_details` says so, else where `status` does.
_ENDS = {"interrupted": Status.INTERRUPTED, "max_tokens": Status.TRUNCATED, "content_filter": Status.FILTERED}
_STATES = {
    "in_progress": Status.INTERRUPTED,
    "finished_partial_completion": Status.INTERRUPTED,
    "error": Status.ERROR,
}


def is_one(value: Any) -> bool:
    """Tell whether a JSON value is one of these conversations."""
    return isinstance(value, dict) and isinstance(value.get("mapping"), dict)


def load(source: Source) -> Outcomes:
    """Yield each conversation that has messages, all its branches included, with the images that lie beside it."""
    yield from of_each(source.data, lambda value: _Reader(value, source.beside).read())


@frozen
class _Place:
    """What the messages below a node have to know of it."""

    message: str | None  # the id of the nearest message, itself included, that is taken along
    at: datetime
    thought: str | None = None  # the node with the last thought that no reply has come to yet


class _Reader:
    """Reads one conversation."""

    def __init__(self, value: dict[str, Any], beside: Callable[[str], bytes | None]) -> None:
        self._value = value
        self._nodes = {key: as_object(node) for key, node in as_object(value.get("mapping")).items()}
        self._key = as_text(value.get("conversation_id")) or as_text(value.get("id")) or self._root()
        self._contents = chatgpt_content.Contents(beside)
        self._default = _model(value.get("default_model_slug"))
        self._messages: list[Message] = []
        self._system_prompt: str | None = None
        self._thoughts: dict[str | None, tuple[str, str | None]] = {}  # by their nodes, with the one before

    def _root(self) -> str:
        return next((key for key, node in self._nodes.items() if not node.get("parent")), "")

    def read(self) -> Imported | None:
        """Return the conversation; None if nothing was said in it. Raises `FormatError`."""
        begun = as_moment(self._value.get("create_time"))
        children = {key: [as_text(child) for child in as_list(node.get("children"))]
                    for key, node in self._nodes.items()}  # fmt: skip
        above = {child: key for key, listed in children.items() for child in listed}
        parents = {key: as_text(node.get("parent")) or above.get(key) for key, node in self._nodes.items()}
        places: dict[str | None, _Place] = {}
        for key in downwards(parents, children):
            before = places.get(parents[key], _Place(None, begun))
            places[key] = self._placed(key, before, is_last=not children[key])
        return self._conversation(places) if self._messages else None

    def _conversation(self, places: Mapping[str | None, _Place]) -> Imported:
        current = places.get(as_text(self._value.get("current_node")))
        models = (message.model for message in self._messages if message.model)
        conversation = Conversation(
            stable_id(FORMAT, self._key),
            as_text(self._value.get("title")),
            as_moment(self._value.get("create_time"), self._messages[0].at),
            next(models, self._default) or "",
            self._system_prompt or "",
            tuple(self._messages),
            (current and current.message) or self._messages[-1].id,
        )
        return Imported(conversation, self._contents.files)

    def _placed(self, key: str, before: _Place, *, is_last: bool) -> _Place:
        """Take a node along, if it says something."""
        value = self._nodes[key].get("message")
        if value is None:
            return before
        value = as_object(value)
        at = as_moment(value.get("create_time"), before.at)
        content = self._contents.of(value)
        if content is None:
            return before
        if content.is_instruction and self._system_prompt is None and not self._messages:
            self._system_prompt = content.text
            return before
        thought = before.thought
        if content.is_thought:
            self._thoughts[key] = content.reasoning, thought
            thought = key
            if not is_last:
                return _Place(before.message, at, thought)
        message = self._message(key, value, content, before.message, at, thought)
        self._messages.append(message)
        return _Place(message.id, at, thought if message.role is Role.SYSTEM else None)

    def _reasoning(self, thought: str | None) -> str:
        """Return the thoughts that led to a reply; each to one only, however many replies hang on it."""
        texts: list[str] = []
        while found := self._thoughts.pop(thought, None):
            text, thought = found
            texts.append(text)
        return "\n\n".join(reversed(texts))

    def _message(
        self, key: str, value: dict[str, Any], content: Content, parent: str | None, at: datetime, thought: str | None
    ) -> Message:
        made = stable_id(FORMAT, self._key, key)
        if content.role is not Role.ASSISTANT:
            return Message(made, content.role, content.text, at, parent, attachments=content.attachments)
        metadata = chatgpt_content.metadata_of(value)
        end = metadata.get("finish_details")
        reason = end.get("type") if isinstance(end, dict) else None
        status = _ENDS.get(str(reason)) or _STATES.get(str(value.get("status")), Status.COMPLETE)
        return Message(
            made, content.role, content.text, at, parent,
            Status.INTERRUPTED if content.is_thought else status,
            _model(metadata.get("model_slug")) or self._default,
            finish_reason=reason if isinstance(reason, str) else None,
            reasoning=self._reasoning(thought), cost=0.0, attachments=content.attachments,
        )  # fmt: skip


def _model(slug: object) -> str | None:
    return f"openai/{slug}" if isinstance(slug, str) and slug not in NO_MODEL else None
