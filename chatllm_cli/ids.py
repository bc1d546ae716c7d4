"""The ids of conversations and messages: new ones, and those that tell again what was imported before."""

import hashlib
import re
from random import SystemRandom

# Crockford's base32 without look-alikes. 16 characters are 80 bits, and unlike a time-ordered id's, the first
# four tell one conversation from another.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 16
SHORT_ID = 8  # characters that a person is shown
SHA256 = re.compile("[0-9a-f]{64}")  # what names the bytes of an attachment
IS_ID = re.compile(f"[{ALPHABET}]{{{LENGTH}}}")


def new_id() -> str:
    """Return a new id for a conversation or a message."""
    return "".join(SystemRandom().choices(ALPHABET, k=LENGTH))


def stable_id(*parts: object) -> str:
    """Return an id that is the same for the same parts: what is imported again is known by it."""
    told = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    number = int.from_bytes(hashlib.sha256(told).digest()[:10])
    return "".join(ALPHABET[number >> shift & 31] for shift in range(75, -1, -5))
