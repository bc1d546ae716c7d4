"""What Tab offers: slash commands, what may stand behind them, and files behind an @."""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from chatllm_cli.errors import ChatllmError
from chatllm_cli.render.clean import clean_line
from chatllm_cli.repl.commands.arguments import files
from chatllm_cli.repl.picker import matches
from chatllm_cli.repl.ports import Candidate, Loop
from chatllm_cli.repl.slash_commands import COMMANDS

MOST_OFFERED = 300
COMMAND = re.compile(r"\s*/([a-z]*)\Z")
ARGUMENT = re.compile(r"\s*/([a-z]+)[ \t]+([^\n]*)\Z")
FILE = re.compile(r"(?<!\S)@(?:\"([^\"\n]*)|([^\s\"]*))\Z")


class PromptCompleter(Completer):
    """Completes what stands before the cursor, by the state that the session is in."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Sequence[Completion]:  # noqa: ARG002
        """Return nothing: `get_completions_async` does."""
        return []

    async def get_completions_async(
        self,
        document: Document,
        complete_event: CompleteEvent,  # noqa: ARG002  (whether Tab or a letter asked)
    ) -> AsyncGenerator[Completion, None]:
        """Yield what may stand here."""
        typed, candidates = await self._candidates(document.text_before_cursor)
        for each in _fitting(candidates, typed)[:MOST_OFFERED]:
            about = clean_line(each.about)
            if each.text.isprintable():  # what else there is cannot be typed either
                yield Completion(each.text, -len(typed), display_meta=about or None)

    async def _candidates(self, before: str) -> tuple[str, Sequence[Candidate]]:
        """Return what was typed of the word that is completed, and what it may be."""
        if found := COMMAND.match(before):
            return found[1], [Candidate(each.name, each.help) for each in COMMANDS.values()]
        if (found := ARGUMENT.match(before)) and (command := COMMANDS.get(found[1])):
            with suppress(ChatllmError, OSError):
                return found[2], await command.candidates(self._loop, found[2]) if command.candidates else []
        elif found := FILE.search(before):
            typed, is_quoted = (found[2], False) if found[1] is None else (found[1], True)
            return typed, [_named(each, is_quoted=is_quoted) for each in await files(self._loop, typed)]
        return "", []


def _named(file: Candidate, *, is_quoted: bool) -> Candidate:
    """Return a file as a prompt names it: one with a blank in its name in quotes."""
    if is_quoted:
        return file if file.text.endswith("/") else Candidate(f'{file.text}"')
    return Candidate(f'"{file.text}"') if " " in file.text else file


def _fitting(candidates: Sequence[Candidate], typed: str) -> Sequence[Candidate]:
    """Return those that begin so; if none does, that have these letters in them; or in what is said of them."""
    return (
        [each for each in candidates if each.text.removeprefix('"').startswith(typed)]
        or [each for each in candidates if matches(each.text, typed)]
        or [each for each in candidates if typed.casefold() in each.about.casefold()]
    )


def is_to_be_completed(before: str) -> bool:
    """Tell whether a menu opens by itself while somebody types: behind a slash, or an @."""
    return bool(COMMAND.match(before) or ARGUMENT.match(before) or FILE.search(before))
