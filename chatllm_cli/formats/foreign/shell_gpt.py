"""Conversations of shell_gpt, from its chat cache: a file for each, whose name is the chat's."""

from pathlib import PurePath
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.reading.fields import ROLES, Said, as_list, as_object, as_text, chained
from chatllm_cli.formats.reading.json_values import parse
from chatllm_cli.formats.reading.source import Imported, Outcomes, Source
from chatllm_cli.ids import stable_id
from chatllm_cli.models import Conversation, Role

FIELDS = {"role", "content"}


def is_one(value: Any) -> bool:
    """Tell whether the first value of a file is how a chat of shell_gpt's begins: the role, or the first prompt."""
    return (
        isinstance(value, dict)
        and value.keys() == FIELDS
        and all(isinstance(each, str) for each in value.values())
        and value["role"] in {"system", "user"}
    )


def load(source: Source) -> Outcomes:
    """Yield the one conversation of a file. Raises `FormatError`."""
    entries = parse(source.all())
    if not isinstance(entries, list):
        raise FormatError("it is no list of messages")
    said = [_said(as_object(entry)) for entry in entries]
    prompt = said.pop(0).content if said and said[0].role is Role.SYSTEM else ""
    said = [each for each in said if each.content]
    if not said:
        raise FormatError("nothing was said in it")
    # A chat of the same name may have begun anew.
    first = next((each.content for each in said if each.role is Role.USER), "")
    made = stable_id("shell_gpt", PurePath(source.name).name, first)
    messages = chained(made, said, source.at)
    yield Imported(Conversation(made, "", source.at, "", prompt, messages, messages[-1].id))


def _said(entry: dict[str, Any]) -> Said:
    """Return what an entry says; a call of a tool, which has no text, by what was called."""
    calls = [as_object(as_object(call).get("function")) for call in as_list(entry.get("tool_calls"))]
    calls += [as_object(entry["function_call"])] if entry.get("function_call") else []  # as older versions have it
    called = [f"[called {as_text(call.get('name'))} {as_text(call.get('arguments'))}]" for call in calls]
    content = "\n\n".join(text for text in (as_text(entry.get("content")), *called) if text)
    return Said(ROLES.get(as_text(entry.get("role")), Role.SYSTEM), content)
