"""`chatllm batch`: many prompts, each asked by itself, and their answers as JSON lines."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.completion import complete_path
from chatllm_cli.cli.options import check_is_text, file_of
from chatllm_cli.cli.request_flags import RequestFlags, with_request_flags
from chatllm_cli.cli.running import run
from chatllm_cli.errors import ExitCode, UsageError
from chatllm_cli.render.renderer import Renderer, check_output

if TYPE_CHECKING:
    from chatllm_cli.config.settings import Settings
    from chatllm_cli.services.batch.lines import Readable

app = typer.Typer()

STDIN = "-"
MOST_AT_ONCE = 256
LONGEST_WAIT = 600.0  # seconds that a prompt waits for a busy provider, unless more is set: nobody sits before it
NOT_OF_A_BATCH = ("file", "trim", "no_history", "hide_reasoning", "plain")

Source = Annotated[
    str,
    typer.Argument(
        metavar="FILE|-",
        help="A prompt a line, or a JSON object a line; - is stdin.",
        callback=check_is_text,
        autocompletion=complete_path,
    ),
]
Format = Annotated[
    Literal["lines", "jsonl"] | None,
    typer.Option("--format", metavar="lines|jsonl", help="What the lines are; told by the first one unless given."),
]
Concurrency = Annotated[
    int, typer.Option("--concurrency", metavar="N", min=1, max=MOST_AT_ONCE, help="How many are asked at once.")
]
Rpm = Annotated[
    float | None,
    typer.Option("--rpm", metavar="N", min=0.01, help="At most so many requests a minute to a provider."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", metavar="FILE", help="Append the answers to this file; what is answered there is not asked."
    ),
]
AsCompleted = Annotated[
    bool, typer.Option("--as-completed", help="Put out each answer as it comes, not in the order of the prompts.")
]
KeepsHistory = Annotated[
    bool, typer.Option("--history", help="Keep each prompt and its answer as a conversation of the history, too.")
]


@app.command()
@partial(with_request_flags, but=NOT_OF_A_BATCH)
def batch(
    flags: RequestFlags,
    source: Source,
    format_: Format = None,
    concurrency: Concurrency = 8,
    rpm: Rpm = None,
    output: Output = None,
    as_completed: AsCompleted = False,
    history: KeepsHistory = False,
) -> None:
    """Ask many prompts, several at a time.

    FILE has a prompt a line, or JSON objects: {"prompt": …} and, if wished, id, system, model, temperature, top_p,
    max_tokens, seed, stop, reasoning_effort and options. A JSON object comes out for each. With -o the same command
    goes on where an earlier run was stopped. A busy provider is waited for up to 10 minutes, unless --max-wait says
    otherwise.
    """
    _ = flags.one_model
    flags, filled = flags.with_prompt()
    file = file_of(output)
    if file is not None:
        check_output(file)
        _check_is_another(source, file)
    settings, keep_settings = _patient(flags)
    renderer = Renderer(sys.stdout, sys.stderr)

    async def work(services: Services) -> ExitCode:
        from chatllm_cli.cli.batching import Asking, Run, go_through  # noqa: PLC0415  (--help does without)

        with _opened(source) as stream:
            asking = Asking(services, renderer, flags, filled, rpm=rpm, keeps=history)
            run_ = Run(stream, _path_of(source), format_, file, concurrency=concurrency, in_order=not as_completed)
            return await go_through(asking, run_)

    code = run(work, settings)
    keep_settings()
    raise typer.Exit(code)


def _patient(flags: RequestFlags) -> "tuple[Settings, Callable[[], None]]":
    """Load the settings, with more patience for a busy provider than a person has unless some is asked for."""
    settings, keep = flags.load()
    if flags.max_wait is None and settings.retries.max_wait < LONGEST_WAIT:
        return replace(flags, max_wait=LONGEST_WAIT).load()
    return settings, keep


def _path_of(source: str) -> Path | None:
    """Return the file that the prompts are in, if it is one whose lines can be counted."""
    return Path(source) if source != STDIN and Path(source).is_file() else None


@contextmanager
def _opened(source: str) -> "Iterator[Readable]":
    """Open what the prompts are read from. Raises `UsageError`."""
    if source == STDIN:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("stdin is a terminal", hint="pipe prompts in, one a line, or name a file of them")
        yield cast("Readable", sys.stdin.buffer)
        return
    try:
        file = Path(source).open("rb")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}") from None
    with file:
        yield file


def _check_is_another(source: str, output: Path) -> None:
    with suppress(OSError):
        if source != STDIN and output.samefile(source):
            raise UsageError(f"{output} is where the prompts are: the answers cannot go there, too")
