import errno
import os
import resource
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier, Event

import pytest

from chatllm_cli.private_files import (
    locked_folder,
    make_private_folder,
    note_json,
    open_private,
    read_json,
    replace_private_file,
    replacing,
    write_all,
)

WRITABLE = os.O_RDWR | os.O_CREAT


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=["umask-000", "umask-022", "umask-077"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_a_name_as_long_as_any_may_be_is_written(tmp_path: Path) -> None:
    for name in ("日" * 85, "x" * 255):
        replace_private_file(tmp_path / name, b"text")
        assert (tmp_path / name).read_bytes() == b"text"


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """A disk with that much room: a write takes a part, the next one fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("umask")
def test_every_folder_on_the_way_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    make_private_folder(tmp_path / "a" / "b" / "c")
    assert [mode_of(tmp_path / way) for way in ("a", "a/b", "a/b/c")] == [0o700] * 3


@pytest.mark.usefixtures("umask")
def test_a_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    os.close(open_private(tmp_path / "new", WRITABLE))
    replace_private_file(tmp_path / "replaced", b"text")
    assert [mode_of(tmp_path / name) for name in ("new", "replaced")] == [0o600] * 2


def test_folders_that_exist_are_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine").chmod(0o755)
    make_private_folder(tmp_path / "mine")
    make_private_folder(tmp_path / "mine" / "new")
    assert [mode_of(tmp_path / way) for way in ("mine", "mine/new")] == [0o755, 0o700]


def test_a_link_to_a_folder_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    make_private_folder(tmp_path / "link" / "new")
    assert mode_of(tmp_path / "real" / "new") == 0o700


def test_what_is_in_the_way_of_a_folder_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for way in ("file", "file/new", "dangling", "dangling/new"):
        with pytest.raises(FileExistsError):
            make_private_folder(tmp_path / way)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "file", "home"]


def test_many_may_make_the_same_folder_at_once(tmp_path: Path) -> None:
    start = Barrier(8)

    def make(folder: Path) -> None:
        start.wait()
        make_private_folder(folder)

    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            list(pool.map(make, [tmp_path / f"{number}" / "b" / "c"] * 8))
    assert {mode_of(path) for path in tmp_path.glob("[0-9]*/b/c")} == {0o700}


def test_a_symbolic_link_is_not_opened(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    for contents in (None, "not mine"):
        if contents is not None:
            target.write_text(contents)
        with pytest.raises(OSError, match="symbolic links") as raised:
            open_private(link, WRITABLE)
        assert raised.value.errno == errno.ELOOP
        assert target.exists() is (contents is not None)
    assert target.read_text() == "not mine"


def test_a_file_that_exists_is_opened_with_the_mode_it_has(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_text("text")
    path.chmod(0o644)
    os.close(open_private(path, WRITABLE))
    assert (mode_of(path), path.read_text()) == (0o644, "text")


def test_a_child_process_inherits_no_file(tmp_path: Path) -> None:
    descriptor = open_private(tmp_path / "mine", WRITABLE)
    assert os.get_inheritable(descriptor) is False
    os.close(descriptor)


def test_every_byte_is_written_however_few_the_system_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    taken = []

    def write_at_most_7(descriptor: int, data: memoryview) -> int:
        taken.append(write(descriptor, data[:7]))
        return taken[-1]

    monkeypatch.setattr("chatllm_cli.private_files.os.write", write_at_most_7)
    descriptor = open_private(tmp_path / "mine", WRITABLE)
    write_all(descriptor, b"0123456789abcdefg")
    write_all(descriptor, b"")
    os.close(descriptor)
    assert (tmp_path / "mine").read_bytes() == b"0123456789abcdefg"
    assert taken == [7, 7, 3]


def test_a_disk_that_fills_up_halfway_is_an_error(tmp_path: Path) -> None:
    descriptor = open_private(tmp_path / "mine", WRITABLE)
    with files_no_longer_than(10), pytest.raises(OSError, match="too large"):
        write_all(descriptor, b"0123456789abcdefg")
    os.close(descriptor)
    assert (tmp_path / "mine").read_bytes() == b"0123456789"


def test_a_replaced_file_is_the_new_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "mine"
    path.parent.mkdir()
    path.write_bytes(b"old")
    path.chmod(0o644)
    replace_private_file(path, b"new")
    assert (path.read_bytes(), mode_of(path)) == (b"new", 0o600)
    assert list(path.parent.iterdir()) == [path]


def test_the_new_file_is_on_the_disk_before_it_takes_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine"
    path.write_bytes(b"old")
    fsync = os.fsync
    synced = []

    def fsync_and_tell(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        synced.append((kind, path.read_bytes()))
        fsync(descriptor)

    monkeypatch.setattr("chatllm_cli.private_files.os.fsync", fsync_and_tell)
    replace_private_file(path, b"new")
    assert synced == [("file", b"old"), ("folder", b"new")]


def test_a_reader_meets_the_old_file_or_the_new_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    old, new = b"old" * 50_000, b"new" * 70_000
    replace_private_file(path, old)
    done = Event()

    def read_all_the_time() -> set[bytes]:
        seen = set()
        while not done.is_set():
            seen.add(path.read_bytes())
        return seen

    with ThreadPoolExecutor() as pool:
        reader = pool.submit(read_all_the_time)
        for _ in range(50):
            replace_private_file(path, new)
            replace_private_file(path, old)
        done.set()
    assert reader.result() <= {old, new}


def test_a_replacement_that_does_not_fit_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "mine"
    path.parent.mkdir()
    path.write_bytes(b"old")
    with files_no_longer_than(10), pytest.raises(OSError, match="too large"):
        replace_private_file(path, b"0123456789abcdefg")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_what_fails_while_it_is_written_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "mine"
    path.parent.mkdir()
    path.write_bytes(b"old")

    def fail_half_way() -> None:
        with replacing(path) as write:
            write(b"one ")
            raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        fail_half_way()
    assert (path.read_bytes(), list(path.parent.iterdir())) == (b"old", [path])


def test_what_is_written_in_pieces_is_one_file(tmp_path: Path) -> None:
    with replacing(tmp_path / "mine") as write:
        write(b"one ")
        write(b"two")
        assert not (tmp_path / "mine").exists()
    assert (tmp_path / "mine").read_bytes() == b"one two"


def test_a_name_that_cannot_be_taken_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "mine"
    path.mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        replace_private_file(path, b"new")
    assert list(path.parent.iterdir()) == [path]


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    replace_private_file(link, b"new")
    assert (link.is_symlink(), target.read_bytes()) == (True, b"new")


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as threads:
        reader = threads.submit(pipe.read_bytes)
        replace_private_file(pipe, b"through")
        assert reader.result(5) == b"through"
    assert pipe.is_fifo()


def test_a_locked_folder_is_waited_for(tmp_path: Path) -> None:
    order = []

    def other() -> None:
        with locked_folder(tmp_path):
            order.append("other")

    thread = threading.Thread(target=other)
    with locked_folder(tmp_path):
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "other"]


def test_what_is_noted_is_read_again_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "note.json"
    note_json(file, {"a": [1, None, "ö"]})
    assert read_json(file) == {"a": [1, None, "ö"]}
    modes = [mode_of(path) for path in (file.parent.parent, file.parent, file)]
    assert modes == [0o700, 0o700, 0o600]


@pytest.mark.parametrize("content", [None, b"", b"\xff", b"{", b"[" * 100_000])
def test_a_note_that_cannot_be_read_is_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "note.json").write_bytes(content)
    assert read_json(tmp_path / "note.json") is None
