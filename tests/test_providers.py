from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.config.settings import Settings
from chatllm_cli.errors import AuthenticationError, ChatllmError, ConfigError, UsageError
from chatllm_cli.models import Conversation, Endpoint
from chatllm_cli.services.local.weights import BUNDLED_SHA256
from chatllm_cli.services.providers import Providers
from tests.model_server import a_model

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
OPENAI_URL = "https://api.openai.com/v1"
SMOLLM2 = Endpoint(
    "local",
    "smollm2",
    base_url="",
    weights=f"sha256:{BUNDLED_SHA256}",
    marks_end=True,
    takes_schema=True,
    context_length=8192,
)

NOTHING: dict[str, Any] = {}
KEY = {"api_key": "of-default"}
URL = {"base_url": "http://host/v1"}
OPENAI = {"providers": {"openai": {"api_key": "of-openai"}}}
OPENAI_ELSEWHERE = {"providers": {"openai": {"base_url": "http://proxy/v1"}}}
WORK = {"providers": {"work": {"base_url": "http://work/v1", "api_key": "of-work"}}}
WORK_WITHOUT_ADDRESS = {"providers": {"work": {"api_key": "of-work"}}}
EVERYTHING = URL | KEY | {"providers": OPENAI["providers"] | WORK["providers"]}


def providers(settings: dict[str, Any]) -> Providers:
    return Providers(Settings(**settings))


def openai(model: str, key: str | None = "of-openai", base_url: str = OPENAI_URL) -> Endpoint:
    is_theirs = base_url == OPENAI_URL
    return Endpoint(
        "openai", model, base_url, key, "max_completion_tokens", marks_end=is_theirs, takes_schema=is_theirs
    )


def default(model: str, key: str | None = None) -> Endpoint:
    return Endpoint("default", model, "http://host/v1", key, max_tokens_field="max_tokens")


def work(model: str, key: str | None = "of-work") -> Endpoint:
    return Endpoint("work", model, "http://work/v1", key, max_tokens_field="max_tokens")


GROQ = {"providers": {"groq": {"api_key": "of-groq"}}}
OPENAI_AND_GROQ = {"providers": OPENAI["providers"] | GROQ["providers"]}
ANTHROPIC = {"providers": {"anthropic": {"api_key": "of-anthropic"}}}
ANTHROPICS = Endpoint("anthropic", "claude", "https://api.anthropic.com/v1", "of-anthropic", marks_end=True)
OLLAMA = Endpoint("ollama", "llama3.2", "http://127.0.0.1:11434/v1", marks_end=True, takes_schema=True)
ALIASES = {"aliases": {"fast": "local/", "clever": " groq/meta/llama "}}


def groq(model: str) -> Endpoint:
    return Endpoint(
        "groq", model, "https://api.groq.com/openai/v1", "of-groq", "max_completion_tokens", marks_end=True
    )


NO_DEFAULT = "'{}' needs the default provider's address"


