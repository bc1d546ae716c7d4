"""Conversations as markdown that reads well raw and rendered, and back.

Before each heading stands a comment, which no page shows: it has what the text does not say of the message. What was
said stands below as it is. The comments begin with a word that begins none in the texts: a quoted export is no
structure. What a person changes in the texts is what is read.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.own_data import conversation_of, message_data
from chatllm_cli.formats.reading.source import Imported, Outcomes, Source
from chatllm_cli.formats.reading.wording import fence_for
from chatllm_cli.models import Attachment, Conversation, Message, Role, Status
from chatllm_cli.surrogates import without_halves

WORD = "chatllm"
END = "end"
SYSTEM_PROMPT, ATTACHED, OPEN_END = "system_prompt", "attached", "no_newline"
_WORDS = re.compile(rf"^<!-- {WORD}(\d*) ", re.MULTILINE)
_FRONT_MATTER = re.compile(r"\s*---[ \t]*\n((?:.*\n)*?)---[ \t]*\n\s*")
_VALUE = re.compile(r"^(\w+):(.*(?:\n[ \t-].*)*)", re.MULTILINE)  # down to the next key
_HEADING = re.compile(r"\n*## .*(?:\n|\Z)")  # formatters put a blank line before it
_FENCE = re.compile(r"^`{3,}$", re.MULTILINE)
_DEFAULTS = message_data(Message("", Role.USER, "", datetime.fromtimestamp(0, UTC)))  # what is the same for most


def dump(conversation: Conversation, *, branches: bool = False) -> str:
    """Return what was said down to the head, or on all branches, below a front matter. Half a pair becomes U+FFFD."""
    thread = conversation.thread()
    messages = conversation.messages if branches else thread
    comments = _Comments(_word(conversation, messages))
    in_use = {message.id for message in thread}
    parts = [f"---\n{_front_matter(conversation, messages)}---\n"]
    if conversation.system_prompt:
        parts.append(f"{comments.of({SYSTEM_PROMPT: True})}## System\n\n{conversation.system_prompt}\n")
    before = None
    for message in messages:
        parts.append(comments.of(_details(message, before)) + _said(message, is_aside=message.id not in in_use))
        parts += [comments.of(_attached_details(each)) + _attached(each) for each in message.attachments]
        before = message.id
    parts.append(comments.end)
    return without_halves("\n".join(parts))


class _Comments:
    """Comments that begin with a word, none of which can be ended by what is in it."""

    def __init__(self, word: str) -> None:
        self._word = word
        self.end = f"<!-- {word} {END} -->\n"

    def of(self, details: Mapping[str, Any]) -> str:
        told = json.dumps(details, ensure_ascii=False).replace(">", "\\u003e").replace("--", "-\\u002d")
        return f"<!-- {self._word} {told} -->\n"


def _word(conversation: Conversation, messages: Sequence[Message]) -> str:
    """Return the first of chatllm, chatllm2, … that begins no comment in any of the texts."""
    texts = [conversation.system_prompt]
    for message in messages:
        texts += [message.content, *(each.text for each in message.attachments)]
    taken = {number for text in texts for number in _WORDS.findall(text)}
    number = next(number for number in ("", *map(str, range(2, len(taken) + 3))) if number not in taken)
    return f"{WORD}{number}"


def _front_matter(conversation: Conversation, messages: Sequence[Message]) -> str:
    values: dict[str, Any] = {
        "id": conversation.id,
        "title": conversation.title,
        "model": conversation.model,
        "created": conversation.created_at.isoformat(),
        "updated": conversation.updated_at.isoformat(),
    }
    if conversation.tags:
        values["tags"] = conversation.tags
    if conversation.head != (messages[-1].id if messages else None):
        values["head"] = conversation.head
    return "".join(f"{key}: {_yaml(value)}\n" for key, value in values.items())


def _yaml(value: Any) -> str:
    """Return a JSON string, or an array: they are YAML's, too, once what cannot be printed is escaped."""
    told = without_halves(json.dumps(value, ensure_ascii=False))
    return told if told.isprintable() else json.dumps(json.loads(told))


def _details(message: Message, before: str | None) -> dict[str, Any]:
    """Return what the text does not say of a message, and is not as with most."""
    data = message_data(message)
    details = {
        name: value for name, value in data.items() if name in {"id", "role", "at"} or value != _DEFAULTS[name]
    }
    for name in ("content", "attachments", "parent"):
        details.pop(name, None)
    return details | ({"parent": message.parent} if message.parent != before else {})


def _said(message: Message, *, is_aside: bool) -> str:
    return f"## {_heading(message, is_aside=is_aside)}\n\n{message.content}\n"


def _heading(message: Message, *, is_aside: bool) -> str:
    details = [
        " ".join((message.model or "").split()),
        "" if message.status is Status.COMPLETE else message.status,
        "on another branch" if is_aside else "",
    ]
    shown = ", ".join(detail for detail in details if detail)
    return f"{message.role.capitalize()} ({shown})" if shown else message.role.capitalize()


def _attached_details(attachment: Attachment) -> dict[str, Any]:
    told: dict[str, Any] = {"name": attachment.name, "media_type": attachment.media_type, "size": attachment.size}
    if attachment.sha256:
        return {ATTACHED: {**told, "sha256": attachment.sha256}}
    has_open_end = bool(attachment.text) and not attachment.text.endswith("\n")
    return {ATTACHED: told, **({OPEN_END: True} if has_open_end else {})}


