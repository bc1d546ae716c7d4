"""What a reply looks like on a terminal at the end: printed at once, and streamed in pieces."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from rich.console import Console, RenderableType
from rich.markdown import Markdown

from chatllm_cli.render.markdown import stream
from chatllm_cli.render.markdown.document import rendered
from chatllm_cli.render.markdown.stream import MarkdownStream
from tests.terminal import ROWS, FakeTerminal

Seen = tuple[str, int, int]  # all lines, and where the cursor is
DATA = Path(__file__).with_name("data")
REPLIES = {path.stem: path.read_text("utf-8") for path in sorted((DATA / "replies").glob("*.md"))}


def console_on(terminal: FakeTerminal, width: int) -> Console:
    return Console(
        file=terminal, width=width, height=ROWS, color_system="truecolor", markup=False, emoji=False, highlight=False
    )


def seen(terminal: FakeTerminal) -> Seen:
    return terminal.text, terminal.screen.cursor.x, terminal.screen.cursor.y


def styled(terminal: FakeTerminal) -> list[list[tuple[object, ...]]]:
    """Each line's characters with how they look, without blanks at its end."""
    lines = [*terminal.screen.history.top, *(terminal.screen.buffer[row] for row in range(terminal.screen.lines))]
    shown = []
    for line in lines:
        cells = [tuple(line[column]) for column in range(terminal.screen.columns)]
        while cells and cells[-1][0] == " " and cells[-1][2] == "default":
            cells.pop()
        shown.append([cell if cell[0] != " " else (" ", cell[2]) for cell in cells])
    return shown


def printed(document: str, width: int, render: Callable[[str], RenderableType] = rendered) -> FakeTerminal:
    terminal = FakeTerminal(width, ROWS)
    console_on(terminal, width).print(render(document))
    return terminal


def printed_by_rich(document: str) -> RenderableType:
    return Markdown(document, hyperlinks=False, code_theme="ansi_dark")


def streamed(pieces: Iterable[str], width: int) -> FakeTerminal:
    terminal = FakeTerminal(width, ROWS)
    shown = MarkdownStream(console_on(terminal, width))
    for piece in pieces:
        shown.feed(piece)
    shown.finish()
    return terminal


def in_random_pieces(text: str, seed: int, longest: int = 12) -> Iterator[str]:
    random, at = Random(seed), 0  # noqa: S311  (the sizes guard nothing)
    while at < len(text):
        size = random.randint(1, longest)
        yield text[at : at + size]
        at += size


@contextmanager
def a_frame_for_every_piece(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(stream, "FRAMES_PER_SECOND", float("inf"))
        patch.setattr(stream, "PAUSE_PER_COST", 0)
        yield
