"""The line beneath the prompt: who answers, what conversation this is, and what it has taken so far."""

from collections.abc import Sequence

from chatllm_cli.models import Role
from chatllm_cli.render.clean import clean_line
from chatllm_cli.render.history_views import count
from chatllm_cli.render.renderer import amount, percent
from chatllm_cli.render.terminal import columns_of, fitting
from chatllm_cli.repl.session import Session

SEPARATOR = " · "
LONGEST_TITLE = 40
# What a narrow terminal goes without, first to last: what is left is who answers.
DROPPED = ("title", "cached", "cost", "tokens", "context", "private", "files")


def status_line(session: Session, width: int, *, coming: int = 0) -> str:
    """Return the line, cut to so many columns; `coming` are the tokens of the answer that streams."""
    parts = {name: text for name, text in _parts(session, coming) if text}
    for name in DROPPED:
        if columns_of(SEPARATOR.join(parts.values())) <= width:
            break
        parts.pop(name, None)
    return fitting(SEPARATOR.join(parts.values()), width)


def _parts(session: Session, coming: int) -> Sequence[tuple[str, str]]:
    conversation, bill = session.conversation, session.bill
    replies = [each.usage for each in conversation.messages if each.role is Role.ASSISTANT] if conversation else []
    taken = sum(usage.input_tokens for usage in replies if usage)
    brought = sum(usage.output_tokens for usage in replies if usage) + coming
    cost, unpriced = (conversation.cost, conversation.unpriced) if conversation else (0.0, 0)
    title = clean_line(conversation.title) if conversation else ""
    return (
        ("model", clean_line(session.endpoints[0].address)),
        ("title", fitting(title, LONGEST_TITLE)),
        ("tokens", f"↑ {count(taken)} ↓ {count(brought)}" if taken or brought else ""),
        ("cost", amount(cost, unpriced) if cost else ""),
        ("context", f"context {percent(bill.context)}" if bill and bill.context is not None else ""),
        ("files", f"{len(session.attached)} attached" if session.attached else ""),
        ("private", "private" if session.is_private else ""),
        ("cached", "cache" if session.uses_cache else ""),
    )
