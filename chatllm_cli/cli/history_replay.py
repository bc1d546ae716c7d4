"""`chatllm history replay`: the prompts of a conversation, asked again on another model."""

import sys
from functools import partial
from typing import Annotated

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.options import Address, Json, looks_of
from chatllm_cli.cli.request_flags import RequestFlags, with_request_flags
from chatllm_cli.cli.running import check_differ, choose, found, run
from chatllm_cli.errors import ExitCode, UsageError
from chatllm_cli.render.json_renderer import open_renderer

NOT_OF_A_REPLAY = ("file", "prompt", "var", "refresh", "no_history")

Diff = Annotated[bool, typer.Option("--diff", help="Show how each answer differs from the stored one.")]


@partial(with_request_flags, but=NOT_OF_A_REPLAY)
def replay(flags: RequestFlags, address: Address, diff: Diff = False, as_json: Json = False) -> None:
    """Ask the prompts of a conversation again, on the model that -m names.

    Each is asked with what was said before it, as it is stored. The new answers are kept beside the stored ones, on
    branches of their own: the conversation goes on where it was. A cached answer is taken only with --cache.
    """
    if not flags.model:
        raise UsageError("on which model? -m is missing", hint="-m PROVIDER/MODEL; may be given again")
    settings, keep_settings = flags.load()
    renderer = open_renderer(sys.stdout, sys.stderr, looks_of(settings), as_json=as_json)
    if not settings.history.enabled:
        renderer.notice("nothing of this is kept: history.enabled is off")

    async def work(services: Services) -> ExitCode:
        from chatllm_cli.cli.replaying import open_replay, run_replay  # noqa: PLC0415  (2 ms, of every other command)

        conversation = await found(services, renderer, address)
        chosen = [await choose(services, renderer, model, conversation) for model in flags.model or ()]
        check_differ(chosen)
        replay = await open_replay(services, renderer, conversation, chosen, flags, diffs=diff)
        return await run_replay(replay, chosen)

    code = run(work, settings)
    keep_settings()
    raise typer.Exit(code)
