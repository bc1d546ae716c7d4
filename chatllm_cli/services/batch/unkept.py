"""A conversation of one turn that is not kept: it stands for one in the history while it is asked."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from chatllm_cli.models import Conversation, Message, Role

NOBODY = ""  # the id of no conversation: what the cache has of it is forgotten with none


class Unkept:
    """What a turn needs of a log; what replies cost is told to `spends`."""

    is_kept = True  # what is not meant to be kept is not lost: the cache may have it

    def __init__(self, system_prompt: str, spends: Callable[[Message], object]) -> None:
        self.conversation = Conversation(NOBODY, "", datetime.now(UTC), system_prompt=system_prompt)
        self._spends = spends

    async def add(self, message: Message) -> None:
        """Take the next message."""
        messages = (*self.conversation.messages, message)
        self.conversation = replace(self.conversation, messages=messages, head=message.id)
        if message.role is Role.ASSISTANT:
            self._spends(message)

    async def mark(self, reply: Message, text: str) -> None:
        """Keep nothing: what is not whole is asked again."""
