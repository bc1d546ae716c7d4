"""`chatllm ask`: one turn, for people and for scripts."""

import asyncio
import sys
from typing import Annotated

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.options import (
    Continue,
    MaxTokens,
    Model,
    NoHistory,
    Plain,
    System,
    Temperature,
    load_with_options,
)
from chatllm_cli.cli.running import choose, run
from chatllm_cli.errors import ExitCode, UsageError
from chatllm_cli.models import ChatOptions, Message, Status
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.turn_views import open_turn_view

INCOMPLETE = {Status.TRUNCATED, Status.FILTERED}


def ask(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT", help="The prompt; joined with stdin.")
    ] = None,
    model: Model = None,
    system: System = None,
    continue_: Continue = False,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    no_history: NoHistory = False,
    cache: Annotated[
        bool | None,
        typer.Option("--cache/--no-cache", help="Use the response cache; by default at temperature 0."),
    ] = None,
    plain: Plain = False,
) -> None:
    """Ask one question and print the answer."""
    prompt = read_prompt(words or [])
    settings = load_with_options(temperature, max_tokens, no_history=no_history, plain=plain, cache=cache)
    renderer = Renderer(sys.stdout, sys.stderr, plain=settings.output.plain)

    async def work(services: Services) -> ExitCode:
        return await _ask(services, renderer, prompt, model, system, resume=continue_)

    raise typer.Exit(run(work, settings))


async def _ask(
    services: Services, renderer: Renderer, prompt: str, model: str | None, system: str | None, *, resume: bool
) -> ExitCode:
    settings = services.settings
    endpoint, last = await choose(services, renderer, model, resume=resume)
    log = await services.open_conversation(prompt, endpoint, system_prompt=system, last=last)
    options = ChatOptions(settings.temperature, settings.max_tokens)
    view = open_turn_view(renderer, endpoint.address)
    try:
        reply = await services.build_chat(cached=settings.history.enabled).send(log, prompt, endpoint, options, view)
    except asyncio.CancelledError:
        view.close()
        renderer.stopped(is_kept=log.is_kept)
        raise
    finally:
        view.close()
    renderer.ending(reply)
    return exit_code(reply, is_lost=settings.history.enabled and not log.is_kept)


def exit_code(reply: Message, *, is_lost: bool) -> ExitCode:
    """Return what a turn that ended without an error is worth to a script."""
    if reply.status in INCOMPLETE:
        return ExitCode.INCOMPLETE
    return ExitCode.HISTORY if is_lost else ExitCode.DONE


def read_prompt(words: list[str]) -> str:
    """Join the words of the command line, and what comes on stdin unless that is a terminal.

    Raises `UsageError` if either is not text.
    """
    given = " ".join(words)
    piped = "" if sys.stdin is None or sys.stdin.isatty() else _read_stdin()
    prompt = "\n\n".join(part for part in (given, piped) if part.strip())
    if not prompt:
        raise UsageError("the prompt is empty", hint='give it as an argument or on stdin: chatllm ask "…"')
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the prompt is not UTF-8 (character {error.start + 1})") from None
    return prompt


def _read_stdin() -> str:
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8").rstrip("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"the prompt on stdin is not UTF-8 (byte {error.start + 1})") from None
