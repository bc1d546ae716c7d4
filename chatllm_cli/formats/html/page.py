"""Conversations as one page that stands for itself: nothing in it acts, and nothing is loaded from elsewhere."""

import base64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from html import escape

from chatllm_cli.formats.html.body import body_of, plain_of
from chatllm_cli.formats.html.style import style
from chatllm_cli.harmless import clean
from chatllm_cli.models import Attachment, Conversation, Message, Role, Status
from chatllm_cli.surrogates import without_halves

PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})  # never SVG, which can act
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
UNTITLED = "Conversation"
INCOMPLETE = {
    Status.INTERRUPTED: "it was interrupted",
    Status.TRUNCATED: "it was cut off",
    Status.FILTERED: "a content filter stopped it",
    Status.ERROR: "the request failed",
    Status.UNKNOWN_END: "it may be cut off: its end is not marked",
}
Files = Mapping[str, bytes]  # what is attached, by its SHA-256


def dump(conversation: Conversation, files: Files) -> str:
    """Return a page of one conversation, as it was down to the head, with its pictures."""
    return _head(_title(conversation)) + _shown(_section(conversation, files)) + _TAIL


class Page:
    """A page of several conversations, with a table of contents above them."""

    def __init__(self) -> None:
        self._entries: list[str] = []
        self._sections: list[bytes] = []  # which take less room than text

    def add(self, conversation: Conversation, files: Files) -> None:
        """Take a conversation, as it was down to the head, with its pictures."""
        number = len(self._entries) + 1
        self._sections.append(_shown(_section(conversation, files, f' id="c{number}"')).encode())
        self._entries.append(
            f'<li><a href="#c{number}">{escape(_title(conversation))}</a> '
            f'<span class="details">{_time(conversation.created_at)}</span></li>\n'
        )

    def pieces(self) -> Iterator[str]:
        """Yield the page, piece by piece."""
        count = len(self._entries)
        title = "1 conversation" if count == 1 else f"{count} conversations"
        yield _head(title)
        yield _shown(f'<nav aria-label="Contents">\n<h1>{title}</h1>\n<ol>\n{"".join(self._entries)}</ol>\n</nav>\n')
        for section in self._sections:
            yield section.decode()
        yield _TAIL


def _head(title: str) -> str:
    return _shown(
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="generator" content="chatllm">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style()}</style>\n</head>\n<body>\n<main>\n"
    )


_TAIL = "</main>\n</body>\n</html>\n"


def _shown(page: str) -> str:
    """Return a part of a page as readers are to see it: cleaned as a whole, so that nothing is passed over."""
    return clean(without_halves(page))


def _section(conversation: Conversation, files: Files, attributes: str = "") -> str:
    parts = [
        f'<section class="conversation"{attributes}>\n',
        f"<header>\n<h1>{escape(_title(conversation))}</h1>\n",
        f'<p class="facts">{_facts(conversation)}</p>\n</header>\n',
    ]
    if conversation.system_prompt:
        parts.append(_article("system", "System", "", body_of(conversation.system_prompt, keeps_line_breaks=True)))
    parts += [_message(message, files) for message in conversation.thread()]
    if aside := len(conversation.aside()):
        parts.append(f"<footer>Messages on other branches, which are not shown: {aside}</footer>\n")
    return "".join([*parts, "</section>\n"])


def _facts(conversation: Conversation) -> str:
    facts = [escape(_on_a_line(conversation.model)), _time(conversation.created_at)]
    if conversation.updated_at > conversation.created_at:
        facts[-1] += f" – {_time(conversation.updated_at)}"  # noqa: RUF001  (from, to)
    facts += [f"#{escape(_on_a_line(tag))}" for tag in conversation.tags]
    return " · ".join(fact for fact in facts if fact)


def _message(message: Message, files: Files) -> str:
    details = [
        escape(_on_a_line(message.model or "")),
        f"instead of {escape(_on_a_line(message.instead_of))}" if message.instead_of else "",
        _time(message.at),
        "cached" if message.cached else "",
    ]
    is_reply = message.role is Role.ASSISTANT
    parts = [_reasoning(message), body_of(message.content, keeps_line_breaks=not is_reply)]
    parts += [_attached(each, files) for each in message.attachments]
    parts.append(_ending(message))
    told = " · ".join(each for each in details if each)
    return _article(message.role, message.role.capitalize(), told, "".join(parts))


def _article(kind: str, speaker: str, details: str, body: str) -> str:
    told = f'<span class="details">{details}</span>' if details else ""
    return (
        f'<article class="message {kind}">\n<header><h2>{speaker}</h2>{told}</header>\n'
        f'<div class="body">\n{body}</div>\n</article>\n'
    )


def _reasoning(message: Message) -> str:
    if not message.reasoning:
        return ""
    thought = body_of(message.reasoning)
    return (
        f'<details class="reasoning">\n<summary>Reasoning</summary>\n<div class="inner">{thought}</div>\n</details>\n'
    )


def _ending(message: Message) -> str:
    if message.status is Status.COMPLETE and not message.error:
        return ""
    why = [INCOMPLETE.get(message.status, ""), escape(_on_a_line(message.error or ""))]
    told = ": ".join(each for each in why if each)
    return f'<p class="incomplete">This message is not whole: {told}.</p>\n'


def _attached(attachment: Attachment, files: Files) -> str:
    named = escape(_on_a_line(attachment.told))
    if not attachment.sha256:
        return f"<details>\n<summary>Attached: {named}</summary>\n{plain_of(attachment.text)}</details>\n"
    data = files.get(attachment.sha256)
    if data is None or attachment.media_type not in PICTURES:
        return f'<p class="attached">Attached: {named}</p>\n'
    spelled = base64.b64encode(data).decode()
    picture = f'<img src="data:{attachment.media_type};base64,{spelled}" alt="{escape(_on_a_line(attachment.name))}">'
    return f"<figure>\n{picture}\n<figcaption>{named}</figcaption>\n</figure>\n"


def _title(conversation: Conversation) -> str:
    return _on_a_line(conversation.title) or UNTITLED


def _time(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    return f'<time datetime="{moment.isoformat()}">{moment:%Y-%m-%d %H:%M} UTC</time>'


def _on_a_line(text: str) -> str:
    return " ".join(text.split())
