"""Conversations on their way out: found, loaded one by one, and without the secrets in them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

from chatllm_cli.errors import HistoryError
from chatllm_cli.frozen import frozen
from chatllm_cli.models import Attachment, Conversation, Filter, Message
from chatllm_cli.services.history import HistoryService, Query
from chatllm_cli.services.history.records import CUT, first_prompt, title_of
from chatllm_cli.services.history.service import FORK, Selection
from chatllm_cli.services.redaction import Replacer


@frozen
class Exported:
    """A conversation as it may leave, the bytes of what is attached, and how many secrets of each kind were in it."""

    conversation: Conversation
    files: Mapping[str, bytes] = field(default_factory=dict)
    secrets: Mapping[str, int] = field(default_factory=dict)


class Exporter:
    """Hands out conversations of a history.

    `load_file` returns the bytes with a SHA-256, or None; `keys` the user's own keys, which are asked for only where
    secrets are to be replaced.
    """

    def __init__(
        self,
        history: HistoryService,
        load_file: Callable[[str], bytes | None],
        keys: Callable[[], frozenset[str]],
    ) -> None:
        self._history = history
        self._load_file = load_file
        self._keys = keys

    async def select(self, addresses: Sequence[str], wanted: Filter, query: Query | None = None) -> Selection:
        """Return where the conversations lie: those at `addresses`, each once, else those that are `wanted`.

        Raises `ConversationNotFoundError` for an address, and `UsageError` for a query that cannot be one.
        """
        if not addresses:
            return await self._history.select(wanted, query)
        found = dict.fromkeys([await self._history.find(address) for address in addresses])
        return Selection(tuple(found), ())

    async def exported(
        self, places: Sequence[Path], *, redacts: bool = True, with_files: bool = True
    ) -> AsyncIterator[Exported | HistoryError]:
        """Yield what lies at each place, or why it cannot be read; no more than one is in memory."""
        for place in places:
            try:
                conversation = await self._history.read(place)
            except HistoryError as error:
                yield error
            else:
                yield await asyncio.to_thread(self.prepared, conversation, redacts=redacts, with_files=with_files)

    def prepared(self, conversation: Conversation, *, redacts: bool = True, with_files: bool = True) -> Exported:
        """Return a conversation as it may leave. Blocking."""
        files = self._files(conversation) if with_files else {}
        if not redacts:
            return Exported(conversation, files)
        replacer = Replacer(self._keys())
        return Exported(_without_secrets(conversation, replacer), files, replacer.replaced)

    def _files(self, conversation: Conversation) -> dict[str, bytes]:
        wanted = {each.sha256 for message in conversation.messages for each in message.attachments if each.sha256}
        found = {sha256: self._load_file(sha256) for sha256 in wanted}
        return {sha256: data for sha256, data in found.items() if data is not None}


def _without_secrets(conversation: Conversation, replacer: Replacer) -> Conversation:
    messages = tuple(_message_without(message, replacer) for message in conversation.messages)
    without = replace(
        conversation,
        model=replacer.without_secrets(conversation.model),
        system_prompt=replacer.without_secrets(conversation.system_prompt),
        messages=messages,
        tags=tuple(map(replacer.without_secrets, conversation.tags)),
    )
    return replace(without, title=_title_without(conversation, messages, replacer))


def _title_without(conversation: Conversation, messages: Sequence[Message], replacer: Replacer) -> str:
    """Return the title without secrets: cut out of the prompt, it may have half of one, which has no known shape."""
    own = conversation.title.removesuffix(FORK)
    if own and own == title_of(first_prompt(conversation.messages)):
        return title_of(first_prompt(messages)) + conversation.title[len(own) :]
    title = replacer.without_secrets(own)
    if title.endswith(CUT):
        title = replacer.without_begun(title.removesuffix(CUT)) + CUT
    return title + conversation.title[len(own) :]


def _message_without(message: Message, replacer: Replacer) -> Message:
    without = replacer.without_secrets
    return replace(
        message,
        content=without(message.content),
        reasoning=without(message.reasoning),
        model=message.model and without(message.model),  # somebody may have given a key as its name
        instead_of=message.instead_of and without(message.instead_of),
        finish_reason=message.finish_reason and without(message.finish_reason),
        error=message.error and without(message.error),
        attachments=tuple(_attachment_without(each, replacer) for each in message.attachments),
    )


def _attachment_without(attachment: Attachment, replacer: Replacer) -> Attachment:
    without = replacer.without_secrets
    return replace(
        attachment,
        name=without(attachment.name),
        media_type=without(attachment.media_type),
        text=without(attachment.text),
    )
