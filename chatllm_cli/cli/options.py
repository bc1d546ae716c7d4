"""The options that several commands share, written once."""

from collections.abc import Sequence
from typing import Annotated

import typer

from chatllm_cli.config import AS_OFTEN_AS_NEEDED, Settings, load_settings

JSON_WANTED = "chatllm.json"  # where the error boundary finds out that errors are to be JSON too


def _remember_json(ctx: typer.Context, value: bool) -> bool:
    ctx.meta[JSON_WANTED] = value
    return value


def _check_is_text(value: str | None) -> str | None:
    _check_are_text([value or ""])
    return value


def _check_are_text(values: list[str] | None) -> list[str] | None:
    try:
        "".join(values or []).encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("it is not UTF-8") from None
    return values


Model = Annotated[
    str | None,
    typer.Option("-m", "--model", metavar="PROVIDER/MODEL", help="The model to ask.", callback=_check_is_text),
]
System = Annotated[
    str | None,
    typer.Option("-s", "--system", metavar="TEXT", help="The standing instruction.", callback=_check_is_text),
]
Continue = Annotated[bool, typer.Option("-c", "--continue", help="Go on with the last conversation.")]
Temperature = Annotated[float | None, typer.Option(help="How freely words are chosen, 0 to 2.")]
MaxTokens = Annotated[int | None, typer.Option(help="The longest answer, in tokens.")]
NoHistory = Annotated[bool, typer.Option("--no-history", help="Keep nothing of this, neither in history nor cache.")]
Fallback = Annotated[
    list[str] | None,
    typer.Option(
        "--fallback",
        metavar="PROVIDER/MODEL",
        help="Asked when the model cannot be reached, is over its limit or out of quota. May be given again.",
        callback=_check_are_text,
    ),
]
MaxWait = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", help="How long to wait, in all, for a busy provider; 60 unless set, 0 for not at all."
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON object, and errors as JSON on stderr.", callback=_remember_json, is_eager=True
    ),
]
Plain = Annotated[bool, typer.Option("--plain", help="Show the answer as plain text.")]


def load_with_options(
    *,
    temperature: float | None,
    max_tokens: int | None,
    fallback: Sequence[str] | None,
    max_wait: float | None,
    no_history: bool,
    plain: bool,
    cache: bool | None = None,
) -> Settings:
    """Load the settings with what was given on the command line on top."""
    return load_settings(
        {
            "temperature": temperature,
            "max_tokens": max_tokens,
            "fallback": fallback or None,
            "retries.max_wait": max_wait,
            "retries.max_retries": None if max_wait is None else AS_OFTEN_AS_NEEDED,
            "history.enabled": False if no_history else None,
            "output.plain": plain or None,
            "cache.mode": None if cache is None else ("always" if cache else "never"),
        }
    )
