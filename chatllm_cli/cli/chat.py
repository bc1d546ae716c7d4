"""`chatllm chat`: a conversation, turn after turn."""

import gc
import sys
from typing import Annotated

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.attaching import STDIN, attach
from chatllm_cli.cli.options import Continue, Resume, looks_of
from chatllm_cli.cli.request_flags import RequestFlags, with_request_flags
from chatllm_cli.cli.running import choose, resumed, run
from chatllm_cli.errors import UsageError
from chatllm_cli.models import Conversation
from chatllm_cli.render.renderer import Renderer

app = typer.Typer()


@app.command()
@with_request_flags
def chat(
    flags: RequestFlags,
    continue_: Continue = False,
    conversation: Resume = None,
    pick: Annotated[bool, typer.Option("-r", "--resume", help="Pick a conversation to go on with.")] = False,
) -> None:
    """Talk with a model, turn after turn."""
    _ = flags.one_model  # which is told before all else
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("chat needs a terminal", hint="`chatllm ask` takes its prompt from a pipe")
    if STDIN in (flags.file or []):
        raise UsageError("chat cannot attach stdin: you type there", hint="`chatllm ask -f -` can")
    flags, filled = flags.with_prompt()
    settings, keep_settings = flags.load()
    renderer = Renderer(sys.stdout, sys.stderr, looks_of(settings))

    async def work(services: Services) -> None:
        gc.disable()  # until the loop has imported what it takes
        from chatllm_cli.repl.loop import Loop  # noqa: PLC0415  (prompt_toolkit takes 80 ms)
        from chatllm_cli.repl.session import Session  # noqa: PLC0415

        last = await _picked(services) if pick else await resumed(services, renderer, conversation, last=continue_)
        if pick and last is None:
            return
        endpoints = await choose(services, renderer, flags.one_model, last)
        attachments = await attach(services, renderer, flags.file or [])
        keep_settings()
        session = Session(
            services,
            endpoints,
            flags.options(),
            system_prompt=flags.system,
            last=last,
            load=flags.load_with,
            attached=attachments,
            wrap=filled.wrapped if filled else None,
        )
        await Loop(session, renderer).run()

    run(work, settings)


async def _picked(services: Services) -> Conversation | None:
    """Let the user pick a conversation; None if none is wanted. Raises `UsageError` if there is none."""
    from chatllm_cli.repl.picker import pick  # noqa: PLC0415

    conversations = (await services.history.list()).conversations
    if not conversations:
        raise UsageError("there is no conversation yet", hint="`chatllm chat` begins one")
    picked = await pick(conversations, services.history.load)
    return await services.history.load(picked) if picked else None