def _attached(attachment: Attachment) -> str:
    """Return the name of an attachment, and its text between fences that it cannot end."""
    named = f"Attached: {' '.join(attachment.told.split())}\n"
    if attachment.sha256:
        return named
    fence = fence_for(attachment.text)
    end = "" if not attachment.text or attachment.text.endswith("\n") else "\n"
    return f"{named}\n{fence}\n{attachment.text}{end}{fence}\n"


def is_one(source: Source) -> bool:
    """Tell whether a file begins as `dump` has it."""
    try:
        text = _text_of(source)
    except FormatError:
        return False
    begin = _FRONT_MATTER.match(text)
    return begin is not None and _WORDS.match(text, begin.end()) is not None


def load(source: Source) -> Outcomes:
    """Yield each conversation of a file: several may follow on each other. Raises `FormatError` for what is none."""
    text = _text_of(source)
    place, number = 0, 0
    while re.compile(r"\S").search(text, place):
        number += 1
        begin = _FRONT_MATTER.match(text, place)
        first = begin and _WORDS.match(text, begin.end())
        if not begin or not first:
            what = "it is no markdown" if number == 1 else f"what follows on conversation {number - 1} is none"
            raise FormatError(f"{what} that chatllm wrote: its comments are missing")
        word = f"{WORD}{first[1]}"
        end = re.compile(rf"^<!-- {word} {END} -->[ \t]*\n?", re.MULTILINE).search(text, begin.end())
        try:
            yield Imported(_read(begin[1], text[begin.end() : end.start() if end else len(text)], word))
        except FormatError as error:
            yield FormatError(f"number {number}: {error.message}", hint=error.hint)
        place = end.end() if end else len(text)


def _text_of(source: Source) -> str:
    text = source.text()
    is_from_windows = text.lstrip().startswith("---\r\n")  # an editor made it so: what was said is so, too
    return text.replace("\r\n", "\n") if is_from_windows else text


def _read(front_matter: str, body: str, word: str) -> Conversation:
    data: dict[str, Any] = {"messages": [], "system_prompt": ""}
    messages = data["messages"]
    for details, text in _sections(body, word):
        if SYSTEM_PROMPT in details:
            data["system_prompt"] = _below_heading(text)
        elif ATTACHED in details:
            if not messages:
                raise FormatError("something is attached to no message")
            messages[-1]["attachments"].append(_read_attachment(details, text))
        else:
            above = messages[-1].get("id") if messages else None
            messages.append({"parent": above, **details, "content": _below_heading(text), "attachments": []})
    values = _values(front_matter)
    given = {name: values[name] for name in ("id", "title", "model", "tags", "head") if name in values}
    head = messages[-1].get("id") if messages else None
    return conversation_of({"title": "", "head": head, "created_at": values.get("created")} | data | given)


def _sections(body: str, word: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield what each comment says, and the text down to the next one."""
    comment = re.compile(rf"^<!-- {word} (.*) -->[ \t]*\n?", re.MULTILINE)
    found = list(comment.finditer(body))
    for each, following in zip(found, [*found[1:], None], strict=False):
        try:
            details = json.loads(each[1])
        except (ValueError, RecursionError):
            details = None
        if not isinstance(details, dict):
            raise FormatError(f"a comment is damaged: {each[0].strip()[:80]}")
        # A blank line stands before the next comment.
        yield details, body[each.end() : following.start() if following else len(body)].removesuffix("\n")


def _below_heading(text: str) -> str:
    """Return what stands below the heading, without the newlines that `dump` puts around it."""
    heading = _HEADING.match(text)
    return text[heading.end() if heading else 0 :].removeprefix("\n").removesuffix("\n")


def _read_attachment(details: Mapping[str, Any], section: str) -> dict[str, Any]:
    told = details[ATTACHED]
    if not isinstance(told, dict):
        raise FormatError("a comment of what is attached is damaged")
    if "sha256" in told:
        return told
    begin = _FENCE.search(section)
    end = begin and re.compile(f"^{begin[0]}$", re.MULTILINE).search(section, begin.end())
    if not begin or not end:
        raise FormatError("the text of what is attached does not stand between fences")
    text = section[begin.end() + 1 : end.start()]
    return {**told, "text": text.removesuffix("\n") if details.get(OPEN_END) else text}


def _values(front_matter: str) -> dict[str, Any]:
    """Return what the front matter says: texts, and lists of them, as `dump` or a person wrote them there."""
    found = {each[1]: _value(each[2]) for each in _VALUE.finditer(front_matter)}
    if not isinstance(tags := found.get("tags", []), list):
        found["tags"] = [tags] if tags else []
    if "head" in found:
        found["head"] = found["head"] or None  # the beginning
    return found


def _value(told: str) -> Any:
    try:
        value = json.loads(told)
    except (ValueError, RecursionError):
        value = None
    is_ours = isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))
    return value if is_ours else _edited_value(told)


def _edited_value(told: str) -> Any:
    """Return what a person, or a program for notes, spelled as YAML; what is none is the text itself."""
    from chatllm_cli.formats.reading import plain_yaml  # noqa: PLC0415  (PyYAML, which unedited files do without)

    try:
        value = plain_yaml.parse(told) or ""
    except FormatError:
        return told.strip()
    return value if isinstance(value, str | list) else told.strip()
