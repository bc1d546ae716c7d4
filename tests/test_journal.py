import asyncio
import errno
import fcntl
import json
import os
import resource
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from random import Random

import pytest

from chatllm_cli.private_files import open_private
from chatllm_cli.services.history import journal

# Appends records from a process of its own: all at once when told to, `count` of them.
WRITER = """
import asyncio, sys
from pathlib import Path
from chatllm_cli.services.history import journal, records

async def main(path, name, count):
    for number in range(int(count)):
        text = name * (1 + number * 97 % 9_000)
        record = {"type": "message", "id": f"{name}{number}", "content": text}
        await journal.append(Path(path), records.encode(record), durable=number % 2 == 0)

print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main(*sys.argv[1:]))
"""
# Appends records until it is killed; prints the id of each that was acknowledged.
ENDLESS_WRITER = """
import asyncio, itertools, os, sys
from pathlib import Path
from chatllm_cli.services.history import journal, records

async def main(path, name):
    for number in itertools.count():
        record = {"type": "message", "id": f"{name}-{number}", "content": "x" * 50_000}
        await journal.append(Path(path), records.encode(record), durable=True)
        os.write(1, f"{name}-{number}\\n".encode())

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal that is not there yet, in a folder that is."""
    (tmp_path / "journals").mkdir()
    return tmp_path / "journals" / "one.jsonl"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when a journal was opened, which is before its lock is waited for."""
    opened = threading.Event()

    def open_and_tell(path: Path, flags: int) -> int:
        descriptor = open_private(path, flags)
        opened.set()
        return descriptor

    monkeypatch.setattr(journal, "open_private", open_and_tell)
    return opened


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was put on the disk, in order: "file" or "folder"."""
    fsync = os.fsync
    synced = []

    def fsync_and_tell(descriptor: int) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    monkeypatch.setattr("chatllm_cli.services.history.journal.os.fsync", fsync_and_tell)
    return synced


