"""What a script sees under --json: one object on stdout, and a line of JSON on stderr for whatever else there is."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TextIO

from chatllm_cli.errors import ChatllmError
from chatllm_cli.models import Conversation, Message, Role
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.themes import Looks
from chatllm_cli.render.wishes import Wish


class JsonRenderer(Renderer):
    """Shows a turn as JSON, escaped throughout: nothing in it can reach a terminal raw."""

    streams = False  # whether the text comes in pieces, an object each, before the object with all of it

    @property
    def can_paint(self) -> bool:
        """Tell that nothing is shown to be taken away."""
        return False

    @property
    def is_read_by_a_person(self) -> bool:
        """Tell that a script reads it, whatever it is."""
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

    def answer(self, conversation: Conversation, wish: Wish, timings: Mapping[str, float | None]) -> None:
        """Put out the last reply of a conversation as an object, if there is one."""
        if not conversation.thread() or conversation.thread()[-1].role is not Role.ASSISTANT:
            return
        reply = conversation.thread()[-1]
        fields = described(reply, conversation.id, timings)
        if wish.wants_value:
            fields["value"] = wish.value
        self.deliver(json.dumps(fields) + "\n", wish, reply)

    def withhold(self, text: str, why: str) -> None:
        """Say why a file is not written, and put the object on stdout instead."""
        super().withhold(text, why)
        self.text(text, end="")

    def answer_cut(self, conversation: Conversation, wish: Wish, timings: Mapping[str, float | None]) -> None:
        """Put out what came, as an object."""
        super().answer_cut(conversation, wish, timings)
        self.answer(conversation, Wish(), timings)

    def ending(self, reply: Message, *, command: str = "") -> None:
        """Say nothing: the object has the status."""

    @property
    def shows_usage(self) -> bool:
        """Tell that it is not said: the object has it."""
        return False

    def heading(self, text: str, *, style: str = "bold") -> None:
        """Say nothing: each object names its model."""

    def answers(self, answers: Sequence[Mapping[str, Any]], **more: Any) -> None:
        """Put out several answers as one object, each as `described` has it, and what else there is to say."""
        self.text(json.dumps({"answers": answers, **more}))

    def _emit(self, what: dict[str, Any]) -> None:
        self.err.write(json.dumps(what | ({"model": self.whom} if self.whom else {})) + "\n")


def open_renderer(
    stdout: TextIO, stderr: TextIO, looks: Looks | None = None, *, as_json: bool = False, as_json_stream: bool = False
) -> Renderer:
    """Return the renderer for people, or for scripts."""
    if as_json or as_json_stream:
        renderer = JsonRenderer(stdout, stderr, looks)
        renderer.streams = as_json_stream
        return renderer
    return Renderer(stdout, stderr, looks)


def kind_of(error: ChatllmError) -> str:
    """Return the error's class as a script may compare it: RateLimitError is rate_limit."""
    name = type(error).__name__.removesuffix("Error")
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def described(reply: Message, conversation_id: str, timings: Mapping[str, float | None]) -> dict[str, Any]:
    """Return a reply as the object that a script gets."""
    provider, _, model = (reply.model or "").partition("/")
    return {
        "text": reply.content,
        "reasoning": reply.reasoning,
        "status": reply.status,
        "finish_reason": reply.finish_reason,
        "provider": provider,
        "model": model,
        "instead_of": reply.instead_of,
        "usage": asdict(reply.usage) if reply.usage else None,
        "cost": reply.cost,
        "cached": reply.cached,
        "error": reply.error,
        "conversation": conversation_id,
        "message": reply.id,
        "timings": dict(timings),
    }
