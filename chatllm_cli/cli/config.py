"""`chatllm config`: the settings, and the file they can be written in."""

import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from chatllm_cli.cli import config_changes
from chatllm_cli.cli.completion import complete_setting_in_force
from chatllm_cli.cli.options import AsJson, check_are_text
from chatllm_cli.config.places import find_places
from chatllm_cli.config.profiles import chosen_profile
from chatllm_cli.errors import ConfigError, ExitCode
from chatllm_cli.render.renderer import Renderer, dumped

app = typer.Typer(help="See, check and change the settings.", no_args_is_help=True)


@app.command()
def init() -> None:
    """Write a config file that lists every setting; one that exists is left alone."""
    from chatllm_cli.config.editing import begin_file  # noqa: PLC0415  (pydantic takes a tenth of a second)
    from chatllm_cli.settings_text import example_config  # noqa: PLC0415

    path = find_places().config_file
    begin_file(path, example_config())
    Renderer(sys.stdout, sys.stderr).text(str(path))


@app.command()
def show(
    keys: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY",
            help="Only these settings, or sections.",
            callback=check_are_text,
            autocompletion=complete_setting_in_force,
        ),
    ] = None,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value came from.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show every setting as it is in force; secrets are masked."""
    from chatllm_cli.config.loading import load_settings, setting_origins  # noqa: PLC0415
    from chatllm_cli.settings_text import plain_settings, shown_settings  # noqa: PLC0415

    settings, origins, renderer = load_settings(), setting_origins(), Renderer(sys.stdout, sys.stderr)
    values = shown_settings(settings)
    wanted = _wanted(values, keys or [])
    if as_json:
        plain = plain_settings(settings)
        found = {key: {"value": plain[key], "origin": origins.get(key, "default")} for key in wanted}
        renderer.text(dumped(found if origin else {key: plain[key] for key in wanted}), end="")
        return
    lines = [f"{key} = {values[key]}" for key in wanted]
    if origin:
        width = max(len(line) for line in lines)
        lines = [f"{line:<{width}}  # {origins.get(key, 'default')}" for key, line in zip(wanted, lines, strict=True)]
    renderer.text("\n".join(lines))


def _wanted(known: Iterable[str], keys: list[str]) -> list[str]:
    """Return which settings are, or stand in, what `keys` name. Raises `ConfigError` if one names nothing."""
    from chatllm_cli.config.setting_keys import parse_key, spell_key  # noqa: PLC0415
    from chatllm_cli.config.shape import kind_at, unknown_setting  # noqa: PLC0415

    wanted: dict[str, None] = {}
    for key in keys:
        place = parse_key(key)
        name = spell_key(place)
        found = [each for each in known if f"{each}.".startswith(f"{name}.")]
        if not found:
            raise unknown_setting(place) if kind_at(place) is None else ConfigError(f"{name} is not set")
        wanted |= dict.fromkeys(found)
    return list(wanted if keys else known)


@app.command()
def path() -> None:
    """Show where the config file is, or would be."""
    Renderer(sys.stdout, sys.stderr).text(str(find_places().config_file))


@app.command()
def profiles(as_json: AsJson = False) -> None:
    """List the profiles of the config file, and what each sets."""
    from chatllm_cli.config.sources import flatten, profiles_of, read_config_file  # noqa: PLC0415

    path, renderer = find_places().config_file, Renderer(sys.stdout, sys.stderr)
    found = {
        name: list(flatten(each)) if isinstance(each, dict) else []
        for name, each in profiles_of(read_config_file(path), path).items()
    }
    in_force = chosen_profile()
    if as_json:
        rows = [{"name": name, "in_force": name == in_force, "settings": each} for name, each in found.items()]
        renderer.text(dumped(rows), end="")
    elif found:
        renderer.rows(
            ("profile", "in force", "sets"),
            [(name, "yes" if name == in_force else "", ", ".join(each)) for name, each in found.items()],
        )
    else:
        renderer.notice("there are no profiles; `chatllm config set profile.NAME.model MODEL` begins one")


@app.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="This file alone, instead of yours and the environment."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show all that is wrong with the settings.

    The exit code is 2 if anything is. Profiles that are not in force are looked at, too.
    """
    from chatllm_cli.cli.code_themes import faults_of_theme_in_environment, faults_of_themes  # noqa: PLC0415
    from chatllm_cli.config.checking import check_all, check_file  # noqa: PLC0415

    own, renderer = find_places().config_file, Renderer(sys.stdout, sys.stderr)
    faults = check_all(own) if file is None else check_file(file)
    faults += faults_of_themes(file or own)
    faults += faults_of_theme_in_environment() if file is None else []
    if as_json:
        renderer.text(dumped([asdict(fault) for fault in faults]), end="")
    elif faults:
        renderer.text("\n".join(str(fault) for fault in faults))
    elif file is None and not own.exists():
        renderer.notice(f"nothing is wrong: there is no {own}, and nothing in the environment")
    else:
        renderer.notice(f"nothing is wrong with {file or own}" + ("" if file else ", and with the environment"))
    raise typer.Exit(ExitCode.USAGE if faults else ExitCode.DONE)


config_changes.add_to(app)
