import re

import pytest

from chatllm_cli.render.markdown.live import LiveArea, Row, reflows, widest, wrapped

UP = re.compile(r"\x1b\[1A")


class Window:
    """A terminal that wraps its lines anew when its width changes, and knows what is asked of it here."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.lines = [""]
        self.line, self.column = 0, 0

    def size(self) -> tuple[int, int]:
        return self.width, 24

    def write(self, text: str) -> None:
        for piece in re.findall(r"\x1b\[1A|\x1b\[K|\r|\n|[^\x1b\r\n]+", text):
            if piece == "\x1b[1A":
                self._up()
            elif piece == "\x1b[K":
                self.lines[self.line] = self.lines[self.line][: self.column]
            elif piece == "\r":
                self.column -= self.column % self.width if self.column < len(self.lines[self.line]) else 0
                self.column = max(len(self.lines[self.line]) - 1, 0) // self.width * self.width
            elif piece == "\n":
                self.line, self.column = self.line + 1, 0
                self.lines[self.line : self.line] = [""] if self.line == len(self.lines) else []
            else:
                self.lines[self.line] = self.lines[self.line][: self.column] + piece
                self.column += len(piece)

    def _up(self) -> None:
        if self.column >= self.width:
            self.column -= self.width
        else:
            self.line -= 1
            self.column = max(len(self.lines[self.line]) - 1, 0) // self.width * self.width

    @property
    def text(self) -> str:
        return "\n".join(self.lines).rstrip("\n")


def rows(*texts: str) -> list[Row]:
    return [Row(text, len(text)) for text in texts]


@pytest.mark.parametrize("to", [5, 9, 10, 11, 20, 40])
def test_what_was_shown_is_taken_away_as_a_whole_in_a_window_of_another_width(
    monkeypatch: pytest.MonkeyPatch, to: int
) -> None:
    monkeypatch.delenv("XTERM_VERSION", raising=False)
    window = Window(20)
    live = LiveArea(window.size)
    window.write("printed\n")
    window.write(live.show(rows("x" * 19, "", "y" * 12)))
    window.width = to
    window.write(live.show(rows("new", "rows")))
    assert window.text == "printed\nnew\nrows"
    window.write(live.erase())
    assert window.text == "printed"


def test_the_cursor_stands_behind_the_last_row_also_when_there_are_fewer() -> None:
    window = Window(20)
    live = LiveArea(window.size)
    window.write("printed\n")
    for shown in (rows("one", "two", "three"), rows("one", "two"), rows("one"), rows("one", "2")):
        window.write(live.show(shown))
        assert window.text == "\n".join(["printed", *(row.text for row in shown)])
    window.write(live.show([]))
    window.write("next")
    assert window.text == "printed\nnext"


def test_only_what_differs_is_written_again() -> None:
    live = LiveArea(lambda: (80, 24))
    assert live.show(rows("one", "two")) == "one\ntwo"
    assert live.show(rows("one", "two")) == ""
    assert live.show(rows("one", "two", "three")) == "\nthree"
    assert live.show(rows("one", "2", "three")) == "\r\x1b[K\x1b[1A\x1b[K2\nthree"
    assert live.erase() == "\r\x1b[K" + "\x1b[1A\x1b[K" * 2
    assert live.erase() == ""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "XTERM_VERSION": "XTerm(390)"}, False),
        ({"TERM": "screen-256color"}, False),
        ({"TERM": "screen-256color", "TMUX": "tmux,1,0"}, True),
        ({"TERM": "rxvt-unicode"}, False),
        ({"TERM": "linux"}, False),
        ({}, True),
    ],
)
def test_most_terminals_wrap_their_lines_anew(environment: dict[str, str], expected: bool) -> None:
    assert reflows(environment) is expected


@pytest.mark.parametrize(
    ("text", "width", "most", "shown"),
    [
        ("one two three", 80, 5, ["one two three"]),
        ("one two three", 7, 5, ["one two", "three"]),
        ("one two three", 8, 5, ["one two", "three"]),
        ("onetwothree", 4, 5, ["onet", "woth", "ree"]),
        ("one\n\ntwo", 4, 5, ["one", "", "two"]),
        ("a\nb\nc", 4, 2, ["b", "c"]),
        ("全角文字", 5, 5, ["全角", "文字"]),
        ("a\tb", 20, 5, ["a       b"]),
        ("👨\u200d👩\u200d👧 ok", 6, 5, ["👨\u200d👩\u200d👧", "ok"]),
        ("x" * 500, 10, 3, ["x" * 10] * 3),
    ],
)
def test_text_is_broken_at_blanks_and_its_last_rows_are_kept(
    text: str, width: int, most: int, shown: list[str]
) -> None:
    assert [row.text for row in wrapped(text, width, most)] == shown


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("日本", 4), ("❤️", 2), ("🇯🇵", 4), ("e\u0301", 1), ("👨\u200d👩", 4)]
)
def test_a_line_is_taken_to_be_as_wide_as_any_terminal_may_show_it(text: str, columns: int) -> None:
    assert widest(text) == columns
