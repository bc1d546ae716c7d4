"""`chatllm history`: the commands that change what is stored. What takes something away asks first."""

import json
import re
import sys
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.asking import MOST_SHOWN, Yes, counted, is_agreed
from chatllm_cli.cli.options import Address, Addresses, Moment, check_are_text, check_is_text
from chatllm_cli.cli.running import run
from chatllm_cli.errors import ChatllmError, ExitCode, UsageError
from chatllm_cli.ids import SHORT_ID
from chatllm_cli.models import Conversation, Filter
from chatllm_cli.render.clean import clean_line
from chatllm_cli.render.renderer import Renderer

if TYPE_CHECKING:
    from chatllm_cli.services.history.upkeep import Damage

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
Tags = Annotated[list[str], typer.Argument(metavar="TAG...", callback=check_are_text)]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (rename, tag, untag, fork, rm, prune, scrub, check, repair):
        app.command()(command)


def rename(address: Address, title: Annotated[str, typer.Argument(metavar="TITLE", callback=check_is_text)]) -> None:
    """Give a conversation another title."""
    wanted = " ".join(title.split())
    if not wanted:
        raise UsageError("the title is empty")
    if re.fullmatch(r"@\d+", wanted):
        raise UsageError(f"'{wanted}' would name another conversation")

    async def work(services: Services) -> str:
        opened = await services.history.open(address)
        await opened.set_title(wanted)
        return opened.conversation.id

    _say(f"{run(work)[:SHORT_ID]} is now '{wanted}'")


def tag(address: Address, tags: Tags) -> None:
    """Add tags to a conversation."""
    wanted = [" ".join(each.split()) for each in tags]
    if "" in wanted:
        raise UsageError("the tag is empty")
    if with_comma := [each for each in wanted if "," in each]:
        raise UsageError(f"'{with_comma[0]}' cannot be a tag: a comma stands between two")
    _change_tags(address, lambda old: [*old, *(each for each in dict.fromkeys(wanted) if each not in old)])


def untag(address: Address, tags: Tags) -> None:
    """Take tags away from a conversation."""

    def change(old: Sequence[str]) -> Sequence[str]:
        if missing := [each for each in tags if each not in old]:
            has = f"it has {', '.join(old)}" if old else "it has none"
            raise UsageError(f"the conversation has no tag '{missing[0]}'", hint=has)
        return [each for each in old if each not in tags]

    _change_tags(address, change)


def _change_tags(address: str, change: Callable[[Sequence[str]], Sequence[str]]) -> None:
    async def work(services: Services) -> Conversation:
        opened = await services.history.open(address)
        await opened.set_tags(change(opened.conversation.tags))
        return opened.conversation

    changed = run(work)
    _say(f"{changed.id[:SHORT_ID]} '{changed.title}': {', '.join(changed.tags) or 'no tags'}")


def fork(
    address: Address,
    message: Annotated[
        str | None,
        typer.Option(help="Copy down to this message, by the id that show --tree has.", callback=check_is_text),
    ] = None,
) -> None:
    """Copy a conversation, to go on apart, and print the copy's id."""
    forked = run(lambda services: services.history.fork(address, message))
    Renderer(sys.stdout, sys.stderr).text(forked.id)


def rm(
    addresses: Addresses,
    message: Annotated[
        str | None,
        typer.Option(
            help="Remove only this message, by the id that show --tree and search have.", callback=check_is_text
        ),
    ] = None,
    yes: Yes = False,
) -> None:
    """Remove conversations, or one message, for good."""

    async def work(services: Services) -> None:
        history = services.history
        conversations = {each.id: each for each in [await history.load(address) for address in addresses]}
        if message is not None:
            await _remove_message(services, list(conversations.values()), message, yes=yes)
            return
        titles = [f"{each.id[:SHORT_ID]}  {each.title}" for each in conversations.values()]
        if is_agreed(titles, f"remove {counted(len(titles), 'conversation')} for good?", yes=yes):
            await _remove(services, list(conversations))
            _say(f"removed: {'; '.join(titles[:MOST_SHOWN])}")

    run(work)


async def _remove(services: Services, ids: Sequence[str], *, unused_since: datetime | None = None) -> None:
    typed = await services.history.prompts(ids)
    await services.cache.forget(ids)  # first: what fails there is told, and can be tried again
    await services.history.upkeep.remove(ids, unused_since=unused_since)
    await _forget_typed(services, typed)


async def _forget_typed(services: Services, gone: Collection[str]) -> None:
    """Let the chat not recall what is gone; what a prompt by name was put around is known by the title it made."""
    from chatllm_cli.services.history.records import title_of  # noqa: PLC0415  (aiofiles)

    await services.input_history.forget(lambda text: text.strip() in gone or title_of(text) in gone)


async def _remove_message(
    services: Services, conversations: Sequence[Conversation], message: str, *, yes: bool
) -> None:
    if len(conversations) != 1:
        raise UsageError("--message goes with one conversation")
    (conversation,) = conversations
    found = conversation.find(message)
    if found is None:
        raise UsageError(
            f"there is no message '{message}' in conversation {conversation.id}",
            hint="`history show --tree` has the ids",
        )
    if not is_agreed([" ".join(found.topic.split())[:72]], "remove this message for good?", yes=yes):
        return
    if len(conversation.messages) == 1:
        await _remove(services, [conversation.id])
        _say("removed, and the conversation with it: it was the only message")
        return
    await services.cache.forget([conversation.id])
    await services.history.upkeep.remove_message(await services.history.find(conversation.id), found.id)
    await _forget_typed(services, {found.content.strip()})
    _say("removed")


