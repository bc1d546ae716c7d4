"""`chatllm history`: the commands that change what is stored. What takes something away asks first."""

import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.options import Address, Addresses, Moment
from chatllm_cli.cli.running import run
from chatllm_cli.errors import ChatllmError, ExitCode, UsageError
from chatllm_cli.models import Filter, Summary
from chatllm_cli.render.renderer import Renderer

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
MOST_SHOWN = 10


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (rename, tag, untag, fork, rm, prune, scrub, check, repair):
        app.command()(command)


def rename(address: Address, title: Annotated[str, typer.Argument(metavar="TITLE")]) -> None:
    """Give a conversation another title."""
    if not title.strip():
        raise UsageError("the title is empty")

    async def work(services: Services) -> None:
        await (await services.history.open(address)).set_title(" ".join(title.split()))

    run(work)


def tag(address: Address, tags: Annotated[list[str], typer.Argument(metavar="TAG...")]) -> None:
    """Add tags to a conversation."""
    _change_tags(address, lambda old: [*old, *(each for each in dict.fromkeys(tags) if each not in old)])


def untag(address: Address, tags: Annotated[list[str], typer.Argument(metavar="TAG...")]) -> None:
    """Take tags away from a conversation."""
    _change_tags(address, lambda old: [each for each in old if each not in tags])


def _change_tags(address: str, change: Callable[[Sequence[str]], Sequence[str]]) -> None:
    async def work(services: Services) -> None:
        opened = await services.history.open(address)
        await opened.set_tags(change(opened.conversation.tags))

    run(work)


def fork(
    address: Address,
    message: Annotated[str, typer.Option(help="Copy down to this message; to the last one unless given.")] = "",
) -> None:
    """Copy a conversation into one of its own, to go on with apart, and print its id."""
    forked = run(lambda services: services.history.fork(address, message))
    Renderer(sys.stdout, sys.stderr).text(forked.id)


def rm(
    addresses: Addresses,
    message: Annotated[str, typer.Option(help="Remove only this message of the conversation, by its id.")] = "",
    yes: Yes = False,
) -> None:
    """Remove conversations, or one message: from the files, the index and the cache."""

    async def work(services: Services) -> None:
        history = services.history
        conversations = [await history.load(address) for address in addresses]
        if message:
            await _remove_message(services, addresses, message, yes=yes)
            return
        titles = [f"{each.id}  {each.title}" for each in conversations]
        if _is_agreed(titles, f"remove {_counted(len(titles), 'conversation')} for good?", yes=yes):
            await history.upkeep.remove([await history.find(each.id) for each in conversations])
            await services.cache.forget([each.id for each in conversations])

    run(work)


async def _remove_message(services: Services, addresses: Sequence[str], message: str, *, yes: bool) -> None:
    if len(addresses) != 1:
        raise UsageError("--message goes with one conversation")
    conversation = await services.history.load(addresses[0])
    found = conversation.find(message)
    if found is None:
        raise UsageError(f"there is no message '{message}' in conversation {conversation.id}")
    if _is_agreed([" ".join(found.content.split())[:72]], "remove this message for good?", yes=yes):
        await services.history.upkeep.remove_message(await services.history.find(conversation.id), found.id)
        await services.cache.forget([conversation.id])


def prune(
    older_than: Annotated[datetime, typer.Option(metavar="AGE", parser=Moment, help="Such as 90d, 12w or a date.")],
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Remove the conversations that were last used before then."""

    async def work(services: Services) -> None:
        history = services.history
        old = (await history.list(Filter(until=older_than))).conversations
        if not old:
            raise ChatllmError("no conversation is that old")
        titles = [_told(summary) for summary in old]
        if dry_run:
            Renderer(sys.stdout, sys.stderr).text("\n".join(titles))
        elif _is_agreed(titles, f"remove {_counted(len(old), 'conversation')} for good?", yes=yes):
            await history.upkeep.remove([await history.find(summary.id) for summary in old])
            await services.cache.forget([summary.id for summary in old])

    run(work)


def scrub(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="The text to take out, everywhere.")],
    replacement: Annotated[str, typer.Option("--with", metavar="TEXT", help="What to put there.")] = "[removed]",
    regex: Annotated[bool, typer.Option("--regex", help="PATTERN is a regular expression.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Replace a text in every stored conversation: in files, index and cache."""
    from chatllm_cli.services.history.files import id_of  # noqa: PLC0415
    from chatllm_cli.services.history.rewriting import replacer  # noqa: PLC0415

    if not pattern:
        raise UsageError("the pattern is empty")
    try:
        replace = replacer(pattern, replacement, is_regex=regex)
    except re.error as error:
        raise UsageError(f"'{pattern}' is not a regular expression: {error}") from None

    async def work(services: Services) -> None:
        upkeep = services.history.upkeep
        counts = await upkeep.count(replace)
        if not counts:
            raise ChatllmError("nothing that is stored matches")
        touched = [f"{id_of(path)}  {_counted(number, 'record')}" for path, number in counts.items()]
        if dry_run:
            Renderer(sys.stdout, sys.stderr).text("\n".join(touched))
        elif _is_agreed(touched, f"change {_counted(len(counts), 'conversation')} for good?", yes=yes):
            await upkeep.scrub(list(counts), replace)
            await services.cache.forget([id_of(path) for path in counts])

    run(work)


def check() -> None:
    """Look for damaged lines in the stored conversations; nothing is changed."""
    damaged = run(lambda services: services.history.upkeep.check())
    renderer = Renderer(sys.stdout, sys.stderr)
    renderer.rows(
        ("file", "damaged lines"), [(str(damage.path), damage.fault or str(damage.lines)) for damage in damaged]
    )
    if any(damage.lines for damage in damaged):
        renderer.notice("`chatllm history repair` moves damaged lines aside")
    if damaged:
        raise typer.Exit(ExitCode.HISTORY)
    renderer.notice("nothing is damaged")


def repair() -> None:
    """Move damaged lines into a file beside each conversation's."""
    damaged = run(lambda services: services.history.upkeep.repair())
    renderer = Renderer(sys.stdout, sys.stderr)
    for damage in damaged:
        done = f"{_counted(damage.lines, 'damaged line')} moved aside"
        renderer.notice(f"{damage.path}: {damage.fault or done}")
    if not damaged:
        renderer.notice("nothing is damaged")


def _is_agreed(what: Sequence[str], question: str, *, yes: bool) -> bool:
    """Show what is to be done, and ask for it. Raises `UsageError` where nobody can be asked."""
    renderer = Renderer(sys.stdout, sys.stderr)
    if yes:
        return True
    if not (sys.stdin and sys.stdin.isatty()):
        raise UsageError(f"this needs --yes: {question}")
    for line in what[:MOST_SHOWN]:
        renderer.notice(line)
    if len(what) > MOST_SHOWN:
        renderer.notice(f"… and {len(what) - MOST_SHOWN} more")
    renderer.question(f"{question} [y/N]")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _told(summary: Summary) -> str:
    return f"{summary.id}  {summary.updated_at.astimezone(UTC):%Y-%m-%d}  {summary.title}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
