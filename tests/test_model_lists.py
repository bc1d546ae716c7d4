import asyncio
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from chatllm_cli.errors import ProviderTimeoutError
from chatllm_cli.models import Endpoint
from chatllm_cli.services.model_lists import ModelLists, answers, in_time
from tests.fake_openai import FakeOpenAI

AFAR = Endpoint("groq", "", "https://api.groq.com/openai/v1")
HERE = Endpoint("ollama", "", "http://127.0.0.1:11434/v1")


class Asked:
    """Answers with another list each time."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self, _: Endpoint) -> list[str]:
        self.times += 1
        return [f"model-{self.times}"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


async def test_a_list_is_remembered_for_all_who_ask_later(folder: Path) -> None:
    asked = Asked()
    lists = [await ModelLists(folder, asked).models_of(AFAR) for _ in range(2)]
    assert (lists, asked.times) == ([["model-1"], ["model-1"]], 1)
    (file,) = folder.iterdir()
    assert (file.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)


async def test_a_list_is_asked_for_anew_if_that_is_wished(folder: Path) -> None:
    asked = Asked()
    await ModelLists(folder, asked).models_of(AFAR)
    assert await ModelLists(folder, asked).models_of(AFAR, refresh=True) == ["model-2"]
    assert await ModelLists(folder, asked).models_of(AFAR) == ["model-2"]


async def test_what_runs_on_this_machine_is_asked_each_time(folder: Path) -> None:
    lists = ModelLists(folder, Asked())
    assert [await lists.models_of(HERE), await lists.models_of(HERE)] == [["model-1"], ["model-2"]]
    assert not folder.exists()


async def test_each_address_has_a_list_of_its_own(folder: Path) -> None:
    lists = ModelLists(folder, Asked())
    elsewhere = Endpoint("groq", "", "https://proxy.example.org/v1")
    assert [await lists.models_of(AFAR), await lists.models_of(elsewhere)] == [["model-1"], ["model-2"]]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"at": "now", "models": []}',
        b'{"at": 0, "models": ["old"]}',
        b'{"models": ["without a time"]}',
        b'{"at": NOW + 1000, "models": ["of the future"]}',
        b'{"at": NOW - 86401, "models": ["of the day before"]}',
        b"[" * 100_000,
    ],
)
async def test_a_file_that_is_old_or_damaged_is_not_heeded(folder: Path, content: bytes) -> None:
    lists = ModelLists(folder, Asked())
    await lists.models_of(AFAR)
    (file,) = folder.iterdir()
    moment = re.search(rb"NOW ([+-]) (\d+)", content)
    offset = 0 if moment is None else int(moment[1] + moment[2])
    file.write_bytes(re.sub(rb"NOW . \d+", str(time.time() + offset).encode(), content))
    assert await lists.models_of(AFAR) == ["model-2"]


async def test_a_folder_that_cannot_be_made_costs_nothing_but_time(folder: Path) -> None:
    folder.write_text("in the way")
    assert await ModelLists(folder, Asked()).models_of(AFAR) == ["model-1"]


@pytest.mark.parametrize(("provider", "name"), [("groq", "groq"), ("default", "api.groq.com")])
async def test_a_provider_that_does_not_come_to_an_end_is_given_up(folder: Path, provider: str, name: str) -> None:
    async def drips(_: Endpoint) -> list[str]:
        while True:
            await asyncio.sleep(0.01)

    lists = ModelLists(folder, drips, patience=0.05)
    with pytest.raises(ProviderTimeoutError, match=rf"^{name} did not list its models within 0\.05 seconds$"):
        await lists.models_of(replace(AFAR, provider=provider))


async def test_what_does_not_stop_is_not_waited_for() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(60)

    async with asyncio.timeout(30):
        with pytest.raises(TimeoutError):
            await in_time(stubborn(), 0.05)


async def test_who_listens_is_known_without_a_request(fake_openai: FakeOpenAI) -> None:
    assert await answers(fake_openai.base_url)
    assert not await answers("http://127.0.0.1:9/v1")
    assert fake_openai.seen == []
