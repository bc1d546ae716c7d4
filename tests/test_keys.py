import asyncio
import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import pytest

from chatllm_cli.config.places import Places, find_places
from chatllm_cli.errors import AuthenticationError, ChatllmError, ConfigError, UsageError
from chatllm_cli.services.keys import KeyFile, Store, StoredKey
from tests.keyrings import LockedRing, configure, key_sent, keys_of, no_keyring, ring_at, with_keyring

GROQ_HOST = "api.groq.com"
GROQ = f"https://{GROQ_HOST}"
ENTRY = f"groq for {GROQ}"


@pytest.fixture
def locked_out() -> Iterator[None]:
    """No keyring, as where nobody is logged in."""
    with with_keyring(no_keyring()):
        yield


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[None]:
    """A keyring that works."""
    with with_keyring(ring_at(tmp_path / "keyring.cfg")):
        yield


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
    assert await keys.store("groq", " sk-canary\n") == StoredKey(GROQ, Store.KEYRING)
    assert json.loads(places.keys.read_text()) == {"groq": {"for_whom": GROQ, "store": "keyring", "key": ""}}
    assert keyring.get_password("chatllm", ENTRY) == "sk-canary"


async def test_without_a_keyring_it_goes_to_a_file_for_its_owner_alone(places: Places, locked_out: None) -> None:
    keys, _ = keys_of(places)
    assert await keys.store("groq", "sk-canary") == StoredKey(GROQ, Store.FILE, "sk-canary")
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
    assert keyring.get_password("chatllm", ENTRY) is None
    with pytest.raises(UsageError, match=r"^no key is stored for groq$"):
        await keys.remove("groq")


async def test_a_key_that_the_keyring_does_not_let_go_is_not_said_to_be_removed(
    places: Places, tmp_path: Path
) -> None:
    with with_keyring(ring_at(tmp_path / "keyring.cfg", kind=LockedRing)):
        keys, _ = keys_of(places)
        await keys.store("groq", "sk-one")
        with pytest.raises(ConfigError, match=r"^the keyring cannot be used: it is locked$"):
            await keys.remove("groq")
        assert await key_sent(places, "groq/llama") == "sk-one"


async def test_keys_that_are_stored_at_once_are_all_kept(places: Places, locked_out: None) -> None:
    names = ["openai", "groq", "mistral", "xai", "together", "gemini"]
    await asyncio.gather(*(keys_of(places)[0].store(name, f"sk-{name}") for name in names))
    for _ in range(5):
        await asyncio.gather(*(asyncio.to_thread(_store, places, name) for name in names))
    assert {name: entry.key for name, entry in KeyFile(places.keys).read().items()} == {
        name: f"sk-{name}-2" for name in names
    }


def _store(places: Places, name: str) -> None:
    entry = StoredKey(GROQ, Store.FILE, f"sk-{name}-2")
    KeyFile(places.keys).change(lambda keys: keys | {name: entry})


async def test_each_home_has_entries_of_its_own_for_each_address(
    places: Places, monkeypatch: pytest.MonkeyPatch, ring: None
) -> None:
    monkeypatch.setenv("CHATLLM_PROVIDERS__WORK__BASE_URL", "https://a.example/v1")
    await keys_of(places)[0].store("work", "sk-a")
    monkeypatch.setenv("CHATLLM_PROVIDERS__WORK__BASE_URL", "https://b.example/v1")
    monkeypatch.setenv("CHATLLM_HOME", str(places.config_file.parent / "other"))
    await keys_of(find_places())[0].store("work", "sk-b")
    monkeypatch.setenv("CHATLLM_PROVIDERS__WORK__BASE_URL", "https://a.example/v1")
    assert await key_sent(places, "work/m") == "sk-a"


async def test_a_key_that_moves_to_the_file_leaves_the_keyring(places: Places, ring: None) -> None:
    keys, _ = keys_of(places)
    await keys.store("groq", "sk-one", Store.KEYRING)
    await keys.store("groq", "sk-two", Store.FILE)
    assert keyring.get_password("chatllm", ENTRY) is None


async def test_a_key_that_the_keyring_lost_is_told(places: Places, ring: None) -> None:
    keys, _ = keys_of(places)
    await keys.store("groq", "sk-one")
    keyring.delete_password("chatllm", ENTRY)
    with pytest.raises(AuthenticationError, match=r"^the keyring has no key for groq any more$"):
        await key_sent(places, "groq/llama")


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
        ("sk-\x1b[31m", "that is no key: expected a key of ASCII characters, without blanks"),
        ("schlüssel", "that is no key: expected a key of ASCII characters, without blanks"),
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
        b'{"groq": {"for_whom": "h", "store": "cellar", "key": "k"}}',
        b'{"groq": {"for_whom": 1, "store": "file", "key": "k"}}',
        b'{"groq": {"for_whom": "h", "store": "file", "key": "\\u001b"}}',
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
