"""Whether the styles for code that the settings name exist, which only the renderer's library knows."""

from collections.abc import Iterator
from pathlib import Path

from chatllm_cli.config.checking import Fault, values_in_file
from chatllm_cli.config.loading import load_settings, setting_origins
from chatllm_cli.config.setting_keys import spell_key
from chatllm_cli.errors import ConfigError
from chatllm_cli.render.themes import check_code_theme

SETTING = ("output", "code_theme")


def faults_of_themes(path: Path) -> list[Fault]:
    """Return what is wrong with the styles that a config file names, in its profiles, too."""
    found = values_in_file(path, SETTING)
    return [fault for key, line, value in found for fault in _faults(value, str(path), spell_key(key), line)]


def faults_of_theme_in_environment() -> list[Fault]:
    """Return what is wrong with the style that is in force, if a variable names it."""
    name = spell_key(SETTING)
    try:
        settings, origin = load_settings(), setting_origins().get(name, "")
    except ConfigError:  # which is told anyway
        return []
    return list(_faults(settings.output.code_theme, origin, name)) if origin.startswith("environment") else []


def _faults(theme: object, place: str, key: str, line: int | None = None) -> Iterator[Fault]:
    if not (isinstance(theme, str) and theme):
        return
    try:
        check_code_theme(theme)
    except ConfigError as error:
        yield Fault(place, f"{key}: {error.message.partition(': ')[2]}", key, line, error.hint)