@pytest.mark.parametrize(
    ("settings", "address", "endpoint"),
    [
        (NOTHING, "", SMOLLM2),
        (NOTHING, "  ", SMOLLM2),
        (NOTHING, "local/", SMOLLM2),
        (NOTHING, "local/smollm2", SMOLLM2),
        (NOTHING, "smollm2", SMOLLM2),
        ({"model": "local/"}, "", SMOLLM2),
        ({"model": " smollm2 "}, "", SMOLLM2),
        (KEY, "", openai("gpt-4o-mini", "of-default")),
        (KEY, "local/smollm2", SMOLLM2),
        (KEY | OPENAI, "openai/gpt-5", openai("gpt-5", "of-default")),
        (KEY | {"model": "openai/gpt-5"}, "", openai("gpt-5", "of-default")),
        (OPENAI, "", openai("gpt-4o-mini")),
        (OPENAI, "gpt-5", openai("gpt-5")),
        (OPENAI, " openai/gpt-5\n", openai("gpt-5")),
        (OPENAI, "ft:gpt-5:acme/7", openai("ft:gpt-5:acme/7")),
        (OPENAI | {"model": "gpt-5"}, "", openai("gpt-5")),
        (OPENAI | {"model": "gpt-5"}, "gpt-6", openai("gpt-6")),
        (OPENAI_ELSEWHERE, "", openai("gpt-4o-mini", None, "http://proxy/v1")),
        (OPENAI_ELSEWHERE, "gpt-5", openai("gpt-5", None, "http://proxy/v1")),
        (URL, "llama", default("llama")),
        (URL, "default/llama", default("llama")),
        (URL, "meta/llama", default("meta/llama")),
        (URL, "default/meta/llama", default("meta/llama")),
        (URL, "meta/llama/instruct:free", default("meta/llama/instruct:free")),
        (URL, "/models/llama.gguf", default("/models/llama.gguf")),
        (URL, "smollm2", default("smollm2")),
        (URL, "openai", default("openai")),
        (URL, "work/llama", default("work/llama")),
        (URL, "local/", SMOLLM2),
        (URL | {"model": "llama"}, "", default("llama")),
        (URL | {"model": "meta/llama"}, "", default("meta/llama")),
        (URL | {"model": "default/llama"}, "", default("llama")),
        (URL | {"model": "local/"}, "", SMOLLM2),
        (URL | KEY, "llama", default("llama", "of-default")),
        (URL | OPENAI, "llama", default("llama")),
        (URL | OPENAI, "openai/gpt-5", openai("gpt-5")),
        (WORK, "", SMOLLM2),
        (WORK, "work/llama", work("llama")),
        (WORK, "work/meta/llama", work("meta/llama")),
        (WORK | {"model": "work/llama"}, "", work("llama")),
        ({"providers": {"work": {"base_url": "http://work/v1"}}}, "work/llama", work("llama", None)),
        (EVERYTHING, "work/llama", work("llama")),
        (EVERYTHING, "openai/gpt-5", openai("gpt-5")),
        (EVERYTHING, "llama", default("llama", "of-default")),
        (WORK, "meta-llama", work("meta-llama")),
        (GROQ, "groq/llama", groq("llama")),
        (GROQ, "llama", groq("llama")),
        (GROQ | OPENAI_AND_GROQ, "llama", openai("llama")),
        (URL, "anthropic/claude", default("anthropic/claude")),
        (URL | ANTHROPIC, "anthropic/claude", ANTHROPICS),
        (URL, "groq/llama", default("groq/llama")),
        (NOTHING, "ollama/llama3.2", OLLAMA),
        (ALIASES, "fast", SMOLLM2),
        (ALIASES | GROQ, "clever", groq("meta/llama")),
        (ALIASES | GROQ | {"model": "clever"}, "", groq("meta/llama")),
    ],
)
def test_an_address_leads_to_an_endpoint(settings: dict[str, Any], address: str, endpoint: Endpoint) -> None:
    found = providers(settings).endpoint(address)
    assert (found, found.api_key) == (endpoint, endpoint.api_key)


NO_KEY = "`chatllm keys set openai` stores one, or set OPENAI_API_KEY; -m local/ needs none"
UNKNOWN_HINT = "write provider/model; `chatllm models providers` lists the providers"


