"""Puts the table of known providers into docs/providers.md: python docs/providers.py."""

import re
from pathlib import Path

from chatllm_cli.config.known_providers import KNOWN, KnownProvider

PAGE = Path(__file__).with_suffix(".md")
USUAL = KnownProvider("")


def with_table(page: str) -> str:
    """Return the page with its table made anew."""
    rows = [
        f"| `{name}` | {known.base_url} | {_key(known)} | {_differences(known)} |\n" for name, known in KNOWN.items()
    ]
    return re.sub(r"(?<=^\|---\|---\|---\|---\|\n)(\|.*\n)*", "".join(rows), page, flags=re.MULTILINE)


def _key(known: KnownProvider) -> str:
    return f"`{known.key_variable}`" if known.key_variable else "none needed"


def _differences(known: KnownProvider) -> str:
    told = [
        f"the limit is `{known.max_tokens_field}`" if known.max_tokens_field != USUAL.max_tokens_field else "",
        f"the seed is `{known.seed_field}`" if known.seed_field != USUAL.seed_field else "",
        "" if known.takes_usage_wish else "sends token counts unasked",
        f"its list wants the key as `{known.lists_by}`" if known.lists_by != USUAL.lists_by else "",
        "can be held to a schema" if known.takes_schema else "",
        "" if known.marks_end else "may end an answer without saying so",
    ]
    return ", ".join(each for each in told if each) or "nothing"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
