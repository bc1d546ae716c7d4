import re
import stat
import threading
from pathlib import Path

import pytest

from chatllm_cli.services import input_history
from chatllm_cli.services.input_history import InputHistory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "input-history.jsonl"


def test_what_is_added_is_there_later_the_newest_last(path: Path) -> None:
    for text in ("one", "two\nlines", "\ud83d half", "\u2028"):
        InputHistory(path).add(text)
    assert InputHistory(path).load() == ["one", "two\nlines", "\ud83d half", "\u2028"]


def test_it_is_for_its_owner_alone(path: Path) -> None:
    InputHistory(path).add("secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_there_is_nothing_before_anything_was_typed_and_reading_makes_no_file(path: Path) -> None:
    assert InputHistory(path).load() == []
    assert not path.parent.exists()


def test_damaged_lines_are_passed_over_and_a_torn_one_is_not_glued_to_the_next(path: Path) -> None:
    InputHistory(path).add("one")
    with path.open("ab") as file:
        file.write(b'\xff\n[1]\n\n"torn')
    InputHistory(path).add("two")
    assert InputHistory(path).load() == ["one", "two"]


def test_several_sessions_add_at_once_and_lose_nothing(path: Path) -> None:
    def work(name: str) -> None:
        for number in range(50):
            InputHistory(path).add(f"{name}{number}")

    threads = [threading.Thread(target=work, args=[name]) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(InputHistory(path).load()) == sorted(f"{name}{number}" for name in "abcd" for number in range(50))


def test_no_more_than_the_newest_are_recalled_and_the_file_does_not_grow_for_ever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_history, "MOST_BYTES", 1000)
    monkeypatch.setattr(input_history, "MOST_KEPT", 20)
    for number in range(500):
        InputHistory(path).add(f"prompt {number}")
        assert path.stat().st_size <= 1020
    kept = InputHistory(path).load()
    assert kept == [f"prompt {number}" for number in range(480, 500)]


def test_a_prompt_of_megabytes_is_not_kept(path: Path) -> None:
    InputHistory(path).add("x" * 300_000)
    assert InputHistory(path).load() == []


async def test_what_is_forgotten_is_gone_from_the_file(path: Path) -> None:
    for text in ("keep", "go ", "keep too", "go"):
        InputHistory(path).add(text)
    await InputHistory(path).forget(lambda text: text.strip() == "go")
    assert InputHistory(path).load() == ["keep", "keep too"]
    assert b"go" not in path.read_bytes()


async def test_what_is_scrubbed_is_replaced(path: Path) -> None:
    InputHistory(path).add("my name is Bob")
    history = InputHistory(path)
    assert await history.matches(re.compile("Bob"))
    await history.scrub(re.compile("Bob"), "[removed]")
    assert history.load() == ["my name is [removed]"]
    assert not await history.matches(re.compile("Bob"))


async def test_forgetting_where_nothing_is_makes_no_file(path: Path) -> None:
    await InputHistory(path).forget(lambda _: True)
    await InputHistory(path).scrub(re.compile("x"), "")
    assert not path.exists()
