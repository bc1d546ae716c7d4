"""`chatllm ask`: one turn, for people and for scripts."""

import asyncio
import sys
from typing import Annotated

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.options import (
    Fallback,
    Json,
    MaxTokens,
    MaxWait,
    Model,
    NoHistory,
    Plain,
    Resume,
    System,
    Temperature,
    load_with_options,
)
from chatllm_cli.cli.running import choose, resumed, run
from chatllm_cli.errors import ExitCode, IncompleteAnswerError, UsageError
from chatllm_cli.models import ChatOptions, Conversation, Message, Status
from chatllm_cli.render.json_renderer import open_renderer
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.repl.quiet_terminal import quiet_terminal

INCOMPLETE = {Status.TRUNCATED, Status.FILTERED, Status.ERROR}
GO_ON = "`chatllm ask -c`"


def ask(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT", help="The prompt; joined with stdin.")
    ] = None,
    model: Model = None,
    system: System = None,
    continue_: Annotated[
        bool,
        typer.Option(
            "-c", "--continue", help="Go on with the last conversation; without a prompt, with its incomplete answer."
        ),
    ] = False,
    conversation: Resume = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    fallback: Fallback = None,
    max_wait: MaxWait = None,
    no_history: NoHistory = False,
    cache: Annotated[
        bool | None,
        typer.Option("--cache/--no-cache", help="Use the response cache; by default at temperature 0."),
    ] = None,
    plain: Plain = False,
    as_json: Json = False,
) -> None:
    """Ask one question and print the answer."""
    prompt = read_prompt(words or [], may_be_empty=(continue_ or conversation is not None) and not words)
    settings = load_with_options(
        temperature=temperature,
        max_tokens=max_tokens,
        fallback=fallback,
        max_wait=max_wait,
        no_history=no_history,
        plain=plain,
        cache=cache,
    )
    renderer = open_renderer(sys.stdout, sys.stderr, plain=settings.output.plain, as_json=as_json)

    async def work(services: Services) -> ExitCode:
        last = await resumed(services, renderer, conversation, last=continue_)
        return await _ask(services, renderer, prompt, model, system, last)

    raise typer.Exit(run(work, settings))


async def _ask(
    services: Services,
    renderer: Renderer,
    prompt: str,
    model: str | None,
    system: str | None,
    last: Conversation | None,
) -> ExitCode:
    from chatllm_cli.render.turn_views import open_turn_view  # noqa: PLC0415  (markdown takes 20 ms)

    settings = services.settings
    endpoints = await choose(services, renderer, model, last)
    log = await services.open_conversation(prompt, endpoints[0], system_prompt=system, last=last)
    options = ChatOptions(settings.temperature, settings.max_tokens)
    chat = services.build_chat(cached=settings.history.enabled)
    view = open_turn_view(renderer, endpoints[0].address, "" if prompt else log.conversation.last_text)
    try:
        with quiet_terminal():
            if prompt:
                reply = await chat.send(log, prompt, endpoints, options, view)
            else:
                reply = await chat.go_on(log, endpoints, options, view)
    except asyncio.CancelledError:
        view.close()
        renderer.answer(log.conversation)
        renderer.stopped(log.conversation.thread()[-1] if log.is_kept else None, command=GO_ON)
        raise
    except IncompleteAnswerError as error:
        renderer.answer(log.conversation)
        error.hint = f"what came is in the history; {GO_ON} goes on" if log.is_kept else None
        raise
    finally:
        view.close()
    renderer.answer(log.conversation)
    renderer.ending(reply, command=GO_ON if log.is_kept else "")
    return exit_code(reply, is_lost=settings.history.enabled and not log.is_kept)


def exit_code(reply: Message, *, is_lost: bool) -> ExitCode:
    """Return what a turn that ended without an error is worth to a script."""
    if reply.status in INCOMPLETE:
        return ExitCode.INCOMPLETE
    return ExitCode.HISTORY if is_lost else ExitCode.DONE


def read_prompt(words: list[str], *, may_be_empty: bool = False) -> str:
    """Join the words of the command line, and what comes on stdin unless that is a terminal.

    Raises `UsageError` if either is not text, or if neither says anything and that may not be.
    """
    given = " ".join(words)
    piped = "" if sys.stdin is None or sys.stdin.isatty() else _read_stdin()
    prompt = "\n\n".join(part for part in (given, piped) if part.strip())
    if not prompt and not may_be_empty:
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
