"""`chatllm ask`: one turn, for people and for scripts."""

import asyncio
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.attaching import STDIN, attach, read_stdin
from chatllm_cli.cli.options import (
    Columns,
    ContinueOrFinish,
    Extract,
    ExtractAll,
    Json,
    JsonStream,
    MarkdownOnPipe,
    Output,
    Prompt,
    Resume,
    SchemaSpec,
    file_of,
    looks_of,
)
from chatllm_cli.cli.request_flags import RequestFlags, with_request_flags
from chatllm_cli.cli.running import choose, resumed, run
from chatllm_cli.errors import AnswerFormatError, ExitCode, IncompleteAnswerError, UsageError
from chatllm_cli.frozen import frozen
from chatllm_cli.models import Attachment, ChatOptions, Conversation, Endpoint, Message, Status
from chatllm_cli.render.json_renderer import open_renderer
from chatllm_cli.render.renderer import Renderer, check_output
from chatllm_cli.render.wishes import Wish
from chatllm_cli.repl.quiet_terminal import quiet_terminal

if TYPE_CHECKING:
    from chatllm_cli.render.turn_views import TurnView
    from chatllm_cli.services.chat import ChatService
    from chatllm_cli.services.history import OpenConversation

app = typer.Typer()

INCOMPLETE = {Status.TRUNCATED, Status.FILTERED, Status.ERROR}
IS_EXTRACT = re.compile("--extract|-c*x")  # behind a letter that takes a value, x is part of that
GO_ON = "`chatllm ask -c`"
SHOW = "`chatllm history show` shows the answer"


@frozen
class Question:
    """What is asked."""

    prompt: str
    title: str  # what the conversation is to be called after
    attachments: Sequence[Attachment]

    @property
    def topic(self) -> str:
        """The text that says what it is about; empty if nothing is asked."""
        return self.title or next((each.name for each in self.attachments), "")


class AskCommand(TyperCommand):
    """`ask`, whose -x may stand with a number or without."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give -x the number that it stands for."""
        return super().parse_args(ctx, _with_number(args))


def _with_number(args: Sequence[str]) -> list[str]:
    end = args.index("--") if "--" in args else len(args)
    given: list[str] = []
    for place, argument in enumerate(args):
        given.append(argument)
        if place < end and IS_EXTRACT.fullmatch(argument) and not "".join(args[place + 1 : place + 2]).isdecimal():
            given.append("1")
    return given


@app.command(cls=AskCommand)
@with_request_flags
def ask(
    flags: RequestFlags,
    words: Prompt = None,
    continue_: ContinueOrFinish = False,
    conversation: Resume = None,
    markdown: MarkdownOnPipe = False,
    output: Output = None,
    extract: Extract = None,
    extract_all: ExtractAll = False,
    schema: SchemaSpec = None,
    as_json: Json = False,
    json_stream: JsonStream = False,
    columns: Columns = False,
) -> None:
    """Ask one question and print the answer.

    Where -m is given more than once, all of these models are asked at the same time.
    """
    if flags.plain and markdown:
        raise UsageError("--plain and --markdown are not to be had together")
    if json_stream and output is not None:
        raise UsageError("--json-stream does not go into a file: it comes in pieces", hint="--json -o does")
    if len(flags.model or ()) > 1:
        _check_goes_with_several(output, extract, schema, extract_all=extract_all, json_stream=json_stream)
    wish = _wish(output, extract, schema, extract_all=extract_all, as_json=as_json or json_stream)
    flags, filled = flags.with_prompt()
    files = flags.file or []
    goes_on = (continue_ or conversation is not None) and not words
    may_be_empty = filled is not None or goes_on or bool(files)
    given = read_prompt(words or [], may_be_empty=may_be_empty, takes_stdin=STDIN not in files)
    prompt = filled.wrapped(given, has_attachments=bool(files)) if filled else given
    title = filled.title(given) if filled else given
    settings, keep_settings = flags.load()
    stdin = read_stdin(files, settings)
    looks = looks_of(settings, markdown=markdown)
    renderer = open_renderer(sys.stdout, sys.stderr, looks, as_json=as_json, as_json_stream=json_stream)

    if (flags.cache or flags.refresh) and not settings.history.enabled:
        renderer.notice("nothing of this is kept, so the cache is not used")

    async def work(services: Services) -> ExitCode:
        last = await resumed(services, renderer, conversation, last=continue_)
        question = Question(prompt, title, await attach(services, renderer, files, stdin))
        if len(flags.model or ()) > 1:
            from chatllm_cli.cli.ask_models import ask_models  # noqa: PLC0415  (what most runs do without)

            return await ask_models(services, renderer, question, flags, last, columns=columns)
        return await _ask(services, renderer, question, flags, last, wish, schema)

    code = run(work, settings)
    keep_settings()
    raise typer.Exit(code)


