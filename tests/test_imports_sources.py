import errno
import io
import os
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chatllm_cli.errors import FormatError, UsageError
from chatllm_cli.services.imports import sources as module
from chatllm_cli.services.imports.sources import sources

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
JSON = b'[{"a": 1}]'


def found(path: Path, stdin: io.BytesIO | None = None) -> list[tuple[str, bytes] | str]:
    """The name and the content of each source, or what is told of it."""
    return [
        each.message if isinstance(each, FormatError) else (each.name, bytes(each.data))
        for each in sources(path, stdin)
    ]


def archive(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written:
        for name, data in files.items():
            written.writestr(name.replace("__", "/"), data)
    return path


def test_a_file_is_read_and_named_and_known_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_bytes(JSON)
    (source,) = sources(path, None)
    assert not isinstance(source, FormatError)
    assert (source.name, source.data, source.path) == ("talk.json", JSON, path)


def test_a_file_is_as_old_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_bytes(JSON)
    os.utime(path, (NOON.timestamp(), NOON.timestamp()))
    packed = tmp_path / "export.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("talk", NOON.astimezone().timetuple()[:6]), JSON)
    for place in (path, packed):
        (source,) = sources(place, None)
        assert not isinstance(source, FormatError)
        assert source.at == NOON


def test_a_large_file_is_mapped_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_IN_MEMORY", 5)
    path = tmp_path / "talk.json"
    path.write_bytes(JSON)
    for source in sources(path, None):
        assert not isinstance(source, FormatError)
        assert (type(source.data).__name__, source.data[:]) == ("mmap", JSON)


def test_a_large_file_may_be_cut_by_others_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_IN_MEMORY", 5)
    path = tmp_path / "talk.json"
    data = b"[" + b'"a",' * 5_000 + b'"b"]'
    path.write_bytes(data)
    for source in sources(path, None):
        assert not isinstance(source, FormatError)
        os.truncate(path, 0)
        assert source.data[:] == data


def test_a_large_file_of_an_archive_comes_to_its_last_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_IN_MEMORY", 5)
    data = b"[" + b'"a",' * 100_001 + b'"b"]'
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as written:
        written.writestr("talk.json", data)
    assert found(path) == [("talk.json", data)]
    assert found(Path("-"), io.BytesIO(data)) == [("stdin", data)]


def test_a_large_database_is_read_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_IN_MEMORY", 5)
    path = tmp_path / "logs.db"
    path.write_bytes(b"SQLite format 3\0" + b"\0" * 10_000)
    (source,) = sources(path, None)
    assert not isinstance(source, FormatError)
    assert (len(source.data), source.path) == (module.MOST_LOOKED_AT, path)


def test_the_files_of_a_folder_come_in_order_but_for_hidden_ones_and_links(tmp_path: Path) -> None:
    root = tmp_path / "logs"
    for name in ("b/one.jsonl", "a.json", ".hidden/x.json", "b/.swp"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(JSON)
    (root / "link.json").symlink_to(root / "a.json")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe")
    assert found(root) == [("logs/a.json", JSON), ("logs/b/one.jsonl", JSON)]


def test_an_archive_is_looked_into_wherever_it_lies(tmp_path: Path) -> None:
    root = tmp_path / "downloads"
    root.mkdir()
    path = archive(root / "export.zip", conversations=JSON, sub__user=b'{"b": 2}')
    inside = [("conversations", JSON), ("sub/user", b'{"b": 2}')]
    assert found(path) == inside
    assert found(root) == inside
    assert found(Path("-"), io.BytesIO(path.read_bytes())) == inside


def test_what_comes_on_stdin_is_read(tmp_path: Path) -> None:
    assert found(Path("-"), io.BytesIO(JSON)) == [("stdin", JSON)]


def test_a_name_that_leads_out_of_an_archive_is_only_shown(tmp_path: Path) -> None:
    path = archive(tmp_path / "export.zip", **{"..__..__evil": JSON, "__etc__passwd": JSON})
    assert [each[0] for each in found(path)] == ["../../evil", "/etc/passwd"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export.zip", "home"]


def test_a_file_beside_is_found_by_the_beginning_of_its_name(tmp_path: Path) -> None:
    path = archive(tmp_path / "export.zip", **{"conversations": JSON, "images__file-X1-cat.png": b"cat"})
    for source in sources(path, None):
        assert not isinstance(source, FormatError)
        assert (source.beside("file-X1"), source.beside("file-Y")) == (b"cat", None)
        break
    root = tmp_path / "unpacked"
    (root / "images").mkdir(parents=True)
    (root / "conversations.json").write_bytes(JSON)
    (root / "images" / "file-X1-cat.png").write_bytes(b"cat")
    for place in (root, root / "conversations.json"):
        (source, *_) = sources(place, None)
        assert not isinstance(source, FormatError)
        assert (source.beside("file-X1"), source.beside("file-Y")) == (b"cat", None)


def test_files_beside_are_found_among_many_without_a_look_at_each(tmp_path: Path) -> None:
    names = [f"file-{number:05}-x.png" for number in range(5_000)]
    path = archive(tmp_path / "export.zip", conversations=JSON, **dict.fromkeys(names, b""))
    reading = sources(path, None)
    source = next(reading)
    assert not isinstance(source, FormatError)
    begun = time.process_time()
    assert [source.beside(f"lost-{number:05}") for number in range(5_000)] == [None] * 5_000
    assert source.beside("file-04999") == b""
    assert time.process_time() - begun < 0.5  # 4 s with a look at each


def test_a_file_beside_that_is_too_large_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_BESIDE", 2)
    path = archive(tmp_path / "export.zip", conversations=JSON, cat=b"cat")
    (tmp_path / "cat").write_bytes(b"cat")
    (tmp_path / "talk.json").write_bytes(JSON)
    for place in (path, tmp_path / "talk.json"):
        for source in sources(place, None):
            assert not isinstance(source, FormatError)
            assert source.beside("cat") is None
            break


def bomb(path: Path) -> Path:
    """An archive of 40 kB that unpacks to 40 MB."""
    return archive(path, good=JSON, bomb=b"[" + b" " * 40_000_000)


def test_what_unpacks_to_a_hundred_times_its_size_is_refused(tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.zip")
    assert found(path) == [
        ("good", JSON),
        f"{path}, bomb: it unpacks to more than 100 times its size",
    ]


def test_what_is_too_large_unpacked_or_on_stdin_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_UNPACKED", 5)
    path = archive(tmp_path / "export.zip", talk=b"[" * 100)
    assert found(path) == [f"{path}, talk: it is larger than 0 GiB"]
    assert found(Path("-"), io.BytesIO(JSON)) == ["stdin: it is larger than 0 GiB"]


def test_what_cannot_be_a_conversation_is_not_unpacked(tmp_path: Path) -> None:
    path = archive(tmp_path / "export.zip", chat=b"<html>" * 1000)
    assert found(path) == [("chat", b"")]


def encrypted(path: Path) -> None:
    archive(path, talk=JSON)
    data = bytearray(path.read_bytes())
    data[6] |= 1  # of the local header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and of the one in the table of contents
    path.write_bytes(data)


def cut(path: Path) -> None:
    archive(path, talk=JSON * 100)
    path.write_bytes(path.read_bytes()[:-30])


def damaged(path: Path) -> None:
    archive(path, talk=os.urandom(0) + JSON * 100)
    data = bytearray(path.read_bytes())
    data[40:48] = b"\xff" * 8
    path.write_bytes(data)


def damaged_lzma(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as written:
        written.writestr("talk", JSON * 100)
    data = bytearray(path.read_bytes())
    data[38:43] = b"\xff" * 5  # what the packer was set to
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (damaged_lzma, "{path}, talk: it cannot be unpacked: "),
        (encrypted, "{path}, talk: it is encrypted"),
        (cut, "{path}: it is no archive that can be read: "),
        (damaged, "{path}, talk: it cannot be unpacked: "),
    ],
)
def test_an_archive_that_cannot_be_read_is_named(make: Callable[[Path], None], told: str, tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    make(path)
    (only,) = found(path)
    assert isinstance(only, str)
    assert only.startswith(told.format(path=path))


def test_a_file_without_a_name_is_passed_over(tmp_path: Path) -> None:
    path = archive(tmp_path / "export.zip", ab=JSON, talk=JSON)
    path.write_bytes(path.read_bytes().replace(b"ab", b"\0b"))  # a name ends at its first NUL
    assert found(path) == [("talk", JSON)]


def test_more_files_than_anybody_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FILES", 1)
    path = archive(tmp_path / "export.zip", a=JSON, b=JSON)
    assert found(path) == [f"{path}: there are more than 1 files in it"]
    root = tmp_path / "logs"
    root.mkdir()
    (root / "a.json").write_bytes(JSON)
    (root / "b.json").write_bytes(JSON)
    assert found(root) == [
        ("logs/a.json", JSON),
        f"{root}: there are more than 1 files in it; the others are left out",
    ]


def test_what_is_no_file_or_cannot_be_read_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert found(tmp_path / "pipe") == [f"{tmp_path / 'pipe'}: it is no file"]
    with pytest.raises(UsageError, match="there is no file"):
        next(sources(tmp_path / "nothing", None))
    with pytest.raises(UsageError, match="cannot be read: File name too long"):
        next(sources(tmp_path / ("x" * 300), None))
    assert found(Path("/proc/self/mem")) == ["/proc/self/mem: it cannot be read: Input/output error"]


class Broken(io.BytesIO):
    def read(self, _: int | None = -1) -> bytes:
        raise OSError(errno.EIO, "Input/output error")


def test_a_stdin_that_cannot_be_read_is_told() -> None:
    assert found(Path("-"), Broken()) == ["stdin: it cannot be read: Input/output error"]


def test_folders_and_files_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "logs"
    (root / "theirs").mkdir(parents=True)
    (root / "ours.json").write_bytes(JSON)
    scandir = os.scandir

    def refusing(path: str) -> object:
        if Path(path).name == "theirs":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)  # root may read anything
    assert found(root) == [
        ("logs/ours.json", JSON),
        f"{root / 'theirs'}: it cannot be read: Permission denied",
    ]
