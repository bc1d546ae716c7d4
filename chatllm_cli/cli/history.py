"""`chatllm history`: the stored conversations, found and shown."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli import history_changes, history_export, history_import, history_replay
from chatllm_cli.cli.asking import counted
from chatllm_cli.cli.options import Address, AsJson, OfModel, Since, Tag, Until, looks_of
from chatllm_cli.cli.running import run
from chatllm_cli.config.places import find_places
from chatllm_cli.errors import ExitCode, UsageError
from chatllm_cli.models import Conversation, Filter
from chatllm_cli.render.renderer import Renderer

app = typer.Typer(help="Find, show, change, import and export the stored conversations.", no_args_is_help=True)

Limit = Annotated[int, typer.Option("-n", "--limit", min=1, max=1_000_000, help="How many.")]


class Sort(StrEnum):
    """What a list can be sorted by."""

    USED = "used"
    CREATED = "created"
    TITLE = "title"
    MESSAGES = "messages"
    TOKENS = "tokens"


class By(StrEnum):
    """What figures can be told apart by."""

    MODEL = "model"
    PROVIDER = "provider"
    DAY = "day"
    MONTH = "month"


class Speaker(StrEnum):
    """Who said what is searched for."""

    USER = "user"
    ASSISTANT = "assistant"


@app.command("list")
def list_(
    limit: Limit = 20,
    since: Since = None,
    until: Until = None,
    model: OfModel = None,
    tag: Tag = None,
    sort: Annotated[Sort, typer.Option(help="What comes first.")] = Sort.USED,
    as_json: AsJson = False,
) -> None:
    """List the conversations, last used first."""
    from chatllm_cli.render import history_views  # noqa: PLC0415  (rich, which --help does without)

    wanted = Filter(since=since, until=until, model=model, tag=tag)
    listing = run(lambda services: services.history.list(wanted, limit=limit + 1, sort=sort))
    conversations = listing.conversations[:limit]
    renderer = Renderer(sys.stdout, sys.stderr)
    if as_json:
        _print_json(renderer, conversations)
    elif conversations:
        history_views.show_list(renderer, conversations)
    elif renderer.is_terminal:
        renderer.notice(NOTHING if wanted == Filter() else "no conversation is like that")
    _tell_of_more(renderer, listing.conversations, limit)
    if listing.copies and renderer.is_terminal:
        told = counted(listing.copies, "conflicted copy", "conflicted copies")
        renderer.notice(f"{told} of a sync tool among them; `chatllm history merge` brings them together")
    for fault in listing.faults:
        renderer.error(fault)
    if listing.faults:
        raise typer.Exit(ExitCode.HISTORY)


@app.command()
def search(
    text: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT", help='Words that a message has to hold, all of them; a "quoted phrase" as one.'
        ),
    ],
    limit: Limit = 20,
    role: Annotated[Speaker | None, typer.Option(help="Only what was said by this one.")] = None,
    model: OfModel = None,
    tag: Tag = None,
    since: Since = None,
    until: Until = None,
    raw: Annotated[bool, typer.Option("--raw", help="TEXT is in FTS5's own syntax.")] = False,
    regex: Annotated[
        bool, typer.Option("--regex", help="TEXT is a regular expression; (?-i:…) tells upper from lower case.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Search all that was said, and titles."""
    from chatllm_cli.render import history_views  # noqa: PLC0415
    from chatllm_cli.services.history import Query  # noqa: PLC0415

    query = Query(" ".join(text), is_raw=raw, is_regex=regex)
    if not query.text.strip():
        raise UsageError("there is nothing to search for")
    wanted = Filter(since=since, until=until, model=model, tag=tag, role=role)
    # A regular expression may take for ever, deaf to signals: those end the process then, which has nothing to save.
    found = run(lambda services: services.history.search(query, wanted, limit=limit + 1), dies_by_signals=regex)
    hits = found[:limit]
    renderer = Renderer(sys.stdout, sys.stderr)
    if as_json:
        _print_json(renderer, hits)
    elif hits:
        history_views.show_hits(renderer, hits)
    else:
        renderer.notice(f"nothing is found for '{query.text}'")
    _tell_of_more(renderer, found, limit)
    raise typer.Exit(ExitCode.DONE if hits else ExitCode.FAILURE)


@app.command()
def show(
    address: Address = "@1",
    tree: Annotated[bool, typer.Option("--tree", help="Show every branch, a line a message.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Show the text as it was written.")] = False,
    as_json: AsJson = False,
    block: Annotated[
        int | None, typer.Option("-x", "--extract", min=1, metavar="N", help="Print the N-th code block only.")
    ] = None,
) -> None:
    """Show a conversation."""
    from chatllm_cli.config.loading import load_settings  # noqa: PLC0415  (for a terminal's colours)
    from chatllm_cli.render import history_views, pager  # noqa: PLC0415

    conversation = _load(address)
    if block is not None or as_json:
        text = _as_json(conversation) if block is None else _code_block(conversation, block)
        Renderer(sys.stdout, sys.stderr).text(text, end="")
        if as_json:
            history_views.tell_damage(Renderer(sys.stdout, sys.stderr), conversation)
        return
    renderer = Renderer(sys.stdout, sys.stderr, looks_of(load_settings()) if sys.stdout.isatty() else None)
    with pager.paged(renderer):
        if tree:
            history_views.show_tree(renderer, conversation)
        else:
            history_views.show_conversation(renderer, conversation, is_raw=raw)


@app.command()
def stats(
    by: Annotated[By, typer.Option(help="What to tell apart.")] = By.MODEL,
    since: Since = None,
    until: Until = None,
    model: OfModel = None,
    tag: Tag = None,
    as_json: AsJson = False,
) -> None:
    """Show how much was said, and what it cost, as far as prices are known: else with ≥ before it."""
    from chatllm_cli.render import history_views  # noqa: PLC0415

    wanted = Filter(since=since, until=until, model=model, tag=tag)
    tallies = run(lambda services: services.history.tallies(by, wanted))
    renderer = Renderer(sys.stdout, sys.stderr)
    if as_json:
        _print_json(renderer, tallies)
    else:
        history_views.show_tallies(renderer, tallies, by)


app.command()(history_export.export)


@app.command()
def path() -> None:
    """Show where the conversations lie."""
    Renderer(sys.stdout, sys.stderr).text(str(find_places().conversations))


history_import.add_to(app)
history_changes.add_to(app)
app.command()(history_replay.replay)

NOTHING = 'there is no conversation yet; `chatllm ask "…"` begins one'


def _load(address: str) -> Conversation:
    async def work(services: Services) -> Conversation:
        return await services.history.load(address)

    return run(work)


def _code_block(conversation: Conversation, number: int) -> str:
    from chatllm_cli.render.code_blocks import code_blocks  # noqa: PLC0415

    blocks = [block for message in conversation.thread() for block in code_blocks(message.content)]
    if number > len(blocks):
        raise UsageError(f"there is no code block {number}: the conversation has {len(blocks)}")
    return blocks[number - 1]


def _as_json(conversation: Conversation) -> str:
    from chatllm_cli.formats import json  # noqa: PLC0415  (only here)

    return json.dump(conversation)


def _tell_of_more(renderer: Renderer, found: Sequence[object], limit: int) -> None:
    """Say so if there is more than is shown; a program that reads the list reads no stderr."""
    if len(found) > limit:
        renderer.notice(f"there are more; -n {limit * 5} shows more of them")


def _print_json(renderer: Renderer, items: object) -> None:
    from chatllm_cli.formats import json  # noqa: PLC0415

    renderer.text(json.dump_data(items), end="")
