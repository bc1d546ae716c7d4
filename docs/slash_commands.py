"""Puts the table of slash commands into docs/slash-commands.md: python docs/slash_commands.py."""

import re
from pathlib import Path

from chatllm_cli.repl.slash_commands import TABLE

PAGE = Path(__file__).with_name("slash-commands.md")


def with_table(page: str) -> str:
    """Return the page with its table made anew."""
    rows = [f"| `{_escaped(f'/{each.name} {each.arguments}'.strip())}` | {each.help} |\n" for each in TABLE]
    return re.sub(r"(?<=^\|---\|---\|\n)(\|.*\n)*", "".join(rows), page, flags=re.MULTILINE)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
