"""The text of a prompt file as data: it and formats.plain_yaml alone know PyYAML. Imported with a prompt.

Front matter is YAML as people mean it: `no` and `2026-01-01` are words, a key stands once, and aliases, with
which a few lines can stand for gigabytes, are refused.
"""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from chatllm_cli.errors import ConfigError
from chatllm_cli.models import ChatOptions
from chatllm_cli.services.prompts.template import INPUT, VARIABLE, PromptTemplate, names_in

FENCE = "---"
KEYS = ("description", "model", "system", "options", "variables")
NULL = "tag:yaml.org,2002:null"
PLAIN_VALUES = {
    NULL: ("~|null|", ["~", "n", ""]),
    "tag:yaml.org,2002:bool": ("true|false", ["t", "f"]),
    "tag:yaml.org,2002:int": ("[-+]?(0|[1-9][0-9]*)", [*"-+0123456789"]),
    "tag:yaml.org,2002:float": (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", [*"-+.0123456789"]),
}
# What PyYAML raises of a value that is not what its tag says, besides its own errors.
UNREADABLE = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError)
MISSPELLED = 0.85  # as close as that is no field that a provider has: top_k and top_p are 0.8

Entries = dict[str, tuple[int, yaml.Node]]  # what stands under each key, and in which line


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML reads it so; filled below)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            alias = self.get_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not taken", problem_mark=alias.start_mark)
        return super().compose_node(parent, index)


for _tag, (_pattern, _first) in PLAIN_VALUES.items():
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _first)


def parse_prompt(text: str, name: str, path: Path) -> PromptTemplate:
    """Return the prompt that the text of a file describes.

    Raises `ConfigError` with one line that names the file, and the line in it where there is one.
    """
    return _Parser(text, path).parse(name)