def _wish(output: Path | None, extract: int | None, schema: str | None, *, extract_all: bool, as_json: bool) -> Wish:
    if extract and extract_all:
        raise UsageError("-x and --extract-all are not to be had together")
    if (extract or extract_all) and (as_json or schema is not None):
        raise UsageError(
            "code blocks and JSON are not to be had together", hint="leave out -x, or --json and --schema"
        )
    file = file_of(output)
    if file is not None:
        check_output(file)
    return Wish(extract, extract_all, file, wants_value=schema is not None)


def _check_goes_with_several(
    output: Path | None, extract: int | None, schema: str | None, *, extract_all: bool, json_stream: bool
) -> None:
    ones = {
        "-o": output,
        "-x": extract,
        "--schema": schema,
        "--extract-all": extract_all,
        "--json-stream": json_stream,
    }
    for name, value in ones.items():
        if value not in {None, False}:
            raise UsageError(f"{name} goes with one model: -m is given more than once")


async def _ask(
    services: Services,
    renderer: Renderer,
    question: Question,
    flags: RequestFlags,
    last: Conversation | None,
    wish: Wish,
    spec: str | None,
) -> ExitCode:
    from chatllm_cli.render.turn_views import open_turn_view  # noqa: PLC0415

    settings = services.settings
    schema = _read_schema(spec) if spec is not None else None
    endpoints = await choose(services, renderer, flags.one_model, last)
    topic = question.topic
    log = await services.open_conversation(topic, endpoints[0], system_prompt=flags.system, last=last)
    options = flags.options("" if schema is None else json.dumps(schema))
    chat = services.build_chat(cached=settings.history.enabled)
    view = open_turn_view(renderer, endpoints[0].address, "" if topic else log.conversation.last_text, wish)
    try:
        with quiet_terminal() as lifted:
            view.lends(lifted)
            if schema is not None:
                reply, wish = await _ask_structured(chat, log, question, endpoints, options, view, wish, schema)
            elif topic:
                reply = await chat.send(
                    log, question.prompt, endpoints, options, view, attachments=question.attachments
                )
            else:
                reply = await chat.go_on(log, endpoints, options, view)
    except asyncio.CancelledError:
        view.close()
        renderer.answer_cut(log.conversation, wish, view.timings)
        renderer.stopped(log.conversation.thread()[-1] if log.is_kept else None, command=GO_ON)
        raise
    except (IncompleteAnswerError, AnswerFormatError) as error:
        view.close()
        renderer.answer_cut(log.conversation, wish, view.timings)
        if log.is_kept:
            is_cut = isinstance(error, IncompleteAnswerError)
            error.hint = f"what came is in the history; {GO_ON} goes on" if is_cut else error.hint or SHOW
        raise
    finally:
        view.close()
    renderer.answer(log.conversation, wish, view.timings)
    renderer.ending(reply, command=GO_ON if log.is_kept else "")
    if renderer.shows_usage:
        renderer.usage(await chat.bill(log.conversation, reply, endpoints))
    return exit_code(reply, is_lost=settings.history.enabled and not log.is_kept)


def _read_schema(spec: str) -> dict[str, Any]:
    from chatllm_cli.services.structured_output import read_schema  # noqa: PLC0415  (jsonschema, only here)

    return read_schema(spec)


async def _ask_structured(
    chat: "ChatService",
    log: "OpenConversation",
    question: Question,
    endpoints: Sequence[Endpoint],
    options: ChatOptions,
    view: "TurnView",
    wish: Wish,
    schema: dict[str, Any],
) -> tuple[Message, Wish]:
    from chatllm_cli.services.chat.structured import send_structured  # noqa: PLC0415
    from chatllm_cli.services.structured_output import fitted  # noqa: PLC0415

    prompt, attachments = question.prompt, question.attachments
    reply, value = await send_structured(
        chat, log, prompt, endpoints, options, view, lambda text: fitted(text, schema), view.on_misfit, attachments
    )
    return reply, replace(wish, value=value)


def exit_code(reply: Message, *, is_lost: bool) -> ExitCode:
    """Return what a turn that ended without an error is worth to a script."""
    if reply.status in INCOMPLETE:
        return ExitCode.INCOMPLETE
    return ExitCode.HISTORY if is_lost else ExitCode.DONE


def read_prompt(words: list[str], *, may_be_empty: bool = False, takes_stdin: bool = True) -> str:
    """Join the words of the command line, and what comes on stdin unless that is a terminal, or for something else.

    Raises `UsageError` if either is not text, or if neither says anything and that may not be.
    """
    given = " ".join(words)
    piped = "" if not takes_stdin or sys.stdin is None or sys.stdin.isatty() else _read_stdin()
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
