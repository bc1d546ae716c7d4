"""HistoryService: every conversation, kept as one append-only file, and found again."""

import asyncio
import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from chatllm_cli.errors import ConversationNotFoundError, HistoryError, UsageError
from chatllm_cli.frozen import frozen
from chatllm_cli.ids import new_id
from chatllm_cli.models import Conversation, Filter, Hit, Message, Role, Summary, Tally
from chatllm_cli.services.attachments.store import AttachmentStore
from chatllm_cli.services.history import files, journal, records, search
from chatllm_cli.services.history.catch_up import Progress
from chatllm_cli.services.history.index import Index
from chatllm_cli.services.history.open_conversation import OpenConversation
from chatllm_cli.services.history.upkeep import Upkeep
from chatllm_cli.surrogates import without_halves

if TYPE_CHECKING:
    from chatllm_cli.services.history.intake import Intake

MOST_DIGITS = 10  # of an @N: no more conversations than that
FORK = " (fork)"  # behind the title of a copy
LIST_HINT = "`chatllm history list` shows what there is"
MOST_NEAR, SHORTEST_NEAR = 5, 3
Answer = TypeVar("Answer")


@frozen
class Selection:
    """Where conversations lie, and what is wrong with those that could not be read."""

    places: tuple[Path, ...]
    faults: tuple[HistoryError, ...]


@frozen
class Listing:
    """Conversations, and what is wrong with those that could not be read."""

    conversations: tuple[Summary, ...]
    faults: tuple[HistoryError, ...]
    copies: int = 0  # how many of all are what sync tools left beside a conversation


