"""Keys: where each provider's lies, and to which host it may go. The only module that knows keyring.

In this order: the output of a command, the keyring of the system, the settings (environment, then config file), and a
file for its owner alone. What is stored, in keyring or file, is noted in that file along with its host.
"""

import asyncio
import json
import os
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from chatllm_cli.config.addresses import host_of, is_readable_on_the_way
from chatllm_cli.config.loading import KeyOrigin
from chatllm_cli.config.sections import ProviderSettings, checked_key
from chatllm_cli.errors import AuthenticationError, ConfigError, UsageError
from chatllm_cli.models import Endpoint
from chatllm_cli.private_files import make_private_folder, replace_private_file
from chatllm_cli.services.providers import Providers

SERVICE = "chatllm"  # the name under which the keyring has them
LONGEST_KEY_OUTPUT = 65_536


class Store(StrEnum):
    """Where a stored key lies."""

    KEYRING = "keyring"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is noted of a stored key; the key itself only if the file is where it lies."""

    host: str
    store: Store
    key: str = field(default="", repr=False)


class KeyFile:
    """The file that says which keys are stored, and has those that no keyring has."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, StoredKey]:
        """Return what is stored, by provider. Raises `ConfigError`, also if others can read it."""
        try:
            with self.path.open("rb") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    raise ConfigError(f"{self.path} holds keys and others can read it", hint=f"chmod 600 {self.path}")
                return {name: _stored_key(entry) for name, entry in json.load(file).items()}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ConfigError(
                f"{self.path} is damaged", hint="remove it, and store the keys again: chatllm keys set NAME"
            ) from None

    def write(self, keys: Mapping[str, StoredKey]) -> None:
        """Put `keys` in place of what is stored. Raises `ConfigError`."""
        data = json.dumps({name: asdict(key) for name, key in keys.items()}, indent=1).encode()
        try:
            make_private_folder(self.path.parent)
            replace_private_file(self.path, data)
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written: {error.strerror}") from None


