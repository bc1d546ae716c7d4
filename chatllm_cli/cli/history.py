"""`chatllm history`: the stored conversations."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.running import run
from chatllm_cli.config import load_settings
from chatllm_cli.errors import ExitCode, UsageError
from chatllm_cli.models import Conversation
from chatllm_cli.private_files import replace_private_file
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.services.history import Listing

app = typer.Typer(help="List, show and export the stored conversations.", no_args_is_help=True)

Address = Annotated[
    str,
    typer.Argument(metavar="CONVERSATION", help="@1 is the last used; or an id's first 4 characters, or a title."),
]


class Format(StrEnum):
    """What a conversation can be exported as."""

    MARKDOWN = "markdown"
    JSON = "json"


@app.command("list")
def list_(limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="How many.")] = 20) -> None:
    """List the conversations, last used first."""

    async def work(services: Services) -> Listing:
        return await services.history.list(limit)

    listing = run(work, load_settings())
    renderer = Renderer(sys.stdout, sys.stderr)
    if listing.conversations:
        renderer.conversations(listing.conversations)
    elif renderer.is_terminal:
        renderer.notice('there is no conversation yet; `chatllm ask "…"` begins one')
    for fault in listing.faults:
        renderer.error(fault)
    if listing.faults:
        raise typer.Exit(ExitCode.HISTORY)


@app.command()
def show(address: Address = "@1") -> None:
    """Show a conversation."""
    settings = load_settings()
    Renderer(sys.stdout, sys.stderr, plain=settings.output.plain).conversation(_load(address))


@app.command()
def export(
    address: Address = "@1",
    format_: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.MARKDOWN,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file to write; stdout unless given.")
    ] = None,
) -> None:
    """Write a conversation as a document."""
    document = _dump(_load(address), format_)
    if output is None or str(output) == "-":
        Renderer(sys.stdout, sys.stderr).text(document, end="")
        return
    try:
        replace_private_file(output, document.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from None


def _load(address: str) -> Conversation:
    async def work(services: Services) -> Conversation:
        return await services.history.load(address)

    return run(work, load_settings())


def _dump(conversation: Conversation, format_: Format) -> str:
    from chatllm_cli.formats import json, markdown  # noqa: PLC0415  (only here)

    return json.dump(conversation) if format_ is Format.JSON else markdown.dump(conversation)
