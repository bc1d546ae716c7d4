"""`chatllm config`: the settings, and the file they can be written in."""

import sys
from typing import Annotated

import typer

from chatllm_cli.config.places import find_places
from chatllm_cli.errors import ConfigError
from chatllm_cli.private_files import make_private_folder, replace_private_file
from chatllm_cli.render.renderer import Renderer

app = typer.Typer(help="See and prepare the settings.", no_args_is_help=True)


@app.command()
def init() -> None:
    """Write a config file that lists every setting; one that exists is left alone."""
    from chatllm_cli.settings_text import example_config  # noqa: PLC0415  (pydantic takes a tenth of a second)

    path = find_places().config_file
    if path.exists():
        raise ConfigError(f"{path} exists already", hint="edit it, or move it away first")
    try:
        make_private_folder(path.parent)
        replace_private_file(path, example_config().encode())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
    Renderer(sys.stdout, sys.stderr).text(str(path))


@app.command()
def show(
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value came from.")] = False,
) -> None:
    """Show every setting as it is in force; secrets are masked."""
    from chatllm_cli.config.loading import load_settings, setting_origins  # noqa: PLC0415
    from chatllm_cli.settings_text import shown_settings  # noqa: PLC0415

    values, origins = shown_settings(load_settings()), setting_origins()
    lines = [f"{key} = {value}" for key, value in values.items()]
    if origin:
        width = max(len(line) for line in lines)
        lines = [f"{line:<{width}}  # {origins.get(key, 'default')}" for key, line in zip(values, lines, strict=True)]
    Renderer(sys.stdout, sys.stderr).text("\n".join(lines))


@app.command()
def path() -> None:
    """Show where the config file is, or would be."""
    Renderer(sys.stdout, sys.stderr).text(str(find_places().config_file))