class HistoryService:
    """Stores conversations under one folder, and finds them again by an index that can be built anew."""

    def __init__(
        self,
        folder: Path,
        index: Path | None = None,
        progress: Progress | None = None,
        attached: AttachmentStore | None = None,
    ) -> None:
        self._folder = folder
        self._index = Index(index, folder)
        self._progress = progress
        self._attached = attached
        self.upkeep = Upkeep(folder, self._index, attached)

    def start(self, prompt: str, *, model: str, system_prompt: str = "", keep: bool = True) -> OpenConversation:
        """Begin a conversation titled after `prompt`; nothing is written before its first message."""
        now = datetime.now(UTC)
        conversation = Conversation(
            new_id(), records.title_of(prompt), created_at=now, model=model, system_prompt=system_prompt
        )
        return OpenConversation(conversation, self._new_path(conversation) if keep else None, attached=self._attached)

    async def resume(
        self, conversation: Conversation, *, system_prompt: str | None = None, keep: bool = True
    ) -> OpenConversation:
        """Take up a stored conversation at its head, in the file it lies in now."""
        path = await self._ask(lambda db: self._path(db, conversation.id)) if keep else None
        place = (path or self._new_path(conversation)) if keep else None
        opened = OpenConversation(conversation, place, is_stored=path is not None, attached=self._attached)
        if system_prompt is not None and system_prompt != conversation.system_prompt:
            opened.set_system_prompt(system_prompt)
        return opened

    async def list(self, wanted: Filter | None = None, *, limit: int | None = None, sort: str = "used") -> Listing:
        """Return the conversations that are wanted, last used first or in another order of `search.SORTS`."""

        def work(db: sqlite3.Connection) -> tuple[list[Summary], list[str], int]:
            found = search.list_conversations(db, wanted or Filter(), limit=limit, sort=sort)
            return found, search.faulty(db), search.copies(db)

        found, faulty, copies = await self._ask(work)
        faults = [await self._fault(conversation_id) for conversation_id in faulty]
        return Listing(tuple(found), tuple(faults), copies)

    async def select(self, wanted: Filter, query: search.Query | None = None) -> Selection:
        """Return where the conversations lie that are wanted, last used first: all that `list` or `search` has."""

        def work(db: sqlite3.Connection) -> tuple[list[tuple[str, str]], list[str]]:
            found = search.places(db, wanted) if query is None else search.places_found(db, query, wanted)
            return found, search.faulty(db)

        found, faulty = await self._ask(work)
        places = (files.journal_at(self._folder, folder, conversation_id) for conversation_id, folder in found)
        return Selection(tuple(places), tuple([await self._fault(conversation_id) for conversation_id in faulty]))

    async def search(self, query: search.Query, wanted: Filter | None = None, *, limit: int = 20) -> Sequence[Hit]:
        """Return the messages that match, the best first. Raises `UsageError` for a query that cannot be one."""
        return await self._ask(lambda db: search.search(db, query, wanted or Filter(), limit))

    async def tallies(self, by: str, wanted: Filter | None = None) -> Sequence[Tally]:
        """Return how much was said, by model, provider, day or month."""
        return await self._ask(lambda db: search.tallies(db, by, wanted or Filter()))

    async def spend(self, since: datetime) -> tuple[float, int]:
        """Return what answers have cost since then, in US dollars, and how many of them cost nobody knows what."""
        return await self._ask(lambda db: search.spent(db, since))

    async def find(self, address: str) -> Path:
        """Return the journal of the conversation at `address`. Raises as `load` does."""
        return await self._ask(lambda db: self._find(db, address))

    async def last(self) -> Conversation:
        """Return the conversation that was used last.

        Raises `HistoryError` if it cannot be read: to go on with another one would be worse.
        """
        return await self.read(await self._ask(self._last))

    async def load(self, address: str) -> Conversation:
        """Return the conversation at `address`: @1 for the last used, an id's first characters, or a title.

        Raises `ConversationNotFoundError`, which names the candidates if there are several, and
        `HistoryError` if the file cannot be read.
        """
        return await self.read(await self._ask(lambda db: self._find(db, address)))

    async def read(self, path: Path) -> Conversation:
        """Return the conversation in a journal. Raises `HistoryError` if it cannot be read."""
        try:
            return records.decode(await journal.read(path), path.stem)
        except OSError as error:
            raise HistoryError(f"the conversation in {path} cannot be read: {error.strerror}") from error

    async def prompts(self, ids: Sequence[str]) -> set[str]:
        """Return the prompts of these conversations, and the titles made of them, as far as they can be read."""
        found: set[str] = set()
        for each in ids:
            with suppress(HistoryError, ConversationNotFoundError):
                conversation = await self.load(each)
                prompts = (message for message in conversation.messages if message.role is Role.USER)
                found |= {conversation.title, *(prompt.content.strip() for prompt in prompts)}
        return found

    async def open(self, address: str) -> OpenConversation:
        """Take up the conversation at `address`. Raises as `load` does."""
        return await self.resume(await self.load(address))

    async def fork(self, address: str, message_id: str | None = None) -> Conversation:
        """Copy a conversation, down to its head or to one message, into one of its own. Raises as `load` does."""
        origin = await self.load(address)
        end = origin.head if message_id is None else getattr(origin.find(message_id), "id", None)
        if message_id is not None and end is None:
            raise ConversationNotFoundError(f"there is no message '{message_id}' in conversation {origin.id}")
        if end is None:
            raise UsageError("there is nothing to copy: the conversation stands at its beginning")
        forked = OpenConversation(
            replace(
                origin,
                id=new_id(),
                title=f"{origin.title}{FORK}".lstrip(),
                created_at=datetime.now(UTC),
                messages=(),
                head=None,
                imported_at=None,
            ),
            None,
        )
        path = self._new_path(forked.conversation)
        forked = OpenConversation(forked.conversation, path, attached=self._attached)
        for message in _copied(replace(origin, head=end).thread()):
            await forked.add(message)
        return forked.conversation

    def intake(self, *, dry_run: bool = False, restore: bool = False) -> "Intake":
        """Return what takes in conversations from elsewhere; see there."""
        from chatllm_cli.services.history.intake import Intake  # noqa: PLC0415  (2 ms, of every list)

        return Intake(self._folder, self._attached, dry_run=dry_run, restore=restore)

    async def _ask(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        return await asyncio.to_thread(self._index.ask, work, self._progress)

    def _last(self, db: sqlite3.Connection) -> Path:
        newest = search.newest(db)
        return self._known_path(db, newest) if newest else self._nth(db, "@1")

    def _find(self, db: sqlite3.Connection, address: str) -> Path:
        address = without_halves(address)  # as an argument that is not UTF-8 has them
        if re.fullmatch(r"@[0-9]+", address):
            return self._nth(db, address)
        found = [address] if self._path(db, address) else []
        if not found and len(address) >= search.SHORTEST_ADDRESS:
            found = search.ids_beginning(db, address) or search.ids_beginning(db, address.lower())
        found = files.without_copies(found or search.ids_titled(db, address))
        if len(found) == 1:
            return self._known_path(db, found[0])
        if found:
            raise ConversationNotFoundError(
                f"{len(found)} conversations answer to '{address}'", hint=f"one of: {_described(db, found)}"
            )
        if not search.count_conversations(db):
            raise _none_yet()
        near = _near(db, address)
        raise ConversationNotFoundError(
            f"there is no conversation '{address}'",
            hint=f"near it are: {_described(db, near)}" if near else _advice(address),
        )

    def _nth(self, db: sqlite3.Connection, address: str) -> Path:
        number = int(address.removeprefix("@")[:MOST_DIGITS])
        found = search.list_conversations(db, Filter(), limit=1, offset=number - 1) if number else []
        if found:
            return self._known_path(db, found[0].id)
        if count := search.count_conversations(db):
            raise ConversationNotFoundError(
                f"there is no conversation '{address}'", hint=f"the last used is @1, the oldest @{count}"
            )
        raise _none_yet()

    def _path(self, db: sqlite3.Connection, conversation_id: str) -> Path | None:
        row = db.execute("SELECT folder FROM conversations WHERE id = ?", [conversation_id]).fetchone()
        return files.journal_at(self._folder, row[0], conversation_id) if row else None

    def _known_path(self, db: sqlite3.Connection, conversation_id: str) -> Path:
        path = self._path(db, conversation_id)
        if path is None:
            raise ConversationNotFoundError(f"there is no conversation '{conversation_id}'", hint=LIST_HINT)
        return path

    async def _fault(self, conversation_id: str) -> HistoryError:
        try:
            await self.read(await self._ask(lambda db: self._known_path(db, conversation_id)))
        except HistoryError as fault:
            return fault
        return HistoryError(
            f"nothing in conversation {conversation_id} can be read",
            hint="`chatllm history check` says where it lies",
        )

    def _new_path(self, conversation: Conversation) -> Path:
        return files.new_journal(self._folder, conversation.id, conversation.created_at)


def _none_yet() -> ConversationNotFoundError:
    return ConversationNotFoundError("there is no conversation yet", hint='`chatllm ask "…"` begins one')


def _copied(thread: Sequence[Message]) -> Sequence[Message]:
    """Return the messages of a thread with ids of their own, each below the one before."""
    copies: list[Message] = []
    for message in thread:
        parent = copies[-1].id if copies else None
        cost = 0.0 if message.role is Role.ASSISTANT else None  # it was paid once
        copies.append(replace(message, id=new_id(), parent=parent, continues=None, cost=cost))
    return copies


def _near(db: sqlite3.Connection, address: str) -> list[str]:
    """Return the ids of conversations whose title holds the words of an address, or looks like it."""
    if len(address) < SHORTEST_NEAR:
        return []
    rows = db.execute(
        "SELECT id FROM conversations WHERE messages > 0 AND instr(fold(title), fold(?)) "
        "ORDER BY updated_at DESC LIMIT ?",
        [address, MOST_NEAR],
    ).fetchall()
    if rows:
        return [row[0] for row in rows]
    recent = {each.title: each.id for each in search.list_conversations(db, Filter(), limit=200)}
    return [recent[title] for title in get_close_matches(address, recent, n=MOST_NEAR)]


def _advice(address: str) -> str:
    if address.isdecimal():
        return f"perhaps @{address}; {LIST_HINT}"
    if 0 < len(address) < search.SHORTEST_ADDRESS and address.isalnum():
        return f"of an id at least {search.SHORTEST_ADDRESS} characters are needed; {LIST_HINT}"
    return LIST_HINT


def _described(db: sqlite3.Connection, ids: Sequence[str]) -> str:
    found = [search.summary(db, each) for each in ids[:MOST_NEAR]]
    return "; ".join(
        f"{each.address} ({each.title}, {each.updated_at.astimezone():%Y-%m-%d %H:%M}, messages: {each.messages})"
        for each in found
    )
