"""Text as nobody would type it."""

from random import Random

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
