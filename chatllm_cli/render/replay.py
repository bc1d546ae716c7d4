"""How a conversation ended that is gone on with: its last turns, dim, as the text they are."""

from collections.abc import Sequence

from chatllm_cli.models import Conversation, Message, Role, Status
from chatllm_cli.render.renderer import Renderer

MOST_LINES = 12  # of a message


def show_last_turns(renderer: Renderer, conversation: Conversation, turns: int) -> None:
    """Show the last turns of the thread, of long messages the beginning of a prompt and the end of an answer."""
    for message in _last_turns(conversation.thread(), turns):
        lines = message.content.strip("\n").split("\n")
        left_out = len(lines) - MOST_LINES
        if message.role is Role.USER:
            lines = [f"> {line}" for line in lines[:MOST_LINES]]
            attached = [f"attached: {each.told}" for each in message.attachments]
            renderer.notice("\n".join([*lines, *([_more(left_out)] if left_out > 0 else []), *attached]))
        else:
            ended = "" if message.status is Status.COMPLETE else f"\n({message.status})"
            told = [*([_more(left_out)] if left_out > 0 else []), *lines[-MOST_LINES:]]
            renderer.notice("\n".join(told) + f"{ended}\n")


def _last_turns(thread: Sequence[Message], turns: int) -> Sequence[Message]:
    begins = [place for place, message in enumerate(thread) if message.role is Role.USER]
    return thread[begins[-turns] if turns <= len(begins) else 0 :] if turns else ()


def _more(lines: int) -> str:
    return f"… {lines} more line{'s' if lines > 1 else ''}; /show has all"
