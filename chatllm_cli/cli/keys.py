"""`chatllm keys`: the keys of the providers, which are never shown and never an argument."""

import sys
from typing import Annotated

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.completion import complete_provider
from chatllm_cli.cli.options import check_is_text
from chatllm_cli.cli.running import run
from chatllm_cli.errors import UsageError
from chatllm_cli.render.renderer import Renderer

app = typer.Typer(help="Store, list and remove the keys of providers.", no_args_is_help=True)

LONGEST_KEY = 65_536  # bytes that are read from stdin
Provider = Annotated[
    str,
    typer.Argument(
        metavar="PROVIDER",
        help="Its name; 'default' stands for the one that base_url describes.",
        callback=check_is_text,
        autocompletion=complete_provider,
    ),
]


@app.command("set")
def set_(
    provider: Provider,
    in_file: Annotated[bool, typer.Option("--file", help="Keep it in a file for you alone (0600).")] = False,
    in_keyring: Annotated[bool, typer.Option("--keyring", help="Keep it in the system's keyring.")] = False,
) -> None:
    """Store a provider's key, typed unseen or given on stdin: in the keyring if there is one, else in a file.

    It is sent to the provider's present address only.
    """
    from chatllm_cli.services.keys import Store  # noqa: PLC0415  (the services, when they are needed)

    if in_file and in_keyring:
        raise UsageError("--file and --keyring are not to be had together")
    store = Store.FILE if in_file else Store.KEYRING if in_keyring else None

    async def work(services: Services) -> None:
        services.providers.base_url(provider)  # before anybody types it
        entry = await services.keys.store(provider, _read_key(provider), store)
        where = "the keyring" if entry.store is Store.KEYRING else f"{services.keys.file} (0600)"
        renderer = Renderer(sys.stdout, sys.stderr)
        renderer.text(f"the key for {provider} is in {where}; it is sent to {entry.for_whom} only")
        if outweighed := services.keys.outweighed_by(provider, entry.store):
            renderer.notice(f"{outweighed} outweighs it")

    run(work)


@app.command("list")
def list_() -> None:
    """List which keys there are, where they lie and where they go; never the keys."""

    async def work(services: Services) -> None:
        renderer, found = Renderer(sys.stdout, sys.stderr), services.keys.overview()
        if found or not renderer.is_terminal:
            renderer.rows(("provider", "goes to", "lies in"), found)
        else:
            renderer.notice("there are no keys; `chatllm keys set PROVIDER` stores one")

    run(work)


@app.command()
def rm(provider: Provider) -> None:
    """Remove a stored key."""

    async def work(services: Services) -> None:
        await services.keys.remove(provider)
        Renderer(sys.stdout, sys.stderr).text(f"the key for {provider} is removed")

    run(work)


def _read_key(provider: str) -> str:
    if sys.stdin is None:
        return ""
    if not sys.stdin.isatty():
        return sys.stdin.buffer.read(LONGEST_KEY).decode(errors="replace")
    key: str = typer.prompt(f"Key for {provider} (not shown)", hide_input=True, err=True)
    return key
