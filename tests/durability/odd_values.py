"""Text as nobody would type it, and values as nobody would write them."""

from collections.abc import Callable
from random import Random
from typing import Any

ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "{}[]\",:\\ \t\r'#=._-@/*%?$&;<>|~`!^()+",
    "\0\x01\x07\x1b\x7f\x80\x85\x9b\xa0\u2028\u2029\u202e\ufeff\u200b\ufffd\U0010ffff",
    "äöüßéñΩжш中文日本語한국어عربيहिन्दी😀👩‍👩‍👧ﬁİıſ",
)
WORDS = (
    "..",
    "../",
    "/etc/passwd",
    "CON",
    "NUL",
    "nan",
    "inf",
    "-0",
    "1e999",
    "true",
    "null",
    "%s",
    "${HOME}",
    "~",
    "@1",
)


def text(random: Random, most: int = 30) -> str:
    """Return a text of strange characters and words."""
    pieces = [
        random.choice(WORDS) if random.random() < 0.1 else random.choice(random.choice(ALPHABETS))
        for _ in range(random.randint(0, most))
    ]
    return "".join(pieces)


def value(random: Random, depth: int = 0) -> Any:
    """Return something that JSON can say."""
    kind = random.randrange(12 if depth < 4 else 9)
    if kind >= 9:
        values = [value(random, depth + 1) for _ in range(random.randint(0, 3))]
        return values if kind == 9 else {text(random, 3): each for each in values}
    simple: tuple[Callable[[], Any], ...] = (
        lambda: None,
        lambda: random.choice([True, False]),
        lambda: random.choice([0, -1, 1, 2, 2**31, -(2**63), 10 ** random.randint(1, 15)]),
        lambda: random.choice([0.5, -0.0, 1e300, float("inf"), float("-inf"), float("nan")]),
        lambda: text(random),
        lambda: text(random, 4),
        lambda: "",
        lambda: random.choice(["user", "assistant", "system", "complete", "error", "m1", "m2", "m3"]),
        lambda: random.choice(["2026-07-01", "2026-07-01T12:00:00Z", "0001-01-01", "2026-W27-3T00Z", "99999-01-01"]),
    )
    return simple[kind]()
