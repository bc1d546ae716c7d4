"""Keyrings for tests, and the keys that are sent with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keyring
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring
from keyring.errors import KeyringLocked
from keyrings.alt.file import PlaintextKeyring

from chatllm_cli.config.loading import key_origins, load_settings
from chatllm_cli.config.places import Places
from chatllm_cli.services.keys import KeyFile, Keys
from chatllm_cli.services.providers import Providers


class Ring(PlaintextKeyring):  # type: ignore[misc]  # it has no types
    """A real keyring that needs no desktop, as eager as one that a desktop brings."""

    priority = 1


class LockedRing(Ring):
    """A keyring that lets nothing be taken away, as one does that nobody unlocks."""

    def delete_password(self, service: str, username: str) -> None:
        raise KeyringLocked("it is locked")


def ring_at(file: Path, *, kind: type[Ring] = Ring) -> KeyringBackend:
    """Return a keyring whose entries lie in `file`."""
    backend = kind()
    backend.file_path = str(file)
    found: KeyringBackend = backend
    return found


def no_keyring() -> KeyringBackend:
    """Return what there is where nobody is logged in."""
    return NoKeyring()  # type: ignore[no-untyped-call]


@contextmanager
def with_keyring(backend: KeyringBackend) -> Iterator[None]:
    """Let `backend` be the system's keyring."""
    before = keyring.get_keyring()
    keyring.set_keyring(backend)
    try:
        yield
    finally:
        keyring.set_keyring(before)


def keys_of(places: Places, **how: Any) -> tuple[Keys, Providers]:
    """Return the keys of the settings as they are now."""
    settings, file = load_settings(), KeyFile(places.keys)
    providers = Providers(settings, file.read())
    return Keys(file, providers, origins=key_origins(settings), **how), providers


async def key_sent(places: Places, address: str, **how: Any) -> str | None:
    """Return the key that goes out with a request to the model at `address`."""
    keys, providers = keys_of(places, **how)
    return await keys.key_for(providers.endpoint(address))


def configure(places: Places, text: str) -> None:
    """Write the config file."""
    places.config_file.parent.mkdir(parents=True, exist_ok=True)
    places.config_file.write_text(text)
    places.config_file.chmod(0o600)
