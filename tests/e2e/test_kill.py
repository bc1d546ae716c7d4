"""kill -9 at any moment: what was acknowledged is there."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

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


def killed_in_mid_stream(places: Places, *arguments: str, replies: int) -> list[dict[str, str]]:
    """Run a command, kill it once so many replies are marked, and return the messages of its conversation."""
    process = subprocess.Popen([CHATLLM, *arguments], stdout=subprocess.DEVNULL)
    until = time.monotonic() + 20
    while len({each["id"] for each in records(places) if each["type"] == "partial" and each["from"]}) < replies:
        assert time.monotonic() < until
        time.sleep(0.02)
    process.kill()
    process.wait()
    messages: list[dict[str, str]] = exported()["messages"]
    return messages


def exported() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(chatllm("history", "export", "--format", "json"))
    return found


def test_a_kill_while_several_models_answer_keeps_what_came_of_each_and_the_head_at_the_first(
    provider: FakeOpenAI, places: Places
) -> None:
    models = ("tokens-400-20", "tokens-390-20", "tokens-380-20")
    prompt, *replies = killed_in_mid_stream(
        places, "ask", *(f"-m{model}" for model in models), "my prompt", replies=3
    )
    assert sorted(reply["model"] for reply in replies) == sorted(f"default/{model}" for model in models)
    for reply in replies:
        assert (reply["parent"], reply["status"]) == (prompt["id"], "interrupted")
        assert reply["content"].startswith("word0 word1 ")
    (head,) = (reply for reply in replies if reply["id"] == exported()["head"])
    assert head["model"] == "default/tokens-400-20"


def test_a_kill_while_prompts_are_asked_again_leaves_the_conversation_where_it_was(
    provider: FakeOpenAI, places: Places
) -> None:
    chatllm("ask", "-m", "says-hello", "my prompt")
    prompt, stored, again = killed_in_mid_stream(places, "history", "replay", "@1", "-m", "tokens-400-20", replies=1)
    assert (again["parent"], again["status"]) == (prompt["id"], "interrupted")
    assert again["content"].startswith("word0 word1 ")
    assert exported()["head"] == stored["id"]
    chatllm("ask", "-c", "-m", "says-x", "more")
    assert provider.last_messages() == [("user", "my prompt"), ("assistant", "hello"), ("user", "more")]


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
