import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.errors import ChatllmError, UsageError
from chatllm_cli.services.batch.items import Item, prompt_hash
from chatllm_cli.services.batch.results import Results


def answer(id_: int | str | None, prompt: str = "x", status: str = "complete") -> dict[str, Any]:
    return {"id": id_, "prompt_hash": prompt_hash(prompt), "status": status}


async def written(path: Path, *answers: dict[str, Any]) -> None:
    results = Results.open(path)
    for each in answers:
        results.put(each)
    await results.aclose()


async def has(path: Path, item: Item) -> bool:
    results = Results.open(path)
    await results.aclose()
    return results.has(item, item.prompt)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.jsonl"


async def test_a_new_file_is_its_owners_alone_and_has_a_line_for_each(path: Path) -> None:
    await written(path, answer(1), answer("a"))
    assert [json.loads(line) for line in path.read_text().splitlines()] == [answer(1), answer("a")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_an_answer_is_known_by_its_id_or_else_by_its_line_and_prompt(path: Path) -> None:
    await written(path, answer(1, "x"), answer("a", "x"))
    assert await has(path, Item(1, 1, "x"))
    assert not await has(path, Item(1, 1, "y"))
    assert not await has(path, Item(2, 2, "x"))
    assert await has(path, Item(9, "a", "y", has_own_id=True))


@pytest.mark.parametrize(("status", "is_whole"), [("unknown_end", True), ("truncated", False), ("error", False)])
async def test_the_last_line_of_an_id_counts_and_only_whole_answers_are_done(
    path: Path, status: str, is_whole: bool
) -> None:
    await written(path, answer("a"), answer("a", status=status), answer(None, status="error"))
    assert await has(path, Item(1, "a", "x", has_own_id=True)) is is_whole


async def test_a_torn_line_is_ended_and_a_damaged_one_passed_over(path: Path) -> None:
    await written(path, answer(1))
    with path.open("ab") as file:
        file.write(b'\x00\xff\n{"id": 2, "pro')
    results = Results.open(path)
    results.put(answer(2))
    await results.aclose()
    assert results.damaged == 2
    assert path.read_bytes().split(b"\n")[-2] == json.dumps(answer(2)).encode()


@pytest.mark.parametrize("torn", [b"{", b'{"id', b'{"id": 1, "line": 1, "pro'])
async def test_a_file_with_nothing_but_a_torn_line_is_gone_on_with(path: Path, torn: bytes) -> None:
    path.write_bytes(torn)
    await written(path, answer(1))
    assert path.read_bytes() == torn + b"\n" + json.dumps(answer(1)).encode() + b"\n"


@pytest.mark.parametrize("data", [b"my notes", b"my\nnotes\n", b'{"a": 1}\n', b"1\n"])
def test_a_file_of_something_else_is_left_as_it_is(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(UsageError, match="is there, and is no output of batch"):
        Results.open(path)
    assert path.read_bytes() == data


async def test_one_batch_writes_to_it_at_a_time(path: Path) -> None:
    results = Results.open(path)
    with pytest.raises(UsageError, match="another batch is writing to "):
        Results.open(path)
    await results.aclose()
    await written(path, answer(1))


def test_what_is_no_file_is_not_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("pipe", "link", "missing/x"):
        with pytest.raises(UsageError, match="cannot be written: "):
            Results.open(tmp_path / name)


async def test_a_full_disk_is_told_with_the_files_name(path: Path) -> None:
    results = Results.open(path)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, results._descriptor)  # noqa: SLF001  (nothing else fills up)
    os.close(full)
    with pytest.raises(ChatllmError, match=f"the answers could not be written to {path}: No space left on device"):
        results.put(answer(1))
