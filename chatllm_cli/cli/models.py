"""`chatllm models`: what can be asked."""

import asyncio
import json
import sys
from typing import Annotated

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli import local_models
from chatllm_cli.cli.completion import complete_provider
from chatllm_cli.cli.options import AsJson, check_is_text
from chatllm_cli.cli.request_flags import InsecureHttp
from chatllm_cli.cli.running import run
from chatllm_cli.config.known_providers import KNOWN, SELF_ANNOUNCING
from chatllm_cli.errors import ChatllmError, ConfigError, ExitCode
from chatllm_cli.render.renderer import Renderer

app = typer.Typer(help="See which models and providers there are; fetch some.", no_args_is_help=True)
local_models.add_to(app)

Addresses = list[str]


@app.command("list")
def list_(
    provider: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only those of this provider.",
            callback=check_is_text,
            autocompletion=complete_provider,
        ),
    ] = None,
    as_json: AsJson = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask again; lists are remembered for a day otherwise.")
    ] = False,
    insecure_http: InsecureHttp = False,
) -> None:
    """List the embedded model and those of every provider that is set up, or runs here, as -m takes them."""
    from chatllm_cli.config.loading import load_settings  # noqa: PLC0415

    renderer = Renderer(sys.stdout, sys.stderr)

    async def work(services: Services) -> ExitCode:
        addresses, failures = await _gather(services, provider, refresh=refresh)
        if as_json:
            renderer.text(json.dumps([_described(address) for address in addresses], indent=2))
        else:
            renderer.rows(("model",), [(address,) for address in addresses])
        for failure in failures:
            renderer.error(failure)
        return failures[0].exit_code if failures else ExitCode.DONE

    raise typer.Exit(run(work, load_settings({"insecure_http": insecure_http or None})))


@app.command()
def providers(as_json: AsJson = False) -> None:
    """List the providers that are known or set up, with where the key of each lies."""
    renderer = Renderer(sys.stdout, sys.stderr)

    async def work(services: Services) -> None:
        keys = {name: place for name, _, place in services.keys.overview()}
        names = services.providers.names()
        rows = [(name, _address(services, name), keys.get(name) or _lack(name)) for name in names]
        if as_json:
            fields = ("provider", "base_url", "key")
            renderer.text(json.dumps([dict(zip(fields, row, strict=True)) for row in rows], indent=2))
        else:
            renderer.rows(("provider", "address", "key"), rows)
            if renderer.is_terminal:
                renderer.notice("`chatllm keys set PROVIDER` stores a key; `chatllm keys list` says where each goes")

    run(work)


def _address(services: Services, name: str) -> str:
    try:
        return services.providers.base_url(name)
    except ConfigError:
        return ""


def _lack(name: str) -> str:
    known = KNOWN.get(name)
    return f"missing ({known.key_variable})" if known and known.key_variable else "none needed"


def _described(address: str) -> dict[str, str]:
    provider, _, model = address.partition("/")
    return {"address": address, "provider": provider, "model": model}


async def _gather(services: Services, provider: str | None, *, refresh: bool) -> tuple[Addresses, list[ChatllmError]]:
    """Ask all providers at once; one that fails does not hide the others."""
    known = services.providers
    names = [provider] if provider else [*known.configured(), *await _running(services)]
    is_local = provider == "local"
    found = await asyncio.gather(*(_models(services, name, refresh=refresh) for name in names if not is_local))
    addresses = [address for models, _ in found for address in models]
    failures = [failure for _, failure in found if failure]
    if is_local or not provider:
        try:
            addresses[:0] = _local(services)
        except ConfigError as error:
            failures += [] if names and not is_local else [error]
    return addresses, failures


def _local(services: Services) -> Addresses:
    """Return the embedded model and those that were pulled. Raises `ConfigError` if there is none."""
    pulled = [f"local/{name}" for name in services.local_models.names()]
    try:
        return list(dict.fromkeys([services.providers.local().address, *pulled]))
    except ConfigError:
        if pulled:
            return pulled
        raise


async def _models(services: Services, name: str, *, refresh: bool) -> tuple[Addresses, ChatllmError | None]:
    try:
        models = await services.model_lists.models_of(services.providers.catalogue(name), refresh=refresh)
    except ChatllmError as error:
        return [], error
    return [f"{name}/{model}" for model in models], None


async def _running(services: Services) -> list[str]:
    """Return the servers that run on this machine and need not be set up."""
    from chatllm_cli.services.model_lists import answers  # noqa: PLC0415

    others = [name for name in SELF_ANNOUNCING if name not in services.providers.configured()]
    running = await asyncio.gather(*(answers(services.providers.base_url(name)) for name in others))
    return [name for name, is_running in zip(others, running, strict=True) if is_running]