@pytest.mark.parametrize(
    ("settings", "address", "kind", "message", "hint"),
    [
        (
            NOTHING,
            "llama",
            UsageError,
            "there is no model 'llama' without a provider that could have it",
            UNKNOWN_HINT,
        ),
        (
            WORK,
            "meta/llama",
            UsageError,
            "there is no provider 'meta'",
            UNKNOWN_HINT,
        ),
        (
            NOTHING,
            "default/llama",
            ConfigError,
            "'default/llama' needs the default provider's address",
            "set CHATLLM_BASE_URL",
        ),
        (
            OPENAI,
            "default/gpt-5",
            ConfigError,
            "'default/gpt-5' needs the default provider's address",
            "set CHATLLM_BASE_URL",
        ),
        (
            {"model": "llama"},
            "",
            UsageError,
            "there is no model 'llama' without a provider that could have it",
            UNKNOWN_HINT,
        ),
        (
            NOTHING,
            "local/nope",
            UsageError,
            "there is no embedded model 'nope'",
            "the embedded model is local/smollm2; local.model_path names another",
        ),
        (
            EVERYTHING,
            "local/nope",
            UsageError,
            "there is no embedded model 'nope'",
            "the embedded model is local/smollm2; local.model_path names another",
        ),
        (
            URL,
            "",
            ConfigError,
            "no model is chosen for http://host/v1",
            "set CHATLLM_MODEL or give -m; `chatllm models list` shows what it has",
        ),
        (
            EVERYTHING,
            "",
            ConfigError,
            "no model is chosen for http://host/v1",
            "set CHATLLM_MODEL or give -m; `chatllm models list` shows what it has",
        ),
        (
            WORK_WITHOUT_ADDRESS,
            "work/llama",
            ConfigError,
            "provider 'work' has no address",
            "set providers.work.base_url",
        ),
        (NOTHING, "openai/gpt-5", AuthenticationError, "there is no key for openai", NO_KEY),
        ({"model": "openai/gpt-5"}, "", AuthenticationError, "there is no key for openai", NO_KEY),
        (URL | KEY, "openai/gpt-5", AuthenticationError, "there is no key for openai", NO_KEY),
    ],
)
def test_an_address_that_leads_nowhere_is_told(
    settings: dict[str, Any], address: str, kind: type[ChatllmError], message: str, hint: str
) -> None:
    with pytest.raises(ChatllmError) as caught:
        providers(settings).endpoint(address)
    error = caught.value
    assert (type(error), error.message, error.hint) == (kind, message, hint)


ADDRESSES = [
    "llama",
    "meta/llama",
    "default/llama",
    "openai/gpt-5",
    "work/llama",
    "local/",
    "openai",
    "nope/openai/x",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_key_goes_to_its_own_provider_only(address: str) -> None:
    endpoint = providers(EVERYTHING).endpoint(address)
    assert (endpoint.base_url, endpoint.api_key) in {
        ("http://host/v1", "of-default"),
        (OPENAI_URL, "of-openai"),
        ("http://work/v1", "of-work"),
        ("", None),
    }


@pytest.mark.parametrize("address", ["llama", "openai", "openai /x", "default/openai/x", "OpenAI/x"])
def test_openais_key_does_not_go_to_base_url(address: str) -> None:
    endpoint = providers(URL | OPENAI).endpoint(address)
    assert (endpoint.base_url, endpoint.api_key) == ("http://host/v1", None)


def test_the_key_of_base_url_does_not_go_to_openai() -> None:
    with pytest.raises(AuthenticationError):
        providers(URL | KEY).endpoint("openai/gpt-5")
    elsewhere = providers(URL | KEY | OPENAI_ELSEWHERE).endpoint("openai/gpt-5")
    assert (elsewhere.base_url, elsewhere.api_key) == ("http://proxy/v1", None)


def test_a_key_is_not_in_an_endpoints_repr() -> None:
    assert "of-openai" not in repr(providers(OPENAI).endpoint("gpt-5"))


def test_openais_variables_describe_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of-openai")
    assert providers(NOTHING).endpoint() == openai("gpt-4o-mini")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://proxy/v1")
    assert providers(NOTHING).endpoint() == openai("gpt-4o-mini", base_url="http://proxy/v1")


@pytest.mark.parametrize(
    ("settings", "address", "stands_in"),
    [
        (NOTHING, "", True),
        (NOTHING, " ", True),
        (WORK, "", True),
        (NOTHING, "local/", False),
        (NOTHING, "smollm2", False),
        ({"model": "local/"}, "", False),
        (OPENAI, "", False),
        (OPENAI, "local/", False),
        (URL | {"model": "llama"}, "", False),
    ],
)
def test_the_embedded_model_stands_in_only_where_nobody_asked_for_it(
    settings: dict[str, Any], address: str, stands_in: bool
) -> None:
    known = providers(settings)
    assert known.stands_in(known.endpoint(address), address) is stands_in


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (NOTHING, []),
        (KEY, ["openai"]),
        (OPENAI, ["openai"]),
        (OPENAI_ELSEWHERE, ["openai"]),
        (URL, ["default"]),
        (URL | KEY, ["default"]),
        (URL | OPENAI, ["openai", "default"]),
        (WORK, ["work"]),
        (WORK_WITHOUT_ADDRESS, []),
        (EVERYTHING, ["openai", "work", "default"]),
    ],
)
def test_configured_are_those_that_could_be_asked_now(settings: dict[str, Any], names: list[str]) -> None:
    known = providers(settings)
    assert known.configured() == names
    assert [known.catalogue(name).provider for name in names] == names


