"""A server of another make answers through the same code: LiteLLM's proxy, before the embedded engine.

It lives in an environment of its own, for it wants other versions of what is used here; CHATLLM_SECOND_SERVER names
its program, and `.ci/run` installs it.
"""

import asyncio
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatllm_cli.config.sections import LocalSettings
from chatllm_cli.services.local.engine import LocalModel
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI

PROGRAM = os.environ.get("CHATLLM_SECOND_SERVER", "")
PATIENCE = 120  # seconds for it to start
KEY = "sk-second-server"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.embedded,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("second-server"),
    pytest.mark.skipif(not PROGRAM, reason="CHATLLM_SECOND_SERVER names no server"),
]


@pytest.fixture(scope="module")
def second_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address; `smollm2` is the embedded engine behind it, `thinks` and `fault-429-0` are the fake server."""
    folder = tmp_path_factory.mktemp("second-server")
    base_url, key = asyncio.run(LocalModel(LocalSettings()).start())
    with FakeOpenAI() as fake:
        upstreams = {"smollm2": (base_url, key), "thinks": (fake.base_url, "k"), "length": (fake.base_url, "k")}
        models = [
            {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_base": url, "api_key": key}}
            for name, (url, key) in upstreams.items()
        ]
        config = folder / "config.yaml"  # which JSON is, too
        config.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": KEY}}))
        port = _free_port()
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [
                    PROGRAM,
                    "--config",
                    str(config),
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(port),
                    "--telemetry",
                    "False",
                ],
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": str(folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            )
            try:
                _wait_for(f"http://127.0.0.1:{port}/health/liveliness", folder / "log")
                yield f"http://127.0.0.1:{port}/v1"
            finally:
                process.terminate()
                process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(url: str, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310  (on loopback)
                return
        except OSError:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)


@pytest.fixture(autouse=True)
def set_up(second_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_BASE_URL", second_server)
    monkeypatch.setenv("CHATLLM_API_KEY", KEY)
    monkeypatch.setenv("CHATLLM_MODEL", "default/smollm2")


def test_it_answers_a_conversation_with_token_counts(run: Run) -> None:
    first = json.loads(run("ask", "--json", "Say hello.").stdout)
    second = json.loads(run("ask", "--json", "-c", "And now goodbye.").stdout)
    assert (first["status"], first["finish_reason"], first["model"]) == ("complete", "stop", "smollm2")
    assert first["text"]
    assert second["conversation"] == first["conversation"]
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"] > 0


def test_an_answer_that_it_cuts_is_told(run: Run) -> None:
    result = run("ask", "--max-tokens", "5", "Tell me a long story.")
    assert (result.exit_code, bool(result.stdout)) == (6, True)


def test_its_options_are_passed_on(run: Run) -> None:
    answers = [
        run("ask", "--no-cache", "--temperature", "0.9", "--seed", seed, "Name a colour.").stdout
        for seed in ("7", "7", "8")
    ]
    assert answers[0] == answers[1]
    stopped = json.loads(run("ask", "--json", "--stop", "3", "Count: 1, 2, 3, 4.").stdout)
    assert "3" not in stopped["text"]


def test_what_a_model_thinks_aloud_comes_through_it(run: Run) -> None:
    answer = json.loads(run("ask", "--json", "-m", "thinks", "hm").stdout)
    assert (answer["text"], answer["reasoning"]) == ("an answer", "First, a thought.\x1b[31m")


def test_its_models_are_listed(run: Run) -> None:
    listed = run("models", "list", "--provider", "default").stdout.splitlines()
    assert listed == ["default/length", "default/smollm2", "default/thinks"]


def test_a_model_that_it_has_not_is_told(run: Run) -> None:
    result = run("ask", "-m", "nope", "hi")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "Invalid model name" in result.stderr


def test_a_key_that_it_does_not_take_is_told_and_not_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_API_KEY", "sk-canary-1234")
    result = run("--debug", "ask", "hi")
    assert (result.exit_code in {3, 5}, result.stdout) == (True, "")
    assert "sk-canary-1234" not in result.output
