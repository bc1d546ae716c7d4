"""What is told of a turn in the same words wherever it is told."""

from collections.abc import Sequence

from chatllm_cli.amounts import dollars
from chatllm_cli.models import BudgetUse, Endpoint


def secrets_held(where: str, kinds: Sequence[str], *, replaced: bool) -> str:
    """Return what a prompt holds, and what was done about it."""
    held = f"{where} what looks like a secret: {', '.join(kinds)}"
    if replaced:
        return f"{held}; it was replaced (redact in the settings)"
    return f'{held}; it is sent as it is (redact = "replace" in the settings takes it out)'


def nearly_used_up(use: BudgetUse) -> str:
    """Return how much of a budget is spent."""
    return f"the budget for {use.period} is nearly used up: {dollars(use.spent)} of {dollars(use.limit)}"


def unheld(use: BudgetUse) -> str:
    """Return how many replies no budget holds."""
    which = f"{use.unpriced} answer{'s' if use.unpriced > 1 else ''} of {use.period}"
    return f"the price of {which} is unknown: it does not count towards the budget"


def unpriced(endpoint: Endpoint) -> str:
    """Return that no budget holds a model."""
    return f"the price of {endpoint.address} is unknown: what it costs does not count towards the budget"
