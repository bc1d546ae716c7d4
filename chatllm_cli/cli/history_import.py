"""`chatllm history import` and `merge`: conversations from elsewhere."""

import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.asking import counted
from chatllm_cli.cli.options import AsJson
from chatllm_cli.cli.running import run
from chatllm_cli.errors import ChatllmError, ExitCode, UsageError
from chatllm_cli.ids import SHORT_ID
from chatllm_cli.render.renderer import Renderer

if TYPE_CHECKING:
    from chatllm_cli.services.imports import Imports, Read

MOST_LISTED = 5  # in one line
MOST_NAMED = 20  # faults on a terminal or a pipe; --json has all
EVERY = 50  # conversations between two looks of how many there are
COLUMNS = {
    "new": "new",
    "grown": "grown",
    "known": "known",
    "removed": "removed",
    "unreadable": "unreadable",
    "messages": "new messages",
}
ALWAYS = {"new", "messages"}  # the others stand on a terminal only where there are any


DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be taken in.")]
Restore = Annotated[bool, typer.Option("--restore", help="Take in conversations that were removed here, too.")]


class Format(StrEnum):
    """What can be imported; a test holds it equal to what there is."""

    AUTO = "auto"
    CHATLLM = "chatllm"
    MARKDOWN = "markdown"
    JOURNAL = "journal"
    CHATGPT = "chatgpt"
    CLAUDE = "claude"
    LLM = "llm"
    AICHAT = "aichat"
    SHELL_GPT = "shell_gpt"
    GPTME = "gptme"
    OPENAI = "openai"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("import")(import_)
    app.command()(merge)


def import_(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE|DIR|-",
            help="A file, a zip, a folder of them, or - for stdin: of chatllm, ChatGPT, Claude, llm, aichat, "
            "shell_gpt, gptme, or in OpenAI's format.",
        ),
    ],
    format_: Annotated[
        Format, typer.Option("--format", help="Which it is, if that is not told by what is in it.")
    ] = Format.AUTO,
    dry_run: DryRun = False,
    restore: Restore = False,
    as_json: AsJson = False,
) -> None:
    """Take in conversations of other programs, and exported ones; none comes twice."""
    name = None if format_ is Format.AUTO else format_.value
    stdin = _stdin() if Path("-") in paths else None

    _take(lambda imports: [imports.run(path, name, stdin) for path in paths], dry_run, restore, as_json)


def merge(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR", help="The data folder of another machine; without it only conflicted copies are merged."
        ),
    ] = None,
    dry_run: DryRun = False,
    restore: Restore = False,
    as_json: AsJson = False,
) -> None:
    """Bring together what two machines have, and the copies that sync tools leave; both branches are kept."""

    def reads(imports: "Imports") -> "Iterable[AsyncGenerator[Read]]":
        if folder is not None:
            yield imports.merge(folder)
        yield imports.fold_copies()

    _take(reads, dry_run, restore, as_json)


def _stdin() -> BinaryIO:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("nothing comes on stdin", hint="chatllm history import - < FILE")
    return sys.stdin.buffer


@dataclass(slots=True)
class _Tally:
    """What became of all that was read."""

    reads: "list[Read]" = field(default_factory=list)
    counts: "dict[str, Counter[str]]" = field(default_factory=dict)  # by format
    faults: list[ChatllmError] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)  # files in which no conversation is
    branched: "list[Read]" = field(default_factory=list)
    new: set[str] = field(default_factory=set)  # ids: of these nothing is in use

    def take(self, read: "Read") -> None:
        if read.became is None:
            self.passed.append(read.source)
            return
        self.reads.append(read)
        counts = self.counts.setdefault(read.format or "unknown", Counter())
        if isinstance(read.became, ChatllmError):
            self.faults.append(read.became)
            counts["unreadable"] += 1
        else:
            counts[read.became.became] += 1
            counts["messages"] += read.became.messages
            counts["differing"] += read.became.differing
            if read.became.became == "new":
                self.new.add(read.conversation)
            if read.became.has_branched and read.conversation not in self.new:
                self.branched.append(read)

    def __getitem__(self, what: str) -> int:
        return sum(counts[what] for counts in self.counts.values())


