"""The index: what lists and searches need of all conversations, in SQLite. Derived from the journals, and disposable.

Writers know nothing of it. Each append touches the folder that its file lies in, so that whoever reads the index
finds out from the times of a few folders (one a month) what has changed since, and reads that again. A file that was
brought in or taken away changes its folder's time by itself.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

from chatllm_cli.errors import HistoryError
from chatllm_cli.private_files import make_private_folder, open_private
from chatllm_cli.services.history.catch_up import CatchUp, Progress, fold

VERSION = 8  # change it when the tables below change: an index of another version is built anew
LONGEST_WAIT = 10.0  # seconds for another process's changes
Answer = TypeVar("Answer")

SCHEMA = """
CREATE TABLE folders (path TEXT PRIMARY KEY, mtime_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE conversations (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    folder TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    title TEXT NOT NULL,
    model TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    messages INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost REAL NOT NULL,
    unpriced INTEGER NOT NULL,
    tags TEXT NOT NULL,
    unused INTEGER NOT NULL,
    fault TEXT
);
CREATE INDEX last_used ON conversations (updated_at DESC, id);
CREATE INDEX by_title ON conversations (title);
CREATE INDEX by_folder ON conversations (folder);
CREATE INDEX with_long_ids ON conversations (id) WHERE length(id) > 16;
CREATE INDEX faulty ON conversations (updated_at DESC, id) WHERE fault IS NOT NULL;
CREATE TABLE messages (
    number INTEGER PRIMARY KEY,
    conversation INTEGER NOT NULL,
    id TEXT NOT NULL,
    role TEXT NOT NULL,
    model TEXT NOT NULL,
    at REAL NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost REAL,
    content TEXT NOT NULL
);
CREATE INDEX of_conversation ON messages (conversation);
CREATE INDEX spent ON messages (at, cost) WHERE cost > 0;
CREATE INDEX unpriced ON messages (at) WHERE cost IS NULL AND role = 'assistant';
CREATE VIEW folded (number, content) AS SELECT number, fold(content) FROM messages;
CREATE VIRTUAL TABLE words USING fts5 (
    content, content='folded', content_rowid='number', tokenize='unicode61 remove_diacritics 2'
);
CREATE VIRTUAL TABLE trigrams USING fts5 (
    content, content='folded', content_rowid='number', tokenize='trigram', detail=none
);
"""


class Index:
    """The index of the journals under one folder. Blocking: the service calls it in a thread."""

    def __init__(self, path: Path | None, journals: Path) -> None:
        self._path = path  # None keeps it in memory
        self._journals = journals

    def ask(self, work: Callable[[sqlite3.Connection], Answer], progress: Progress | None = None) -> Answer:
        """Return what `work` finds in the index, brought up to date. Raises `HistoryError` as `up_to_date` does."""
        try:
            with closing(self.up_to_date(progress)) as connection:
                return work(connection)
        except sqlite3.DatabaseError:  # damage that shows only where it is looked at
            self.remove()
            with closing(self.up_to_date(progress)) as connection:
                return work(connection)

    def purge(self) -> None:
        """Let nothing of removed text be left in it: deleted rows, merged words, and what SQLite wrote ahead.

        Where that cannot be done, on a full disk, the index goes as a whole.
        """
        if self._path is None or not self._path.exists():
            return
        try:
            with closing(self._opened(None)) as connection:
                _purge(connection)
        except (sqlite3.Error, OSError):
            self.remove()

    def up_to_date(self, progress: Progress | None = None) -> sqlite3.Connection:
        """Return a connection to the index, brought up to date. The caller closes it.

        One that is damaged, or of another version, is built anew; where none can be kept it is built in memory.
        Raises `HistoryError` if the journals cannot be read.
        """
        try:
            try:
                return self._opened(progress)
            except sqlite3.OperationalError:  # locked for too long, or a disk that is full or failing
                return self._in_memory(progress)
            except sqlite3.DatabaseError:
                self.remove()
                return self._opened(progress)
        except sqlite3.Error:
            return self._in_memory(progress)
        except OSError as error:
            raise HistoryError(f"the history in {self._journals} cannot be read: {error.strerror}") from error

    def remove(self) -> None:
        """Remove it; the next use builds it anew."""
        for suffix in ("", "-wal", "-shm") if self._path else ():
            with suppress(OSError):
                Path(f"{self._path}{suffix}").unlink()

    def _opened(self, progress: Progress | None) -> sqlite3.Connection:
        if self._path is None or not (self._path.exists() or self._journals.is_dir()):
            return self._in_memory(progress)  # nothing to index, and looking writes no file
        try:
            make_private_folder(self._path.parent)
            os.close(open_private(self._path, os.O_RDWR | os.O_CREAT))  # SQLite would make it 0644
        except OSError:
            return self._in_memory(progress)
        connection = sqlite3.connect(self._path, timeout=LONGEST_WAIT, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")  # what a power cut takes is built again
            return self._prepared(connection, progress)
        except BaseException:
            connection.close()
            raise

    def _in_memory(self, progress: Progress | None) -> sqlite3.Connection:
        return self._prepared(sqlite3.connect(":memory:", isolation_level=None), progress)

    def _prepared(self, connection: sqlite3.Connection, progress: Progress | None) -> sqlite3.Connection:
        connection.create_function("fold", 1, fold, deterministic=True)
        connection.execute("PRAGMA secure_delete=ON")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in {0, VERSION}:
            raise sqlite3.DatabaseError("an index of another version")
        if version == 0:
            _create_tables(connection)
        CatchUp(connection, self._journals, progress).run()
        return connection


def _create_tables(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:  # else another process was faster
        for statement in SCHEMA.split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")


def _purge(connection: sqlite3.Connection) -> None:
    for table in ("words", "trigrams"):
        connection.execute(f"INSERT INTO {table} ({table}) VALUES ('optimize')")  # noqa: S608
    if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        raise sqlite3.OperationalError("somebody reads what was written ahead")
