from pathlib import Path

import pytest

from tests.conftest import Run
from tests.fake_openai import FakeOpenAI

NOWHERE = "http://127.0.0.1:9/v1"


def test_with_nothing_set_the_embedded_model_is_listed(run: Run, home: Path) -> None:
    result = run("models", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "local/smollm2\n", "")
    assert list(home.iterdir()) == []


def test_a_providers_models_are_listed_as_they_are_addressed(run: Run, provider: FakeOpenAI) -> None:
    provider.models = ["tokens-5", "meta/llama", "says-hello"]
    result = run("models", "list")
    expected = "local/smollm2\ndefault/meta/llama\ndefault/says-hello\ndefault/tokens-5\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")
    assert [(seen.path, seen.headers["Authorization"]) for seen in provider.seen] == [
        ("/v1/models", "Bearer sk-canary")
    ]


def test_every_listed_model_can_be_asked(run: Run, provider: FakeOpenAI) -> None:
    provider.models = ["says-one", "says-two"]
    _, *addresses = run("models", "list").stdout.splitlines()
    assert [run("ask", "-m", address, "hi").stdout for address in addresses] == ["one", "two"]


def test_a_provider_without_models_is_no_fault(run: Run, provider: FakeOpenAI) -> None:
    provider.models = []
    result = run("models", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "local/smollm2\n", "")


def test_a_provider_that_cannot_be_asked_now_is_left_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_PROVIDERS__WORK__API_KEY", "sk-canary")
    result = run("models", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "local/smollm2\n", "")


HINT = f"  hint: is the server running? its address is {NOWHERE}\n"


def test_a_provider_that_cannot_be_reached_does_not_hide_those_after_it(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_PROVIDERS__GONE__BASE_URL", NOWHERE)
    result = run("models", "list")
    assert (result.exit_code, result.stdout) == (5, "local/smollm2\ndefault/says-hello\ndefault/tokens-5\n")
    assert result.stderr == f"chatllm: no connection to gone: connection refused\n{HINT}"


def test_a_provider_that_cannot_be_reached_does_not_hide_those_before_it(
    run: Run, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_BASE_URL", NOWHERE)
    monkeypatch.setenv("CHATLLM_PROVIDERS__WORK__BASE_URL", fake_openai.base_url)
    result = run("models", "list")
    assert (result.exit_code, result.stdout) == (5, "local/smollm2\nwork/says-hello\nwork/tokens-5\n")
    assert result.stderr == f"chatllm: no connection to 127.0.0.1:9: connection refused\n{HINT}"


def test_without_any_model_it_is_told(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_LOCAL__MODEL_PATH", str(home / "none.gguf"))
    result = run("models", "list")
    expected = f"chatllm: local.model_path: {home}/none.gguf cannot be read: No such file or directory\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)


def test_with_a_provider_the_embedded_model_is_not_missed(
    run: Run, home: Path, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_LOCAL__MODEL_PATH", str(home / "none.gguf"))
    result = run("models", "list")
    expected = "default/says-hello\ndefault/tokens-5\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")


def test_settings_that_cannot_be_used_are_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_BASE_URL", "host")
    result = run("models", "list")
    expected = (
        "chatllm: environment variable CHATLLM_BASE_URL: base_url: expected an address such as https://host/v1\n"
    )
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)
