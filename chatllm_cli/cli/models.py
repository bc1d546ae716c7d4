"""`chatllm models`: what can be asked."""

import sys

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.running import run
from chatllm_cli.config import load_settings
from chatllm_cli.errors import ChatllmError, ConfigError, ExitCode, ProviderError
from chatllm_cli.render.renderer import Renderer

app = typer.Typer(help="See which models there are.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """List the embedded model and those of every provider that is set up, as -m takes them."""
    renderer = Renderer(sys.stdout, sys.stderr)

    async def work(services: Services) -> ExitCode:
        addresses, failure = await _gather(services)
        renderer.rows(("model",), [(address,) for address in addresses])
        if failure:
            renderer.error(failure)
        return failure.exit_code if failure else ExitCode.DONE

    raise typer.Exit(run(work, load_settings()))


async def _gather(services: Services) -> tuple[list[str], ChatllmError | None]:
    """Ask each provider in turn; one that fails does not hide the others."""
    addresses: list[str] = []
    failure: ChatllmError | None = None
    try:
        addresses.append(services.providers.local().address)
    except ConfigError as error:
        failure = None if services.providers.configured() else error
    for provider in services.providers.configured():
        try:
            models = await services.llm.list_models(services.providers.catalogue(provider))
            addresses += [f"{provider}/{model}" for model in models]
        except ProviderError as error:
            failure = error
    return addresses, failure