def prune(
    older_than: Annotated[datetime, typer.Option(metavar="AGE", parser=Moment, help="Such as 90d, 12w or a date.")],
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Remove the conversations that were last used before then."""

    async def work(services: Services) -> None:
        old = (await services.history.list(Filter(until=older_than))).conversations
        if not old:
            _say("no conversation is that old")
            return
        titles = [f"{each.id}  {each.updated_at.astimezone(UTC):%Y-%m-%d}  {each.title}" for each in old]
        if dry_run:
            Renderer(sys.stdout, sys.stderr).text("\n".join(titles))
        elif is_agreed(titles, f"remove {counted(len(old), 'conversation')} for good?", yes=yes):
            await _remove(services, [each.id for each in old], unused_since=older_than)
            _say(f"removed: {counted(len(old), 'conversation')}")

    run(work)


def scrub(
    text: Annotated[
        str,
        typer.Argument(
            metavar="PATTERN", help="The text to take out, everywhere; - reads it from stdin.", callback=check_is_text
        ),
    ],
    replacement: Annotated[
        str, typer.Option("--with", metavar="TEXT", help="What to put there.", callback=check_is_text)
    ] = "[removed]",
    regex: Annotated[bool, typer.Option("--regex", help="PATTERN is a regular expression.")] = False,
    ignore_case: Annotated[bool, typer.Option("-i", "--ignore-case", help="In upper or lower case.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Replace a text in everything that is stored."""
    from chatllm_cli.services.history.files import id_of  # noqa: PLC0415  (10 ms that other commands save)

    wanted = _secret() if text == "-" else text
    pattern = _pattern(wanted, is_regex=regex, ignore_case=ignore_case)

    async def work(services: Services) -> None:
        upkeep = services.history.upkeep
        found, faults = await upkeep.places(pattern)
        for fault in faults:
            Renderer(sys.stdout, sys.stderr).error(fault)
        if not found and await services.input_history.matches(pattern):
            await _scrub_typed(services, pattern, replacement, dry_run=dry_run, yes=yes)
            return
        if not found:
            in_other_case, _ = await upkeep.places(re.compile(pattern.pattern, pattern.flags | re.IGNORECASE))
            raise ChatllmError(
                "nothing that is stored matches", hint="in another case it does: -i" if in_other_case else None
            )
        places = [f"{id_of(path)[:SHORT_ID]}  {clean_line(place)}" for path, each in found.items() for place in each]
        told = f"{counted(len(places), 'place')} in {counted(len({id_of(path) for path in found}), 'conversation')}"
        if dry_run:
            Renderer(sys.stdout, sys.stderr).text("\n".join(places))
            _say(f"would be replaced: {told}")
        elif is_agreed(places, f"replace {told} for good?", yes=yes):
            await services.cache.forget([id_of(path) for path in found])
            await upkeep.scrub(list(found), pattern, replacement)
            await services.input_history.scrub(pattern, replacement)
            _say(f"replaced: {told}")
        if faults:
            raise typer.Exit(ExitCode.HISTORY)

    run(work)


async def _scrub_typed(
    services: Services, pattern: re.Pattern[str], replacement: str, *, dry_run: bool, yes: bool
) -> None:
    """Replace what stands in no conversation, but was typed and is recalled in the chat."""
    told = "what was typed in the chat and is recalled there"
    if dry_run:
        _say(f"would be replaced: {told}")
    elif is_agreed([], f"replace {told} for good?", yes=yes):
        await services.input_history.scrub(pattern, replacement)
        _say(f"replaced: {told}")


def _secret() -> str:
    """Return the line on stdin, typed unseen if that is a terminal: a secret must not lie in the shell's history."""
    if sys.stdin and sys.stdin.isatty():
        return str(typer.prompt("text to take out", hide_input=True, err=True))
    return sys.stdin.readline().rstrip("\n") if sys.stdin else ""


def _pattern(text: str, *, is_regex: bool, ignore_case: bool) -> re.Pattern[str]:
    if not text:
        raise UsageError("the pattern is empty")
    try:
        pattern = re.compile(text if is_regex else _literal(text), re.IGNORECASE if ignore_case else 0)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"'{text}' is not a regular expression: {error}") from None
    if pattern.search(""):
        raise UsageError(f"'{text}' matches where nothing is", hint="it would match everywhere")
    return pattern


def _literal(text: str) -> str:
    """Return what matches a text, also as JSON spells it: in a damaged line that is what there is."""
    spelled = (text, json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1])
    return "|".join(map(re.escape, dict.fromkeys(spelled)))


def check() -> None:
    """Look for damage in what is stored; nothing is changed."""

    async def work(services: Services) -> "tuple[list[Damage], int]":
        return await services.history.upkeep.check(), (await services.history.list(limit=1)).copies

    damaged, copies = run(work)
    if copies:
        told = counted(copies, "conflicted copy", "conflicted copies")
        _say(f"{told} of a sync tool; `chatllm history merge` brings them together")
    if not damaged:
        _say("nothing is damaged")
        return
    rows = [(str(damage.path), damage.fault or str(damage.lines)) for damage in damaged]
    Renderer(sys.stdout, sys.stderr).rows(("file", "damaged lines"), rows)
    if any(damage.lines for damage in damaged):
        _say("`chatllm history repair` moves damaged lines aside")
    raise typer.Exit(ExitCode.HISTORY)


def repair() -> None:
    """Move damaged lines into a file beside each conversation's."""
    damaged = run(lambda services: services.history.upkeep.repair())
    for damage in damaged:
        moved = f"{counted(damage.lines, 'damaged line')} moved to {damage.aside}"
        _say(f"{damage.path}: {damage.fault}" if damage.fault else moved)
    if not damaged:
        _say("nothing is damaged")


def _say(text: str) -> None:
    Renderer(sys.stdout, sys.stderr).notice(text)