def _take(
    all_reads: "Callable[[Imports], Iterable[AsyncGenerator[Read]]]", dry_run: bool, restore: bool, as_json: bool
) -> None:
    """Have all of it taken in, one after another, and say what became of it."""
    renderer, tally = Renderer(sys.stdout, sys.stderr), _Tally()

    async def work(services: Services) -> None:
        for reads in all_reads(services.imports(dry_run=dry_run, restore=restore)):
            async with aclosing(reads):
                async for read in reads:
                    tally.take(read)
                    if len(tally.reads) % EVERY == 0:
                        told = f"{len(tally.reads)} conversations, {tally['messages']} new messages"
                        renderer.waiting(f"{'looking at' if dry_run else 'taking in'}: {told}")

    try:
        run(work)
    finally:  # stopped, or on a full disk: what was taken in is there
        renderer.waited()
        if as_json:
            _print_json(renderer, tally, dry_run=dry_run)
        elif tally.reads:
            _show(renderer, tally, dry_run=dry_run)
    if not (tally.reads or as_json):
        renderer.notice("there is nothing to merge")
    if tally.faults:
        raise typer.Exit(ExitCode.FAILURE)


def _show(renderer: Renderer, tally: _Tally, *, dry_run: bool) -> None:
    for fault in tally.faults[:MOST_NAMED]:
        renderer.error(fault)
    if len(tally.faults) > MOST_NAMED:
        renderer.notice(f"… and {len(tally.faults) - MOST_NAMED} more could not be read; --json names all")
    shown = [each for each in COLUMNS if tally[each] or each in ALWAYS or not renderer.is_terminal]
    rows = [(name, *(str(counts[each]) for each in shown)) for name, counts in sorted(tally.counts.items())]
    renderer.rows(("format", *(COLUMNS[each] for each in shown)), rows)
    if tally.passed:
        renderer.notice(f"passed over, as no conversation is in them: {_some(tally.passed)}")
    if tally["differing"]:
        told = counted(tally["differing"], "message says", "messages say")
        renderer.notice(f"{told} something else here than in what was read, and nothing of that was changed")
    if tally.branched:
        named = _some([f"{each.conversation[:SHORT_ID]} '{each.title}'" for each in tally.branched])
        renderer.notice(f"with another branch now (`history show --tree` shows it): {named}")
    if tally["removed"]:
        told = counted(tally["removed"], "conversation")
        renderer.notice(f"{told} had been removed here, and stayed so; --restore takes them in")
    if dry_run:
        renderer.notice("nothing was changed: --dry-run")


def _some(names: Sequence[str]) -> str:
    """Return the first of many names, and how many there are besides."""
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _print_json(renderer: Renderer, tally: _Tally, *, dry_run: bool) -> None:
    from chatllm_cli.formats import json  # noqa: PLC0415

    document = {
        "dry_run": dry_run,
        "formats": [
            {"format": name, **{each: counts[each] for each in COLUMNS}}
            for name, counts in sorted(tally.counts.items())
        ],
        "conversations": [_fields(read) for read in tally.reads],
        "passed_over": tally.passed,
    }
    renderer.text(json.dump_data(document), end="")


def _fields(read: "Read") -> dict[str, object]:
    """Return what became of one conversation, as a script gets it."""
    fields: dict[str, object] = {
        "source": read.source,
        "format": read.format or None,
        "title": read.title,
        "conversation": read.conversation or None,
    }
    if isinstance(read.became, ChatllmError):
        return fields | {"became": "unreadable", "messages": 0, "error": read.became.message}
    if read.became is None:
        return fields
    taken = read.became
    return fields | {
        "became": taken.became,
        "messages": taken.messages,
        "differing": taken.differing,
        "branched": taken.has_branched,
        "error": None,
    }
