"""HistoryService: every conversation, kept as one append-only file."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from chatllm_cli.errors import ConversationNotFoundError, HistoryError
from chatllm_cli.models import Conversation, Message
from chatllm_cli.services.history import journal, records

# Crockford's base32 without look-alikes. 16 characters are 80 bits, and unlike a time-ordered id's, the first
# four tell one conversation from another.
ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
ID_LENGTH = 16
SHORTEST_PREFIX = 4
MOST_DIGITS = 10  # of an @N: no more conversations than that
LIST_HINT = "`chatllm history list` shows what there is"


def new_id() -> str:
    """Return a new id for a conversation or a message."""
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))


class OpenConversation:
    """A conversation that is being continued: its state now, and the journal that follows it.

    What could not be written stays queued and goes with the next write; the conversation itself goes on.
    """

    def __init__(self, conversation: Conversation, path: Path | None) -> None:
        self.conversation = conversation
        self._path = path  # None keeps nothing
        self._unsaved: list[records.Record] = []

    @property
    def is_kept(self) -> bool:
        """Whether all of it is on the disk."""
        return self._path is not None and bool(self.conversation.messages) and not self._unsaved

    async def add(self, message: Message) -> None:
        """Add `message` under the head; it is on the disk when this returns. Raises `HistoryError`."""
        self.conversation = replace(
            self.conversation, messages=(*self.conversation.messages, message), head=message.id
        )
        self._unsaved.append(records.message_record(message))
        await self._write_unsaved()

    async def mark(self, reply: Message, text: str) -> None:
        """Keep what has come of `reply` since the last mark, against a kill. Raises `HistoryError`."""
        if not self.conversation.messages:
            return
        if self._unsaved:
            await self._write_unsaved()
        await self._write(records.encode(records.partial_record(reply, text)), durable=False)

    async def save(self) -> None:
        """Write what could not be written before. Raises `HistoryError`."""
        if self._unsaved and self.conversation.messages:
            await self._write_unsaved()

    def set_system_prompt(self, system_prompt: str) -> None:
        """Replace the system prompt from here on; it is kept along with the next message."""
        self.conversation = replace(self.conversation, system_prompt=system_prompt)
        self._unsaved.append(records.system_prompt_record(self.conversation, datetime.now(UTC)))

    async def _write_unsaved(self) -> None:
        unsaved = tuple(self._unsaved)  # more may come while these are written
        await self._write(records.encode(*unsaved), durable=True)
        del self._unsaved[: len(unsaved)]

    def _beginning(self) -> bytes:
        """Return what a file needs that is not there: yet, or any more since somebody removed it."""
        unsaved = {record["id"] for record in self._unsaved}
        saved = [message for message in self.conversation.messages if message.id not in unsaved]
        return records.encode(records.conversation_record(self.conversation), *map(records.message_record, saved))

    async def _write(self, lines: bytes, *, durable: bool) -> None:
        if self._path is None:
            return
        try:
            await journal.append(self._path, lines, durable=durable, beginning=self._beginning)
        except OSError as error:
            raise HistoryError(
                f"the conversation could not be saved to {self._path}: {error.strerror or error}",
                hint="make room or check the folder; --no-history goes without",
            ) from error


@dataclass(frozen=True, slots=True)
class Listing:
    """Conversations, and what is wrong with those that could not be read."""

    conversations: tuple[Conversation, ...]
    faults: tuple[HistoryError, ...]


class HistoryService:
    """Stores conversations under one folder, and finds them again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self, prompt: str, *, model: str, system_prompt: str = "", keep: bool = True) -> OpenConversation:
        """Begin a conversation titled after `prompt`; nothing is written before its first message."""
        now = datetime.now(UTC)
        conversation = Conversation(
            new_id(), records.title_of(prompt), created_at=now, model=model, system_prompt=system_prompt
        )
        return OpenConversation(conversation, self._path_of(conversation) if keep else None)

    async def resume(
        self, conversation: Conversation, *, system_prompt: str | None = None, keep: bool = True
    ) -> OpenConversation:
        """Take up a stored conversation at its head, in the file it lies in now."""
        paths = (path for path in await self._paths() if path.stem == conversation.id)
        opened = OpenConversation(conversation, next(paths, self._path_of(conversation)) if keep else None)
        if system_prompt is not None and system_prompt != conversation.system_prompt:
            opened.set_system_prompt(system_prompt)
        return opened

    async def list(self, limit: int | None = None) -> Listing:
        """Return the conversations, last used first."""
        found: list[Conversation] = []
        faults: list[HistoryError] = []
        for path in await self._paths():
            if len(found) == limit:
                break
            try:
                conversation = await self._load(path)
            except HistoryError as fault:
                faults.append(fault)
            else:
                found += [conversation] if conversation.messages else []
        return Listing(tuple(found), tuple(faults))

    async def last(self) -> Conversation:
        """Return the conversation that was used last.

        Raises `HistoryError` if it cannot be read: to go on with another one would be worse.
        """
        listing = await self.list(1)
        if listing.faults:
            raise listing.faults[0]
        return listing.conversations[0] if listing.conversations else await self._load_nth("@1")

    async def load(self, address: str) -> Conversation:
        """Return the conversation at `address`: @1 for the last used, an id's first characters, or a title.

        Raises `ConversationNotFoundError`, which names the candidates if there are several, and
        `HistoryError` if the file cannot be read.
        """
        if address.startswith("@"):
            return await self._load_nth(address)
        found = await self._load_by_prefix(address.lower())
        if not found:
            found = [each for each in (await self.list()).conversations if each.title == address]
        if len(found) == 1:
            return found[0]
        if found:
            candidates = ", ".join(f"{each.id} ({each.title})" for each in found[:5])
            raise ConversationNotFoundError(
                f"{len(found)} conversations answer to '{address}'", hint=f"one of: {candidates}"
            )
        raise ConversationNotFoundError(f"there is no conversation '{address}'", hint=LIST_HINT)

    async def _load_nth(self, address: str) -> Conversation:
        number = address.removeprefix("@")
        wanted = int(number) if number.isascii() and number.isdecimal() and len(number) < MOST_DIGITS else 0
        conversations = (await self.list(wanted)).conversations
        if wanted and len(conversations) >= wanted:
            return conversations[wanted - 1]
        if (await self.list(1)).conversations:
            raise ConversationNotFoundError(f"there is no conversation '{address}'", hint=LIST_HINT)
        raise ConversationNotFoundError("there is no conversation yet", hint='`chatllm ask "…"` begins one')

    async def _load_by_prefix(self, prefix: str) -> Sequence[Conversation]:
        if len(prefix) < SHORTEST_PREFIX:
            return []
        return [await self._load(path) for path in await self._paths() if path.stem.startswith(prefix)]

    async def _paths(self) -> Sequence[Path]:
        try:
            return await journal.newest_first(self._folder)
        except OSError as error:
            raise HistoryError(f"the history in {self._folder} cannot be read: {error.strerror}") from error

    async def _load(self, path: Path) -> Conversation:
        try:
            return records.decode(await journal.read(path), path.stem)
        except OSError as error:
            raise HistoryError(f"the conversation in {path} cannot be read: {error.strerror}") from error

    def _path_of(self, conversation: Conversation) -> Path:
        month = conversation.created_at.astimezone(UTC)
        return self._folder / f"{month:%Y}" / f"{month:%m}" / f"{conversation.id}.jsonl"
