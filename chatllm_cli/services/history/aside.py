"""A reply that stands beside others: below a prompt of an open conversation, whose head stays where it is."""

from dataclasses import replace

from chatllm_cli.models import Conversation, Message
from chatllm_cli.services.history.open_conversation import OpenConversation


class Aside:
    """A log for one more reply to a prompt.

    Several may take replies to one conversation at the same time: each knows its own branch, and the journal all.
    """

    def __init__(self, log: OpenConversation, prompt: str, said: Conversation | None = None) -> None:
        """Open a log below the prompt with this id; `said` is what is sent of it, if that is not as it is stored."""
        self._log = log
        self._conversation = replace(said or log.conversation, head=prompt)

    @property
    def conversation(self) -> Conversation:
        """The conversation down to the prompt, and to the reply once there is one."""
        return self._conversation

    @property
    def is_kept(self) -> bool:
        """Whether all of it is on the disk."""
        return self._log.is_kept

    async def add(self, message: Message) -> None:
        """Add a message under the prompt; it is on the disk when this returns. Raises `HistoryError`."""
        messages = (*self._conversation.messages, message)
        self._conversation = replace(self._conversation, messages=messages, head=message.id)
        await self._log.add(message, is_aside=True)

    async def mark(self, reply: Message, text: str) -> None:
        """Keep what has come of `reply` since the last mark, against a kill. Raises `HistoryError`."""
        await self._log.mark(reply, text, is_aside=True)
