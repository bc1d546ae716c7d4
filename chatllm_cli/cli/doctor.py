"""`chatllm doctor`: what is right and wrong with this installation, in lines that may be shown to anybody."""

import getpass
import platform
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chatllm_cli import __version__
from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.asking import counted
from chatllm_cli.cli.options import AsJson, check_is_text, looks_of
from chatllm_cli.cli.running import keys_seen, run
from chatllm_cli.config.places import Places, find_places
from chatllm_cli.config.profiles import PROFILE_TABLE, chosen_profile
from chatllm_cli.config.setting_keys import spell_key
from chatllm_cli.errors import ChatllmError, ConfigError, ExitCode
from chatllm_cli.models import Endpoint

if TYPE_CHECKING:
    from chatllm_cli.services.doctor import Finding

app = typer.Typer()

MOUNTS = Path("/proc/self/mountinfo")


@app.command()
def doctor(
    model: Annotated[
        str | None,
        typer.Option(
            "-m", "--model", metavar="PROVIDER/MODEL", help="The model to ask about.", callback=check_is_text
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look whether everything is in order.

    What it prints may be shown to anybody: it holds no key, and not your name.
    """
    from chatllm_cli.render.findings import open_findings_view  # noqa: PLC0415
    from chatllm_cli.services.doctor import Verdict, for_the_public  # noqa: PLC0415

    view = open_findings_view(sys.stdout, sys.stderr, as_json=as_json)

    async def work(services: Services) -> ExitCode:
        verdicts = set()
        async for finding in _examine(services, model or ""):
            view.show(for_the_public(finding, Path.home(), _secrets(), _user()))
            verdicts.add(finding.verdict)
        view.close()
        return ExitCode.FAILURE if Verdict.PROBLEM in verdicts else ExitCode.DONE

    raise typer.Exit(run(work))


def _secrets() -> list[str]:
    from chatllm_cli.config.loading import known_secrets  # noqa: PLC0415

    return [*known_secrets(), *keys_seen]


def _user() -> str:
    with suppress(OSError, KeyError, ImportError):  # KeyError until Python 3.13
        return getpass.getuser()
    return ""


async def _examine(services: Services, model: str) -> "AsyncIterator[Finding]":
    from chatllm_cli.services import doctor as of  # noqa: PLC0415

    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    yield of.Finding("chatllm", of.Verdict.OK, f"{__version__} on {system}")
    places = find_places()
    folders = {"config": places.config_file.parent, "data": places.data, "cache": places.cache, "state": places.state}
    for finding in of.look_at_folders(folders):
        yield finding
    yield of.look_at_storage(places.data, _mounts())
    failure = _failure(services)
    for finding in _examine_settings(places, failure):
        yield finding
    if not failure:
        async for finding in _examine_cache(services):
            yield finding
        async for finding in _examine_models(services, model):
            yield finding


def _failure(services: Services) -> ChatllmError | None:
    """Return what keeps `ask` from taking the settings."""
    try:
        looks_of(services.settings)
    except ConfigError as error:
        return error
    return None


def _examine_settings(places: Places, failure: ChatllmError | None) -> "Iterator[Finding]":
    from chatllm_cli.config.checking import check_all  # noqa: PLC0415
    from chatllm_cli.services import doctor as of  # noqa: PLC0415

    faults = check_all(places.config_file)
    verdicts = [of.Verdict.PROBLEM if _is_in_force(fault.key) else of.Verdict.HINT for fault in faults]
    for fault, verdict in zip(faults, verdicts, strict=True):
        yield of.Finding("settings", verdict, str(replace(fault, hint=None)), fault.hint or "")
    if not any((fault.hint or "").startswith("chmod") for fault in faults):  # else it is told already
        yield from of.look_at_config_file(places.config_file)
    if failure and of.Verdict.PROBLEM not in verdicts:
        yield of.problem("settings", failure)
    elif not faults:
        there = "is there" if places.config_file.exists() else "is not there: everything is as it comes"
        yield of.Finding("settings", of.Verdict.OK, f"{places.config_file} {there}")


def _is_in_force(key: str) -> bool:
    """Tell whether a setting counts now: those of profiles that were not chosen do not."""
    chosen = spell_key((PROFILE_TABLE, chosen_profile()))
    return not key.startswith(f"{PROFILE_TABLE}.") or f"{key}.".startswith(f"{chosen}.")


async def _examine_cache(services: Services) -> "AsyncIterator[Finding]":
    from chatllm_cli.services import doctor as of  # noqa: PLC0415

    name = "shared" if services.cache.is_shared else "cache"
    try:
        stats = await services.cache.stats()
    except ChatllmError as error:
        yield of.problem(name, error, of.Verdict.HINT)  # answers come without it
        return
    if services.cache.is_shared:
        has = counted(stats.entries, "answer")
        yield of.Finding(name, of.Verdict.OK, f"the cache at {stats.where} can be used, and has {has}")


async def _examine_models(services: Services, model: str) -> "AsyncIterator[Finding]":
    from chatllm_cli.services import doctor as of  # noqa: PLC0415

    try:
        providers = services.providers
    except ConfigError as error:
        yield of.problem("keys", error)
        return
    try:
        endpoint = providers.endpoint(model)
    except ChatllmError as error:
        yield of.problem("model", error)
        return
    try:
        providers.fallbacks(endpoint)
    except ChatllmError as error:
        yield of.Finding("fallback", of.Verdict.PROBLEM, error.message, error.hint or "")
    if not endpoint.is_embedded:
        async for finding in _examine_provider(services, endpoint):
            yield finding
    yield await _examine_embedded(services, endpoint)


async def _examine_provider(services: Services, endpoint: Endpoint) -> "AsyncIterator[Finding]":
    from chatllm_cli.services import doctor as of  # noqa: PLC0415
    from chatllm_cli.services.llm.http_client import proxy_to  # noqa: PLC0415  (half a second)

    try:
        proxy = proxy_to(endpoint.base_url)
    except ConfigError as error:
        yield of.problem("proxy", error)
        return
    yield of.look_at_proxy(endpoint, proxy)
    listing = replace(services.providers.catalogue(endpoint.provider), model=endpoint.model)
    async for finding in of.look_at_provider(listing, services.llm):
        yield finding


async def _examine_embedded(services: Services, endpoint: Endpoint) -> "Finding":
    from chatllm_cli.services import doctor as of  # noqa: PLC0415

    try:
        embedded = endpoint if endpoint.is_embedded else services.providers.local()
        await services.llm.ready(embedded)
    except ChatllmError as error:
        # Whoever has a provider can do without it.
        return of.problem("embedded", error, of.Verdict.PROBLEM if endpoint.is_embedded else of.Verdict.HINT)
    return of.Finding("embedded", of.Verdict.OK, f"{embedded.address} runs")


def _mounts() -> str:
    with suppress(OSError):
        return MOUNTS.read_text(errors="replace")
    return ""
