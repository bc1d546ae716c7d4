"""SQLite databases that nobody vouches for: read only, within bounds, and nothing beside them is written."""

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.reading.source import MOST_BYTES, Source

MAGIC = b"SQLite format 3\0"
LONGEST_WAIT = 5.0  # seconds for a program that is just writing
LONGEST = 64 * 2**20  # bytes of one row
# What SQLite may do for a database, in instructions of its machine: reading an honest one takes less than one a byte.
MOST_STEPS = 2_000_000
STEPS_PER_BYTE = 5
STEPS_AT_ONCE = 1000
LONGEST_MESSAGE = 200  # characters of SQLite's own, which may hold a name out of the file
# In a file's head: how it may be written, and how it may be read. 2 is with a write-ahead log, 1 without.
_MODES, _READ_MODE = slice(18, 20), slice(19, 20)
_WITH_LOG, _WITHOUT_LOG = b"\2", b"\1\1"
# What opening without a right to write fails with where a log or a journal has to be worked in first.
_NEEDS_WRITING = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
# What reading ends in; what is no UTF-8 may even stand in the message of an error.
UNREADABLE = (sqlite3.Error, sqlite3.Warning, UnicodeError, OverflowError)


class Database:
    """The tables of a database, and their rows. What cannot be read raises `FormatError`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.is_exhausted = False  # nothing more can be read: SQLite has done all that it may
        # Of the tables alone: a view, a virtual table and a generated column could have anything run.
        listed = self._run("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
        self._tables = {name for (name,) in listed}
        self._columns: dict[str, frozenset[str]] = {}
        self._selections: dict[tuple[str, tuple[str, ...]], tuple[str, list[str], dict[str, None]]] = {}

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Read all within as it is at one moment: so long, and no longer, another program that writes has to wait."""
        list(self._run("BEGIN"))
        try:
            yield
        finally:
            if self._connection.in_transaction and not self.is_exhausted:
                list(self._run("ROLLBACK"))

    def has(self, table: str, *columns: str) -> bool:
        """Tell whether there is a table with at least these columns."""
        return table in self._tables and self._columns_of(table).issuperset(columns)

    def _columns_of(self, table: str) -> frozenset[str]:
        if table not in self._columns:
            listed = self._run("SELECT name FROM pragma_table_info(?, 'main')", table)
            self._columns[table] = frozenset(name for (name,) in listed)
        return self._columns[table]

    def rows(self, table: str, columns: Sequence[str], end: str = "", *values: object) -> Iterator[dict[str, Any]]:
        """Yield rows of a table, None for a column that is not there; `end` is the SQL behind the table's name."""
        statement, found, missing = self._selection(table, tuple(columns))
        for row in self._run(f"{statement} {end}", *values):
            yield dict(zip(found, row, strict=True)) | missing

    def _selection(self, table: str, columns: tuple[str, ...]) -> tuple[str, list[str], dict[str, None]]:
        """Return the SQL that selects what there is of `columns`, what it selects, and what there is not."""
        if (table, columns) not in self._selections:
            there = [column for column in columns if column in self._columns_of(table)]
            # In quotes, what is no column would be a text: rowid may be none.
            wanted = ", ".join(["rowid", *(f'"{column}"' for column in there)])
            missing = dict.fromkeys(column for column in columns if column not in there)
            statement = f'SELECT {wanted} FROM main."{table}"'  # noqa: S608  (names of our own)
            self._selections[table, columns] = statement, ["rowid", *there], missing
        return self._selections[table, columns]

    def _run(self, statement: str, *values: object) -> Iterator[Any]:
        try:
            for row in self._connection.execute(statement, values):  # noqa: UP028  (`yield from` would close it late)
                yield row
        except UNREADABLE as error:
            self.is_exhausted = self.is_exhausted or _is_interrupt(error)
            raise FormatError(_told(error)) from None


def is_database(source: Source) -> bool:
    """Tell whether a file begins as one of SQLite's does."""
    return source.data[: len(MAGIC)] == MAGIC


@contextmanager
def opened(source: Source) -> Iterator[Database]:
    """Open a database. Raises `FormatError`."""
    if not is_database(source):
        raise FormatError("it is no SQLite database")
    with ExitStack() as stack:
        try:
            connection = _connected(source, stack)
            stack.callback(connection.close)
        except (*UNREADABLE, OSError) as error:
            raise FormatError(_told(error)) from None
        yield Database(connection)


def _is_interrupt(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT


def _told(error: Exception) -> str:
    if _is_interrupt(error):
        return "the database takes too long to read"
    return f"the database cannot be read: {str(error)[:LONGEST_MESSAGE]}"


def _connected(source: Source, stack: ExitStack) -> sqlite3.Connection:
    """Return a connection: to a copy, which `stack` removes, where something would be written beside the file."""
    size = len(source.data)
    if source.path is None:
        return _begun(_in_memory(source), size)
    log, index, _ = companions = [Path(f"{source.path}{end}") for end in ("-wal", "-shm", "-journal")]
    has_log = source.data[_READ_MODE] == _WITH_LOG
    if has_log and _holds(log) and not index.exists():
        return _begun(_of_copy(source.path, companions, stack), size)
    try:  # without a log nobody writes to it: it need not be locked, which would make an empty log
        return _begun(_of_file(source.path, "immutable=1" if has_log and not _holds(log) else "mode=ro"), size)
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _NEEDS_WRITING:
            raise
        return _begun(_of_copy(source.path, companions, stack), size)


def _holds(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _in_memory(source: Source) -> sqlite3.Connection:
    data = source.all(MOST_BYTES)
    if data[_READ_MODE] == _WITH_LOG:  # which a database in memory cannot have
        data = data[: _MODES.start] + _WITHOUT_LOG + data[_MODES.stop :]
    connection = _new(":memory:")
    connection.deserialize(data)
    return connection


def _of_copy(path: Path, companions: Sequence[Path], stack: ExitStack) -> sqlite3.Connection:
    copy = Path(stack.enter_context(TemporaryDirectory(prefix="chatllm-", ignore_cleanup_errors=True))) / "copy"
    shutil.copyfile(path, copy)
    for each in companions:
        if each.exists() and not each.name.endswith("-shm"):
            shutil.copyfile(each, f"{copy}{each.name.removeprefix(path.name)}")
    return _new(str(copy))


def _of_file(path: Path, mode: str) -> sqlite3.Connection:
    return _new(f"file:{quote(os.fsencode(path.absolute()))}?{mode}")


def _new(address: str) -> sqlite3.Connection:
    return sqlite3.connect(address, LONGEST_WAIT, uri=True, isolation_level=None, check_same_thread=False)


def _begun(connection: sqlite3.Connection, size: int) -> sqlite3.Connection:
    """Bound what a connection may do, and see whether anything can be read."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    steps = iter(range((MOST_STEPS + size * STEPS_PER_BYTE) // STEPS_AT_ONCE))
    connection.set_progress_handler(lambda: next(steps, None) is None, STEPS_AT_ONCE)
    try:
        for setting in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON", "mmap_size = 0"):
            connection.execute(f"PRAGMA {setting}")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection
