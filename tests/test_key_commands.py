"""Commands that print a key."""

import asyncio
import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.errors import AuthenticationError
from tests.keyrings import configure, key_sent, keys_of


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("echo sk-1", "sk-1"),
        ("printf 'sk-2\\nlogin: me\\n'", "sk-2"),
        ("echo; echo sk-3", "sk-3"),
        ("printf '  sk-4\\r\\n'", "sk-4"),
        ("echo sk-5 | tr 5 6", "sk-6"),
    ],
)
async def test_a_command_prints_the_key_on_its_first_line(places: Places, command: str, key: str) -> None:
    configure(places, f"[providers.groq]\napi_key_cmd = {json.dumps(command)}\n")
    assert await key_sent(places, "groq/llama") == key


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("exit 3", "the command that has the key for groq failed with status 3"),
        ("kill -9 $$", "the command that has the key for groq failed with status -9"),
        ("true", "the command that has the key for groq printed nothing"),
        ("no-such-command-at-all 2>/dev/null", "the command that has the key for groq failed with status 127"),
        (
            "printf 'sk-\\001'",
            "the command that has the key for groq printed none: expected a key of ASCII characters, without blanks",
        ),
    ],
)
async def test_a_command_that_has_no_key_is_told(places: Places, command: str, message: str) -> None:
    configure(places, f"[providers.groq]\napi_key_cmd = {json.dumps(command)}\n")
    with pytest.raises(AuthenticationError) as caught:
        await key_sent(places, "groq/llama")
    assert caught.value.message == message


async def test_a_key_is_found_that_came_as_the_command_ended(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    go, real_look = tmp_path / "go", select.select
    os.mkfifo(go)

    class Started(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self)

    def look(*_: object) -> tuple[list[int], list[int], list[int]]:
        monkeypatch.setattr(select, "select", real_look)
        go.write_text("\n")
        started[0].wait()
        return [], [], []  # just before it printed anything

    monkeypatch.setattr(subprocess, "Popen", Started)
    monkeypatch.setattr(select, "select", look)
    configure(places, f'[providers.groq]\napi_key_cmd = "read line < {go}; echo sk"\n')
    assert await key_sent(places, "groq/llama") == "sk"


async def test_a_command_is_run_once(places: Places, tmp_path: Path) -> None:
    configure(places, f'[providers.groq]\napi_key_cmd = "echo run >> {tmp_path}/runs; echo sk"\n')
    keys, providers = keys_of(places)
    endpoint = providers.endpoint("groq/llama")
    assert [await keys.key_for(endpoint), await keys.key_for(endpoint)] == ["sk", "sk"]
    assert (tmp_path / "runs").read_text() == "run\n"


async def test_a_command_that_is_waited_for_no_more_is_ended(places: Places, tmp_path: Path) -> None:
    configure(places, f'[providers.groq]\napi_key_cmd = "echo $$ > {tmp_path}/pid; exec sleep 60"\n')
    asking = asyncio.ensure_future(key_sent(places, "groq/llama"))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    process = Path("/proc") / (tmp_path / "pid").read_text().strip()
    for _ in range(500):
        if not process.exists():
            return
        await asyncio.sleep(0.01)
    pytest.fail("the command goes on")


async def test_what_a_command_leaves_running_is_not_waited_for(places: Places) -> None:
    configure(places, '[providers.groq]\napi_key_cmd = "sleep 30 & echo sk"\n')
    begin = time.monotonic()
    assert await key_sent(places, "groq/llama") == "sk"
    assert time.monotonic() - begin < 10


async def test_a_command_that_prints_without_end_is_not_kept_in_memory(places: Places) -> None:
    configure(places, '[providers.groq]\napi_key_cmd = "yes sk | head -c 50000000"\n')
    assert await key_sent(places, "groq/llama") == "sk"