def test_a_model_file_of_ones_own_is_the_embedded_model(tmp_path: Path) -> None:
    path = tmp_path / "My-Model.Q4.gguf"
    path.write_bytes(a_model(100))
    known = providers({"local": {"model_path": str(path)}})
    endpoint = known.endpoint()
    status = path.stat()
    fingerprint = f"file:{path}:100:{status.st_mtime_ns}"
    assert endpoint == Endpoint(
        "local", "my-model.q4", base_url="", weights=fingerprint, marks_end=True, takes_schema=True
    )
    assert known.endpoint("my-model.q4") == known.endpoint("local/my-model.q4") == endpoint
    with pytest.raises(UsageError, match=r"^there is no embedded model 'smollm2'$"):
        known.endpoint("local/smollm2")
    assert not known.stands_in(known.endpoint())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "local.model_path: {path} cannot be read: No such file or directory"),
        (b"PK\x03\x04", "local.model_path: {path} is not a GGUF file"),
        (b"", "local.model_path: {path} is not a GGUF file"),
    ],
)
def test_a_model_file_that_cannot_be_used_is_told(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        providers({"local": {"model_path": str(path)}}).endpoint()
    assert caught.value.message == message.format(path=path)


def test_an_alias_leads_to_one_model_and_no_further() -> None:
    known = providers(OPENAI | {"aliases": {"a": "b", "b": "openai/gpt-5"}})
    assert known.endpoint("b") == openai("gpt-5")
    assert known.endpoint("a") == openai("b")


def held_with(model: str, *, imported: bool = False) -> Conversation:
    return Conversation("c1", "t", NOON, model, imported_at=NOON if imported else None)


def test_a_stored_conversation_does_not_follow_aliases() -> None:
    known = providers(OPENAI | {"aliases": {"openai": "local/"}})
    assert known.resumed(held_with("openai/gpt-5")) == openai("gpt-5")


def test_a_stored_key_makes_a_provider_usable() -> None:
    known = Providers(Settings(), {"groq"})
    assert known.configured() == ["groq"]
    assert known.endpoint("llama") == replace(groq("llama"), api_key=None)


def test_a_command_for_the_key_makes_a_provider_usable() -> None:
    assert providers({"providers": {"groq": {"api_key_cmd": "pass groq"}}}).configured() == ["groq"]
    assert providers({"api_key_cmd": "pass openai"}).configured() == ["openai"]
    assert (
        providers({"api_key_cmd": "pass it", "base_url": "http://host/v1"}).settings("default").api_key_cmd
        == "pass it"
    )


@pytest.mark.parametrize("name", ["nope", "default"])
def test_an_unknown_provider_has_no_list(name: str) -> None:
    with pytest.raises(UsageError, match=f"^there is no provider '{name}'$"):
        providers(NOTHING).catalogue(name)


@pytest.mark.parametrize("address", ["default/llama", "gone/llama"])
def test_a_stored_conversation_goes_to_no_other_provider_than_its_own(address: str) -> None:
    known = providers(OPENAI)
    with pytest.raises(ConfigError, match=f"^the conversation was held with {address}, and there is no provider"):
        known.resumed(held_with(address))
    assert known.resumed(held_with("openai/gpt-5")) == known.endpoint("openai/gpt-5")


@pytest.mark.parametrize(
    ("model", "answers"),
    [("openai/gpt-5", "openai/gpt-5"), ("gpt-5", "openai/gpt-5"), ("small", "openai/gpt-4"), ("gone/m", "openai/m")],
)
def test_a_conversation_from_elsewhere_goes_to_its_model_or_to_the_default_one(model: str, answers: str) -> None:
    known = providers(OPENAI | {"model": "openai/m", "aliases": {"small": "openai/gpt-4"}})
    assert known.resumed(held_with(model, imported=True)).address == answers
