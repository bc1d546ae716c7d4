"""`chatllm cache`: the answers that are kept to be given again."""

import sys
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from chatllm_cli.amounts import dollars
from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.asking import Yes, counted, is_agreed
from chatllm_cli.cli.options import AsJson, Moment, check_is_text
from chatllm_cli.cli.running import run
from chatllm_cli.errors import UsageError
from chatllm_cli.models import told_size
from chatllm_cli.render.renderer import Renderer, dumped

LEAST_MEGABYTES = 100_000  # bytes, below which megabytes would say too little
app = typer.Typer(help="See and clear the cache of answers.", no_args_is_help=True)


@app.command()
def stats(as_json: AsJson = False) -> None:
    """Show what is in the cache, and what it saved so far."""
    found = run(lambda services: services.cache.stats())
    renderer = Renderer(sys.stdout, sys.stderr)
    if as_json:
        renderer.text(dumped(asdict(found)), end="")
        return
    unknown = f", and {counted(found.unpriced, 'answer')} of unknown price" if found.unpriced else ""
    rows = [
        ("lies in", found.where),
        ("answers", f"{found.entries:,}"),
        ("size", told_size(found.size) if found.size >= LEAST_MEGABYTES else f"{found.size / 1000:.1f} kB"),
        ("hits", f"{found.hits:,}"),
        ("misses", f"{found.misses:,}"),
        ("tokens saved", f"{found.input_tokens:,} in · {found.output_tokens:,} out"),
        ("money saved", f"{dollars(found.cost)}{unknown}"),
    ]
    renderer.rows(("cache", ""), rows)


@app.command()
def clear(
    older_than: Annotated[
        datetime | None,
        typer.Option(metavar="AGE", parser=Moment, help="Only from before then, such as 7d or a date."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", help="Only of models with this in provider/model.", callback=check_is_text),
    ] = None,
    yes: Yes = False,
) -> None:
    """Remove answers from the cache; the history keeps them. One that is shared asks first."""
    if model is not None and not model.strip():
        raise UsageError("the model is empty", hint="without --model, answers of all models are removed")

    async def work(services: Services) -> None:
        cache = services.cache
        if cache.is_shared and not is_agreed([cache.where], "remove answers that others use, too?", yes=yes):
            return
        removed = await cache.clear(older_than=older_than, model=model)
        Renderer(sys.stdout, sys.stderr).notice(f"removed from {cache.where}: {counted(removed, 'answer')}")

    run(work)


@app.command()
def path() -> None:
    """Show where the cache lies, or would lie."""

    async def work(services: Services) -> str:
        return services.cache.where

    Renderer(sys.stdout, sys.stderr).text(run(work))
