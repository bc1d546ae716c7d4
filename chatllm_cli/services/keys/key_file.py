"""The file that says which keys are stored, and has those that no keyring has."""

import json
import os
import stat
from collections.abc import Callable
from dataclasses import asdict, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from chatllm_cli.config.secrets import checked_key
from chatllm_cli.errors import ConfigError
from chatllm_cli.frozen import frozen
from chatllm_cli.private_files import locked_folder, make_private_folder, replace_private_file


class Store(StrEnum):
    """Where a stored key lies."""

    KEYRING = "keyring"
    FILE = "file"


@frozen
class StoredKey:
    """What is noted of a stored key: whom it is for, and the key itself only if the file is where it lies."""

    for_whom: str  # as `origin_of` has it
    store: Store
    key: str = field(default="", repr=False)


StoredKeys = dict[str, StoredKey]  # by provider


class KeyFile:
    """Reads and changes the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> StoredKeys:
        """Return what is stored. Raises `ConfigError`, also if others can read it."""
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

    def change(self, change: Callable[[StoredKeys], StoredKeys]) -> StoredKeys:
        """Put what `change` makes of it in the place of what is stored, and return what was. Raises `ConfigError`."""
        try:
            make_private_folder(self.path.parent)
            with locked_folder(self.path.parent):
                before = self.read()
                after = {name: asdict(key) for name, key in change(dict(before)).items()}
                replace_private_file(self.path, json.dumps(after, indent=1).encode())
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written: {error.strerror}") from None
        return before


def _stored_key(entry: Any) -> StoredKey:
    for_whom, store, key = entry["for_whom"], Store(entry["store"]), entry["key"]
    if not (isinstance(for_whom, str) and isinstance(key, str)):
        raise TypeError("expected text")
    return StoredKey(for_whom, store, checked_key(key))
