"""`chatllm config`: the commands that write the config file."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatllm_cli.cli.completion import complete_setting
from chatllm_cli.cli.editing import edit_file
from chatllm_cli.cli.options import PROFILE_WANTED, check_is_text
from chatllm_cli.config.places import find_places
from chatllm_cli.config.profiles import PROFILE_TABLE, chosen_profile
from chatllm_cli.errors import ConfigError, UsageError
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.themes import check_code_theme

if TYPE_CHECKING:
    from chatllm_cli.config.setting_keys import Key

SettingKey = Annotated[
    str,
    typer.Argument(
        metavar="KEY",
        help="Such as temperature, timeouts.idle or profile.work.model.",
        callback=check_is_text,
        autocompletion=complete_setting,
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("set", context_settings={"ignore_unknown_options": True})(set_)  # -1 is a value
    app.command()(unset)
    app.command()(edit)


def set_(
    ctx: typer.Context,
    key: SettingKey,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="- reads it from stdin.", callback=check_is_text)],
) -> None:
    """Change one setting in the config file.

    With `chatllm --profile NAME config set …` it is the profile's. What is in force then is shown.
    Several settings of one provider, model or price are set at once by { NAME = VALUE, … }.
    """
    from chatllm_cli.config.editing import set_value  # noqa: PLC0415  (tomlkit, which only writing needs)
    from chatllm_cli.config.setting_keys import spell_key  # noqa: PLC0415
    from chatllm_cli.config.shape import check_can_be_set, holds_secret, is_entry, split_profile  # noqa: PLC0415

    path, place, readings = find_places().config_file, _place(ctx, key), _readings(value)
    inner = split_profile(place)[1]
    if is_entry(inner):
        readings = [reading for reading in readings if isinstance(reading, dict) and reading]
    check_can_be_set(place, several=bool(readings))
    if value != "-" and any(holds_secret(inner, reading) for reading in readings):
        raise UsageError(
            f"{spell_key(place)} is not taken as an argument: others see those in the list of processes",
            hint="`chatllm keys set NAME` asks for a key; or give it on stdin, with - as the value",
        )
    if inner == ("output", "code_theme") and (theme := next(each for each in readings if isinstance(each, str))):
        check_code_theme(theme)
    set_value(path, place, readings)
    for each in [(*place, name) for name in readings[0]] if is_entry(inner) else [place]:
        _show_in_force(each, path)


def unset(ctx: typer.Context, key: SettingKey) -> None:
    """Take a setting, or a section, out of the config file.

    With `chatllm --profile NAME config unset …` it is the profile's.
    """
    from chatllm_cli.config.editing import unset_value  # noqa: PLC0415  (tomlkit, which only writing needs)

    unset_value(find_places().config_file, _place(ctx, key))


def edit() -> None:
    """Edit the config file, with $VISUAL or $EDITOR.

    What is wrong with it is told before it takes effect, and never takes the place of what was right.
    """
    from chatllm_cli.cli.code_themes import faults_of_themes  # noqa: PLC0415  (pydantic)
    from chatllm_cli.config.checking import check_file  # noqa: PLC0415
    from chatllm_cli.config.sources import read_config_bytes  # noqa: PLC0415
    from chatllm_cli.settings_text import example_config  # noqa: PLC0415

    def faults(draft: Path) -> list[str]:
        return [str(fault) for fault in (*check_file(draft, whatever_mode=True), *faults_of_themes(draft))]

    path = find_places().config_file
    before = (read_config_bytes(path) or (None,))[0]
    edit_file(path, example_config().encode() if before is None else before, before, faults)


def _place(ctx: typer.Context, text: str) -> "Key":
    """Return the key in the file: that of a profile that was named stands in its table."""
    from chatllm_cli.config.setting_keys import parse_key  # noqa: PLC0415

    key, profile = parse_key(text), ctx.meta.get(PROFILE_WANTED)
    return (PROFILE_TABLE, profile, *key) if profile and key[0] != PROFILE_TABLE else key


def _readings(value: str) -> list[Any]:
    """Return what a value may mean, the likeliest first: what it is in TOML, and itself."""
    from chatllm_cli.config.sources import read_value  # noqa: PLC0415

    if value != "-":
        return [*read_value(value), value]
    text = _read_stdin()
    return [text, *read_value(text)]  # a long text may well look like TOML


def _read_stdin() -> str:
    try:
        text = (sys.stdin.buffer.read() if sys.stdin else b"").decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"the value on stdin is not UTF-8 (byte {error.start + 1})") from None
    return text.removesuffix("\n").removesuffix("\r")


def _show_in_force(place: "Key", path: Path) -> None:
    """Show a setting that was just written as it is in force, and say why that is another value, if it is."""
    from chatllm_cli.config.loading import load_settings, setting_origins  # noqa: PLC0415
    from chatllm_cli.config.setting_keys import spell_key  # noqa: PLC0415
    from chatllm_cli.config.shape import split_profile  # noqa: PLC0415
    from chatllm_cli.config.sources import place_in_file  # noqa: PLC0415
    from chatllm_cli.settings_text import shown_settings  # noqa: PLC0415

    renderer = Renderer(sys.stdout, sys.stderr)
    name, inner = split_profile(place)
    key = spell_key(inner)
    if name and name != chosen_profile():
        renderer.text(f"{spell_key(place)} = {_written(place, path)}")
        return
    try:
        value, origin = shown_settings(load_settings()).get(key), setting_origins().get(key)
    except ConfigError as error:
        renderer.text(f"{key} = {_written(place, path)}")
        renderer.notice(f"the settings cannot be used yet: {error.message}")
        return
    renderer.text(f"{key} = {value or _written(place, path)}")
    if origin and origin != place_in_file(path, name):
        renderer.notice(f"{origin} outweighs what was set")


def _written(place: "Key", path: Path) -> str:
    from chatllm_cli.config.setting_keys import spell_key, value_at  # noqa: PLC0415
    from chatllm_cli.config.shape import split_profile  # noqa: PLC0415
    from chatllm_cli.config.sources import read_config_file  # noqa: PLC0415
    from chatllm_cli.settings_text import as_toml  # noqa: PLC0415

    return as_toml(value_at(read_config_file(path), place), spell_key(split_profile(place)[1]))
