"""`chatllm history export`: conversations as documents, into a file, a folder or a pipe."""

import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.completion import complete_address
from chatllm_cli.cli.options import STDOUT, OfModel, Since, Tag, Until, check_are_text, check_is_text
from chatllm_cli.cli.running import run
from chatllm_cli.errors import ChatllmError, ExitCode, HistoryError, UsageError
from chatllm_cli.file_names import safe_part
from chatllm_cli.formats import writing
from chatllm_cli.formats.writing import ENDINGS, WITH_BRANCHES, WITH_FILES, Document, Format
from chatllm_cli.frozen import frozen
from chatllm_cli.ids import SHORT_ID
from chatllm_cli.models import Conversation, Filter
from chatllm_cli.private_files import make_private_folder
from chatllm_cli.render.progress import Counter as Progress
from chatllm_cli.render.renderer import Renderer, private_output, write_output

if TYPE_CHECKING:
    from chatllm_cli.services.exporting import Exported
    from chatllm_cli.services.history import Query


@frozen
class Wanted:
    """What is to be exported, and how."""

    addresses: Sequence[str]
    filter: Filter
    query: "Query | None"
    kind: Format
    branches: bool
    redacts: bool

    @property
    def has_branches(self) -> bool:
        """Whether what is written has all branches: JSON always does."""
        return self.branches or self.kind in {Format.JSON, Format.JSONL}


