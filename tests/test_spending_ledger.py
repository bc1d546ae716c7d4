import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chatllm_cli.errors import HistoryError
from chatllm_cli.models import Message, Role, TokenUsage
from chatllm_cli.services.spending import Spending

NOW = datetime.now(UTC)
BEGIN = NOW - timedelta(minutes=5)


def reply(cost: float | None, model: str = "openai/gpt-4o") -> Message:
    return Message("m", Role.ASSISTANT, "text", NOW, model=model, cost=cost, usage=TokenUsage(7, 3))


class History:
    """Says what was spent, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def spend(self, since: datetime) -> tuple[float, int]:
        self.asked += 1
        return 1.0, 2


@pytest.fixture
def history() -> History:
    return History()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "spending"


async def test_what_was_spent_here_is_added_to_what_the_history_says(folder: Path, history: History) -> None:
    spending = Spending(folder, history.spend)
    spending.note(reply(0.25))
    spending.note(reply(0.25))
    spending.note(reply(None))
    assert await spending.since(BEGIN) == (1.5, 3)
    spending.write()
    assert await spending.since(BEGIN) == (1.5, 3)
    assert await Spending(folder, history.spend).since(BEGIN) == (1.5, 3)
    assert await Spending(folder, history.spend).since(NOW + timedelta(minutes=5)) == (1.0, 2)


async def test_only_amounts_are_kept_for_their_owner_alone_a_line_for_each_model(
    folder: Path, history: History
) -> None:
    spending = Spending(folder, history.spend)
    for cost, model in ((0.25, "a/x"), (0.5, "a/x"), (None, "b/y")):
        spending.note(reply(cost, model))
    spending.write()
    spending.write()
    (path,) = folder.iterdir()
    lines = [json.loads(line) for line in path.read_text().split("\n") if line]
    at = lines[0]["at"]
    two, one = {"input_tokens": 14, "output_tokens": 6}, {"input_tokens": 7, "output_tokens": 3}
    assert lines == [
        {"v": 1, "at": at, "model": "a/x", "answers": 2, **two, "cost": 0.75, "unpriced": 0},
        {"v": 1, "at": at, "model": "b/y", "answers": 1, **one, "cost": 0.0, "unpriced": 1},
    ]  # fmt: skip
    assert (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == (0o700, 0o600)


def test_what_costs_nothing_leaves_no_file(folder: Path, history: History) -> None:
    spending = Spending(folder, history.spend)
    spending.note(reply(0.0))
    spending.write()
    assert not folder.exists()


async def test_what_another_process_spends_is_seen_and_a_damaged_line_is_passed_over(
    folder: Path, history: History
) -> None:
    here, elsewhere = Spending(folder, history.spend), Spending(folder, history.spend)
    here.note(reply(0.25))
    here.write()
    assert await here.since(BEGIN) == (1.25, 2)
    (path,) = folder.iterdir()
    with path.open("ab") as file:
        file.write(b'\xff{"at": 1\n{"v": 1, "at": "2026')
    elsewhere.note(reply(0.5))
    elsewhere.write()
    assert await here.since(BEGIN) == (1.75, 2)


async def test_the_history_is_asked_anew_unless_it_may_be_a_little_old(folder: Path, history: History) -> None:
    spending = Spending(folder, history.spend)
    for _ in range(3):
        await spending.since(BEGIN)
    assert history.asked == 3
    spending.freshness = 60
    for _ in range(3):
        await spending.since(BEGIN)
    assert history.asked == 3


def test_where_it_cannot_be_written_it_is_told_and_written_the_next_time(folder: Path, history: History) -> None:
    folder.parent.mkdir()
    folder.write_text("no folder")
    spending = Spending(folder, history.spend)
    spending.note(reply(0.25))
    with pytest.raises(HistoryError, match="what was spent could not be noted in "):
        spending.write()
    folder.unlink()
    spending.write()
    assert len(list(folder.iterdir())) == 1
