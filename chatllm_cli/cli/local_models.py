"""`chatllm models`: the models that run on this machine, and how they come and go."""

import asyncio
import re
import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.asking import Yes, counted, is_agreed
from chatllm_cli.cli.completion import complete_catalogue, complete_pulled
from chatllm_cli.cli.options import check_are_text, check_is_text
from chatllm_cli.cli.running import run
from chatllm_cli.errors import UsageError
from chatllm_cli.models import told_size
from chatllm_cli.render.progress import ProgressBar
from chatllm_cli.render.renderer import Renderer

LOCAL = "local/"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (pull, catalogue, rm):
        app.command()(command)


def pull(
    source: Annotated[
        str,
        typer.Argument(
            metavar="NAME|URL|hf:ORG/REPO/FILE.gguf",
            help="A name that `models catalogue` shows, a file on the hub, or an address.",
            callback=check_is_text,
            autocompletion=complete_catalogue,
        ),
    ],
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="What the file's SHA-256 has to be.", callback=check_is_text)
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What it is to be called, as in local/NAME.", callback=check_is_text)
    ] = None,
) -> None:
    """Fetch a model to run on this machine, or the rest of one, and print how it is addressed."""
    expected = _checked_hash(sha256)
    renderer = Renderer(sys.stdout, sys.stderr)

    async def work(services: Services) -> str:
        from chatllm_cli.services.local.sources import find_source  # noqa: PLC0415
        from chatllm_cli.services.local.weights import BUNDLED_NAME, default_name  # noqa: PLC0415

        local = services.settings.local
        found = find_source(source.removeprefix(LOCAL), local.hub_url, name)
        if found.name in {BUNDLED_NAME, default_name(local)}:
            raise UsageError(
                f"{LOCAL}{found.name} is another model, which was not pulled", hint="give another name with --name"
            )
        view = _PullView(renderer, found.name)
        try:
            model = await services.downloads.pull(found, view, expected)
        except asyncio.CancelledError:
            view.stopped()
            raise
        finally:
            view.end()
        view.done(model.size)
        return f"{LOCAL}{model.name}"

    address = run(work)
    renderer.text(address)
    renderer.notice(f'`chatllm ask -m {address} "…"` asks it')


class _PullView:
    """Shows how a model comes."""

    def __init__(self, renderer: Renderer, name: str) -> None:
        self._renderer = renderer
        self._name = name
        self._bar = ProgressBar(renderer, name)
        self._began = self._checked = False

    def on_start(self, url: str, done: int, total: int) -> None:
        self._began = True
        self._bar.start(urlsplit(url).netloc, done, total)

    def on_bytes(self, done: int) -> None:
        self._bar.show(done)

    def on_wait(self, reason: str, seconds: float) -> None:
        text = f"{reason}; going on in {seconds:.1f} s"
        if self._renderer.can_paint:
            self._bar.say(f"{self._name}: {text}")
        else:
            self._renderer.notice(text)

    def on_check(self) -> None:
        self._checked = True
        self._bar.say(f"{self._name}: checking it")

    def end(self) -> None:
        self._bar.end()

    def stopped(self) -> None:
        self._bar.end()
        if self._began:
            self._renderer.notice("stopped; what came is kept; running it again goes on")

    def done(self, size: int) -> None:
        if self._checked:
            self._renderer.notice(f"{LOCAL}{self._name} is there: {told_size(size)}, its SHA-256 is written down")
        else:
            self._renderer.notice(f"{LOCAL}{self._name} is there already")


def catalogue() -> None:
    """Show small models that can be pulled by name."""

    async def work(services: Services) -> None:
        from chatllm_cli.services.local.catalogue import CATALOGUE  # noqa: PLC0415

        there = services.local_models.names()
        rows = [
            (each.name, told_size(each.megabytes * 1_000_000), each.licence, each.good_for, _mark(each.name in there))
            for each in CATALOGUE
        ]
        renderer = Renderer(sys.stdout, sys.stderr)
        renderer.rows(("name", "size", "licence", "good for", "here"), rows)
        if renderer.is_terminal:
            renderer.notice(
                "`chatllm models pull NAME` fetches one; any other GGUF file: pull hf:ORG/REPO/FILE.gguf, or a URL"
            )

    run(work)


def _mark(is_there: bool) -> str:
    return "yes" if is_there else ""


def rm(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...", help="As in local/NAME.", callback=check_are_text, autocompletion=complete_pulled
        ),
    ],
    yes: Yes = False,
) -> None:
    """Remove models that were pulled, or what came of one."""
    wanted = list(dict.fromkeys(name.removeprefix(LOCAL) for name in names))

    async def work(services: Services) -> None:
        models = services.local_models
        sizes = {name: models.size_of(name) for name in wanted}
        if missing := [name for name, size in sizes.items() if size is None]:
            raise UsageError(f"{LOCAL}{missing[0]} was not pulled", hint=_what_was(models.names()))
        told = [f"{LOCAL}{name}  {told_size(size or 0)}" for name, size in sizes.items()]
        if is_agreed(told, f"remove {counted(len(wanted), 'model')}?", yes=yes):
            for name in wanted:
                models.remove(name)
            Renderer(sys.stdout, sys.stderr).notice(f"removed: {'; '.join(told)}")

    run(work)


def _what_was(names: list[str]) -> str:
    return f"there is {', '.join(LOCAL + name for name in names)}" if names else "nothing was"


def _checked_hash(sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    value = sha256.strip().lower().removeprefix("sha256:")
    if not re.fullmatch("[0-9a-f]{64}", value):
        raise UsageError(f"'{sha256}' is no SHA-256", hint="it has 64 hexadecimal digits")
    return value
