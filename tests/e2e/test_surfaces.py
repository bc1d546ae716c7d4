"""Whatever comes from outside, and by whatever way, a terminal finds nothing in it to obey; pipes are exact."""

import json
import subprocess
from collections.abc import Callable

import pytest

from chatllm_cli.config.places import Places
from tests.fake_openai import FakeOpenAI
from tests.payloads import ALL, ON_A_LINE, PAYLOADS, forbidden_in
from tests.terminal import CHATLLM, CTRL_D, Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
SAFE_LINE = ON_A_LINE.replace("\n", " ").replace("\0", "")
TERMINALS = {
    "plain answer": ["ask", "--plain", "-m", "payloads", "hi"],
    "rendered answer": ["ask", "-m", "payloads", "hi"],
    "code": ["ask", "-m", "payloads-in-code", "hi"],
    "extracted code": ["ask", "-x", "-m", "payloads-in-code", "hi"],
    "error": ["ask", "-m", "payloads-error", "hi"],
    "models": ["models", "list"],
    "list": ["history", "list"],
    "show": ["history", "show", "@1"],
    "raw show": ["history", "show", "--raw", "@1"],
    "tree": ["history", "show", "--tree", "@1"],
    "search": ["history", "search", "end"],
    "stats": ["history", "stats"],
    "export": ["history", "export", "@1"],
    "unknown address": ["history", "show", SAFE_LINE],
    "file name": ["history", "export", "@1", "-o", f"/nowhere/{SAFE_LINE[:100]}"],
    "config error": ["config", "show"],
    "weights": ["ask", "-m", "local/", "hi"],
    "json": ["ask", "--json", "-m", "payloads", "hi"],
    "several answers": ["ask", "-m", "payloads", "-m", "payloads-in-code", "hi"],
    "columns": ["ask", "--columns", "-m", "payloads", "-m", "payloads-in-code", "hi"],
    "answers to prompts asked again": ["history", "replay", "@1", "-m", "payloads"],
    "differences": ["history", "replay", "@1", "-m", "payloads-in-code", "--diff"],
}


@pytest.fixture(autouse=True)
def hostile(provider: FakeOpenAI, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history, a list of models, settings and weights that hold all of it."""
    provider.models[:] = [f"model-{payload}" for payload in PAYLOADS]
    monkeypatch.setenv("CHATLLM_LOCAL__MODEL_PATH", f"/nowhere/{SAFE_LINE[:100]}.gguf")
    subprocess.run([CHATLLM, "ask", "-m", "payloads", f"end {ALL}"], check=True, stdout=subprocess.DEVNULL)


def break_config(places: Places) -> None:
    """Write a config file with a setting whose name is all of it."""
    places.config_file.parent.mkdir(parents=True, exist_ok=True)
    places.config_file.write_text(f"{json.dumps(SAFE_LINE)} = 1\n", "utf-8")


@pytest.mark.parametrize("name", TERMINALS)
def test_nothing_is_obeyed_on_a_terminal(
    terminal: Callable[..., Terminal], places: Places, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PAGER", "cat")
    if name == "config error":
        break_config(places)
    screen = terminal(*TERMINALS[name], columns=100)
    screen.wait()
    assert len(screen.raw) > 100
    assert forbidden_in(screen.raw) == []
    assert screen.screen.title == ""


def test_nothing_is_obeyed_in_the_chat(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("chat", "-m", "payloads", columns=100)
    screen.wait_for("\n>")
    screen.type("hi\r")
    screen.wait_for("3164} end")
    screen.type(CTRL_D)
    screen.wait()
    for mark in (
        "\x1b]0;",
        "\x1b]52",
        "\x1b]8;",
        "\x1b]1337",
        "\x1b_G",
        "\x1bP",
        "\x9b",
        "\x9d",
        "\u202e",
        "\x1b[8m",
    ):
        assert mark not in screen.raw
    assert screen.screen.title == ""


@pytest.mark.parametrize("arguments", [["ask", "-m", "payloads", "hi"], ["history", "show", "--raw", "@1"]])
def test_a_pipe_gets_what_came(arguments: list[str]) -> None:
    done = subprocess.run([CHATLLM, *arguments], check=True, capture_output=True)
    assert ALL.encode() in done.stdout
    assert forbidden_in(done.stderr.decode()) == []


@pytest.mark.parametrize("name", ["error", "unknown address", "file name", "config error", "weights"])
def test_stderr_is_clean_on_a_pipe_too(places: Places, name: str) -> None:
    if name == "config error":
        break_config(places)
    done = subprocess.run([CHATLLM, *TERMINALS[name]], check=False, capture_output=True)
    assert done.returncode > 0
    assert forbidden_in(done.stderr.decode("utf-8", "surrogateescape")) == []


def test_json_escapes_by_its_format() -> None:
    for flag in ("--json", "--json-stream"):
        done = subprocess.run([CHATLLM, "ask", flag, "-m", "payloads", "hi"], check=True, capture_output=True)
        assert done.stdout.isascii()
        assert forbidden_in(done.stdout.decode()) == []
        assert json.loads(done.stdout.splitlines()[-1])["text"] == ALL
