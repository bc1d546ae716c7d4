from collections.abc import Callable

import pytest

from chatllm_cli.config.places import Places
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI
from tests.terminal import Terminal


def test_a_key_is_typed_unseen_and_never_shown(terminal: Callable[..., Terminal], places: Places) -> None:
    screen = terminal("keys", "set", "groq", columns=200)
    screen.wait_for("Key for groq (not shown):")
    screen.type("sk-canary\r")
    assert screen.wait() == 0
    assert "sk-canary" not in screen.text
    assert f"the key for groq is in {places.keys} (0600); it is sent to https://api.groq.com only" in screen.text
    assert '"key": "sk-canary"' in places.keys.read_text()


def test_a_key_comes_from_a_pipe(run: Run, places: Places) -> None:
    result = run("keys", "set", "groq", stdin="sk-canary\n")
    expected = f"the key for groq is in {places.keys} (0600); it is sent to https://api.groq.com only\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")
    assert '"key": "sk-canary"' in places.keys.read_text()


def test_it_is_said_what_outweighs_a_new_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "sk-other")
    assert run("keys", "set", "groq", stdin="sk-canary").stderr == "environment variable GROQ_API_KEY outweighs it\n"


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["nope"], "sk", "there is no provider 'nope'\n  hint: `chatllm models providers` lists the providers"),
        (
            ["default"],
            "sk",
            "there is no provider 'default'\n  hint: set CHATLLM_BASE_URL, or base_url in the config file",
        ),
        (["groq"], "", "no key was given"),
        (["groq"], "sk\nmore\n", "that is no key: expected a key of ASCII characters, without blanks"),
        (["groq", "--file", "--keyring"], "sk", "--file and --keyring are not to be had together"),
    ],
)
def test_what_cannot_be_stored_is_told(
    run: Run, places: Places, arguments: list[str], stdin: str, message: str
) -> None:
    result = run("keys", "set", *arguments, stdin=stdin)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"chatllm: {message}\n")
    assert not places.keys.exists()


def test_keys_are_listed_and_removed(run: Run) -> None:
    run("keys", "set", "groq", stdin="sk-canary")
    run("keys", "set", "xai", stdin="sk-canary")
    assert run("keys", "list").stdout == "groq\tapi.groq.com\tfile\nxai\tapi.x.ai\tfile\n"
    assert run("keys", "rm", "groq").stdout == "the key for groq is removed\n"
    assert run("keys", "list").stdout == "xai\tapi.x.ai\tfile\n"
    result = run("keys", "rm", "groq")
    expected = "chatllm: no key is stored for groq\n  hint: `chatllm keys list` shows what there is\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)


def test_a_stored_key_is_sent(run: Run, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_PROVIDERS__WORK__BASE_URL", fake_openai.base_url)
    run("keys", "set", "work", stdin="sk-canary")
    assert run("ask", "-m", "work/says-hello", "hi").stdout == "hello"
    assert [seen.headers["Authorization"] for seen in fake_openai.chats] == ["Bearer sk-canary"]


def test_a_stored_key_of_another_host_keeps_the_prompt_and_ends_in_3(
    run: Run, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_PROVIDERS__WORK__BASE_URL", "https://work.example.org/v1")
    run("keys", "set", "work", stdin="sk-canary")
    monkeypatch.setenv("CHATLLM_PROVIDERS__WORK__BASE_URL", fake_openai.base_url)
    result = run("ask", "-m", "work/says-hello", "my prompt")
    assert (result.exit_code, result.stdout, fake_openai.seen) == (3, "", [])
    assert result.stderr.startswith("chatllm: the key for work is for https://work.example.org, and its address is ")
    assert "my prompt" in run("history", "show").stdout


def test_a_key_of_a_command_is_in_no_traceback(
    run: Run, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_BASE_URL", fake_openai.base_url)
    monkeypatch.setenv("CHATLLM_API_KEY_CMD", "echo of-a-command-1234")
    result = run("--debug", "ask", "-m", "fault-401", "hi")
    assert result.exit_code == 3
    assert "Traceback" in result.stderr
    assert fake_openai.chats[0].headers["Authorization"] == "Bearer of-a-command-1234"
    assert "of-a-command" not in result.stderr


def test_a_command_that_has_no_key_costs_no_prompt(
    run: Run, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_BASE_URL", fake_openai.base_url)
    monkeypatch.setenv("CHATLLM_API_KEY_CMD", "exit 1")
    result = run("ask", "-m", "says-hello", "my long prompt")
    assert (result.exit_code, fake_openai.seen) == (3, [])
    assert "my long prompt" in run("history", "show").stdout


def test_an_answer_from_the_cache_needs_no_key(
    run: Run, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_BASE_URL", fake_openai.base_url)
    monkeypatch.setenv("CHATLLM_MODEL", "says-hello")
    monkeypatch.setenv("CHATLLM_API_KEY_CMD", "echo sk-canary")
    assert run("ask", "--temperature", "0", "hi").stdout == "hello"
    monkeypatch.setenv("CHATLLM_API_KEY_CMD", "exit 1")
    assert run("ask", "--temperature", "0", "hi").stdout == "hello"


def test_a_keyring_that_is_set_up_wrong_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, terminal: Callable[..., Terminal]
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "nope.Keyring")
    screen = terminal("keys", "set", "groq", "--keyring", columns=120)
    screen.wait_for("Key for groq")
    screen.type("sk-canary\r")
    assert screen.wait() == 2
    assert "chatllm: the keyring cannot be used: No module named 'nope'" in screen.text
