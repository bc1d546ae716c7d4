"""The settings of a run that asks a model, remembered for the next one.

pydantic and what is built with it take longer to import than an answer from the cache takes in all. What was found to
be valid is written down, under a hash of everything that it came from: the config file, the variables, the flags, the
profile, and this program. Where all of that is the same, so are the settings.

No secret is written down. A key is taken from its variable, which the hash says is as it was; where one lies
elsewhere, or may, nothing is kept. Whoever can write the file could send keys elsewhere, so one that others can write
counts for nothing, as the config file does; and no command is taken from it.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from chatllm_cli import __version__
from chatllm_cli.config.known_providers import OPENAI
from chatllm_cli.config.places import find_places
from chatllm_cli.config.profiles import chosen_profile
from chatllm_cli.config.secrets import SHORTEST_KEY, KeyOrigin, KeyOrigins, checked_key, secrets_of
from chatllm_cli.config.setting_keys import Key, spell_key
from chatllm_cli.config.sources import ENV_PREFIX, FOREIGN_VARIABLES, FROM_VARIABLE, read_config_bytes
from chatllm_cli.private_files import note_json, open_private

if TYPE_CHECKING:
    from chatllm_cli.config.settings import Settings

MOST_REMEMBERED = 20
OTHERS_CAN_WRITE = 0o022
SECTION, TABLE, SEVERAL, LIST, SECRET = "section", "table", "several", "list", "secret"


class _NotToBeKeptError(Exception):
    """There is, or may be, a secret in the settings that is in no variable."""


def load_remembered(flags: Mapping[str, Any], record: Path) -> "tuple[Settings, Callable[[], None]]":
    """Return the settings with these flags on top, as `load_settings` does, and what keeps them for the next run.

    Raises `ConfigError`.
    """

    def load() -> "Settings":
        from chatllm_cli.config.loading import load_settings  # noqa: PLC0415  (what this is to do without)

        return load_settings(flags)

    origin = ""
    with suppress(Exception):  # whatever it is, the settings can still be loaded
        origin = _origin(flags)
        digest, values = _read(record)[origin]
        if digest == _digest(origin, values):
            return cast("Settings", _Remembered(_restored(values), load)), lambda: None
    settings = load()
    return settings, lambda: _remember(settings, flags, record, origin)


def _remember(settings: "Settings", flags: Mapping[str, Any], record: Path, origin: str) -> None:
    with suppress(Exception):  # the next run loads them again
        values = _plain(settings, ())
        secrets = [each for each in secrets_of(settings) if len(each) >= SHORTEST_KEY]
        if any(secret in json.dumps(values, ensure_ascii=False) for secret in secrets):
            return
        if _origin(flags) != origin or (record.exists() and not record.is_file()):  # it changed meanwhile
            return
        known = _read(record) | {origin: [_digest(origin, values), values]}
        note_json(record, dict(list(known.items())[-MOST_REMEMBERED:]))


def key_origins(settings: "Settings") -> dict[str, KeyOrigins]:
    """Return where the keys in the settings came from, by provider."""
    if isinstance(settings, _Remembered):
        return _origins_of_remembered(settings)
    from chatllm_cli.config import loading  # noqa: PLC0415  (as above)

    return loading.key_origins(settings)


def _origins_of_remembered(settings: Any) -> dict[str, KeyOrigins]:
    """Return what `loading.key_origins` does where no key lies in a file."""
    found: dict[str, KeyOrigins] = {name: each.api_key.origins for name, each in settings.providers.items()}
    if settings.base_url:
        return found | {"default": settings.api_key.origins}
    if settings.api_key.get_secret_value():
        return found | {OPENAI: settings.api_key.origins}
    return found


class Secret:
    """A text that is not shown by accident, and the variable that holds it; "" is neither."""

    def __init__(self, variable: str) -> None:
        self._text = checked_key(os.environ[variable]) if variable else ""
        self.origins = KeyOrigins(KeyOrigin(f"{FROM_VARIABLE}{variable}")) if variable else KeyOrigins()

    def __repr__(self) -> str:
        return "Secret('**********')"

    def get_secret_value(self) -> str:
        """Return the text."""
        return self._text


class _Remembered(SimpleNamespace):
    """Settings that were found to be valid before; what they cannot do, the real ones are loaded for."""

    def __init__(self, values: SimpleNamespace, load: Callable[[], "Settings"]) -> None:
        super().__init__(**vars(values))
        self.__dict__["_load"] = cache(load)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__dict__["_load"](), name)


def _origin(flags: Mapping[str, Any]) -> str:
    """Return a hash of all that the settings come from. Raises `ConfigError`, and OSError."""
    modules = [path.stat() for path in sorted(Path(__file__).parent.glob("*.py"))]
    file = find_places().config_file
    content, mode = read_config_bytes(file) or (b"", 0)
    told = [
        __version__,
        sys.version,
        [(each.st_size, each.st_mtime_ns) for each in modules],
        str(file),
        hashlib.sha256(content).hexdigest(),
        mode,
        chosen_profile(),
        [
            (name, value) for name, value in os.environ.items() if _is_ours(name)
        ],  # of two spellings the last one counts
        sorted((key, repr(value)) for key, value in flags.items() if value is not None),
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _is_ours(variable: str) -> bool:
    return variable.upper().startswith(ENV_PREFIX) or variable in FOREIGN_VARIABLES


def _digest(origin: str, values: Any) -> str:
    return hashlib.sha256(json.dumps([origin, values]).encode()).hexdigest()


def _plain(value: Any, key: Key) -> Any:
    """Return a value of the settings as JSON can have it. Raises `_NotToBeKeptError`."""
    if hasattr(value, "get_secret_value"):
        return [SECRET, _variable_of(value.get_secret_value(), key)]
    if hasattr(value, "model_fields_set"):
        return [SECTION, {name: _plain(each, (*key, name)) for name, each in vars(value).items()}]
    if isinstance(value, dict):
        return [TABLE, {name: _plain(each, (*key, name)) for name, each in value.items()}]
    if isinstance(value, tuple | list):
        kind = SEVERAL if isinstance(value, tuple) else LIST
        return [kind, [_plain(each, key) for each in value]]
    if isinstance(value, str) and value and _may_be_secret(value, key):
        raise _NotToBeKeptError
    return value


def _may_be_secret(text: str, key: Key) -> bool:
    """Tell whether a text may be a secret, or is a command.

    An option of a request, a system prompt (which may hold anything), and an address with a login or options.
    """
    if "://" in text and ("@" in text or "?" in text):
        return True
    is_option = key[0] == "options" or (key[0] == "models" and "options" in key)
    return is_option or key[-1] in {"api_key_cmd", "system_prompt"}


def _restored(value: Any) -> Any:
    """Return what `_plain` was given. Raises any error if it was nothing of the kind."""
    if not isinstance(value, list):
        return value
    kind, inner = value
    if kind == SECRET:
        return Secret(inner)
    if kind in {SECTION, TABLE}:
        values = {name: _restored(each) for name, each in inner.items()}
        if values.get("api_key_cmd"):
            raise ValueError("a command is never remembered")
        return SimpleNamespace(**values) if kind == SECTION else values
    several = [_restored(each) for each in inner]
    return {SEVERAL: tuple(several), LIST: several}[kind]


def _variable_of(secret: str, key: Key) -> str:
    """Return the variable that a secret came from; empty if there is no secret. Raises `_NotToBeKeptError`.

    Another variable may hold the same, but it says nothing of whom this one may go to.
    """
    from chatllm_cli.config.loading import variable_origins  # noqa: PLC0415  (it has loaded them)

    if not secret:
        return ""
    variable = variable_origins().get(spell_key(key), "").removeprefix(FROM_VARIABLE)
    if os.environ.get(variable, "").strip() == secret:
        return variable
    raise _NotToBeKeptError


def _read(record: Path) -> dict[str, Any]:
    """Return what is remembered; nothing if that cannot be read, or others could have written it."""
    try:
        with os.fdopen(open_private(record, os.O_RDONLY), "rb") as file:
            statuses = (os.fstat(file.fileno()), record.parent.stat())
            if any(each.st_uid != os.getuid() or each.st_mode & OTHERS_CAN_WRITE for each in statuses):
                return {}
            told = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
