"""kill -9 at any moment: what was acknowledged is there."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from chatllm_cli.config.places import Places
from tests.fake_openai import FakeOpenAI
from tests.model_server import ModelServer, a_model
from tests.terminal import CHATLLM


def chatllm(*arguments: str) -> str:
    return subprocess.run([CHATLLM, *arguments], capture_output=True, text=True, timeout=50, check=True).stdout


def records(places: Places) -> list[dict[str, str]]:
    paths: list[Path] = list(places.conversations.glob("*/*/*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


@pytest.mark.parametrize("seconds", [0.1, 1.4, 2.3])
def test_a_kill_in_mid_stream_keeps_the_prompt_and_all_but_the_last_second(
    provider: FakeOpenAI, places: Places, seconds: float
) -> None:
    process = subprocess.Popen(
        [CHATLLM, "ask", "-m", "tokens-400-20", "my prompt"], stdout=subprocess.PIPE, bufsize=0
    )
    assert process.stdout
    seen = process.stdout.read(1)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        seen += process.stdout.read(4096)
    process.kill()
    process.wait()
    process.stdout.close()
    exported = json.loads(chatllm("history", "export", "--format", "json"))
    prompt, reply = exported["messages"]
    assert (prompt["content"], prompt["status"]) == ("my prompt", "complete")
    assert reply["status"] == "interrupted"
    assert seen.decode().startswith(reply["content"])
    missing = len(seen.decode().split()) - len(reply["content"].split())
    assert missing <= 75, f"{missing} words at 20 ms each: more than the last second and what a mark itself takes"
    assert "· interrupted" in chatllm("history", "show")


def test_a_kill_before_the_first_word_keeps_the_prompt(provider: FakeOpenAI, places: Places) -> None:
    process = subprocess.Popen([CHATLLM, "ask", "-m", "hang", "my prompt"])
    while not provider.chats:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert "my prompt" in chatllm("history", "show")
    assert [record["type"] for record in records(places)] == ["conversation", "message"]
    chatllm("ask", "-c", "-m", "says-found", "again")
    assert provider.last_messages() == [("user", "again")]


def test_a_kill_while_a_model_is_fetched_costs_nothing_that_came(places: Places) -> None:
    with ModelServer(a_model(1_000_000)) as server:
        pull = [CHATLLM, "models", "pull", f"{server.url}/slow-400000/tiny.gguf"]
        process = subprocess.Popen(pull, stderr=subprocess.DEVNULL)
        part = places.models / "tiny.gguf.part"
        while not part.exists() or part.stat().st_size < 400_000:
            time.sleep(0.01)
        process.kill()
        process.wait()
        server.go_on.set()
        assert chatllm(*pull[1:]) == "local/tiny\n"
        assert server.ranges == ["", "bytes=400000-"]
        assert (places.models / "tiny.gguf").read_bytes() == server.content
    assert sorted(path.name for path in places.models.iterdir()) == ["tiny.gguf", "tiny.gguf.json"]
