import asyncio
import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring
from keyrings.alt.file import PlaintextKeyring

from chatllm_cli.config.loading import key_origins, load_settings
from chatllm_cli.config.places import Places
from chatllm_cli.errors import AuthenticationError, ChatllmError, ConfigError, UsageError
from chatllm_cli.services.keys import KeyFile, Keys, Store, StoredKey
from chatllm_cli.services.providers import Providers

GROQ_HOST = "api.groq.com"


class Ring(PlaintextKeyring):  # type: ignore[misc]  # it has no types
    """A real keyring that needs no desktop, as eager as one that a desktop brings."""

    priority = 1


@pytest.fixture
def locked_out() -> Iterator[None]:
    """No keyring, as where nobody is logged in."""
    yield from with_keyring(NoKeyring())  # type: ignore[no-untyped-call]


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[None]:
    """A keyring that works."""
    backend = Ring()
    backend.file_path = str(tmp_path / "keyring.cfg")
    yield from with_keyring(backend)


def with_keyring(backend: KeyringBackend) -> Iterator[None]:
    before = keyring.get_keyring()
    keyring.set_keyring(backend)
    yield
    keyring.set_keyring(before)


def keys_of(places: Places, **how: Any) -> tuple[Keys, Providers]:
    settings, file = load_settings(), KeyFile(places.keys)
    providers = Providers(settings, file.read())
    return Keys(file, providers, origins=key_origins(settings), **how), providers


async def key_sent(places: Places, address: str, **how: Any) -> str | None:
    keys, providers = keys_of(places, **how)
    return await keys.key_for(providers.endpoint(address))


def configure(places: Places, text: str) -> None:
    places.config_file.parent.mkdir(parents=True, exist_ok=True)
    places.config_file.write_text(text)
    places.config_file.chmod(0o600)


COMMAND = '[providers.groq]\napi_key_cmd = "echo of-command"\n'


@pytest.mark.parametrize(
    ("places_of_keys", "expected"),
    [
        (["command", "keyring", "environment", "config"], "of-command"),
        (["keyring", "environment", "config"], "of-keyring"),
        (["environment", "config", "file"], "of-environment"),
        (["config", "file"], "of-config"),
        (["file"], "of-file"),
    ],
)
async def test_the_key_is_taken_from_the_first_place_that_has_one(
    places: Places, monkeypatch: pytest.MonkeyPatch, ring: None, places_of_keys: list[str], expected: str
) -> None:
    configure(places, COMMAND if "command" in places_of_keys else "")
    keys, _ = keys_of(places)
    if "file" in places_of_keys:
        await keys.store("groq", "of-file", Store.FILE)
    if "keyring" in places_of_keys:
        await keys.store("groq", "of-keyring", Store.KEYRING)
    if "environment" in places_of_keys:
        monkeypatch.setenv("GROQ_API_KEY", "of-environment")
    if "config" in places_of_keys:
        written = places.config_file.read_text() or "[providers.groq]\n"
        configure(places, f'{written}api_key = "of-config"\n')
    assert await key_sent(places, "groq/llama") == expected


async def test_a_key_goes_to_a_keyring_if_there_is_one_and_is_not_in_our_file(places: Places, ring: None) -> None:
    keys, _ = keys_of(places)
    assert await keys.store("groq", " sk-canary\n") == StoredKey(GROQ_HOST, Store.KEYRING)
    assert json.loads(places.keys.read_text()) == {"groq": {"host": GROQ_HOST, "store": "keyring", "key": ""}}
    assert keyring.get_password("chatllm", "groq") == "sk-canary"


async def test_without_a_keyring_it_goes_to_a_file_for_its_owner_alone(places: Places, locked_out: None) -> None:
    keys, _ = keys_of(places)
    assert await keys.store("groq", "sk-canary") == StoredKey(GROQ_HOST, Store.FILE, "sk-canary")
    assert stat.S_IMODE(places.keys.stat().st_mode) == 0o600
    assert stat.S_IMODE(places.keys.parent.stat().st_mode) == 0o700
    assert await key_sent(places, "groq/llama") == "sk-canary"


async def test_a_keyring_that_is_asked_for_and_not_there_is_told_and_nothing_is_stored(
    places: Places, locked_out: None
) -> None:
    keys, _ = keys_of(places)
    with pytest.raises(ConfigError, match=r"^the keyring cannot be used: "):
        await keys.store("groq", "sk-canary", Store.KEYRING)
    assert not places.keys.exists()


async def test_a_removed_key_is_gone_from_file_and_keyring(places: Places, ring: None) -> None:
    keys, _ = keys_of(places)
    await keys.store("groq", "sk-one", Store.KEYRING)
    await keys.store("xai", "sk-two", Store.FILE)
    await keys.remove("groq")
    await keys.remove("xai")
    assert json.loads(places.keys.read_text()) == {}
    assert keyring.get_password("chatllm", "groq") is None
    with pytest.raises(UsageError, match=r"^no key is stored for groq$"):
        await keys.remove("groq")


