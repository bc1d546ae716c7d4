"""Conversations of gptme: a folder for each, with its conversation.jsonl and one file more for each other branch.

All files of a folder begin alike, and so do the ids of their messages: read one by one, they make one conversation.
Its folder alone does not tell it from others: files that were copied out of theirs may lie in one.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import dropwhile, takewhile
from pathlib import PurePath
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.reading import json_values
from chatllm_cli.formats.reading.fields import ROLES, Said, as_list, as_moment, as_object, as_text, as_tokens, chained
from chatllm_cli.formats.reading.source import Imported, Outcomes, Source
from chatllm_cli.ids import stable_id
from chatllm_cli.models import Conversation, Role, TokenUsage

BRANCHES, VIEWS = "branches", "views"  # the folders within a conversation's
MOST_DOLLARS = 1e12
_ROLES = {"system", "user", "assistant"}


def is_one(value: Any) -> bool:
    """Tell whether the first value of a file is a message of gptme's."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("role"), str)
        and value["role"] in _ROLES
        and isinstance(value.get("content"), str)
        and isinstance(value.get("timestamp"), str)
    )


def load(source: Source) -> Outcomes:
    """Yield the one conversation of a file. Raises `FormatError`, also if a single line of it cannot be read."""
    name = _name(source)
    said = list(_all_said(source))
    prompt = "\n\n".join(each.content for each in takewhile(_is_system, said) if each.content)
    said = [each for each in dropwhile(_is_system, said) if each.content]
    if not said:
        raise FormatError("nothing was said in it")
    first = next((each.content for each in said if each.role is Role.USER), "")
    made = stable_id("gptme", name, first)
    messages = chained(made, said)
    model = next((each.model for each in said if each.model), "")
    yield Imported(Conversation(made, name, messages[0].at, model, prompt, messages, messages[-1].id))


def _is_system(said: Said) -> bool:
    return said.role is Role.SYSTEM


def _name(source: Source) -> str:
    """Return the name of the conversation's folder, or of the file where there is none."""
    for path in (PurePath(source.name), source.path and source.path.absolute()):
        folders = path.parent.parts if path else ()
        if folders[-1:] == (VIEWS,):
            raise FormatError("it is a view, with parts left out; conversation.jsonl beside its folder has it all")
        folders = folders[:-1] if folders[-1:] == (BRANCHES,) else folders
        if folders and folders[-1] not in {"..", "/"}:
            return folders[-1]
    return PurePath(source.name).stem


def _all_said(source: Source) -> Iterator[Said]:
    for number, entry in enumerate(json_values.values(source.all()), start=1):
        try:
            if isinstance(entry, FormatError):
                raise entry
            yield _said(as_object(entry))
        except FormatError as error:
            raise FormatError(f"message {number}: {error.message}") from None


def _said(entry: dict[str, Any]) -> Said:
    role = ROLES.get(as_text(entry.get("role")), Role.SYSTEM)
    attached = [f"[attached: {as_text(name)}]" for name in as_list(entry.get("files"))]
    content = "\n\n".join(text for text in (as_text(entry.get("content")), *attached) if text)
    if role is not Role.ASSISTANT:
        return Said(role, content, _at(entry.get("timestamp")))
    facts = as_object(entry.get("metadata") or {})
    model = as_text(facts.get("model")) or None
    return Said(role, content, _at(entry.get("timestamp")), model, _usage(facts), _cost(facts.get("cost")))


def _at(value: object) -> datetime | None:
    """Return a moment; without a zone it is the clock's on the wall, as gptme writes it."""
    if value is None or value == "":
        return None
    moment = as_moment(as_text(value))
    if datetime.fromisoformat(as_text(value)).tzinfo:
        return moment
    try:
        return moment.replace(tzinfo=None).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise FormatError("a time was expected that this clock knows") from None


def _usage(facts: dict[str, Any]) -> TokenUsage | None:
    """Return the tokens of a reply, which older versions have beside its model; what was cached comes on top."""
    counts = as_object(facts.get("usage") or facts)
    if counts.get("input_tokens") is None and counts.get("output_tokens") is None:
        return None
    cached = as_tokens(counts.get("cache_read_tokens"))
    read = as_tokens(counts.get("input_tokens")) + as_tokens(counts.get("cache_creation_tokens")) + cached
    return TokenUsage(as_tokens(read), as_tokens(counts.get("output_tokens")), cached)


def _cost(value: object) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MOST_DOLLARS:
        raise FormatError("an amount of money was expected")
    return float(value)
