"""Asking before something is taken away."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from chatllm_cli.errors import UsageError
from chatllm_cli.render.renderer import Renderer

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
MOST_SHOWN = 10


def is_agreed(what: Sequence[str], question: str, *, yes: bool) -> bool:
    """Show what is to be done, and ask for it. Raises `UsageError` where nobody can be asked."""
    renderer = Renderer(sys.stdout, sys.stderr)
    if yes:
        return True
    if not (sys.stdin and sys.stdin.isatty()):
        raise UsageError(f"this needs --yes: {question}")
    for line in what[:MOST_SHOWN]:
        renderer.notice(line)
    if len(what) > MOST_SHOWN:
        renderer.notice(f"… and {len(what) - MOST_SHOWN} more")
    renderer.question(f"{question} [y/N]")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def counted(number: int, noun: str, nouns: str = "") -> str:
    """Return so many of something, in words."""
    return f"{number} {noun}" if number == 1 else f"{number} {nouns or f'{noun}s'}"
