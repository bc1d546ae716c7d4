"""Everything that is wrong with a config file and with the environment, at once."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic_settings import EnvSettingsSource

from chatllm_cli.config.faults import Complaint, complaints_about
from chatllm_cli.config.loading import unusable_variables, variable_origins
from chatllm_cli.config.profiles import PROFILE_TABLE, PROFILE_VARIABLE, chosen_profile
from chatllm_cli.config.setting_keys import Key, is_there, spell_key, value_at
from chatllm_cli.config.settings import Settings
from chatllm_cli.config.sources import (
    complaint_about_mode,
    complaint_about_profile,
    foreign_variables,
    merged,
    nest,
    parse_config,
    profiles_of,
    read_config_text,
    unknown_profile,
    without_profiles,
)
from chatllm_cli.config.toml_lines import Lines
from chatllm_cli.errors import ConfigError
from chatllm_cli.frozen import frozen

MOST_HINTS = 20  # each is looked for among all settings


@frozen
class Fault:
    """One thing that is wrong, and where."""

    place: str
    message: str
    key: str = ""
    line: int | None = None
    hint: str | None = None

    def __str__(self) -> str:
        where = self.place if self.line is None else f"{self.place}:{self.line}"
        return f"{where}: {self.message}" + (f"; {self.hint}" if self.hint else "")


def check_all(path: Path) -> list[Fault]:
    """Return what is wrong with the config file at `path`, if there is one, and with the environment."""
    return [*check_file(path, may_be_missing=True), *check_environment(path)]


def check_file(path: Path, *, may_be_missing: bool = False, whatever_mode: bool = False) -> list[Fault]:
    """Return what is wrong with a config file, its profiles and its mode."""
    try:
        read = read_config_text(path)
    except ConfigError as error:
        return [_of_file(error, path)]
    if read is None:
        return [] if may_be_missing else [Fault(str(path), "there is no such file")]
    text, mode = read
    faults = check_text(text, path)
    is_toml = all(fault.key for fault in faults)
    if is_toml and not whatever_mode and (complaint := complaint_about_mode(parse_config(text, path), mode)):
        faults.append(Fault(str(path), f"it {complaint}", hint=f"chmod 600 {path}"))
    return faults


def values_in_file(path: Path, key: Key) -> list[tuple[Key, int | None, Any]]:
    """Return what a config file and its profiles say of a setting, and where; nothing if it cannot be read."""
    try:
        read = read_config_text(path)
        values = parse_config(read[0], path) if read else {}
        profiles = profiles_of(values, path)
    except ConfigError:
        return []
    lines = Lines(read[0] if read else "")
    keys = [key, *((PROFILE_TABLE, name, *key) for name in profiles)]
    return [(each, lines.line_of(each), value_at(values, each)) for each in keys if is_there(values, each)]


def check_text(text: str, path: Path) -> list[Fault]:
    """Return what is wrong with the text of a config file, whatever the environment says."""
    try:
        values = parse_config(text, path)
    except ConfigError as error:
        return [_of_file(error, path)]
    told: list[Found] = [(each.key, each.line(), each) for each in complaints_about(without_profiles(values))]
    told += _complaints_about_profiles(values, path)
    lines = Lines(text)
    told.sort(key=lambda found: lines.line_of(found[0]) or 0)
    return [
        Fault(str(path), message, spell_key(key), lines.line_of(key), _hint(number, about))
        for number, (key, message, about) in enumerate(told)
    ]


def _hint(number: int, about: Complaint | str | None) -> str | None:
    """Return what may help with one of many faults; who has made that many knows more than a likeness of names."""
    if isinstance(about, Complaint):
        return about.hint if number < MOST_HINTS else None
    return about


Found = tuple[Key, str, Complaint | str | None]


def _complaints_about_profiles(values: Mapping[str, Any], path: Path) -> Iterator[Found]:
    try:
        profiles = profiles_of(values, path)
    except ConfigError as error:
        yield (PROFILE_TABLE,), error.message.removeprefix(f"{path}: "), error.hint
        return
    for name, profile in profiles.items():
        if complaint := complaint_about_profile(name, profile):
            yield (PROFILE_TABLE, name), complaint, None
        top = without_profiles(profile) if isinstance(profile, dict) else {}
        for each in _complaints_about_top(without_profiles(values), top):
            key = (PROFILE_TABLE, name, *each.key)
            yield key, each.line(key), each


def _complaints_about_top(values: Mapping[str, Any], top: Mapping[str, Any]) -> list[Complaint]:
    """Return what is wrong with what lies on top of other values; what is wrong with those themselves aside."""
    told = {each.key for each in complaints_about(values)}
    return [each for each in complaints_about(merged(values, top)) if each.key not in told or is_there(top, each.key)]


def check_environment(path: Path) -> list[Fault]:
    """Return what is wrong with the variables that are meant for us, and with the profile they choose."""
    try:
        read = read_config_text(path)
        values = parse_config(read[0], path) if read else {}
        profiles = profiles_of(values, path)
    except ConfigError:  # which is told of the file
        values, profiles = {}, None
    unusable, name = unusable_variables(), chosen_profile()
    faults = [_of_unusable(variable, error) for variable, error in unusable.items()]
    below, profile = without_profiles(values), (profiles or {}).get(name)
    if isinstance(profile, dict):
        below = merged(below, without_profiles(profile))
    source = EnvSettingsSource(Settings)
    broken = {variable.lower() for variable in unusable}
    source.env_vars = {name: value for name, value in source.env_vars.items() if name.lower() not in broken}
    top, origins = merged(nest(foreign_variables()), source()), variable_origins(source())
    faults += [_of_variable(each, origins) for each in _complaints_about_top(below, top)]
    if name and profiles is not None and name not in profiles:
        faults.append(Fault(f"environment variable {PROFILE_VARIABLE}", unknown_profile(name, profiles, path)))
    return faults


def _of_unusable(variable: str, error: ConfigError) -> Fault:
    place = f"environment variable {variable}"
    message = error.message.removeprefix(place).removeprefix(":").strip()
    return Fault(place, f"it {message}" if message.startswith("is ") else message, hint=error.hint)


def _of_variable(complaint: Complaint, origins: Mapping[str, str]) -> Fault:
    key = spell_key(complaint.key)
    place = next((where for name, where in origins.items() if f"{name}.".startswith(f"{key}.")), "environment")
    return Fault(place, complaint.line(), key, hint=complaint.hint)


def _of_file(error: ConfigError, path: Path) -> Fault:
    line = re.search(r"\(at line (\d+)", error.message)
    return Fault(str(path), error.message.removeprefix(f"{path} "), line=int(line[1]) if line else None)
