import os
import socket
from pathlib import Path

import pytest

from chatllm_cli.errors import UsageError
from chatllm_cli.services.attachments.files import (
    NoFileError,
    TooLargeError,
    is_glob,
    kind_of,
    read_file,
    read_some,
    read_text_file,
    too_large,
)
from tests.documents import PNG, a_pdf


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    return file


def test_a_file_is_read_whole_or_its_size_is_told(file: Path) -> None:
    assert read_file(file, 10) == b"0123456789"
    with pytest.raises(TooLargeError) as raised:
        read_file(file, 9)
    assert raised.value.size == 10


def test_a_file_that_says_nothing_of_its_size_is_read_as_far_as_it_may_be() -> None:
    assert b"Name:" in read_file(Path("/proc/self/status"), 100_000)
    with pytest.raises(TooLargeError) as raised:
        read_file(Path("/proc/self/status"), 100)
    assert raised.value.size == 101


def test_a_link_that_a_person_names_is_followed(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(file)
    assert read_file(tmp_path / "link", 10) == b"0123456789"


def test_what_is_no_file_is_refused_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    told = []
    for path in (tmp_path / "fifo", tmp_path / "socket", tmp_path, Path("/dev/zero")):
        with pytest.raises(NoFileError) as raised:
            read_file(path, 10)
        told.append(raised.value.strerror)
    assert told == ["it is a named pipe", "it is a socket", "it is a folder", "it is a device"]


def test_of_what_cannot_be_text_only_the_beginning_is_read(tmp_path: Path) -> None:
    (tmp_path / "movie").write_bytes(b"\0" * 100_000)
    (tmp_path / "png").write_bytes(PNG)
    (tmp_path / "pdf").write_bytes(a_pdf("hi"))
    assert [read_text_file(tmp_path / name, 10) for name in ("movie", "png", "pdf")] == [None] * 3
    (tmp_path / "text").write_bytes(b"a" * 20_000)
    assert read_text_file(tmp_path / "text", 20_000) == b"a" * 20_000
    with pytest.raises(TooLargeError):
        read_text_file(tmp_path / "text", 19_999)


def test_no_more_is_read_than_wanted(file: Path) -> None:
    assert read_some(file, 4) == b"0123"


def test_what_lies_there_is_a_folder_or_something_or_nothing(file: Path, tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    found = [kind_of(path) for path in (tmp_path, file, tmp_path / "gone", tmp_path / "dangling", Path("a\0b"))]
    assert found == ["folder", "something", "nothing", "nothing", "nothing"]


def test_what_is_too_large_is_told_with_its_size_and_the_limits_name() -> None:
    assert [
        str(error) for error in (too_large("a.log", 34_000_000, 10_000_000), too_large("stdin", None, 500_000))
    ] == [
        "a.log is 34 MB, and one attachment may be 10 MB (limits.attachment_mb)",
        "stdin is larger than one attachment may be: 500 kB (limits.attachment_mb)",
    ]
    assert isinstance(too_large("a", 1, 1), UsageError)


def test_a_name_with_these_signs_is_a_pattern() -> None:
    assert [is_glob(name) for name in ("a*", "a?", "[a]", "a", "a/b.c")] == [True, True, True, False, False]
