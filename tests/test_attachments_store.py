import fcntl
import hashlib
import os
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from chatllm_cli.services.attachments import store as module
from chatllm_cli.services.attachments.store import AttachmentStore

DATA = b"\x89PNG\r\n\x1a\n of a kind"
HASH = hashlib.sha256(DATA).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "attachments"


@pytest.fixture
def store(folder: Path) -> AttachmentStore:
    return AttachmentStore(folder)


def kept(folder: Path, data: bytes = DATA) -> str:
    store = AttachmentStore(folder)
    sha256 = store.hold(data)
    with store.keeping([sha256]):
        return sha256


def make_old(path: Path) -> None:
    long_ago = time.time() - 2 * module.DAY
    os.utime(path, (long_ago, long_ago))


def test_what_is_held_is_in_memory_alone(store: AttachmentStore, folder: Path) -> None:
    assert store.hold(DATA) == HASH
    assert store.load(HASH) == DATA
    assert not folder.exists()
    assert AttachmentStore(folder).load(HASH) is None


def test_what_is_kept_lies_in_a_private_file_named_by_its_hash(store: AttachmentStore, folder: Path) -> None:
    store.hold(DATA)
    with store.keeping([HASH]):
        assert [path.name for path in folder.iterdir()] == [HASH]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / HASH).stat().st_mode) == 0o600
    assert AttachmentStore(folder).load(HASH) == DATA


def test_the_same_bytes_are_kept_once(folder: Path) -> None:
    kept(folder)
    before = (folder / HASH).stat()
    kept(folder)
    assert (folder / HASH).stat() == before
    assert [path.name for path in folder.iterdir()] == [HASH]


def test_a_file_that_is_damaged_is_no_attachment_and_is_written_anew(folder: Path, store: AttachmentStore) -> None:
    kept(folder)
    (folder / HASH).write_bytes(DATA[:5])
    assert store.load(HASH) is None
    kept(folder)
    assert store.load(HASH) == DATA


@pytest.mark.parametrize("sha256", ["", "../../secret", HASH[:-1], HASH + "0", HASH.upper(), "/etc/passwd"])
def test_what_is_no_hash_leads_nowhere(folder: Path, store: AttachmentStore, sha256: str) -> None:
    kept(folder)
    assert store.load(sha256) is None


def test_a_link_or_a_pipe_in_its_place_is_not_followed(folder: Path, store: AttachmentStore, tmp_path: Path) -> None:
    folder.mkdir(parents=True)
    (tmp_path / "secret").write_bytes(DATA)
    (folder / HASH).symlink_to(tmp_path / "secret")
    os.mkfifo(folder / OTHER)
    assert (store.load(HASH), store.load(OTHER)) == (None, None)


def test_what_could_not_be_kept_stays_in_memory_for_the_next_try(store: AttachmentStore, folder: Path) -> None:
    store.hold(DATA)
    folder.parent.mkdir()
    folder.write_bytes(b"a file where the folder should be")
    with pytest.raises(OSError), store.keeping([HASH]):  # noqa: PT011  (which it is depends on the fault)
        pass
    folder.unlink()
    with suppress(ZeroDivisionError), store.keeping([HASH]):
        raise ZeroDivisionError  # the message could not be written
    (folder / HASH).unlink()
    with store.keeping([HASH]):
        assert (folder / HASH).exists()


def test_what_was_put_there_goes_again_when_its_message_cannot_be_written(
    store: AttachmentStore, folder: Path
) -> None:
    kept(folder)
    hashes = [store.hold(DATA), store.hold(b"other"), store.hold(b"used")]
    used = hashlib.sha256(b"used").hexdigest()
    with suppress(ZeroDivisionError), store.keeping(hashes, lambda: {used}):
        raise ZeroDivisionError
    assert sorted(path.name for path in folder.iterdir()) == sorted([HASH, used])
    assert store.load(OTHER) == b"other"


def test_what_is_held_for_two_messages_is_held_until_both_are_kept(store: AttachmentStore, folder: Path) -> None:
    store.hold(DATA)
    store.hold(DATA)
    for expected in (DATA, None):
        with store.keeping([HASH]):
            pass
        (folder / HASH).unlink()
        assert store.load(HASH) == expected


def test_what_is_gone_already_is_no_fault(store: AttachmentStore, folder: Path) -> None:
    with store.keeping([HASH]):
        assert list(folder.iterdir()) == []


