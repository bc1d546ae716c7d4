"""What was attached to a prompt: its names, whether it may be sent, and who can be asked."""

from collections.abc import Sequence
from dataclasses import replace

from chatllm_cli.errors import UsageError
from chatllm_cli.message_content import in_quotes
from chatllm_cli.models import Attachment, Endpoint, Message
from chatllm_cli.services.redaction import PromptGuard


def named(message: Message) -> Message:
    """Return a message with the names of what is attached to it in place of that."""
    if not message.attachments:
        return message
    names = ", ".join(in_quotes(each.name) for each in message.attachments)
    said = "\n\n".join(text for text in (f"[attached: {names}]", message.content) if text)
    return replace(message, content=said, attachments=())


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
