"""Finds keys, stores them and removes them.

They are looked for in this order: the output of a command, the system's keyring, the settings (environment, then
config file), and a file for its owner alone. What is stored, in keyring or file, is noted in that file along with the
address that it is for.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from chatllm_cli.config.addresses import host_of, is_readable_on_the_way, origin_of
from chatllm_cli.config.secrets import KeyOrigin, KeyOrigins, checked_key
from chatllm_cli.errors import AuthenticationError, ConfigError, UsageError
from chatllm_cli.models import Endpoint
from chatllm_cli.services.keys import keyrings
from chatllm_cli.services.keys.commands import in_daemon_thread, key_from_command
from chatllm_cli.services.keys.key_file import KeyFile, Store, StoredKey
from chatllm_cli.services.providers import Providers

UNKNOWN = "-"  # whom a key goes to whose provider has no address


class Keys:
    """The keys of the providers."""

    def __init__(
        self,
        file: KeyFile,
        providers: Providers,
        *,
        origins: Mapping[str, KeyOrigins] | None = None,
        insecure_http: bool = False,
        on_key: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._file = file
        self._providers = providers
        self._origins = origins or {}  # of the keys in the settings
        self._insecure_http = insecure_http
        self._on_key = on_key  # told of each key before it is used, to keep it out of what is shown
        self._found: dict[tuple[str, str], str | None] = {}  # in this run: a command, or a keyring, may ask a person
        self._asking = asyncio.Lock()  # one at a time: they share the terminal

    async def key_for(self, endpoint: Endpoint) -> str | None:
        """Return the key to send to `endpoint`; None if it has none.

        Raises `AuthenticationError` if there is one that cannot be had, or that is for another address, and
        `ConfigError` if others could read it on the way.
        """
        asked = (endpoint.provider, endpoint.base_url)
        async with self._asking:
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
        origins, stored = self._origins.get(name, KeyOrigins()), self._file.read().get(name)
        if origins.command:
            _check_origin(endpoint, origins.command)
            return await key_from_command(self._providers.settings(name).api_key_cmd, name)
        if stored and stored.store is Store.KEYRING:
            _check_stored(endpoint, stored)
            return await self._from_keyring(name, stored)
        if endpoint.api_key:
            _check_origin(endpoint, origins.key or KeyOrigin(""))
            return endpoint.api_key
        if stored:
            _check_stored(endpoint, stored)
            return stored.key
        return None

    async def _from_keyring(self, name: str, stored: StoredKey) -> str:
        key: str | None = await in_daemon_thread(lambda: keyrings.get(name, stored.for_whom))
        if key is None:
            raise AuthenticationError(
                f"the keyring has no key for {name} any more", hint=f"`chatllm keys set {name}` stores one"
            )
        return key

    @property
    def file(self) -> Path:
        """Where it is noted what is stored."""
        return self._file.path

    def overview(self) -> list[tuple[str, str, str]]:
        """Return of each key there is: its provider, whom it goes to, and where it lies. Raises `ConfigError`."""
        stored = self._file.read()
        found: list[tuple[str, str, str]] = []
        for name in dict.fromkeys([*self._providers.names(), *stored]):
            places = self._places(name, stored.get(name))
            if places:
                place, for_whom = next(iter(places.items()))
                found.append((name, _host(for_whom) or self._host_now(name), ", then ".join([place, *[*places][1:]])))
        return found

    def outweighed_by(self, name: str, store: Store) -> str:
        """Return where a key lies that is taken instead of the stored one; empty if there is none."""
        first = next(iter(self._places(name, StoredKey("", store))))
        return "" if first == store else first

    def _places(self, name: str, stored: StoredKey | None) -> dict[str, str | None]:
        """Return where a provider's keys lie, the one that is taken first, each with whom it is for."""
        origins = self._origins.get(name, KeyOrigins())
        kept = {stored.store: stored.for_whom} if stored else {}
        return {
            **({"api_key_cmd": origins.command.for_whom} if origins.command else {}),
            **({Store.KEYRING: kept[Store.KEYRING]} if Store.KEYRING in kept else {}),
            **({origins.key.place: origins.key.for_whom} if origins.key else {}),
            **({Store.FILE: kept[Store.FILE]} if Store.FILE in kept else {}),
        }

    def _host_now(self, name: str) -> str:
        try:
            return host_of(self._providers.base_url(name))
        except (ConfigError, UsageError):
            return UNKNOWN

    async def store(self, name: str, key: str, store: Store | None = None) -> StoredKey:
        """Keep a provider's key, for its present address alone, and return where; in a keyring if there is one.

        Raises `UsageError` for what can be no key, or a keyring that is not there, and `ConfigError`.
        """
        for_whom, key = origin_of(self._providers.base_url(name)), _checked(key)
        self._on_key(key)
        store = store or await in_daemon_thread(keyrings.usual_store)
        if store is Store.KEYRING:
            await in_daemon_thread(lambda: keyrings.put(name, for_whom, key))
            entry = StoredKey(for_whom, store)
        else:
            entry = StoredKey(for_whom, Store.FILE, key)
        before = self._file.change(lambda keys: keys | {name: entry}).get(name)
        if before and before.store is Store.KEYRING and (before.for_whom, before.store) != (for_whom, store):
            await in_daemon_thread(lambda: keyrings.forget(name, before.for_whom))
        return entry

    async def remove(self, name: str) -> StoredKey:
        """Forget a stored key. Raises `UsageError` if there is none, and `ConfigError`."""
        entry = self._file.read().get(name)
        if entry is None:
            raise UsageError(f"no key is stored for {name}", hint="`chatllm keys list` shows what there is")
        if entry.store is Store.KEYRING:  # first: nobody would find it afterwards
            await in_daemon_thread(lambda: keyrings.forget(name, entry.for_whom))
        self._file.change(lambda keys: {other: key for other, key in keys.items() if other != name})
        return entry


def _checked(key: str) -> str:
    try:
        key = checked_key(key)
    except ValueError as error:
        raise UsageError(f"that is no key: {error}") from None
    if not key:
        raise UsageError("no key was given")
    return key


def _host(for_whom: str | None) -> str:
    return for_whom.partition("://")[2] if for_whom else ""


def _check_stored(endpoint: Endpoint, stored: StoredKey) -> None:
    _check_origin(endpoint, KeyOrigin("", stored.for_whom))


def _check_origin(endpoint: Endpoint, origin: KeyOrigin) -> None:
    """Raise `AuthenticationError` if a key is for another address than that of `endpoint`."""
    now, name = origin_of(endpoint.base_url), endpoint.provider
    if origin.for_whom is None or origin.for_whom == now:
        return
    if not origin.for_whom:
        raise AuthenticationError(
            f"{origin.place} has a key for {name} and no address: it is not sent to {now}",
            hint="set its base_url beside it",
        )
    raise AuthenticationError(
        f"the key for {name} is for {origin.for_whom}, and its address is {now} now: it is not sent",
        hint=f"set base_url beside it, in {origin.place}"
        if origin.place
        else f"`chatllm keys set {name}` stores another",
    )
