"""Make docs/screenshot.svg from a real run on the embedded model: `python docs/screenshot.py`, in a checkout."""

import itertools
import os
import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.terminal import Terminal  # noqa: E402

COLUMNS, ROWS = 88, 60
COMMANDS = [
    ["ask", "--temperature", "0", "Write a short Python function that reverses a string."],
    ["ask", "--schema", "name, age int, likes_cats bool", "Invent a person."],
    ["history", "search", "slicing"],
    ["history", "list"],
]
REMOTE_FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def main() -> None:
    """Run the commands, and write the picture of what was on the screen."""
    console = Console(record=True, width=COLUMNS, file=Path(os.devnull).open("w"))  # noqa: SIM115
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"CHATLLM_HOME": home, "PAGER": "cat", "TERM": "xterm-256color"}
        for arguments in COMMANDS:
            words = [f'"{word}"' if " " in word else word for word in arguments]
            console.print(Text(f"$ chatllm {' '.join(words)}", style="bold"))
            screen = Terminal(arguments, columns=COLUMNS, rows=ROWS)
            screen.wait()
            for line in _lines(screen):
                console.print(line, soft_wrap=True)
            console.print()
    svg = console.export_svg(title="chatllm")
    (ROOT / "docs" / "screenshot.svg").write_text(REMOTE_FONT.sub("", svg), "utf-8")


def _lines(terminal: Terminal) -> list[Text]:
    """Return what is on the screen, as it looks, without blank lines at its end."""
    lines = [*terminal.screen.history.top, *(terminal.screen.buffer[row] for row in range(ROWS))]
    shown = []
    for line in lines:
        text = Text()
        cells = [line[column] for column in range(COLUMNS)]
        for look, run in itertools.groupby(cells, lambda cell: cell._replace(data="")):
            style = Style(color=_colour(look.fg), bold=look.bold, italic=look.italics, underline=look.underscore)
            text.append("".join(cell.data for cell in run), style)
        text.rstrip()
        shown.append(text)
    while shown and not shown[-1].plain:
        shown.pop()
    return shown


def _colour(name: str) -> str | None:
    if name == "default":
        return None
    known = {"brown": "yellow", "brightbrown": "bright_yellow"}  # pyte's names
    if re.fullmatch("[0-9a-f]{6}", name):
        return f"#{name}"
    return known.get(name, name.replace("bright", "bright_"))


if __name__ == "__main__":
    main()