def locked(path: Path) -> int:
    """Take the lock as another process would; closing the descriptor gives it back."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


@pytest.mark.parametrize("umask", [0o000, 0o022])
async def test_folders_and_files_are_made_for_their_owner_alone(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "2026" / "07" / "one.jsonl"
    before = os.umask(umask)
    try:
        await journal.append(path, b"one\n", durable=True)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent, path.parent.parent)]
    assert modes == [0o600, 0o700, 0o700]


async def test_lines_are_added_at_the_end(path: Path) -> None:
    await journal.append(path, b"one\n", durable=True)
    await journal.append(path, b"two\nthree\n", durable=False)
    assert path.read_bytes() == await journal.read(path) == b"one\ntwo\nthree\n"


async def test_a_torn_tail_is_ended_and_not_glued_to_the_next_line(path: Path) -> None:
    line = '{"text":"ü\u2028"}\n'.encode()
    for kept in range(1, len(line) + 1):
        path.write_bytes(line + line[:kept])
        await journal.append(path, b"next\n", durable=False)
        assert path.read_bytes() == line + line[:kept].rstrip(b"\n") + b"\nnext\n"


async def test_a_tail_of_nul_bytes_is_ended_too(path: Path) -> None:
    path.write_bytes(b"one\n" + b"\0" * 4096)
    await journal.append(path, b"next\n", durable=False)
    assert path.read_bytes() == b"one\n" + b"\0" * 4096 + b"\nnext\n"


async def test_durable_lines_are_on_the_disk_and_a_new_files_name_too(path: Path, synced: list[str]) -> None:
    await journal.append(path, b"one\n", durable=True)
    assert synced == ["folder", "file"]
    await journal.append(path, b"two\n", durable=True)
    assert synced == ["folder", "file", "file"]
    await journal.append(path, b"three\n", durable=False)
    assert synced == ["folder", "file", "file"]


async def test_the_names_of_new_folders_are_on_the_disk(tmp_path: Path, synced: list[str]) -> None:
    await journal.append(tmp_path / "2026" / "07" / "one.jsonl", b"one\n", durable=True)
    assert synced == ["folder", "folder", "folder", "file"]


async def test_a_symbolic_link_is_not_written_through(path: Path, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"not mine\n")
    path.symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic links") as raised:
        await journal.append(path, b"one\n", durable=True)
    assert raised.value.errno == errno.ELOOP
    assert (tmp_path / "target").read_bytes() == b"not mine\n"


async def test_a_full_disk_is_an_error_and_the_next_line_is_whole(path: Path) -> None:
    await journal.append(path, b"one\n", durable=True)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (7, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            await journal.append(path, b"lost\n", durable=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    await journal.append(path, b"three\n", durable=True)
    assert path.read_bytes() == b"one\nlos\nthree\n"


async def test_tasks_of_one_process_lose_nothing_and_glue_nothing(path: Path) -> None:
    lines = [f"{number:03}".encode() * 5_000 + b"\n" for number in range(100)]
    await asyncio.gather(*(journal.append(path, line, durable=False) for line in lines))
    assert sorted(path.read_bytes().splitlines(keepends=True)) == lines


def test_processes_that_write_at_once_lose_nothing_and_glue_nothing(path: Path) -> None:
    def start(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, str(path), name, "100"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    writers = [start(name) for name in "abcd"]
    for writer in writers:
        assert writer.stdout
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.communicate("go\n", timeout=30)
    assert [writer.returncode for writer in writers] == [0] * 4
    ids = [json.loads(line)["id"] for line in path.read_bytes().splitlines()]
    assert len(ids) == 400
    for name in "abcd":
        assert [each for each in ids if each[0] == name] == [f"{name}{number}" for number in range(100)]


def test_what_was_acknowledged_survives_a_kill_at_any_moment(path: Path) -> None:
    moments = Random(20260701)  # noqa: S311  # chooses moments, keeps no secrets
    acknowledged: list[str] = []
    kills = 20
    for number in range(kills):
        command = [sys.executable, "-c", ENDLESS_WRITER, str(path), f"{number}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout
            acknowledged.append(writer.stdout.readline().strip())
            time.sleep(moments.uniform(0, 0.03))
            writer.kill()
            acknowledged += writer.stdout.read().splitlines()
    stored, torn = set(), 0
    for line in path.read_bytes().splitlines():
        try:
            stored.add(json.loads(line)["id"])
        except ValueError:
            torn += 1
    assert len(acknowledged) >= kills
    assert set(acknowledged) - stored == set()
    assert torn <= kills


async def test_a_cancelled_append_has_written_whole_lines_when_it_returns(
    path: Path, opened: threading.Event
) -> None:
    lock = locked(path)
    task = asyncio.create_task(journal.append(path, b"one\n" * 100_000, durable=True))
    assert await asyncio.to_thread(opened.wait, 10)
    task.cancel()
    await asyncio.sleep(0.02)
    assert not task.done()
    os.close(lock)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert path.read_bytes() == b"one\n" * 100_000


async def test_an_append_waits_for_the_lock_of_another_process(path: Path, opened: threading.Event) -> None:
    lock = locked(path)
    task = asyncio.create_task(journal.append(path, b"two\n", durable=True))
    assert await asyncio.to_thread(opened.wait, 10)
    os.write(lock, b"one\nto")
    await asyncio.sleep(0.02)
    assert path.read_bytes() == b"one\nto"
    os.close(lock)
    await task
    assert path.read_bytes() == b"one\nto\ntwo\n"


async def test_a_file_that_was_replaced_meanwhile_is_not_written_to(
    path: Path, opened: threading.Event, tmp_path: Path
) -> None:
    path.write_bytes(b"old\n")
    (tmp_path / "new").write_bytes(b"new\n")
    (tmp_path / "old").hardlink_to(path)
    lock = locked(path)
    task = asyncio.create_task(journal.append(path, b"next\n", durable=True))
    assert await asyncio.to_thread(opened.wait, 10)
    (tmp_path / "new").replace(path)
    os.close(lock)
    await task
    assert (path.read_bytes(), (tmp_path / "old").read_bytes()) == (b"new\nnext\n", b"old\n")


async def test_a_file_that_was_removed_meanwhile_is_made_anew(path: Path, opened: threading.Event) -> None:
    path.write_bytes(b"old\n")
    lock = locked(path)
    task = asyncio.create_task(journal.append(path, b"next\n", durable=True))
    assert await asyncio.to_thread(opened.wait, 10)
    path.unlink()
    os.close(lock)
    await task
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"next\n", 0o600)


async def test_cancelling_once_waits_for_the_write_and_twice_does_not(path: Path, opened: threading.Event) -> None:
    holder = locked(path)
    task = asyncio.ensure_future(journal.append(path, b"line\n", durable=True))
    await asyncio.to_thread(opened.wait)
    task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task], timeout=1)
    assert task.cancelled()
    os.close(holder)


async def test_a_cancellation_outweighs_a_write_that_fails(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    task = asyncio.ensure_future(journal.append(path, b"line\n", durable=True))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