class _Parser:
    """Reads one file."""

    def __init__(self, text: str, path: Path) -> None:
        self._path = path
        self._front, self._body, self._body_line = self._split(text.split("\n"))

    def _fault(self, what: str, line: int | None = None) -> ConfigError:
        return ConfigError(f"{self._path}{'' if line is None else f':{line}'}: {what}")

    def _split(self, lines: list[str]) -> tuple[str, str, int]:
        """Return the front matter, the body, and the number of its first line.

        The first line of the front matter is left empty, so that all others keep their numbers.
        """
        begin, front = 0, ""
        if lines[0].rstrip() == FENCE:
            begin = next((number for number, line in enumerate(lines, 1) if number > 1 and line.rstrip() == FENCE), 0)
            if not begin:
                raise self._fault(f"the front matter has no end, which is a line {FENCE}", 1)
            front = "\n".join(["", *lines[1 : begin - 1]])
        while begin < len(lines) and not lines[begin].strip():
            begin += 1
        return front, "\n".join(lines[begin:]).rstrip(), begin + 1

    def parse(self, name: str) -> PromptTemplate:
        try:
            loader = _Loader(self._front)
            entries = self._entries(loader.get_single_node(), "the front matter", KEYS)
            options = self._options(loader, entries)
        except UNREADABLE as error:
            raise self._explained(error) from None
        variables = self._variables(entries)
        description, model, system = (self._text(key, entries.get(key)) or "" for key in KEYS[:3])
        known = [name for name, _ in variables]
        self._check_places(system, known, entries.get("system", (1,))[0], is_one_line=True)
        self._check_places(self._body, [*known, INPUT], self._body_line)
        description, model = " ".join(description.split()), model.strip()
        return PromptTemplate(name, self._path, description, model, system.strip(), options, variables, self._body)

    def _entries(self, node: yaml.Node | None, what: str, known: Collection[str] = ()) -> Entries:
        if node is None or node.tag == NULL:
            return {}
        if not isinstance(node, yaml.MappingNode):
            raise self._fault(f"{what}: expected NAME: VALUE, a line each", _line_of(node))
        entries: Entries = {}
        for key_node, value in node.value:
            key, line = str(key_node.value), _line_of(key_node)
            if not isinstance(key_node, yaml.ScalarNode) or (known and key not in known):
                told = f"'{key}'" if isinstance(key_node, yaml.ScalarNode) else "what stands there"
                more = f"; there is {', '.join(known)}" if known else ""
                raise self._fault(f"{what}: {told} is not known{more}", line)
            if key in entries:
                raise self._fault(f"{what}: '{key}' stands there twice", line)
            entries[key] = (line, value)
        return entries

    def _text(self, key: str, entry: tuple[int, yaml.Node] | None) -> str | None:
        if entry is None or entry[1].tag == NULL:
            return None
        line, node = entry
        if not isinstance(node, yaml.ScalarNode):
            raise self._fault(f"{key}: expected a text", line)
        return str(node.value)

    def _variables(self, entries: Entries) -> tuple[tuple[str, str | None], ...]:
        _, node = entries.get("variables", (0, None))
        found = self._entries(node, "variables")
        for name, (line, _) in found.items():
            if name == INPUT:
                raise self._fault(f"variables: '{INPUT}' is there by itself", line)
            if not re.fullmatch(VARIABLE, name):
                raise self._fault(f"variables: '{name}': expected a name of letters, digits, _ and -", line)
        return tuple((name, self._text(f"variables: {name}", entry)) for name, entry in found.items())

    def _check_places(self, text: str, known: Collection[str], line: int, *, is_one_line: bool = False) -> None:
        for name, start in names_in(text).items():
            if name not in known:
                told = "has no place in system" if name == INPUT else "is none of the variables"
                raise self._fault(
                    f"{{{{{name}}}}} {told}", line if is_one_line else line + text.count("\n", 0, start)
                )

    def _options(self, loader: _Loader, entries: Entries) -> ChatOptions:
        line, node = entries.get("options", (0, None))
        found = self._entries(node, "options")
        if not found:
            return ChatOptions()
        values = {name: loader.construct_document(value) for name, (_, value) in found.items()}
        return self._checked(values, {name: line for name, (line, _) in found.items()}, line)

    def _checked(self, values: Mapping[str, Any], lines: Mapping[str, int], line: int) -> ChatOptions:
        """Hold options to what the settings take. Raises `ConfigError`."""
        from pydantic import ValidationError  # noqa: PLC0415  (a tenth of a second, which few prompts need)

        from chatllm_cli.config.faults import complaints  # noqa: PLC0415
        from chatllm_cli.config.sections import OptionSettings  # noqa: PLC0415
        from chatllm_cli.services.providers import chat_options  # noqa: PLC0415

        named = [name for name in OptionSettings.model_fields if name != "options"]
        more = {name: value for name, value in values.items() if name not in named}
        for name in more:
            if near := get_close_matches(name, named, 1, MISSPELLED):
                raise self._fault(f"options: '{name}' is not known; did you mean {near[0]}?", lines[name])
        try:
            given = {name: value for name, value in values.items() if name in named}
            return chat_options(OptionSettings(**given, options=more))
        except ValidationError as error:
            first = complaints(error)[0]
            key = first.key[:1] if first.key[0] == "options" else ("options", *first.key)
            raise self._fault(first.line(key), lines.get(first.key[0], line)) from None

    def _explained(self, error: Exception) -> ConfigError:
        told, line = "a value is not what it is said to be", None
        if isinstance(error, yaml.MarkedYAMLError):
            mark = error.problem_mark or error.context_mark
            told, line = error.problem or error.context or "it cannot be read", mark.line + 1 if mark else None
        elif isinstance(error, yaml.reader.ReaderError):
            told, line = "there is a control character", self._front.count("\n", 0, error.position) + 1
        elif isinstance(error, RecursionError):
            told = "it is too deep"
        return self._fault(f"the front matter is not valid YAML: {told}", line)


def _line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
