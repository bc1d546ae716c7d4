"""The commands, each with its line of --help: a module is imported, and its command built, once it is run.

--help needs none of them, and takes less than half the time without.
"""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_group

# In the order of --help. Each is a module beside this one, whose `app` has the command, or the commands below it.
COMMANDS = {
    "ask": "Ask one question and print the answer.",
    "chat": "Talk with a model, turn after turn.",
    "batch": "Ask many prompts, several at a time.",
    "doctor": "Look whether everything is in order.",
    "prompts": "See, make and remove the prompts of -p.",
    "history": "Find, show, change, import and export the stored conversations.",
    "models": "See which models and providers there are; fetch some.",
    "keys": "Store, list and remove the keys of providers.",
    "config": "See, check and change the settings.",
    "cache": "See and clear the cache of answers.",
}


def announced_commands() -> dict[str, TyperCommand]:
    """Return what stands in for the commands until one is run: enough for --help, and for the shell's completion."""
    return {name: TyperCommand(name, help=told) for name, told in COMMANDS.items()}


def build_command(name: str) -> Any:
    """Import a command, and build it."""
    app = import_module(f"{__package__}.{name}").app
    is_group = len(app.registered_commands) > 1
    parent = typer.Typer(rich_markup_mode=None)  # a command looks as the one above it does
    parent.add_typer(app, name=name if is_group else None)
    return get_group(parent).commands[name]
