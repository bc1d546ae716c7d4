"""A prompt with places in it for what is asked and for variables."""

import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from chatllm_cli.errors import UsageError
from chatllm_cli.frozen import frozen
from chatllm_cli.models import ChatOptions

INPUT = "input"
VARIABLE = r"[A-Za-z_][A-Za-z0-9_-]*"
PLACE = re.compile(r"(\\?)\{\{[ \t]*(" + VARIABLE + r")[ \t]*\}\}")  # with a backslash before it, it is text


@frozen
class PromptTemplate:
    """A prompt file, read and found to be in order."""

    name: str
    path: Path
    description: str = ""
    model: str = ""
    system: str = ""  # may have places for variables, too
    options: ChatOptions = field(default_factory=ChatOptions)
    variables: tuple[tuple[str, str | None], ...] = ()  # with their defaults; one without has to be given
    body: str = ""

    @property
    def needs_input(self) -> bool:
        """Whether there is nothing to send without an input."""
        return not self.body or INPUT in names_in(self.body)

    def filled(self, given: Mapping[str, str]) -> "FilledPrompt":
        """Return it with values for its variables. Raises `UsageError` for an unknown one, or if one is missing."""
        known = dict(self.variables)
        if unknown := [name for name in given if name not in known]:
            raise UsageError(f"the prompt '{self.name}' has no variable '{unknown[0]}'", hint=self._told_variables())
        values = known | dict(given)
        if missing := [name for name, value in values.items() if value is None]:
            raise UsageError(
                f"the prompt '{self.name}' needs a value for '{missing[0]}'", hint=f"-v {missing[0]}=VALUE gives it"
            )
        return FilledPrompt(self, tuple((name, value or "") for name, value in values.items()))

    def _told_variables(self) -> str:
        names = [name for name, _ in self.variables]
        return f"it has {', '.join(names)}" if names else "it has none"


@frozen
class FilledPrompt:
    """A prompt that lacks nothing but the input."""

    template: PromptTemplate
    values: tuple[tuple[str, str], ...]

    @property
    def system(self) -> str:
        """The standing instruction."""
        return rendered(self.template.system, dict(self.values))

    def wrapped(self, given: str, *, has_attachments: bool = False) -> str:
        """Return the prompt around an input. Raises `UsageError` if it needs one, and nothing is attached either.

        The input stands where the file says, or after the rest, and is never looked at for places itself.
        """
        template, is_given = self.template, bool(given.strip())
        if template.needs_input and not is_given and not has_attachments:
            raise UsageError(
                f"the prompt '{template.name}' needs an input",
                hint=f'give it as an argument, on stdin or with -f: chatllm ask -p {template.name} "…"',
            )
        text = rendered(template.body, {**dict(self.values), INPUT: given})
        if not is_given:
            return text.strip()
        if INPUT in names_in(template.body):
            return text
        return f"{text}\n\n{given}" if text else given

    def title(self, given: str) -> str:
        """Return what a conversation is called that begins so: the words of the file say nothing about it."""
        return f"{self.template.name}: {given.lstrip()}" if given.strip() else self.template.name


def names_in(text: str) -> dict[str, int]:
    """Return the names that a text has places for, each with where it stands first."""
    names: dict[str, int] = {}
    for match in PLACE.finditer(text):
        if not match[1]:
            names.setdefault(match[2], match.start())
    return names


def rendered(text: str, values: Mapping[str, str]) -> str:
    """Return a text with values in its places, none of which is looked at again."""
    return PLACE.sub(lambda match: match[0][1:] if match[1] else values[match[2]], text)
