"""Amounts as a person reads them."""

import math

ONE_DIGIT_LESS = 0.1  # dollars, below which two decimals would say too little


def dollars(amount: float) -> str:
    """Return an amount with two decimals, or with two digits that say something if it is less than ten cents."""
    rounded = float(f"{amount:.1e}")
    if rounded >= ONE_DIGIT_LESS or rounded <= 0:
        return f"${amount:,.2f}"
    return f"${rounded:.{1 - math.floor(math.log10(rounded))}f}"


def about(tokens: int) -> str:
    """Return a number of tokens that is not exact, rounded up to three figures."""
    unit = 10 ** max(len(str(tokens)) - 3, 0)
    return f"about {math.ceil(tokens / unit) * unit:,}"
