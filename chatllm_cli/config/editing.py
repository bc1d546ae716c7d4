"""Changing the config file: one setting at a time, or a draft of all of it."""

import codecs
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chatllm_cli.config.checking import Fault, check_text
from chatllm_cli.config.faults import settings_alone
from chatllm_cli.config.profiles import PROFILE_TABLE
from chatllm_cli.config.setting_keys import Key, spell_key
from chatllm_cli.config.shape import is_entry, kind_at, split_profile
from chatllm_cli.config.sources import decoded, merged, parse_config, read_config_bytes, without_profiles
from chatllm_cli.config.toml_editing import with_value, without
from chatllm_cli.errors import ConfigError
from chatllm_cli.private_files import (
    locked_folder,
    make_private_folder,
    remove_leftovers,
    replace_private_file,
    resolved,
)

Change = Callable[[str], str]


def set_value(path: Path, key: Key, readings: Sequence[Any]) -> None:
    """Put a value at a key of the config file, the first of its readings that is of the right kind.

    Of several settings in one entry of a table, such as a provider's, each is put there, and the others stay.
    Raises `ConfigError`, and writes nothing, if none is; what was wrong with the file before is no hindrance.
    """

    def change(text: str) -> str:
        refused: list[Fault] = []
        for reading in readings:
            meant = _without_truth(key, reading)
            changed = _with(text, key, meant)
            if not (faults := _brought(text, changed, path, key)):
                return _with(text, key, _proper(changed, key, meant))
            refused = refused or faults
        raise ConfigError(refused[0].message, hint=refused[0].hint)

    _change_file(path, change)


def _with(text: str, key: Key, value: Any) -> str:
    if not (isinstance(value, dict) and is_entry(split_profile(key)[1])):
        return with_value(text, key, value)
    for name, each in value.items():
        text = with_value(text, (*key, name), each)
    return text


def _without_truth(key: Key, value: Any) -> Any:
    """Return a value in which `true` is no number: pydantic would take it for 1."""
    if isinstance(value, dict):
        return {name: _without_truth((*key, name), each) for name, each in value.items()}
    is_number = kind_at(split_profile(key)[1]) in {int, float}
    return str(value).lower() if isinstance(value, bool) and is_number else value


def _brought(before: str, after: str, path: Path, key: Key = ()) -> list[Fault]:
    """Return the faults that a change brings, and those of the key that it is about."""
    about = f"{spell_key(key)}." if key else " "
    others = [each for each in check_text(before, path) if not f"{each.key}.".startswith(about)]
    known = {(fault.key, fault.message) for fault in others}
    return [each for each in check_text(after, path) if (each.key, each.message) not in known]


def _proper(text: str, key: Key, value: Any) -> Any:
    """Return a value as the file should have it: `yes` that is read as a boolean as one, a list as a list."""
    values = tomllib.loads(text)
    name, inner = split_profile(key)
    rest = without_profiles(values)
    found: Any
    try:
        found = settings_alone(merged(rest, values[PROFILE_TABLE][name]) if name else rest)
    except ValueError:  # something else is wrong with the file
        return value
    for part in inner:
        found = found[part] if isinstance(found, dict) else getattr(found, part, value)
    if isinstance(value, str) and isinstance(found, tuple):
        return list(found)
    is_number = isinstance(found, bool | int | float)
    return found if is_number and (isinstance(value, str) or isinstance(found, int)) else value


def unset_value(path: Path, key: Key) -> None:
    """Take a setting, or a whole table, out of the config file. Raises `ChatllmError` if it is not there."""

    def change(text: str) -> str:
        changed = without(text, key)
        if faults := _brought(text, changed, path):
            raise ConfigError(faults[0].message, hint=faults[0].hint)
        return changed

    _change_file(path, change)


def begin_file(path: Path, text: str) -> None:
    """Make a config file with this text. Raises `ConfigError`, and writes nothing, if there is one."""
    try:
        with _locked(path):
            if _is_anything(path):
                raise ConfigError(f"{path} exists already", hint="edit it, or move it away first")
            replace_private_file(path, text.encode())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def _is_anything(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def _change_file(path: Path, change: Change) -> None:
    """Change the text of a file that no other process of ours changes meanwhile."""
    try:
        with _locked(path):
            data = (read_config_bytes(path) or (b"", 0))[0]
            text = decoded(data, path)
            parse_config(text, path)
            if (changed := change(text)) != text:
                mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
                replace_private_file(path, mark + changed.encode())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes of ours from the file; what is left of one that was killed goes: it may hold a key."""
    folder = resolved(path).parent
    make_private_folder(folder)
    with locked_folder(folder):
        remove_leftovers(path)
        yield


def begin_draft(path: Path, content: bytes) -> Path:
    """Make a private copy of the config file, in a folder of its own next to it, and return where.

    What an editor leaves beside what it edits, which may hold keys, is gone with the folder. Raises `ConfigError`.
    """
    try:
        folder = resolved(path).parent
        make_private_folder(folder)
        draft = Path(tempfile.mkdtemp(prefix=f"{path.stem}.draft.", dir=folder)) / path.name
        try:
            replace_private_file(draft, content)
        except BaseException:
            remove_draft(draft)
            raise
    except OSError as error:
        raise ConfigError(f"{path} cannot be edited: {error.strerror}") from None
    return draft


def remove_draft(draft: Path) -> None:
    """Remove a draft, and all that an editor left beside it."""
    shutil.rmtree(draft.parent, ignore_errors=True)


def put_draft(path: Path, draft: Path, *, before: bytes | None) -> None:
    """Put a draft into the place of the config file, if that still is what it was `before`. Raises `ConfigError`."""
    try:
        with _locked(path):
            read = read_config_bytes(path)
            if (read[0] if read else None) != before:
                raise ConfigError(f"{path} was changed by somebody else meanwhile")
            replace_private_file(path, draft.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
    remove_draft(draft)
