"""A conversation that goes on: its state now, and the journal that follows it."""

import errno
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from chatllm_cli.errors import HistoryError, UsageError
from chatllm_cli.models import Conversation, Message, Role
from chatllm_cli.services.attachments.store import AttachmentStore
from chatllm_cli.services.history import files, journal, records
from chatllm_cli.services.history.use import hashes_in_use


class OpenConversation:
    """A conversation that is being continued: its state now, and the journal that follows it.

    What could not be written stays queued and goes with the next write; the conversation itself goes on.
    Nothing in it is overwritten: a message that is given another time stands beside the first, and the head says
    which of them is in use.
    """

    def __init__(
        self,
        conversation: Conversation,
        path: Path | None,
        *,
        is_stored: bool = False,
        attached: AttachmentStore | None = None,
    ) -> None:
        self.conversation = conversation
        self._attached = attached
        self._path = path  # None keeps nothing
        self._unsaved: list[records.Record] = []
        self._underway: Counter[int] = Counter()  # how often each of those is being written, by its identity
        self._marked: dict[str, int] = {}  # by a reply's id: how many of its characters were kept
        self._is_stored = is_stored  # whether there is a file, be it without messages

    @property
    def is_kept(self) -> bool:
        """Whether all of it is on the disk, or on its way there for somebody else who waits for it."""
        waiting = any(not self._underway[id(record)] for record in self._unsaved)
        return self._path is not None and bool(self.conversation.messages) and not waiting

    @property
    def _has_begun(self) -> bool:
        return self._is_stored or bool(self.conversation.messages)

    async def add(self, message: Message, *, is_aside: bool = False) -> None:
        """Add `message`, which becomes the head unless it stands aside; it is on the disk when this returns.

        Raises `HistoryError`.
        """
        head = self.conversation.head if is_aside else message.id
        self.conversation = replace(self.conversation, messages=(*self.conversation.messages, message), head=head)
        self._marked.pop(message.id, None)
        self._unsaved.append(records.message_record(message, is_aside=is_aside))
        await self._write_unsaved()

    async def mark(self, reply: Message, text: str, *, is_aside: bool = False) -> None:
        """Keep what has come of `reply` since the last mark, against a kill. Raises `HistoryError`."""
        if not self.conversation.messages:
            return
        if self._unsaved:
            await self._write_unsaved()
        marked = self._marked.get(reply.id, 0)
        record = records.partial_record(reply, text, marked, is_aside=is_aside)
        await self._write(records.encode(record), durable=False)
        self._marked[reply.id] = marked + len(text)

    async def save(self) -> None:
        """Write what could not be written before. Raises `HistoryError`."""
        if self._unsaved and self._has_begun:
            await self._write_unsaved()

    def set_system_prompt(self, system_prompt: str) -> None:
        """Replace the system prompt from here on; it is kept along with the next message."""
        self.conversation = replace(self.conversation, system_prompt=system_prompt)
        self._unsaved.append(records.system_prompt_record(self.conversation, datetime.now(UTC)))

    async def set_title(self, title: str) -> None:
        """Give the conversation another title. Raises `HistoryError`."""
        self.conversation = replace(self.conversation, title=title)
        await self._note(records.title_record(self.conversation.id, title, datetime.now(UTC)))

    async def set_tags(self, tags: Sequence[str]) -> None:
        """Give the conversation these tags and no others. Raises `HistoryError`."""
        self.conversation = replace(self.conversation, tags=tuple(tags))
        await self._note(records.tags_record(self.conversation.id, tags, datetime.now(UTC)))

    async def move_head(self, message_id: str | None) -> None:
        """Go on below another message, or from the beginning. Raises `HistoryError`, and `UsageError` without one."""
        if message_id is not None and self.conversation.find(message_id) is None:
            raise UsageError(f"there is no message '{message_id}' in this conversation")
        self.conversation = replace(self.conversation, head=message_id)
        await self._note(records.head_record(self.conversation.id, message_id, datetime.now(UTC)))

    async def undo(self) -> None:
        """Go back to before the last turn, which stays on a branch of its own. Raises `UsageError` without one."""
        prompts = [message for message in self.conversation.thread() if message.role is Role.USER]
        if not prompts:
            raise UsageError("there is no turn to take back")
        await self.back_before(prompts[-1])

    async def back_before(self, message: Message) -> None:
        """Go back to before a message of the thread: not to its own parent, which may be lost."""
        thread = self.conversation.thread()
        place = thread.index(message)
        await self.move_head(thread[place - 1].id if place else None)

    async def back_to_prompt(self) -> Message:
        """Go back to the last prompt, to have it answered another time, and return it. Raises `UsageError`."""
        prompts = [message for message in self.conversation.thread() if message.role is Role.USER]
        if not prompts:
            raise UsageError("there is no prompt to answer again")
        await self.move_head(prompts[-1].id)
        return prompts[-1]

    async def _note(self, record: records.Record) -> None:
        self._unsaved.append(record)
        if self._has_begun:  # else it is kept along with the first message
            await self._write_unsaved()

    async def _write_unsaved(self) -> None:
        waiting = [record for record in self._unsaved if not self._underway[id(record)]]
        unsaved = tuple(waiting or self._unsaved)  # more may come while these are written
        written, identities = threading.Event(), Counter(map(id, unsaved))
        self._underway += identities
        try:
            await self._write(records.encode(*unsaved), durable=True, written=written)
        finally:  # cancelled or not: what is on the disk need not go there again
            if written.is_set() or self._path is None:  # others may have written some of these meanwhile
                self._unsaved = [record for record in self._unsaved if id(record) not in identities]
            self._underway -= identities

    def _beginning(self) -> bytes:
        """Return what a file needs that is not there: yet, or any more since somebody removed it."""
        if self._path and files.was_removed(self._path):
            raise FileNotFoundError(errno.ENOENT, "it was removed meanwhile", str(self._path))
        conversation = self.conversation
        unsaved = {record["id"] for record in self._unsaved}
        saved = tuple(message for message in conversation.messages if message.id not in unsaved)
        to_be_head = {record["id"] for record in self._unsaved if not record.get("aside")}
        first_unsaved = next((message for message in conversation.messages if message.id in to_be_head), None)
        head = first_unsaved.parent if first_unsaved else conversation.head
        return records.journal_of(replace(conversation, messages=saved, head=head), datetime.now(UTC))

    async def _write(self, lines: bytes, *, durable: bool, written: threading.Event | None = None) -> None:
        if self._path is None:
            return
        hashes = records.hashes_in(lines) if self._attached else ()
        in_use = partial(hashes_in_use, self._path.parents[2])
        during = self._attached.keeping(hashes, in_use) if self._attached and hashes else None
        try:
            await journal.append(
                self._path, lines, durable=durable, beginning=self._beginning, written=written, during=during
            )
        except OSError as error:
            raise HistoryError(
                f"the conversation could not be saved to {self._path}: {error.strerror or error}",
                hint="make room or check the folder; --no-history goes without",
            ) from error
