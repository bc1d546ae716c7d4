"""What a message says, as a request carries it: its texts and images in their order."""

import html
import re
from itertools import chain, count

from chatllm_cli.models import Attachment, Content, Message

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
    labelled = [part for image in images for part in (f"Image {in_quotes(image.name)}:", image)]
    return (*labelled, said) if said else tuple(labelled)


def _delimited(attachment: Attachment) -> str:
    """Return a text between tags that it cannot end itself: one that holds such a tag gets another."""
    text = attachment.text
    taken = set(TAGS.findall(text))
    tag = TAG + next(number for number in chain([""], map(str, count(2))) if number not in taken)
    end = "" if text.endswith("\n") else "\n"
    return f"<{tag} name={in_quotes(attachment.name)}>\n{text}{end}</{tag}>"


def in_quotes(name: str) -> str:
    """Return a name that no quote, and no tag, in it can end."""
    return f'"{html.escape(" ".join(name.split()))}"'
