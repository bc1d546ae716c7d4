"""`chatllm models`: what can be asked."""

import sys

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli import local_models
from chatllm_cli.cli.running import run
from chatllm_cli.errors import ChatllmError, ConfigError, ExitCode, ProviderError
from chatllm_cli.render.renderer import Renderer

app = typer.Typer(help="See which models there are, and fetch some to run here.", no_args_is_help=True)
local_models.add_to(app)


@app.command("list")
def list_() -> None:
    """List the embedded model and those of every provider that is set up, as -m takes them."""
    renderer = Renderer(sys.stdout, sys.stderr)

    async def work(services: Services) -> ExitCode:
        addresses, failures = await _gather(services)
        renderer.rows(("model",), [(address,) for address in addresses])
        for failure in failures:
            renderer.error(failure)
        return failures[0].exit_code if failures else ExitCode.DONE

    raise typer.Exit(run(work))


async def _gather(services: Services) -> tuple[list[str], list[ChatllmError]]:
    """Ask each provider in turn; one that fails does not hide the others."""
    addresses: list[str] = []
    failures: list[ChatllmError] = []
    configured = services.providers.configured()
    pulled = services.local_models.names()
    try:
        addresses.append(services.providers.local().address)
    except ConfigError as error:
        failures += [] if configured or pulled else [error]
    addresses += [address for name in pulled if (address := f"local/{name}") not in addresses]
    for provider in configured:
        try:
            models = await services.llm.list_models(services.providers.catalogue(provider))
            addresses += [f"{provider}/{model}" for model in models]
        except ProviderError as error:
            failures.append(error)
    return addresses, failures
