"""A turn whose answer has to be JSON that fits a schema, with one more turn to mend it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from chatllm_cli.errors import AnswerFormatError
from chatllm_cli.models import Attachment, ChatOptions, Endpoint, Message, Status
from chatllm_cli.services.chat.ports import Log, TurnListener
from chatllm_cli.services.chat.service import ChatService

Fitted = Callable[[str], Any]


async def send_structured(
    chat: ChatService,
    log: Log,
    prompt: str,
    endpoints: Sequence[Endpoint],
    options: ChatOptions,
    listener: TurnListener,
    fitted: Fitted,
    on_misfit: Callable[[AnswerFormatError], None],
    attachments: Sequence[Attachment] = (),
) -> tuple[Message, Any]:
    """Do a turn, and return the reply with the value that `fitted` makes of it.

    An answer that does not fit is asked for once more, with what is wrong. Raises as `send` does, and
    `AnswerFormatError` if it still does not fit.
    """

    def is_fit(text: str) -> bool:
        with suppress(AnswerFormatError):
            fitted(text)
            return True
        return False

    reply = await chat.send(log, prompt, endpoints, options, listener, is_fit=is_fit, attachments=attachments)
    try:
        return reply, fitted(reply.content)
    except AnswerFormatError as error:
        if reply.status is not Status.COMPLETE:  # another answer of the same length would be cut, too
            error.hint = f"it is not whole ({reply.status})"
            raise
        on_misfit(error)
        reply = await chat.send(log, mend(error), endpoints, options, listener, is_fit=is_fit)
    return reply, fitted(reply.content)


def mend(error: AnswerFormatError) -> str:
    """Return the prompt that asks for the answer once more."""
    return f"That cannot be used: {error.message}. Answer again, with the corrected JSON alone."
