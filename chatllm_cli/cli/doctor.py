"""`chatllm doctor`: what is right and wrong with this installation, in lines that may be shown to anybody."""

import platform
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chatllm_cli import __version__
from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.options import AsJson, check_is_text
from chatllm_cli.cli.running import keys_seen, run
from chatllm_cli.config.addresses import host_of
from chatllm_cli.config.places import find_places
from chatllm_cli.errors import ChatllmError, ExitCode
from chatllm_cli.models import Endpoint

if TYPE_CHECKING:
    from chatllm_cli.services.doctor import Finding

MOUNTS = Path("/proc/self/mountinfo")


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
            view.show(for_the_public(finding, Path.home(), _secrets()))
            verdicts.add(finding.verdict)
        view.close()
        return ExitCode.FAILURE if Verdict.PROBLEM in verdicts else ExitCode.DONE

    raise typer.Exit(run(work))


def _secrets() -> list[str]:
    from chatllm_cli.config.loading import known_secrets  # noqa: PLC0415

    return [*known_secrets(), *keys_seen]


async def _examine(services: Services, model: str) -> "AsyncIterator[Finding]":
    from chatllm_cli.config.checking import check_all  # noqa: PLC0415
    from chatllm_cli.services import doctor as of  # noqa: PLC0415

    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    yield of.Finding("chatllm", of.Verdict.OK, f"{__version__} on {system}")
    places = find_places()
    for finding in of.look_at_folders({"data": places.data, "cache": places.cache, "state": places.state}):
        yield finding
    yield of.look_at_storage(places.data, _mounts())
    faults = check_all(places.config_file)
    for fault in faults:
        yield of.Finding("settings", of.Verdict.PROBLEM, str(replace(fault, hint=None)), fault.hint or "")
    if faults:
        return
    there = "is there" if places.config_file.exists() else "is not there: everything is as it comes"
    yield of.Finding("settings", of.Verdict.OK, f"{places.config_file} {there}")
    try:
        endpoint = services.providers.endpoint(model)
    except ChatllmError as error:
        yield of.problem("model", error)
        return
    async for finding in _examine_model(services, endpoint):
        yield finding


async def _examine_model(services: Services, endpoint: Endpoint) -> "AsyncIterator[Finding]":
    import urllib.request  # noqa: PLC0415  (9 ms, for whoever asks)

    from chatllm_cli.services import doctor as of  # noqa: PLC0415

    if not endpoint.is_embedded:
        bypassed = bool(urllib.request.proxy_bypass(host_of(endpoint.base_url)))
        yield of.look_at_proxy(endpoint, urllib.request.getproxies(), bypassed=bypassed)
        async for finding in of.look_at_provider(endpoint, services.llm):
            yield finding
    try:
        embedded = endpoint if endpoint.is_embedded else services.providers.local()
        await services.llm.ready(embedded)
    except ChatllmError as error:
        # Whoever has a provider can do without it.
        verdict = of.Verdict.PROBLEM if endpoint.is_embedded else of.Verdict.HINT
        yield of.Finding("embedded", verdict, error.message, error.hint or "")
        return
    yield of.Finding("embedded", of.Verdict.OK, f"{embedded.address} runs")


def _mounts() -> str:
    with suppress(OSError):
        return MOUNTS.read_text(errors="replace")
    return ""