def export(
    addresses: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONVERSATION",
            help="As for show; the last used unless others are chosen.",
            callback=check_are_text,
            autocompletion=complete_address,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Export every conversation.")] = False,
    text: Annotated[
        str | None,
        typer.Option(
            "--search", metavar="TEXT", help="Only those in which search finds this.", callback=check_is_text
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    model: OfModel = None,
    tag: Tag = None,
    kind: Annotated[
        Format | None,
        typer.Option("--format", help="What to write; unless given, what FILE's ending says, or markdown."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE|DIR",
            help="The file to write, or a folder (with / behind it) that gets one for each; stdout unless given.",
        ),
    ] = None,
    branches: Annotated[bool, typer.Option("--branches", help="Write every branch, in markdown, too.")] = False,
    no_redact: Annotated[bool, typer.Option("--no-redact", help="Leave secrets in what is written.")] = False,
) -> None:
    """Write conversations as documents, without the secrets in them."""
    wanted = Filter(since=since, until=until, model=model, tag=tag)
    is_chosen = every or text is not None or wanted != Filter()
    if addresses and is_chosen:
        raise UsageError("a conversation is named, and others are chosen by --all, --search or a filter: take one")
    if output == "":  # which would be the current folder
        raise UsageError("-o names no file")
    target = None if output is None or output in STDOUT else Path(output)
    is_folder = target is not None and (str(output).endswith("/") or _is_folder(target))
    chosen = Wanted(
        addresses=addresses or ([] if is_chosen else ["@1"]),
        filter=wanted,
        query=_query(text),
        kind=kind or (Format.MARKDOWN if target is None or is_folder else writing.format_of(target)),
        branches=branches,
        redacts=not no_redact,
    )
    if branches and chosen.kind not in WITH_BRANCHES:
        raise UsageError(f"{chosen.kind} has one branch only", hint="markdown, json and jsonl can have every branch")
    run(lambda services: _export(services, chosen, target, is_folder=is_folder))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, say: whoever writes tells it
        return False


def _query(text: str | None) -> "Query | None":
    from chatllm_cli.services.history import Query  # noqa: PLC0415  (10 ms that other commands save)

    if text is None:
        return None
    if not text.strip():
        raise UsageError("there is nothing to search for")
    return Query(text)


async def _export(services: Services, wanted: Wanted, target: Path | None, *, is_folder: bool) -> None:
    selection = await services.exporter.select(wanted.addresses, wanted.filter, wanted.query)
    report = _Report(Renderer(sys.stdout, sys.stderr), selection.faults, wanted, is_shown=target is None)
    if not selection.places and not selection.faults:
        raise ChatllmError("no conversation is like that", hint="`chatllm history list` shows what there is")
    items = report.readable(
        services.exporter.exported(selection.places, redacts=wanted.redacts, with_files=wanted.kind in WITH_FILES),
        len(selection.places),
    )
    if target is not None and is_folder:
        await _write_each(items, wanted, target, report)
    else:
        # That what was chosen otherwise is one conversation is chance: it stays a document for several.
        is_for_one = len(wanted.addresses) == 1
        document = Document(wanted.kind, branches=wanted.branches, is_for_one=is_for_one)
        await _write_all(items, document, target, report)
    report.tell(target)


async def _write_all(
    items: "AsyncIterator[Exported]", document: Document, target: Path | None, report: "_Report"
) -> None:
    """Write all conversations into one document; nothing, where there is none."""
    with _output(target, report.renderer) as write:
        async for each in items:
            text = document.add(each.conversation, each.files)
            if text is None:
                report.has_nothing(each.conversation)
            elif text:
                write(text)
        if not document.conversations:
            raise report.nothing()
        for text in document.end():
            write(text)


@contextmanager
def _output(target: Path | None, renderer: Renderer) -> Iterator[Callable[[str], object]]:
    if target is None:
        yield lambda text: renderer.text(text, end="")
        return
    with private_output(target) as write:
        yield write


async def _write_each(items: "AsyncIterator[Exported]", wanted: Wanted, folder: Path, report: "_Report") -> None:
    """Write each conversation into a file of its own, which replaces that of an earlier export."""
    try:
        make_private_folder(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}") from None
    taken: set[str] = set()
    async for each in items:
        conversation = each.conversation
        document = writing.dump(wanted.kind, conversation, each.files, branches=wanted.branches)
        if not document:
            report.has_nothing(conversation)
            continue
        name = next(name for name in _names(conversation, ENDINGS[wanted.kind]) if name not in taken)
        taken.add(name)
        write_output(folder / name, document, is_private=True)
    if not taken:
        raise report.nothing()


def file_name(conversation: Conversation, ending: str, *, length: int = SHORT_ID) -> str:
    """Return the name of a conversation's file: when it began, what it is about, and how its id begins."""
    parts = (
        f"{conversation.created_at:%Y-%m-%d}",
        safe_part(conversation.title),
        safe_part(conversation.id[:length]),
    )
    return "-".join(part for part in parts if part) + ending


def _names(conversation: Conversation, ending: str) -> Iterator[str]:
    """Yield the names that a conversation's file may have: another one where two ids are alike, or as good as."""
    yield file_name(conversation, ending)
    name = file_name(conversation, ending, length=len(conversation.id))
    yield name
    for number in count(2):
        yield f"{name.removesuffix(ending)}-{number}{ending}"


class _Report:
    """What a person is told of an export."""

    def __init__(self, renderer: Renderer, faults: Sequence[HistoryError], wanted: Wanted, *, is_shown: bool) -> None:
        self.renderer = renderer
        self._wanted = wanted
        self._aside = 0  # messages on other branches, which are not in what is written
        self._faults = list(faults)
        self._secrets: Counter[str] = Counter()
        self._notices: list[str] = []
        self._done = 0
        # Not on a terminal that the documents themselves are shown on.
        self._progress = None if is_shown and renderer.is_terminal else Progress(renderer, "exporting")

    async def readable(
        self, items: "AsyncIterator[Exported | HistoryError]", total: int
    ) -> "AsyncIterator[Exported]":
        """Yield what can be read, and take note of what cannot."""
        number = 0
        async for each in items:
            number += 1
            self._count(number, total)
            if isinstance(each, HistoryError):
                self._faults.append(each)
                continue
            self._done += 1
            self._secrets.update(each.secrets)
            if not self._wanted.has_branches:
                self._aside += len(each.conversation.aside())
            if damaged := each.conversation.damaged_lines:
                self._notices.append(
                    f"damaged lines in conversation {_named(each.conversation)}, skipped: {damaged} (`history check`)"
                )
            yield each

    def has_nothing(self, conversation: Conversation) -> None:
        """Take note that nothing of a conversation is in what is written."""
        self._done -= 1
        self._notices.append(f"no whole turn is in conversation {_named(conversation)}: it is left out")

    def nothing(self) -> Exception:
        """Return what ends it where nothing could be written."""
        if self._faults:
            self._tell_faults()
            return typer.Exit(ExitCode.HISTORY)
        return ChatllmError("there is no whole turn in what was chosen", hint="a whole turn has a complete answer")

    def _count(self, done: int, total: int) -> None:
        if self._progress:
            self._progress(done, total)

    def tell(self, target: Path | None) -> None:
        """Say what was replaced and left out. Raises `typer.Exit` if something could not be read."""
        for notice in self._notices:
            self.renderer.notice(notice)
        if self._aside:
            how = (
                "--branches writes them" if self._wanted.kind in WITH_BRANCHES else "markdown and json can have them"
            )
            self.renderer.notice(f"messages on other branches, left out: {self._aside} ({how})")
        if self._secrets:
            from chatllm_cli.services.redaction import told_secrets  # noqa: PLC0415  (its patterns)

            self.renderer.notice(told_secrets(self._secrets) + "; --no-redact keeps them")
        if target is not None and self.renderer.is_read_by_a_person:
            what = "1 conversation is" if self._done == 1 else f"{self._done} conversations are"
            self.renderer.notice(f"{what} written to {target}")
        self._tell_faults()
        if self._faults:
            raise typer.Exit(ExitCode.HISTORY)

    def _tell_faults(self) -> None:
        for fault in self._faults:
            self.renderer.error(fault)


def _named(conversation: Conversation) -> str:
    return f"{conversation.id[:SHORT_ID]} '{conversation.title}'"
