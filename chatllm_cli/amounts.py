"""Amounts as a person reads them."""

import math

KILO, MEGA = 1000, 1_000_000
TWO_DIGITS = 10  # from which on a decimal would say nothing more

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
    return "about 1 token" if tokens == 1 else f"about {math.ceil(tokens / unit) * unit:,} tokens"


def file_size(size: int) -> str:
    """Return a number of bytes in the unit that fits."""
    if size < KILO:
        return "1 byte" if size == 1 else f"{size} bytes"
    number, unit = (size / KILO, "kB") if size < MEGA else (size / MEGA, "MB")
    return f"{number:,.{0 if number >= TWO_DIGITS else 1}f} {unit}"
