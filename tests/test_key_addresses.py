"""A key goes only to the address that it is for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.errors import AuthenticationError, ConfigError
from chatllm_cli.services.keys import Store
from tests.keyrings import configure, key_sent, keys_of, ring_at, with_keyring

PERSONAL = '[providers.openai]\napi_key_cmd = "echo sk-personal"\n'


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[None]:
    """A keyring that works."""
    with with_keyring(ring_at(tmp_path / "keyring.cfg")):
        yield


@pytest.mark.parametrize("store", Store)
async def test_a_stored_key_goes_to_no_other_host(
    places: Places, monkeypatch: pytest.MonkeyPatch, ring: None, store: Store
) -> None:
    keys, _ = keys_of(places)
    await keys.store("openai", "sk-canary", store)
    assert await key_sent(places, "openai/gpt") == "sk-canary"
    monkeypatch.setenv("OPENAI_BASE_URL", "https://evil.example/v1")
    with pytest.raises(AuthenticationError) as caught:
        await key_sent(places, "openai/gpt")
    assert caught.value.message == (
        "the key for openai is for https://api.openai.com, "
        "and its address is https://evil.example now: it is not sent"
    )


@pytest.mark.parametrize(
    ("config", "variables", "address"),
    [
        ('api_key = "sk"', {"CHATLLM_BASE_URL": "https://evil.example/v1"}, "m"),
        ('api_key = "sk"\nbase_url = "https://mine/v1"', {"CHATLLM_BASE_URL": "https://evil.example/v1"}, "m"),
        ('api_key = "sk"', {"OPENAI_BASE_URL": "https://evil.example/v1"}, "openai/m"),
        ('[providers.openai]\napi_key = "sk"', {"OPENAI_BASE_URL": "https://evil.example/v1"}, "openai/m"),
        ('[providers.groq]\napi_key = "sk"', {"CHATLLM_PROVIDERS__GROQ__BASE_URL": "https://evil.example"}, "groq/m"),
        (
            '[providers.w]\napi_key = "sk"\nbase_url = "https://mine/v1"',
            {"CHATLLM_PROVIDERS__W__BASE_URL": "https://mine:8443/v1"},
            "w/m",
        ),
        ('[providers.w]\napi_key = "sk"', {"CHATLLM_PROVIDERS__W__BASE_URL": "https://evil.example"}, "w/m"),
        ('api_key_cmd = "echo sk"', {"CHATLLM_BASE_URL": "https://evil.example/v1"}, "m"),
        ('[providers.openai]\napi_key_cmd = "echo sk"', {"OPENAI_BASE_URL": "https://evil.example/v1"}, "openai/m"),
        ('api_key = "sk"\nbase_url = "https://mine/v1"', {"CHATLLM_BASE_URL": "http://mine/v1"}, "m"),
        (
            '[providers.openai]\napi_key_cmd = "echo sk"\n[profile.p.providers.openai]\nbase_url = "https://evil.example"',
            {"CHATLLM_PROFILE": "p"},
            "openai/m",
        ),
        (
            '[providers.openai]\nbase_url = "http://[::1"\napi_key = "sk"',
            {"OPENAI_BASE_URL": "https://evil.example/v1"},
            "openai/m",
        ),
    ],
)
async def test_the_environment_does_not_lead_a_key_of_the_config_file_elsewhere(
    places: Places, monkeypatch: pytest.MonkeyPatch, config: str, variables: dict[str, str], address: str
) -> None:
    configure(places, config)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(AuthenticationError, match=r"it is not sent"):
        await key_sent(places, address)


@pytest.mark.parametrize(
    ("config", "variables", "address"),
    [
        ('api_key = "sk"', {}, "openai/m"),
        ('api_key = "sk"\nbase_url = "https://mine/v1"', {}, "m"),
        ('base_url = "https://mine/v1"', {"CHATLLM_API_KEY": "sk"}, "m"),
        ('[providers.openai]\nbase_url = "https://mine/v1"', {"OPENAI_API_KEY": "sk"}, "openai/m"),
        ("", {"OPENAI_API_KEY": "sk", "OPENAI_BASE_URL": "https://mine/v1"}, "openai/m"),
        ("", {"MISTRAL_API_KEY": "sk"}, "mistral/m"),
        ('[providers.w]\napi_key = "sk"\nbase_url = "https://mine/v1"', {}, "w/m"),
        ('api_key_cmd = "echo sk"\nbase_url = "https://mine/v1"', {}, "m"),
        (
            '[providers.w]\nbase_url = "https://mine/v1"\n[profile.p.providers.w]\napi_key = "sk"',
            {"CHATLLM_PROFILE": "p"},
            "w/m",
        ),
        ('base_url = "https://mine/v1"\n[profile.p]\napi_key = "sk"', {"CHATLLM_PROFILE": "p"}, "m"),
        (
            '[providers.w]\napi_key = "sk"\n[profile.p.providers.w]\nbase_url = "https://mine/v1"',
            {"CHATLLM_PROFILE": "p"},
            "w/m",
        ),
        ('api_key = "sk"\n[providers.openai]\nbase_url = "https://mine/v1"', {}, "openai/m"),
        (
            PERSONAL + '[profile.p.providers.openai]\nbase_url = "https://mine/v1"\napi_key = "sk"\n',
            {"CHATLLM_PROFILE": "p"},
            "openai/m",
        ),
        ('[providers.openai]\napi_key_cmd = "echo sk"', {"CHATLLM_API_KEY": "sk-other"}, "openai/m"),
        ("", {"CHATLLM_API_KEY_CMD": "echo sk", "CHATLLM_BASE_URL": "https://mine/v1"}, "m"),
    ],
)
async def test_a_key_goes_where_its_owner_says(
    places: Places, monkeypatch: pytest.MonkeyPatch, config: str, variables: dict[str, str], address: str
) -> None:
    configure(places, config)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert await key_sent(places, address) == "sk"


async def test_a_key_does_not_go_over_plain_http_to_another_machine(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_BASE_URL", "http://10.0.0.1:8000/v1")
    assert await key_sent(places, "m") is None
    monkeypatch.setenv("CHATLLM_API_KEY", "sk-canary")
    with pytest.raises(ConfigError) as caught:
        await key_sent(places, "m")
    assert (caught.value.message, caught.value.hint) == (
        "the key for default would go to 10.0.0.1:8000 over plain http, for anyone on the way to read",
        "use https, or --insecure-http if nobody is",
    )
    assert await key_sent(places, "m", insecure_http=True) == "sk-canary"
