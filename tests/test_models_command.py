import json
from dataclasses import replace
from pathlib import Path

import pytest

from chatllm_cli.cli import models
from chatllm_cli.config.known_providers import KNOWN
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


def test_only_one_providers_models_are_listed_if_it_is_named(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_PROVIDERS__GONE__BASE_URL", NOWHERE)
    result = run("models", "list", "--provider", "default")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "default/says-hello\ndefault/tokens-5\n", "")
    assert run("models", "list", "--provider", "local").stdout == "local/smollm2\n"


def test_a_provider_that_does_not_exist_has_no_models(run: Run) -> None:
    result = run("models", "list", "--provider", "nope")
    hint = "`chatllm models providers` lists the providers"
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"chatllm: there is no provider 'nope'\n  hint: {hint}\n"


def test_models_are_listed_as_json(run: Run, provider: FakeOpenAI) -> None:
    provider.models = ["meta/llama"]
    assert json.loads(run("models", "list", "--json").stdout) == [
        {"address": "local/smollm2", "provider": "local", "model": "smollm2"},
        {"address": "default/meta/llama", "provider": "default", "model": "meta/llama"},
    ]


def test_an_ollama_that_runs_here_is_listed_and_asked_without_being_set_up(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeOpenAI(models=["says-hello"]) as ollama:
        monkeypatch.setattr(models, "SELF_ANNOUNCING", ("ollama", "lmstudio"))
        monkeypatch.setitem(KNOWN, "ollama", replace(KNOWN["ollama"], base_url=ollama.base_url))
        monkeypatch.setitem(KNOWN, "lmstudio", replace(KNOWN["lmstudio"], base_url=NOWHERE))
        assert run("models", "list").stdout == "local/smollm2\nollama/says-hello\n"
        assert run("ask", "-m", "ollama/says-hello", "hi").stdout == "hello"
        assert [seen.headers.get("Authorization") for seen in ollama.seen] == [None, None]
    assert run("models", "list").stdout == "local/smollm2\n"


def test_a_provider_that_sends_the_bare_list_is_understood(run: Run, provider: FakeOpenAI) -> None:
    provider.lists = [{"id": "tokens-5"}, {"id": "says-hello"}, {"id": None}]
    assert run("models", "list").stdout == "local/smollm2\ndefault/says-hello\ndefault/tokens-5\n"


def test_a_list_that_is_none_is_one_line(run: Run, provider: FakeOpenAI) -> None:
    provider.lists = {"data": "none"}
    result = run("models", "list")
    host = provider.base_url.removeprefix("http://").removesuffix("/v1")
    expected = (
        f"chatllm: {host} sent something that is no list of models\n  hint: its address is {provider.base_url}\n"
    )
    assert (result.exit_code, result.stdout, result.stderr) == (5, "local/smollm2\n", expected)


PROVIDERS = """\
openai	https://api.openai.com/v1	environment variable OPENAI_API_KEY
openrouter	https://openrouter.ai/api/v1	missing (OPENROUTER_API_KEY)
groq	https://api.groq.com/openai/v1	api_key_cmd
mistral	https://api.mistral.ai/v1	missing (MISTRAL_API_KEY)
deepseek	https://api.deepseek.com/v1	missing (DEEPSEEK_API_KEY)
gemini	https://generativelanguage.googleapis.com/v1beta/openai	missing (GEMINI_API_KEY)
anthropic	https://api.anthropic.com/v1	missing (ANTHROPIC_API_KEY)
xai	https://api.x.ai/v1	missing (XAI_API_KEY)
together	https://api.together.xyz/v1	missing (TOGETHER_API_KEY)
ollama	http://127.0.0.1:11434/v1	none needed
lmstudio	http://127.0.0.1:1234/v1	none needed
vllm	http://127.0.0.1:8000/v1	none needed
llamacpp	http://127.0.0.1:8080/v1	none needed
work	https://work/v1	none needed
"""


def test_every_provider_is_listed_with_where_its_key_lies(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("CHATLLM_PROVIDERS__GROQ__API_KEY_CMD", "exit 1")
    monkeypatch.setenv("CHATLLM_PROVIDERS__WORK__BASE_URL", "https://work/v1")
    result = run("models", "providers")
    assert (result.exit_code, result.stdout, result.stderr) == (0, PROVIDERS, "")
    assert json.loads(run("models", "providers", "--json").stdout)[0] == {
        "provider": "openai",
        "base_url": "https://api.openai.com/v1",
        "key": "environment variable OPENAI_API_KEY",
    }
