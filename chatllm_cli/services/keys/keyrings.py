"""The system's keyring. The only module that knows keyring, which is an extra, and slow to import.

Everything here blocks, perhaps until a person unlocks it.
"""

from collections.abc import Callable
from typing import Any

from chatllm_cli.errors import ConfigError
from chatllm_cli.services.keys.key_file import Store

SERVICE = "chatllm"  # the name under which it has them
REAL = 1  # the priority of a keyring that a system brings; others are makeshift


def usual_store() -> Store:
    """Return the keyring if the system has one that can be used; it has none where nobody is logged in."""
    try:
        from keyring import get_keyring  # noqa: PLC0415  (see above)

        return Store.KEYRING if get_keyring().priority >= REAL else Store.FILE
    except Exception:  # noqa: BLE001  (it is not installed, or set up in a way that does not work)
        return Store.FILE


def get(name: str, for_whom: str) -> str | None:
    """Return a provider's key that is for this address; None if there is none. Raises `ConfigError`."""
    key: str | None = _asked(lambda keyring: keyring.get_password(SERVICE, _entry(name, for_whom)))
    return key


def put(name: str, for_whom: str, key: str) -> None:
    """Keep a provider's key. Raises `ConfigError`."""
    _asked(lambda keyring: keyring.set_password(SERVICE, _entry(name, for_whom), key))


def forget(name: str, for_whom: str) -> None:
    """Remove a provider's key, if it is there. Raises `ConfigError`."""
    if get(name, for_whom) is not None:
        _asked(lambda keyring: keyring.delete_password(SERVICE, _entry(name, for_whom)))


def _entry(name: str, for_whom: str) -> str:
    """Return the name of an entry: that of another address is another entry, whatever our own file says."""
    return f"{name} for {for_whom}"


def _asked(work: Callable[[Any], Any]) -> Any:
    try:
        from keyring import get_keyring  # noqa: PLC0415  (see above)
    except ImportError:
        raise ConfigError(
            "the keyring needs the package keyring, which is not installed",
            hint="pip install 'chatllm-cli[keyring]', or `chatllm keys set NAME --file`",
        ) from None
    try:
        return work(get_keyring())
    except Exception as error:  # noqa: BLE001  (each backend has its own)
        raise ConfigError(
            f"the keyring cannot be used: {str(error).strip() or type(error).__name__}",
            hint="unlock it, or store the key in a file: chatllm keys set NAME --file",
        ) from None
