r"""What a terminal would obey, or a reader could not see, is spelled out: wherever strings from outside are shown.

The rule is per code point, never by recognising sequences, so that one split over two chunks cannot slip
through. ESC is shown as ^[, U+202E as \u{202e}.
What scripts and emoji need (joiners, variation selectors 1-16, direction marks, combining marks) is kept.
Sources: CVE-2021-42574 (bidirectional controls), CVE-2024-52005 (caret notation), OWASP LLM05.
"""

import re

_C0 = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f"  # all but tab and newline; CR is dropped apart
_C1 = "\x80-\x9f"
_BIDI = "\u202a-\u202e\u2066-\u2069"
_LINE_BREAKS = "\u2028\u2029"
_INVISIBLE = "\u2060-\u2065\u206a-\u206f\ufff9-\ufffb\ufeff\u180e\u115f\u1160\u3164\uffa0"
_TAGS = "\U000e0000-\U000e01ef"  # tags, and the variation selectors that smuggle bytes
_SURROGATES = "\ud800-\udfff"

# England, Scotland and Wales: a black flag, the region spelled in tags, and an end. No other is in Unicode's list.
_REGIONS = ("gbeng", "gbsct", "gbwls")
_FLAGS = "|".join(
    "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in region) + "\U000e007f" for region in _REGIONS
)

_SUSPECT = re.compile(f"{_FLAGS}|[\r{_C0}{_C1}{_BIDI}{_LINE_BREAKS}{_INVISIBLE}{_TAGS}{_SURROGATES}]")


def clean(text: str) -> str:
    """Return `text` with every code point that a terminal would obey, or a reader not see, made visible."""
    return text if text.isascii() and text.isprintable() else _SUSPECT.sub(_spell_out, text)


def _spell_out(match: re.Match[str]) -> str:
    found = match[0]
    if len(found) > 1:  # a flag
        return found
    code = ord(found)
    if found == "\r":
        return ""
    if code < 0x20 or code == 0x7F:  # noqa: PLR2004  (the C0 controls and DEL)
        return f"^{chr(code ^ 0x40)}"
    if code < 0xA0:  # noqa: PLR2004  (the C1 controls)
        return f"\\x{code:02x}"
    return "\N{REPLACEMENT CHARACTER}" if 0xD800 <= code <= 0xDFFF else f"\\u{{{code:x}}}"  # noqa: PLR2004
