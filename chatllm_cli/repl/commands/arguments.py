"""What is typed behind a slash command, read and completed."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path

from chatllm_cli.errors import UsageError
from chatllm_cli.file_names import names_beginning
from chatllm_cli.repl.ports import Candidate, Loop

PREVIEW = 60  # characters


def number_of(argument: str) -> int | None:
    """Return the number that was typed; None if nothing was. Raises `UsageError`."""
    if not argument:
        return None
    if not (argument.isascii() and argument.isdecimal()):
        raise UsageError(f"'{argument}' is no number")
    return int(argument[:9])


def path_of(argument: str, command: str) -> Path:
    """Return the file that was named, ~ replaced. Raises `UsageError` if none was."""
    if not argument:
        raise UsageError(f"no file is named: /{command} FILE")
    try:
        return Path(unquoted(argument)).expanduser()
    except RuntimeError:
        raise UsageError(f"there is no home folder for {argument.partition('/')[0]}") from None


def new_file(argument: str, command: str) -> Path:
    """Return the file that was named, which is not there yet. Raises `UsageError` if none was, or if it is."""
    path = path_of(argument, command)
    try:
        path.stat()
        is_there = True
    except FileNotFoundError:
        is_there = False
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no file can be named so"
        raise UsageError(f"{path} cannot be written: {why}") from None
    if is_there:
        raise UsageError(f"{path} exists already", hint="nothing is written over: name another file")
    return path


def unquoted(argument: str) -> str:
    """Return a name without the quotes around it."""
    is_quoted = len(argument) > 1 and argument[0] == argument[-1] and argument[0] in "\"'"
    return argument[1:-1] if is_quoted else argument


def first_line(text: str) -> str:
    """Return the beginning of a text, for a list."""
    return " ".join(text[: 2 * PREVIEW].split())[:PREVIEW]


async def numbers_of_prompts(loop: Loop, _: str) -> Sequence[Candidate]:
    """Return the numbers of the prompts, the last one first."""
    numbered = list(enumerate(loop.session.prompts, start=1))
    return [Candidate(str(number), first_line(prompt.topic)) for number, prompt in reversed(numbered)]


async def files(_: Loop, argument: str) -> Sequence[Candidate]:
    """Return the files and folders whose names begin like the argument."""
    return words(await asyncio.to_thread(names_beginning, argument))


def words(texts: Iterable[str]) -> list[Candidate]:
    """Return candidates of which nothing is said."""
    return [Candidate(text) for text in texts]
