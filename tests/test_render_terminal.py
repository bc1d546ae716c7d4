import errno
import io

import pytest

from chatllm_cli.render.terminal import Stream, columns_of, fitting, is_size
from tests.terminal import FakeTerminal

DIM, BOLD_RED = "\x1b[2mtext\x1b[0m", "\x1b[1;31mtext\x1b[0m"


class FullFile(io.StringIO):
    """A file on a disk that is full."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[str] = []

    def write(self, text: str, /) -> int:
        self.refused.append(text)
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("file", "environment", "dim", "bold_red"),
    [
        (FakeTerminal(), {}, DIM, BOLD_RED),
        (FakeTerminal(), {"NO_COLOR": "1"}, DIM, "\x1b[1mtext\x1b[0m"),
        (FakeTerminal(), {"NO_COLOR": ""}, DIM, BOLD_RED),
        (FakeTerminal(), {"TERM": "dumb"}, "text", "text"),
        (io.StringIO(), {}, "text", "text"),
        (io.StringIO(), {"FORCE_COLOR": "1"}, DIM, BOLD_RED),
        (io.StringIO(), {"FORCE_COLOR": "0"}, "text", "text"),
        (io.StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, DIM, "\x1b[1mtext\x1b[0m"),
    ],
)
def test_text_is_styled_as_far_as_the_stream_shows_it(
    monkeypatch: pytest.MonkeyPatch, file: io.StringIO, environment: dict[str, str], dim: str, bold_red: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = Stream(file)
    assert (stream.styled("text", "dim"), stream.styled("text", "bold", "red")) == (dim, bold_red)
    assert stream.styled("", "bold") == ""


@pytest.mark.parametrize(
    ("columns", "width"), [(None, 80), ("20", 20), ("0", 80), ("-5", 80), ("\N{SUPERSCRIPT TWO}", 80), ("x", 80)]
)
def test_a_width_is_a_number_of_columns(monkeypatch: pytest.MonkeyPatch, columns: str | None, width: int) -> None:
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert Stream(io.StringIO()).width == width
    assert is_size(columns or "") == (columns == "20")


def test_words_are_kept_whole_on_a_terminal_and_lines_on_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    text = "one two three-four five\n\nsix"
    assert Stream(FakeTerminal()).wrapped(text) == "one two\nthree-four\nfive\n\nsix"
    assert Stream(io.StringIO()).wrapped(text) == text


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("hello", 5, "hello"),
        ("hello", 4, "hel…"),
        ("hello", 0, "…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日 …"),
        ("é", 1, "é"),
    ],
)
def test_a_line_is_cut_to_the_columns_there_are(text: str, width: int, shown: str) -> None:
    assert fitting(text, width) == shown
    assert columns_of(shown) <= max(width, 1)


def test_a_stream_that_takes_nothing_costs_nothing() -> None:
    file = FullFile()
    Stream(file).write("lost")
    assert file.refused == ["lost"]