async def test_a_key_that_moves_to_the_file_leaves_the_keyring(places: Places, ring: None) -> None:
    keys, _ = keys_of(places)
    await keys.store("groq", "sk-one", Store.KEYRING)
    await keys.store("groq", "sk-two", Store.FILE)
    assert keyring.get_password("chatllm", "groq") is None


async def test_a_key_that_the_keyring_lost_is_told(places: Places, ring: None) -> None:
    keys, _ = keys_of(places)
    await keys.store("groq", "sk-one")
    keyring.delete_password("chatllm", "groq")
    with pytest.raises(AuthenticationError, match=r"^the keyring has no key for groq any more$"):
        await key_sent(places, "groq/llama")


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
        "the key for openai was stored for api.openai.com, and its address is evil.example now: it is not sent"
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
    ],
)
async def test_the_environment_does_not_lead_a_key_of_the_config_file_elsewhere(
    places: Places, monkeypatch: pytest.MonkeyPatch, config: str, variables: dict[str, str], address: str
) -> None:
    configure(places, config)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(AuthenticationError, match=r"it is not sent$"):
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
            "the command that has the key for groq printed none: expected a key of printable ASCII characters",
        ),
    ],
)
async def test_a_command_that_has_no_key_is_told(places: Places, command: str, message: str) -> None:
    configure(places, f"[providers.groq]\napi_key_cmd = {json.dumps(command)}\n")
    with pytest.raises(AuthenticationError) as caught:
        await key_sent(places, "groq/llama")
    assert caught.value.message == message


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


def test_each_key_is_told_before_it_is_used(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "sk-canary")
    told: list[str] = []
    asyncio.run(key_sent(places, "groq/llama", on_key=told.append))
    assert told == ["sk-canary"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "no key was given"),
        ("  \n", "no key was given"),
        ("sk-\x1b[31m", "that is no key: expected a key of printable ASCII characters"),
        ("schlüssel", "that is no key: expected a key of printable ASCII characters"),
    ],
)
async def test_what_can_be_no_key_is_not_stored(places: Places, key: str, message: str) -> None:
    keys, _ = keys_of(places)
    with pytest.raises(UsageError) as caught:
        await keys.store("groq", key, Store.FILE)
    assert (caught.value.message, places.keys.exists()) == (message, False)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"groq": 5}',
        b'{"groq": {}}',
        b'{"groq": {"host": "h", "store": "cellar", "key": "k"}}',
        b'{"groq": {"host": 1, "store": "file", "key": "k"}}',
        b'{"groq": {"host": "h", "store": "file", "key": "\\u001b"}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_told_and_left_alone(places: Places, content: bytes) -> None:
    places.keys.parent.mkdir(parents=True)
    places.keys.write_bytes(content)
    places.keys.chmod(0o600)
    with pytest.raises(ConfigError, match=r"keys.json is damaged$"):
        KeyFile(places.keys).read()
    assert places.keys.read_bytes() == content


def make_readable(path: Path) -> None:
    path.write_text("{}")
    path.chmod(0o640)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (make_readable, "{} holds keys and others can read it"),
        (Path.mkdir, "{} cannot be read: Is a directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_told(places: Places, spoil: Callable[[Path], None], message: str) -> None:
    places.keys.parent.mkdir(parents=True)
    spoil(places.keys)
    with pytest.raises(ChatllmError) as caught:
        KeyFile(places.keys).read()
    assert caught.value.message == message.format(places.keys)


async def test_the_overview_says_where_each_key_lies_and_goes(
    places: Places, monkeypatch: pytest.MonkeyPatch, ring: None
) -> None:
    configure(places, 'base_url = "https://mine:8443/v1"\napi_key = "sk-canary"\n' + COMMAND)
    monkeypatch.setenv("MISTRAL_API_KEY", "sk-canary")
    keys, _ = keys_of(places)
    await keys.store("groq", "sk-canary", Store.FILE)
    await keys.store("mistral", "sk-canary", Store.KEYRING)
    await keys.store("xai", "sk-canary", Store.FILE)
    keys, _ = keys_of(places)
    assert keys.overview() == [
        ("groq", GROQ_HOST, "api_key_cmd, then file"),
        ("mistral", "api.mistral.ai", "keyring, then environment variable MISTRAL_API_KEY"),
        ("xai", "api.x.ai", "file"),
        ("default", "mine:8443", str(places.config_file)),
    ]
    assert [keys.outweighed_by(name, Store.FILE) for name in ("groq", "mistral", "xai")] == [
        "api_key_cmd",
        "environment variable MISTRAL_API_KEY",
        "",
    ]