def test_what_no_message_holds_any_more_goes_and_the_rest_stays(store: AttachmentStore, folder: Path) -> None:
    kept(folder)
    kept(folder, b"other")
    store.remove_unused({HASH, OTHER}, lambda: {OTHER})
    assert [path.name for path in folder.iterdir()] == [OTHER]


def test_what_a_crash_left_goes_when_it_is_older_than_a_day(store: AttachmentStore, folder: Path) -> None:
    names = [HASH, OTHER, f".{HASH}.abcdefgh", ".another.abcdefgh", "notes.txt"]
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"")
        make_old(folder / name)
    (folder / f".{OTHER}.abcdefgh").write_bytes(b"")  # somebody may write it now
    store.remove_unused((), lambda: {OTHER})
    assert sorted(path.name for path in folder.iterdir()) == sorted([OTHER, f".{OTHER}.abcdefgh", *names[3:]])


def test_where_nothing_was_attached_there_is_nothing_to_remove(store: AttachmentStore, folder: Path) -> None:
    store.remove_unused({HASH}, set)
    assert not folder.exists()


def test_a_remover_waits_for_the_message_of_a_file_that_was_there_already(
    store: AttachmentStore, folder: Path
) -> None:
    kept(folder)
    in_use: set[str] = set()
    remover = threading.Thread(target=store.remove_unused, args=[{HASH}, lambda: in_use])
    writer = AttachmentStore(folder)
    writer.hold(DATA)
    with writer.keeping([HASH]):
        remover.start()
        time.sleep(0.05)
        in_use.add(HASH)  # the message is written
    remover.join(5)
    assert (folder / HASH).exists()


def test_a_writer_waits_for_a_remover_and_writes_its_file_anew(store: AttachmentStore, folder: Path) -> None:
    kept(folder)
    removing, may_go_on = threading.Event(), threading.Event()

    def in_use() -> set[str]:
        removing.set()
        may_go_on.wait(5)
        return set()

    remover = threading.Thread(target=store.remove_unused, args=[{HASH}, in_use])
    remover.start()
    removing.wait(5)
    writer = threading.Thread(target=kept, args=[folder])
    writer.start()
    writer.join(0.05)
    assert writer.is_alive()
    may_go_on.set()
    remover.join(5)
    writer.join(5)
    assert store.load(HASH) == DATA


KILLED = """
import os, signal, sys
from pathlib import Path
from chatllm_cli.services.attachments.store import AttachmentStore
store = AttachmentStore(Path(sys.argv[1]))
with store.keeping([store.hold(b"other")]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_between_a_file_and_its_message_leaves_what_a_later_removal_takes_away(
    store: AttachmentStore, folder: Path
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, folder], check=False)
    assert (killed.returncode, [path.name for path in folder.iterdir()]) == (-9, [OTHER])
    store.remove_unused({HASH}, set)  # somebody may be about to name it
    assert [path.name for path in folder.iterdir()] == [OTHER]
    make_old(folder / OTHER)
    store.remove_unused({HASH}, set)
    assert list(folder.iterdir()) == []


def test_a_lock_that_others_never_give_back_is_not_waited_for_for_ever(
    store: AttachmentStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(folder)
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.05)
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    store.hold(DATA)
    with pytest.raises(BlockingIOError, match="another process is at it"), store.keeping([HASH]):
        pass
    os.close(descriptor)


CROWD = """
import sys, random
from contextlib import suppress
from pathlib import Path
from chatllm_cli.services.attachments.store import AttachmentStore
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
chance, store, names = random.Random(seed), AttachmentStore(folder), folder.parent / "names"

def named():
    found = set()
    for note in names.iterdir():
        with suppress(FileNotFoundError):
            found.add(note.read_text())
    return found

for round in range(60):
    note = names / f"{seed}"
    sha256 = store.hold(b"the same picture")
    with store.keeping([sha256]):
        note.with_name(f".{seed}").write_text(sha256)
        note.with_name(f".{seed}").replace(note)     # the message that names it
    assert (folder / sha256).exists(), "a file whose message is there was removed"
    if chance.random() < 0.7:
        note.unlink()
        store.remove_unused({sha256}, named)
"""


@pytest.mark.slow
def test_writers_and_removers_of_the_same_file_never_lose_it(tmp_path: Path) -> None:
    (tmp_path / "names").mkdir()
    command = [sys.executable, "-c", CROWD, str(tmp_path / "attachments")]
    crowd = [subprocess.Popen([*command, str(seed)], stderr=subprocess.PIPE, text=True) for seed in range(4)]
    assert [each.communicate(timeout=50)[1] for each in crowd] == [""] * 4
