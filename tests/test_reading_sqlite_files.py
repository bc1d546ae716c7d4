import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.reading import sqlite_files
from chatllm_cli.formats.reading.source import Source
from chatllm_cli.formats.reading.sqlite_files import opened

ODD_NAMES = ["plain.db", "a b.db", "50%25?mode=rwc#.db", "ü&x=1.db", "file:x.db", os.fsdecode(b"\xff.db")]


def source_of(path: Path) -> Source:
    return Source(path.name, path.read_bytes(), path)


def texts(source: Source) -> list[str]:
    """Return what the column `x` of the table `t` holds."""
    with opened(source) as database:
        return [row["x"] for row in database.rows("t", ("x",), "ORDER BY rowid")]


def files(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


def made(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements or ("CREATE TABLE t (x TEXT)", "INSERT INTO t VALUES ('one')"):
            connection.execute(statement)
    return path


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another program, which has a database open and writes to its log."""
    (tmp_path / "live").mkdir()
    with closing(sqlite3.connect(tmp_path / "live" / "a.db", isolation_level=None)) as connection:
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA wal_autocheckpoint = 0", "CREATE TABLE t (x TEXT)",
                          "INSERT INTO t VALUES ('one')"):  # fmt: skip
            connection.execute(statement)
        yield connection


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_file_is_read_whatever_its_name_is_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / name
    shutil.copyfile(made(tmp_path / "x"), path)
    before = files(path.parent)

    assert texts(source_of(path)) == ["one"]
    assert files(path.parent) == before


def test_what_came_without_a_path_is_read_in_memory(tmp_path: Path) -> None:
    assert texts(Source("-", made(tmp_path / "x.db").read_bytes())) == ["one"]


def test_what_stands_in_the_log_of_a_live_database_is_read(tmp_path: Path, writer: sqlite3.Connection) -> None:
    before = files(tmp_path / "live")

    assert texts(source_of(tmp_path / "live" / "a.db")) == ["one"]
    assert files(tmp_path / "live").keys() == before.keys()
    assert files(tmp_path / "live")["a.db-wal"] == before["a.db-wal"]
    writer.execute("INSERT INTO t VALUES ('two')")
    assert texts(source_of(tmp_path / "live" / "a.db")) == ["one", "two"]


def test_what_is_read_at_once_is_as_it_was_at_one_moment(tmp_path: Path, writer: sqlite3.Connection) -> None:
    with opened(source_of(tmp_path / "live" / "a.db")) as database:
        with database.at_once():
            before = list(database.rows("t", ("x",)))
            writer.execute("INSERT INTO t VALUES ('two')")
            assert list(database.rows("t", ("x",))) == before
        assert len(list(database.rows("t", ("x",)))) == 2


def test_another_program_can_write_between_what_is_read_at_once(tmp_path: Path) -> None:
    path = made(tmp_path / "x.db")
    with opened(source_of(path)) as database, closing(sqlite3.connect(path, 0, isolation_level=None)) as other:
        with database.at_once():
            list(database.rows("t", ("x",)))
            with pytest.raises(sqlite3.OperationalError, match="database is locked"):
                other.execute("INSERT INTO t VALUES ('two')")
        next(database.rows("t", ("x",)))
        other.execute("INSERT INTO t VALUES ('two')")


def test_a_log_that_a_crash_left_is_read_in_a_copy(tmp_path: Path, writer: sqlite3.Connection) -> None:
    (tmp_path / "crashed").mkdir()
    for name in ("a.db", "a.db-wal"):
        shutil.copyfile(tmp_path / "live" / name, tmp_path / "crashed" / name)
    before = files(tmp_path / "crashed")

    assert texts(source_of(tmp_path / "crashed" / "a.db")) == ["one"]
    assert files(tmp_path / "crashed") == before


def test_a_database_whose_log_is_folded_in_is_read_without_a_new_one(
    tmp_path: Path, writer: sqlite3.Connection
) -> None:
    writer.close()
    before = files(tmp_path / "live")

    assert list(before) == ["a.db"]
    assert texts(source_of(tmp_path / "live" / "a.db")) == ["one"]
    assert texts(Source("-", before["a.db"])) == ["one"]
    assert files(tmp_path / "live") == before


@pytest.mark.parametrize("modes", [b"\1\2", b"\2\1", b"\3\2", b"\2\3"])
def test_whatever_its_head_says_of_a_log_nothing_is_written_beside_it(tmp_path: Path, modes: bytes) -> None:
    (tmp_path / "folder").mkdir()
    path = made(tmp_path / "folder" / "x.db")
    data = path.read_bytes()
    path.write_bytes(data[:18] + modes + data[20:])
    with suppress(FormatError):
        assert texts(source_of(path)) == ["one"]
    assert list(files(path.parent)) == ["x.db"]


def test_a_change_that_a_crash_left_half_done_is_undone_in_a_copy(tmp_path: Path) -> None:
    """The journal says how it was before."""
    path = made(tmp_path / "live.db")
    (tmp_path / "crashed").mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO t VALUES (?)", [["x" * 5000]] * 50)
        for end in ("", "-journal"):
            shutil.copyfile(f"{path}{end}", tmp_path / "crashed" / f"a.db{end}")
    before = files(tmp_path / "crashed")

    assert texts(source_of(tmp_path / "crashed" / "a.db")) == ["one"]
    assert files(tmp_path / "crashed") == before


def test_a_query_that_does_not_end_is_ended(tmp_path: Path) -> None:
    made(tmp_path / "x.db", "CREATE TABLE t (x TEXT)", "INSERT INTO t VALUES ('a')")
    endless = "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n)"
    begun = time.monotonic()
    with opened(source_of(tmp_path / "x.db")) as database, pytest.raises(FormatError) as refused:
        list(database.rows("t", ("x",), f"WHERE x = {endless}"))

    assert refused.value.message == "the database takes too long to read"
    assert time.monotonic() - begun < 5


def test_a_value_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_files, "LONGEST", 1000)
    made(tmp_path / "x.db", "CREATE TABLE t (x TEXT)", "INSERT INTO t VALUES (hex(zeroblob(1000)))")
    with pytest.raises(FormatError, match="string or blob too big"):
        texts(source_of(tmp_path / "x.db"))


def test_views_virtual_tables_and_columns_that_are_worked_out_are_not_there(tmp_path: Path) -> None:
    path = made(
        tmp_path / "x.db",
        "CREATE TABLE t (x TEXT, y TEXT GENERATED ALWAYS AS (x || x))",
        "CREATE VIEW v AS SELECT x FROM t",
        "CREATE VIRTUAL TABLE f USING fts5(x)",
        "CREATE TRIGGER r AFTER INSERT ON t BEGIN DELETE FROM t; END",
    )
    with opened(source_of(path)) as database:
        found = [database.has(*each) for each in (("t", "x"), ("t", "y"), ("v", "x"), ("f", "x"), ("none",))]
    assert found == [True, False, False, False, False]


def test_a_view_that_is_said_to_be_a_table_is_refused(tmp_path: Path) -> None:
    path = made(
        tmp_path / "x.db",
        "CREATE TABLE t (x TEXT)",
        "CREATE VIEW v AS SELECT x FROM t",
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET type = 'table' WHERE name = 'v'",
    )
    with pytest.raises(FormatError, match="malformed database schema"):
        texts(source_of(path))


def test_a_column_that_is_not_there_has_nothing_in_it(tmp_path: Path) -> None:
    with opened(source_of(made(tmp_path / "x.db"))) as database:
        assert list(database.rows("t", ("none", "x"))) == [{"rowid": 1, "none": None, "x": "one"}]


def test_a_database_may_be_read_on_in_another_thread(tmp_path: Path) -> None:
    read: list[str] = []
    with opened(source_of(made(tmp_path / "x.db"))) as database:
        thread = threading.Thread(target=lambda: read.extend(row["x"] for row in database.rows("t", ("x",))))
        thread.start()
        thread.join()
    assert read == ["one"]


def test_a_table_without_row_numbers_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "x.db", "CREATE TABLE t (x TEXT PRIMARY KEY) WITHOUT ROWID", "INSERT INTO t VALUES ('a')")
    with pytest.raises(FormatError, match="no such column: rowid"):
        texts(source_of(path))


def test_a_locked_database_is_named_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_files, "LONGEST_WAIT", 0.05)
    with closing(sqlite3.connect(made(tmp_path / "x.db"), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(FormatError, match="the database cannot be read: database is locked"):
            texts(source_of(tmp_path / "x.db"))


@pytest.mark.parametrize("data", [b"", b"SQLite", b"SQLite format 3\0", b"SQLite format 3\0" + b"\xff" * 5000, b"PK"])
def test_what_is_no_database_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.db").write_bytes(data)
    for source in (source_of(tmp_path / "x.db"), Source("-", data)):
        with pytest.raises(FormatError):
            texts(source)
