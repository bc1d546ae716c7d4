"""Bringing the index up to date with the journals: only what has changed since is read again."""

import json
import sqlite3
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from chatllm_cli.errors import HistoryError
from chatllm_cli.models import Conversation, Message, Role
from chatllm_cli.services.history import files, records
from chatllm_cli.surrogates import without_halves

if TYPE_CHECKING:
    from os import DirEntry

NOTHING_READABLE = "nothing in it can be read"
TITLE = "title"  # who says a title, to the index
BATCH = 500  # files between two commits: others may have their turn
UNSETTLED = 2_000_000_000  # nanoseconds: the clocks of file systems are coarse, and a time just now may come again
Progress = Callable[[int, int], None]  # files done, files in all
File = tuple[str, "DirEntry[str]"]  # the folder it lies in, and itself
Known = dict[tuple[str, str, float | None], int]  # messages by id, content and cost

NEW_CONVERSATION = """
INSERT INTO conversations
    (id, folder, size, mtime_ns, title, model, created_at, updated_at, messages,
     input_tokens, output_tokens, cost, unpriced, tags, unused, fault)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    folder = excluded.folder, size = excluded.size, mtime_ns = excluded.mtime_ns, title = excluded.title,
    model = excluded.model, created_at = excluded.created_at, updated_at = excluded.updated_at,
    messages = excluded.messages, input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
    cost = excluded.cost, unpriced = excluded.unpriced, tags = excluded.tags,
    unused = excluded.unused, fault = excluded.fault
RETURNING number
"""
NEW_MESSAGE = """
INSERT INTO messages (conversation, id, role, model, at, input_tokens, output_tokens, cost, content)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def fold(text: str) -> str:
    """Return `text` as it is compared: without case, and with one spelling for what looks the same."""
    return unicodedata.normalize("NFKC", text).casefold()


class CatchUp:
    """Brings an index up to date with the files."""

    def __init__(self, connection: sqlite3.Connection, journals: Path, progress: Progress | None) -> None:
        self._db = connection
        self._journals = journals
        self._progress = progress

    def run(self) -> None:
        """Do it."""
        changed = self._changed_folders()
        if not changed:
            return
        found = [file for folder in changed for file in self._changed_files(folder)]
        # Those used last get the highest numbers: a search looks at these first.
        self._read_all(sorted(found, key=lambda file: file[1].stat().st_mtime_ns))
        with _transaction(self._db):
            for folder, mtime_ns in changed.items():
                # Looked for now: another process may have read a file a moment before it was removed.
                for conversation_id in self._gone(folder):
                    self._forget(conversation_id)
                self._remember_folder(folder, mtime_ns)

    def _changed_folders(self) -> dict[str, int | None]:
        """Return the folders whose time is not the known one, with their time now; None for one that is gone."""
        known = dict(self._db.execute("SELECT path, mtime_ns FROM folders"))
        found = dict(self._folders())
        changed: dict[str, int | None] = {path: time for path, time in found.items() if known.get(path) != time}
        return changed | dict.fromkeys(known.keys() - found.keys())

    def _folders(self) -> Iterator[tuple[str, int]]:
        for place, month in files.month_folders(self._journals):
            with suppress(FileNotFoundError):
                yield place, month.stat().st_mtime_ns

    def _changed_files(self, folder: str) -> list[File]:
        rows = self._db.execute("SELECT id, size, mtime_ns FROM conversations WHERE folder = ?", [folder])
        known = {id_: (size, mtime_ns) for id_, size, mtime_ns in rows}
        changed = []
        for entry in files.journals_in(self._journals / folder):
            try:
                status = entry.stat()
            except FileNotFoundError:  # taken away since its folder was looked at
                continue
            if known.get(Path(entry.name).stem) != (status.st_size, status.st_mtime_ns):
                changed.append((folder, entry))
        return changed

    def _gone(self, folder: str) -> list[str]:
        """Return the conversations that are known to lie there, and do not."""
        known = {row[0] for row in self._db.execute("SELECT id FROM conversations WHERE folder = ?", [folder])}
        return sorted(known - {Path(entry.name).stem for entry in files.journals_in(self._journals / folder)})

    def _remember_folder(self, folder: str, mtime_ns: int | None) -> None:
        if mtime_ns is None:
            self._db.execute("DELETE FROM folders WHERE path = ?", [folder])
        else:
            self._db.execute("REPLACE INTO folders VALUES (?, ?)", [folder, _settled(mtime_ns)])

    def _read_all(self, changed: Sequence[File]) -> None:
        for begin in range(0, len(changed), BATCH):
            with _transaction(self._db):
                for done, (folder, entry) in enumerate(changed[begin : begin + BATCH], start=begin + 1):
                    self._read(folder, entry)
                    if self._progress:
                        self._progress(done, len(changed))

    def _read(self, folder: str, entry: "DirEntry[str]") -> None:
        """Store what the file holds now."""
        path = Path(entry.path)
        try:
            status = path.stat()  # before it is read: what comes after that is another change
            conversation, fault = _decode(path)
        except FileNotFoundError:  # taken away since
            return
        if fault:  # where a list shows it, among those that were used then
            conversation = replace(conversation, created_at=datetime.fromtimestamp(status.st_mtime, UTC))
        number = self._store(conversation, (folder, status.st_size, _settled(status.st_mtime_ns)), fault)
        known = self._known_messages(number)
        for role, message in _texts(conversation):
            content = without_halves(_searched(message))  # SQLite cannot hold halves
            # One without text may have cost something, or nobody knows what.
            if (content or message.cost or message.is_unpriced) and known.pop(
                (message.id, content, message.cost), None
            ) is None:
                self._add_message(number, role, replace(message, content=content))
        for stale in known.values():
            self._remove_message(stale)

    def _store(self, conversation: Conversation, place: tuple[str, int, int], fault: str | None) -> int:
        """Store what lists show of a conversation, and return its number."""
        usages = [message.usage for message in conversation.messages if message.usage]
        values = (
            conversation.id,
            *place,
            without_halves(conversation.title),
            without_halves(conversation.last_model),
            conversation.created_at.timestamp(),
            conversation.updated_at.timestamp(),
            len(conversation.messages),
            sum(usage.input_tokens for usage in usages),
            sum(usage.output_tokens for usage in usages),
            conversation.cost,
            conversation.unpriced,
            json.dumps(conversation.tags),
            # Came from elsewhere, and nothing was said in it here.
            bool(conversation.imported_at and conversation.updated_at <= conversation.imported_at),
            fault,
        )
        return int(self._db.execute(NEW_CONVERSATION, values).fetchone()[0])

    def _known_messages(self, number: int) -> Known:
        rows = self._db.execute("SELECT id, content, cost, number FROM messages WHERE conversation = ?", [number])
        return {(row[0], row[1], row[2]): row[3] for row in rows}

    def _add_message(self, conversation: int, role: str, message: Message) -> None:
        usage = message.usage
        tokens = (usage.input_tokens, usage.output_tokens) if usage else (0, 0)
        described = (message.id, role, without_halves(message.model or ""), message.at.timestamp())
        values = (conversation, *described, *tokens, message.cost, message.content)
        number = self._db.execute(NEW_MESSAGE, values).lastrowid
        folded = fold(message.content)
        self._db.execute("INSERT INTO words (rowid, content) VALUES (?, ?)", [number, folded])
        self._db.execute("INSERT INTO trigrams (rowid, content) VALUES (?, ?)", [number, folded])

    def _remove_message(self, number: int) -> None:
        row = self._db.execute("SELECT fold(content) FROM messages WHERE number = ?", [number]).fetchone()
        for table in ("words", "trigrams"):
            self._db.execute(
                f"INSERT INTO {table} ({table}, rowid, content) VALUES ('delete', ?, ?)",  # noqa: S608
                [number, row[0]],
            )
        self._db.execute("DELETE FROM messages WHERE number = ?", [number])

    def _forget(self, conversation_id: str) -> None:
        row = self._db.execute("SELECT number FROM conversations WHERE id = ?", [conversation_id]).fetchone()
        number = row[0] if row else -1
        for (message,) in self._db.execute("SELECT number FROM messages WHERE conversation = ?", [number]).fetchall():
            self._remove_message(message)
        self._db.execute("DELETE FROM conversations WHERE number = ?", [number])


def _texts(conversation: Conversation) -> Iterator[tuple[str, Message]]:
    """Yield all that is searched, with who said it: messages, the instruction, and a title that is nobody's words."""
    for message in conversation.messages:
        yield message.role, message
    prompts = (message.topic for message in conversation.messages if message.role is Role.USER)
    begin = Message("", Role.SYSTEM, conversation.system_prompt, conversation.created_at)
    yield Role.SYSTEM, replace(begin, id=Role.SYSTEM)
    if conversation.title != records.title_of(next(prompts, "")):
        yield TITLE, replace(begin, id=TITLE, content=conversation.title)


def _searched(message: Message) -> str:
    """Return all of a message that is searched: what was said, and what was attached to it."""
    attached = [text for each in message.attachments for text in (each.name, each.text)]
    return "\n\n".join(text for text in (message.content, *attached) if text)


def _decode(path: Path) -> tuple[Conversation, str | None]:
    """Return the conversation in a file, or an empty one and what is wrong with it."""
    empty = Conversation(path.stem, "", datetime.fromtimestamp(0, UTC))
    try:
        conversation = records.decode(path.read_bytes(), path.stem)
    except FileNotFoundError:
        raise
    except OSError as error:
        return empty, f"it cannot be read: {error.strerror}"
    except HistoryError as error:
        return empty, error.message
    is_lost = conversation.damaged_lines and not conversation.messages
    return conversation, NOTHING_READABLE if is_lost else None


def _settled(mtime_ns: int) -> int:
    """Return a time to compare with later; one that may come again for another change is none."""
    return mtime_ns if time.time_ns() - mtime_ns > UNSETTLED else 0


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
