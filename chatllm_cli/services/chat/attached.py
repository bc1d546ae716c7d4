"""What was attached to a prompt, as a request carries it; whether it may be sent, and who can be asked."""

import html
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, count

from chatllm_cli.errors import UsageError
from chatllm_cli.models import Attachment, Content, Endpoint, Message
from chatllm_cli.services.redaction import PromptGuard

TAG = "document"
TAGS = re.compile(rf"</?{TAG}([0-9]*)", re.IGNORECASE)


def text_in(content: Content) -> str:
    """Return what a message that is sent says in words."""
    return content if isinstance(content, str) else "\n\n".join(part for part in content if isinstance(part, str))


def images_in(content: Content) -> tuple[Attachment, ...]:
    """Return the images of a message that is sent."""
    return () if isinstance(content, str) else tuple(part for part in content if isinstance(part, Attachment))


def content_of(message: Message) -> Content:
    """Return what is sent of a message: its attached texts, each named, before what was typed; then its images."""
    texts = [_delimited(each) for each in message.attachments if not each.sha256]
    said = "\n\n".join(text for text in (*texts, message.content) if text)
    images = [each for each in message.attachments if each.sha256]
    if not images:
        return said
    labelled = [part for image in images for part in (f"Image {_in_quotes(image.name)}:", image)]
    return (*labelled, said) if said else tuple(labelled)


def named(message: Message) -> Message:
    """Return a message with the names of what is attached to it in place of that."""
    if not message.attachments:
        return message
    names = ", ".join(_in_quotes(each.name) for each in message.attachments)
    said = "\n\n".join(text for text in (f"[attached: {names}]", message.content) if text)
    return replace(message, content=said, attachments=())


def _delimited(attachment: Attachment) -> str:
    """Return a text between tags that it cannot end itself: one that holds such a tag gets another."""
    text = attachment.text
    taken = set(TAGS.findall(text))
    tag = TAG + next(number for number in chain([""], map(str, count(2))) if number not in taken)
    end = "" if text.endswith("\n") else "\n"
    return f"<{tag} name={_in_quotes(attachment.name)}>\n{text}{end}</{tag}>"


def _in_quotes(name: str) -> str:
    return f'"{html.escape(" ".join(name.split()))}"'


def checked(
    guard: PromptGuard, prompt: str, attachments: Sequence[Attachment], *, is_told: bool
) -> tuple[str, tuple[Attachment, ...], list[str]]:
    """Return a prompt and what is attached to it as they may be sent, and the kinds of secrets that are in them."""
    prompt, kinds = guard.checked(prompt, is_told=is_told)
    may_be_sent: list[Attachment] = []
    for each in attachments:
        name, in_name = guard.checked(each.name, is_told=is_told)
        text, in_text = guard.checked(each.text, is_told=is_told) if each.text else ("", [])
        may_be_sent.append(replace(each, name=name, text=text))
        kinds = [*kinds, *in_name, *in_text]
    return prompt, tuple(may_be_sent), list(dict.fromkeys(kinds))


def those_who_see(endpoints: Sequence[Endpoint], attachments: Sequence[Attachment]) -> Sequence[Endpoint]:
    """Return those who can be asked about what is attached; raise `UsageError` if the first is none of them.

    The embedded model takes no images. Of others nobody knows: they say so themselves.
    """
    image = next((each for each in attachments if each.sha256), None)
    if image is None:
        return endpoints
    if endpoints[0].is_embedded:
        raise UsageError(
            f"{image.name} cannot be sent: the embedded model takes no images",
            hint="take one that does, with -m PROVIDER/MODEL",
        )
    return [endpoint for endpoint in endpoints if not endpoint.is_embedded]
