"""`chatllm prompts`: what -p takes by name."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chatllm_cli.cli.asking import Yes, counted, is_agreed
from chatllm_cli.cli.completion import complete_own_prompt, complete_prompt
from chatllm_cli.cli.editing import edit_file
from chatllm_cli.cli.options import AsJson, check_are_text, check_is_text
from chatllm_cli.config.places import find_places
from chatllm_cli.errors import ChatllmError
from chatllm_cli.render.renderer import Renderer, dumped

if TYPE_CHECKING:
    from chatllm_cli.services.prompts import ListedPrompt, Prompts

app = typer.Typer(help="See, make and remove the prompts of -p.", no_args_is_help=True)

SKELETON = """\
---
# What `chatllm prompts list` says of it.
description:
# All of these may be left out. A flag outweighs what stands here, and this outweighs the settings.
#model: provider/model
#system: You answer in {{language}}.
#options:
#  temperature: 0.2
#  max_tokens: 500
# What -v NAME=VALUE gives, each with its default; one without has to be given.
#variables:
#  language: English
---
{{input}}
"""

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", callback=check_is_text, autocompletion=complete_prompt, help="As -p takes it."),
]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the prompts, and where each is from."""
    renderer = Renderer(sys.stdout, sys.stderr)
    found = _prompts().list()
    if as_json:
        renderer.text(dumped([_described(each) for each in found]), end="")
        return
    is_told_below = renderer.is_terminal  # a column there may be too narrow for it
    rows = [(each.name, _origin(each), _told(each, with_fault=not is_told_below)) for each in found]
    renderer.rows(("prompt", "from", "what for"), rows)
    if is_told_below:
        for fault in filter(None, (each.fault for each in found)):
            renderer.notice(fault)
        renderer.notice('`chatllm ask -p NAME "…"` uses one, `chatllm prompts edit NAME` makes or changes one')


def _prompts() -> "Prompts":
    from chatllm_cli.services.prompts import Prompts  # noqa: PLC0415  (what other commands do without)

    return Prompts(find_places().prompts)


def _origin(listed: "ListedPrompt") -> str:
    return "chatllm" if listed.is_shipped else "you"


def _told(listed: "ListedPrompt", *, with_fault: bool) -> str:
    if listed.template:
        return listed.template.description
    return f"damaged: {listed.fault}" if with_fault else "damaged"


def _described(listed: "ListedPrompt") -> dict[str, object]:
    template = listed.template
    return {
        "name": listed.name,
        "from": _origin(listed),
        "path": str(listed.path),
        "description": template.description if template else "",
        "variables": dict(template.variables) if template else {},
        "fault": listed.fault or None,
    }


@app.command()
def show(name: Name) -> None:
    """Show a prompt, as its file has it."""
    text = _prompts().text(name)
    Renderer(sys.stdout, sys.stderr).text(text, end="" if text.endswith("\n") else "\n")


@app.command()
def edit(name: Name) -> None:
    """Edit a prompt, or begin one, with $VISUAL or $EDITOR.

    One that comes along with chatllm is copied first, and yours is used from then on.
    """
    prompts = _prompts()
    path, there = prompts.own(name), prompts.find(name)
    begun = prompts.bytes(name) if there else SKELETON.encode()
    edit_file(path, begun, begun if there == path else None, _faults)


def _faults(draft: Path) -> list[str]:
    from chatllm_cli.services.prompts import read_prompt  # noqa: PLC0415

    try:
        read_prompt(draft, draft.stem)
    except ChatllmError as error:
        return [error.message]
    return []


@app.command()
def rm(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", callback=check_are_text, autocompletion=complete_own_prompt),
    ],
    yes: Yes = False,
) -> None:
    """Remove prompts of your own."""
    prompts, wanted = _prompts(), list(dict.fromkeys(names))
    for name in wanted:
        prompts.check_can_be_removed(name)
    told = [f"{name}  {prompts.own(name)}" for name in wanted]
    if is_agreed(told, f"remove {counted(len(wanted), 'prompt')}?", yes=yes):
        for name in wanted:
            prompts.remove(name)
        Renderer(sys.stdout, sys.stderr).notice(f"removed: {', '.join(wanted)}")
