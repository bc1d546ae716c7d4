"""The options that several commands share, written once."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chatllm_cli.cli.completion import complete_address, complete_profile

if TYPE_CHECKING:
    from chatllm_cli.config.settings import Settings
    from chatllm_cli.render.themes import Looks

UNITS = {"min": 1 / 60, "h": 1, "d": 24, "w": 7 * 24, "m": 30 * 24, "y": 365 * 24}  # hours
DAYS = {"today": 0, "yesterday": 1}
PROFILE_WANTED = "chatllm.profile"  # where commands find the --profile that stood before them
JSON_WANTED = "chatllm.json"  # where the error boundary finds out that errors are to be JSON too


def _remember_json(ctx: typer.Context, value: bool) -> bool:
    ctx.meta[JSON_WANTED] = value or ctx.meta.get(JSON_WANTED, False)
    return value


def Moment(text: str) -> datetime:  # noqa: N802  (Typer shows the name)
    """Return the moment that a person means: 7d ago, a date, or a date and a time, on this machine's clock."""
    try:
        return _moment(text.strip().lower())
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"'{text}' is no time; write today, 30min, 12h, 7d, 2w, 6m (months), 1y or 2026-11-30"
        ) from None


def _moment(text: str) -> datetime:
    if (days := DAYS.get(text)) is not None:
        return (datetime.now().astimezone() - timedelta(days)).replace(hour=0, minute=0, second=0, microsecond=0)
    if match := re.fullmatch(r"(\d{1,6})\s*(min|[hdwmy])", text):
        return datetime.now(UTC) - timedelta(hours=int(match[1]) * UNITS[match[2]])
    return datetime.fromisoformat(text).astimezone(UTC)


def check_is_text(value: str | None) -> str | None:
    """Refuse an argument that is not UTF-8."""
    check_are_text([value or ""])
    return value


def check_are_text(values: list[str] | None) -> list[str] | None:
    """Refuse arguments that are not UTF-8."""
    try:
        "".join(values or []).encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("it is not UTF-8") from None
    return values


Address = Annotated[
    str,
    typer.Argument(
        metavar="CONVERSATION",
        help="@1 is the last used; or an id's first 4 characters, or a title.",
        callback=check_is_text,
        autocompletion=complete_address,
    ),
]
Addresses = Annotated[
    list[str],
    typer.Argument(
        metavar="CONVERSATION...", help="As for show.", callback=check_are_text, autocompletion=complete_address
    ),
]
Since = Annotated[
    datetime | None, typer.Option(metavar="WHEN", parser=Moment, help="Only from then on: today, 7d, 2w, 2026-11-30.")
]
Until = Annotated[datetime | None, typer.Option(metavar="WHEN", parser=Moment, help="Only before then.")]
OfModel = Annotated[
    str | None,
    typer.Option("-m", "--model", metavar="TEXT", help="Only of models named so, in part.", callback=check_is_text),
]
Tag = Annotated[str | None, typer.Option("--tag", help="Only with this tag.", callback=check_is_text)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Continue = Annotated[bool, typer.Option("-c", "--continue", help="Go on with the last conversation.")]
Resume = Annotated[
    str | None,
    typer.Option(
        "--conversation",
        metavar="CONVERSATION",
        help="Go on with this one: @2, an id's first 4 characters, or a title.",
        callback=check_is_text,
        autocompletion=complete_address,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON object, and errors as JSON on stderr.", callback=_remember_json, is_eager=True
    ),
]
JsonStream = Annotated[
    bool,
    typer.Option(
        "--json-stream",
        help="Print a JSON object for each piece of the answer, then the one of --json.",
        callback=_remember_json,
        is_eager=True,
    ),
]
Prompt = Annotated[list[str] | None, typer.Argument(metavar="PROMPT", help="The prompt; joined with stdin.")]
ContinueOrFinish = Annotated[
    bool,
    typer.Option(
        "-c", "--continue", help="Go on with the last conversation; without a prompt, with its incomplete answer."
    ),
]
MarkdownOnPipe = Annotated[
    bool, typer.Option("--markdown", help="Render markdown on a pipe, too; FORCE_COLOR=1 colours it.")
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="Write the answer to this file, once it is whole.")
]
Extract = Annotated[
    int | None,
    typer.Option("-x", "--extract", metavar="[N]", min=1, help="Print only the first code block, or the N-th."),
]
ExtractAll = Annotated[bool, typer.Option("--extract-all", help="Print only the code blocks, all of them.")]
SchemaSpec = Annotated[
    str | None,
    typer.Option(
        "--schema",
        metavar="SPEC",
        help='Ask for JSON that fits: a JSON Schema, its file, or "name, age int, tags list".',
        callback=check_is_text,
    ),
]
Columns = Annotated[
    bool, typer.Option("--columns", help="Show the answers of several models side by side, on a terminal.")
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="Take the settings of this profile, too.",
        callback=check_is_text,
        autocompletion=complete_profile,
    ),
]


STDOUT = {"-", "/dev/stdout", "/dev/fd/1"}


def file_of(output: Path | None) -> Path | None:
    """Return the file that -o names; None for stdout, which may be somebody's file that must not be replaced."""
    return None if output is None or str(output) in STDOUT else output


def looks_of(settings: "Settings", *, markdown: bool = False) -> "Looks":
    """Return how answers are to look."""
    from chatllm_cli.render.themes import Looks, check_code_theme  # noqa: PLC0415

    wished = settings.output
    if wished.code_theme:
        check_code_theme(wished.code_theme)
    return Looks(
        wished.plain and not markdown,
        markdown,
        wished.clean,
        wished.theme,
        wished.code_theme,
        reasoning=wished.reasoning,
        usage=wished.usage,
    )
