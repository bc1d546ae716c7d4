"""What a script sees under --json: one object on stdout, and a line of JSON on stderr for whatever else there is."""

import json
import re
from dataclasses import asdict
from typing import Any, TextIO

from chatllm_cli.errors import ChatllmError
from chatllm_cli.models import Conversation, Message, Role
from chatllm_cli.render.renderer import Renderer


class JsonRenderer(Renderer):
    """Shows a turn as JSON, escaped throughout: nothing in it can reach a terminal raw."""

    @property
    def can_paint(self) -> bool:
        """Tell that nothing is shown to be taken away."""
        return False

    def notice(self, text: str) -> None:
        """Say something on stderr that is no failure."""
        self._emit({"notice": text})

    def error(self, error: ChatllmError) -> None:
        """Say on stderr what went wrong."""
        described = {
            "kind": kind_of(error),
            "message": error.message,
            "hint": error.hint,
            "exit_code": int(error.exit_code),
        }
        self._emit({"error": described})

    def answer(self, conversation: Conversation) -> None:
        """Put the last reply of a conversation on stdout, if there is one."""
        if not conversation.thread() or conversation.thread()[-1].role is not Role.ASSISTANT:
            return
        self.text(json.dumps(_described(conversation.thread()[-1], conversation.id)))

    def ending(self, reply: Message, *, command: str = "") -> None:
        """Say nothing: the object has the status."""

    def _emit(self, what: dict[str, Any]) -> None:
        self.err.write(json.dumps(what) + "\n")


def open_renderer(stdout: TextIO, stderr: TextIO, *, plain: bool = False, as_json: bool = False) -> Renderer:
    """Return the renderer for people, or for scripts."""
    return (JsonRenderer if as_json else Renderer)(stdout, stderr, plain=plain)


def kind_of(error: ChatllmError) -> str:
    """Return the error's class as a script may compare it: RateLimitError is rate_limit."""
    name = type(error).__name__.removesuffix("Error")
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _described(reply: Message, conversation_id: str) -> dict[str, Any]:
    provider, _, model = (reply.model or "").partition("/")
    return {
        "text": reply.content,
        "status": reply.status,
        "finish_reason": reply.finish_reason,
        "provider": provider,
        "model": model,
        "instead_of": reply.instead_of,
        "usage": asdict(reply.usage) if reply.usage else None,
        "cached": reply.cached,
        "error": reply.error,
        "conversation": conversation_id,
        "message": reply.id,
    }
