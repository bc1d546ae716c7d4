"""The options that several commands share, written once."""

from typing import Annotated

import typer

from chatllm_cli.config import Settings, load_settings


def _check_is_text(value: str | None) -> str | None:
    try:
        (value or "").encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("it is not UTF-8") from None
    return value


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
Plain = Annotated[bool, typer.Option("--plain", help="Show the answer as plain text.")]


def load_with_options(
    temperature: float | None,
    max_tokens: int | None,
    *,
    no_history: bool,
    plain: bool,
    cache: bool | None = None,
) -> Settings:
    """Load the settings with what was given on the command line on top."""
    return load_settings(
        {
            "temperature": temperature,
            "max_tokens": max_tokens,
            "history.enabled": False if no_history else None,
            "output.plain": plain or None,
            "cache.mode": None if cache is None else ("always" if cache else "never"),
        }
    )
