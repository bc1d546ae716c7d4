"""Many processes at once: every message is kept, whole, and every first run works."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from chatllm_cli.errors import HistoryError
from chatllm_cli.services.history import HistoryService, records
from tests.durability import crowd


def told(*arguments: object) -> list[str]:
    """What a crowd told, which had nothing to complain of."""
    command = [sys.executable, crowd.__file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("writers", "count"), [(8, 500), (2, 5_000)])
def test_what_many_processes_write_to_one_conversation_is_all_there_and_whole(
    quick: Path, writers: int, count: int
) -> None:
    path = quick / "data" / "2026" / "07" / "aaaabbbbccccdddd.jsonl"
    assert told("writers", path, writers, count) == [f"{writers}"]
    data = path.read_bytes()
    found = records.decode(data, path.stem)
    expected = {
        f"{name}{number}": crowd.text_of(name, number) for name in "abcdefgh"[:writers] for number in range(count)
    }
    assert (len(expected), found.damaged_lines) == (writers * count, 0)
    assert {message.id: message.content for message in found.messages} == expected
    assert len(records.lines(data)) == writers * count + 1  # and one that begins the file
    for name in "abcdefgh"[:writers]:
        own = [message.id for message in found.messages if message.id[0] == name]
        assert own == [f"{name}{number}" for number in range(count)]


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_all_first_runs_that_start_at_once_keep_and_list_their_conversations(quick: Path) -> None:
    rounds, runs = 50, 16
    assert told("first-runs", quick, rounds, runs) == [f"{runs}"] * rounds
    kept = 0
    for number in range(rounds):
        root = quick / f"{number}"
        listing = await HistoryService(root / "data" / "conversations", root / "cache" / "index.db").list()
        assert {each.title for each in listing.conversations} == {f"run {each}" for each in range(runs)}
        assert listing.faults == ()
        kept += len(listing.conversations)
    assert kept == 800


@pytest.mark.slow
async def test_a_list_bears_that_others_remove_conversations_meanwhile(quick: Path) -> None:
    folder = quick / "data"
    history = HistoryService(folder, quick / "index.db")
    failures: list[str] = []
    lists = 0
    with subprocess.Popen([sys.executable, crowd.__file__, "removers", folder]) as other:
        try:
            until = time.monotonic() + 20
            while lists < 500 and not failures and time.monotonic() < until:
                try:
                    await history.list()
                except HistoryError as error:
                    failures.append(error.message)
                lists += 1
        finally:
            other.kill()
    assert (failures, lists) == ([], 500)