class Keys:
    """Finds keys, stores them and removes them."""

    def __init__(
        self,
        file: KeyFile,
        providers: Providers,
        *,
        origins: Mapping[str, KeyOrigin] | None = None,
        insecure_http: bool = False,
        on_key: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._file = file
        self._providers = providers
        self._origins = origins or {}  # of the keys in the settings
        self._insecure_http = insecure_http
        self._on_key = on_key  # told of each key before it is used, to keep it out of what is shown
        self._found: dict[tuple[str, str], str | None] = {}  # in this run: a command, or a keyring, may ask a person

    async def key_for(self, endpoint: Endpoint) -> str | None:
        """Return the key to send to `endpoint`; None if it has none.

        Raises `AuthenticationError` if there is one that cannot be had, or that was stored for another host, and
        `ConfigError` if others could read it on the way.
        """
        asked = (endpoint.provider, endpoint.base_url)
        if asked not in self._found:
            self._found[asked] = await self._find(endpoint)
        key = self._found[asked]
        if key is None:
            return None
        self._on_key(key)
        if is_readable_on_the_way(endpoint.base_url) and not self._insecure_http:
            raise ConfigError(
                f"the key for {endpoint.provider} would go to {host_of(endpoint.base_url)} over plain http, "
                "for anyone on the way to read",
                hint="use https, or --insecure-http if nobody is",
            )
        return key

    async def _find(self, endpoint: Endpoint) -> str | None:
        name = endpoint.provider
        if command := self._providers.settings(name).api_key_cmd:
            return await key_from_command(command, name)
        stored = self._file.read().get(name)
        if stored and stored.store is Store.KEYRING:
            _check_host(endpoint, stored.host)
            if key := await _in_daemon_thread(lambda: _keyring().get_password(SERVICE, name)):
                return str(key)
            raise AuthenticationError(
                f"the keyring has no key for {name} any more", hint=f"`chatllm keys set {name}` stores one"
            )
        if endpoint.api_key:
            _check_host(endpoint, self._origins[name].host if name in self._origins else None)
            return endpoint.api_key
        if stored:
            _check_host(endpoint, stored.host)
            return stored.key
        return None

    @property
    def file(self) -> Path:
        """Where it is noted what is stored."""
        return self._file.path

    def overview(self) -> list[tuple[str, str, str]]:
        """Return of each key there is: its provider, the host it goes to, and where it lies. Raises `ConfigError`."""
        stored = self._file.read()
        found: list[tuple[str, str, str]] = []
        for name in dict.fromkeys([*self._providers.names(), *stored]):
            places = self._places(name, stored.get(name))
            host = stored[name].host if places and places[0] in set(Store) else self._host_now(name)
            found += [(name, host, ", then ".join(places))] if places else []
        return found

    def outweighed_by(self, name: str, store: Store) -> str:
        """Return where a key lies that is taken instead of the stored one; empty if there is none."""
        before = self._places(name, StoredKey("", store))
        return "" if before[0] == store else before[0]

    def _places(self, name: str, stored: StoredKey | None) -> list[str]:
        """Return where a provider's keys lie, the one that is taken first."""
        settings = self._providers.settings(name) if name in self._providers.names() else ProviderSettings()
        origin = self._origins[name].place if name in self._origins else ""
        return [
            *(["api_key_cmd"] if settings.api_key_cmd else []),
            *([Store.KEYRING] if stored and stored.store is Store.KEYRING else []),
            *([origin] if origin else []),
            *([Store.FILE] if stored and stored.store is Store.FILE else []),
        ]

    def _host_now(self, name: str) -> str:
        return host_of(self._providers.base_url(name))

    async def store(self, name: str, key: str, store: Store | None = None) -> StoredKey:
        """Keep a provider's key, for its present address alone, and return where; in a keyring if there is one.

        Raises `UsageError` for what can be no key, or a keyring that is not there, and `ConfigError`.
        """
        base_url = self._providers.base_url(name)
        try:
            key = checked_key(key)
        except ValueError as error:
            raise UsageError(f"that is no key: {error}") from None
        if not key:
            raise UsageError("no key was given")
        self._on_key(key)
        entry = StoredKey(host_of(base_url), store or await _in_daemon_thread(_usual_store))
        if entry.store is Store.KEYRING:
            await _in_daemon_thread(lambda: _keyring().set_password(SERVICE, name, key))
        else:
            entry = StoredKey(entry.host, entry.store, key)
        before = self._file.read()
        self._file.write(before | {name: entry})
        if name in before and before[name].store is Store.KEYRING and entry.store is Store.FILE:
            await _in_daemon_thread(lambda: _forget(name))
        return entry

    async def remove(self, name: str) -> StoredKey:
        """Forget a stored key. Raises `UsageError` if there is none, and `ConfigError`."""
        keys = self._file.read()
        if name not in keys:
            raise UsageError(f"no key is stored for {name}", hint="`chatllm keys list` shows what there is")
        entry = keys.pop(name)
        if entry.store is Store.KEYRING:
            await _in_daemon_thread(lambda: _forget(name))
        self._file.write(keys)
        return entry


async def key_from_command(command: str, name: str) -> str:
    """Run a command of the user's and return the first line that it prints. Raises `AuthenticationError`.

    It has the terminal, so that it can ask for a passphrase, and dies with us.
    """
    process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await process.communicate()
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise AuthenticationError(
            f"the command that has the key for {name} failed with status {process.returncode}",
            hint=f"run it by hand; it is api_key_cmd of {name} in the settings",
        )
    line = output[:LONGEST_KEY_OUTPUT].decode(errors="replace").strip().partition("\n")[0]
    try:
        if key := checked_key(line):
            return key
    except ValueError as error:
        raise AuthenticationError(f"the command that has the key for {name} printed none: {error}") from None
    raise AuthenticationError(f"the command that has the key for {name} printed nothing")


def _check_host(endpoint: Endpoint, host: str | None) -> None:
    now = host_of(endpoint.base_url)
    if host is not None and host != now:
        raise AuthenticationError(
            f"the key for {endpoint.provider} was stored for {host}, and its address is {now} now: it is not sent",
            hint=f"`chatllm keys set {endpoint.provider}` stores one for this address",
        )


def _stored_key(entry: Any) -> StoredKey:
    host, store, key = entry["host"], Store(entry["store"]), entry["key"]
    if not (isinstance(host, str) and isinstance(key, str)):
        raise TypeError("expected text")
    return StoredKey(host, store, checked_key(key))


def _usual_store() -> Store:
    """Return the keyring if the system has one that can be used; it has none where nobody is logged in."""
    try:
        from keyring import get_keyring  # noqa: PLC0415  (an extra)
    except ImportError:
        return Store.FILE
    return Store.KEYRING if get_keyring().priority >= 1 else Store.FILE


def _keyring() -> "_Keyring":
    try:
        import keyring  # noqa: PLC0415  (an extra, and slow to import)
    except ImportError:
        raise ConfigError(
            "the keyring needs the package keyring, which is not installed",
            hint="pip install 'chatllm-cli[keyring]', or `chatllm keys set NAME --file`",
        ) from None
    return _Keyring(keyring.get_keyring())


class _Keyring:
    """The system's keyring, whose faults are ours."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def get_password(self, service: str, name: str) -> str | None:
        key: str | None = self._asked(lambda: self._backend.get_password(service, name))
        return key

    def set_password(self, service: str, name: str, key: str) -> None:
        self._asked(lambda: self._backend.set_password(service, name, key))

    def delete_password(self, service: str, name: str) -> None:
        self._asked(lambda: self._backend.delete_password(service, name))

    @staticmethod
    def _asked(work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as error:  # noqa: BLE001  (each backend has its own)
            raise ConfigError(
                f"the keyring cannot be used: {str(error).strip() or type(error).__name__}",
                hint="unlock it, or store the key in a file: chatllm keys set NAME --file",
            ) from None


def _forget(name: str) -> None:
    with suppress(ConfigError):  # it may be gone already
        _keyring().delete_password(SERVICE, name)


async def _in_daemon_thread(work: Callable[[], Any]) -> Any:
    """Do what may wait for a person to unlock a keyring, in a thread that Ctrl-C need not wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def tell(setter: Callable[[Any], None], value: Any) -> None:
        if not done.cancelled():
            setter(value)

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  (whoever waits gets it)
            outcome: tuple[Callable[[Any], None], Any] = (done.set_exception, error)
        else:
            outcome = (done.set_result, result)
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(tell, *outcome)

    threading.Thread(target=run, daemon=True).start()
    return await done
