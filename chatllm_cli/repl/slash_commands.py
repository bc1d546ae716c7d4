"""The slash commands: one table, from which dispatch and help are made."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Protocol

from chatllm_cli.render.renderer import Renderer


class Loop(Protocol):
    """What a command needs of the session that it is typed in."""

    renderer: Renderer

    def leave(self) -> None:
        """End after this line."""

    async def go_on(self) -> None:
        """Take up the last answer where it stopped."""


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """One command: how it is written, what it is for, and what it does."""

    name: str
    help: str
    handler: Callable[[Loop], Awaitable[None]]


async def _show_help(loop: Loop) -> None:
    width = max(len(command.name) for command in COMMANDS.values())
    lines = [f"/{command.name:<{width}}  {command.help}" for command in COMMANDS.values()]
    loop.renderer.text("\n".join([*lines, *KEYS]))


async def _leave(loop: Loop) -> None:
    loop.leave()


async def _go_on(loop: Loop) -> None:
    await loop.go_on()


COMMANDS: Mapping[str, SlashCommand] = {
    command.name: command
    for command in (
        SlashCommand("help", "show what can be typed here", _show_help),
        SlashCommand("continue", "take up an incomplete answer where it stopped", _go_on),
        SlashCommand("exit", "leave; the conversation is kept", _leave),
    )
}

KEYS = (
    "Enter sends, Alt-Enter or Ctrl-J begins a new line, a paste is one message.",
    "Ctrl-C stops the answer or clears the line, Ctrl-D leaves.",
)

_COMMAND_LINE = re.compile(r"/([a-z]*)(?:(?<=[a-z])[ \t]+[^\n]*)?\Z")


def parse(line: str) -> str | None:
    """Return the name of the command that `line` calls; None if it is a prompt, as is a path like /etc/hosts.

    A word behind a name that is mistyped must not make a prompt of it, which would be sent and kept.
    """
    match = _COMMAND_LINE.match(line.strip())
    return match[1] if match else None


def nearest(name: str) -> str:
    """Return what to say of a command that does not exist."""
    near = get_close_matches(name, COMMANDS, n=1)
    return f"there is no command /{name}; " + (f"did you mean /{near[0]}?" if near else "/help shows what there is")
