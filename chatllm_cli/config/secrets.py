"""Keys and other secrets in the settings: what one may look like, where one came from, and which there are."""

from typing import Any

from chatllm_cli.config.addresses import passwords_in
from chatllm_cli.frozen import frozen

SHORTEST_KEY = 8  # a shorter one is a stand-in, where a server wants any, and its letters are in every word


def checked_key(key: str) -> str:
    """Return a key as it is sent. Raises ValueError if it cannot be."""
    key = key.strip()  # files and secret stores add a newline
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ValueError("expected a key of ASCII characters, without blanks")
    return key


def secrets_of(section: Any) -> list[str]:
    """Return every key and password in the settings, or in a section of them."""
    found: list[str] = []
    for name, value in vars(section).items():
        if hasattr(value, "get_secret_value"):
            found += [secret] if (secret := value.get_secret_value()) else []
        elif name == "url":  # of the cache
            found += passwords_in(value)
        elif isinstance(value, dict):
            found += [secret for each in value.values() if hasattr(each, "__dict__") for secret in secrets_of(each)]
        elif hasattr(value, "__dict__"):
            found += secrets_of(value)
    return found


@frozen
class KeyOrigin:
    """Where a key in the settings, or the command that prints it, came from.

    `for_whom` is the address that it is for, as `origin_of` has it, if it lies in the config file: the one that the
    file gives at that place or below, or that is well known. The environment, or a profile above it, may name
    another, and must not take the key there. It is empty where the file knows none.
    """

    place: str
    for_whom: str | None = None


@frozen
class KeyOrigins:
    """Both ways in which the settings have a provider's key."""

    key: KeyOrigin | None = None
    command: KeyOrigin | None = None
