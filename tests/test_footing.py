import io

import pytest

from chatllm_cli.render.footer import Footer
from chatllm_cli.render.footing import Footing, Prelude, ending
from chatllm_cli.render.markdown.live import LiveArea, Row, widest
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.terminal import Stream
from tests.terminal import FakeTerminal

STATUS = "hub/model · ↓ 12"


def footing(draft: str = "", status: str = STATUS) -> Footing:
    return Footing(Footer(lambda _: status, lambda: draft), Stream(FakeTerminal()))


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("", 10, ""),
        ("hello ", 10, "hello "),
        ("0123456789", 10, "0123456789"),
        ("0123456789a", 10, "…23456789a"),
        ("全角文字", 8, "全角文字"),
        ("全角文字", 7, "…角文字"),
        ("全角文字", 6, "…文字"),
        ("one\ntwo\rthree\t!", 20, "one⏎two⏎three !"),
        ("a\x1b]0;t\x07\u202e\x9b\x00", 40, "a^[]0;t^G\\u{202e}\\x9b^@"),
        ("x" * 100_000 + "end", 5, "…xend"),
        ("e\u0301" * 100, 4, "…" + "e\u0301" * 3),
        ("abc", 1, "…"),
        ("abc", 0, "…"),
    ],
)
def test_the_end_of_what_is_typed_is_seen_on_one_line(text: str, width: int, shown: str) -> None:
    assert ending(text, width) == shown


def test_the_status_is_dim_and_the_draft_stands_last_where_the_cursor_is() -> None:
    assert footing("hello").rows(40) == (Row(f"\x1b[2m{STATUS}\x1b[0m", len(STATUS)), Row("> hello", 7))


def test_a_status_that_is_empty_takes_no_row() -> None:
    assert footing("hello", "").rows(40) == (Row("> hello", 7),)


def test_nothing_is_laid_out_while_the_footer_is_hidden() -> None:
    hidden = footing("hello")
    hidden.is_shown = False
    assert hidden.rows(40) == ()


@pytest.mark.parametrize("width", [1, 2, 3, 4, 10, 39])
def test_no_row_is_wider_than_there_is_room(width: int) -> None:
    for row in footing("全角文字 " * 30, "全角文字 \x1b[2J" * 30).rows(width):
        plain = row.text.replace("\x1b[2m", "").replace("\x1b[0m", "")
        assert "\x1b" not in plain
        assert widest(plain) == row.width <= width


def test_the_status_is_told_how_much_room_there_is() -> None:
    told: list[int] = []
    Footing(Footer(lambda width: told.append(width) or "x", lambda: ""), Stream(io.StringIO())).rows(17)  # type: ignore[func-returns-value]
    assert told == [17]


class Stage:
    """A prelude on a screen of that size."""

    def __init__(self, columns: int = 40, rows: int = 24) -> None:
        self.screen = FakeTerminal(columns, rows)
        self.draft = ""
        renderer = Renderer(self.screen, self.screen)
        renderer.console.size = (columns, rows)
        self.live = LiveArea(lambda: (columns, rows))
        self.prelude = Prelude(
            renderer, self.live, Footing(Footer(lambda _: STATUS, lambda: self.draft), renderer.out)
        )

    @property
    def text(self) -> str:
        return self.screen.text


def test_what_is_waited_for_stands_above_the_footer_and_is_replaced_in_place() -> None:
    stage = Stage()
    stage.prelude.wait("waiting for hub/model…", "waiting…")
    assert stage.text == f"waiting for hub/model…\n{STATUS}\n>"
    stage.draft = "next"
    stage.prelude.wait("waiting for hub/model… 1 s", "waiting… 1 s")
    assert stage.text == f"waiting for hub/model… 1 s\n{STATUS}\n> next"
    assert (stage.screen.screen.cursor.x, stage.screen.screen.cursor.y) == (6, 2)


def test_where_there_is_no_room_for_it_it_is_said_shortly() -> None:
    stage = Stage(columns=20)
    stage.prelude.wait("waiting for hub/model…", "waiting…")
    assert stage.text == f"waiting…\n{STATUS}\n>"


@pytest.mark.parametrize(
    ("rows", "shown"), [(5, ["waiting", STATUS, ">"]), (4, ["waiting", ">"]), (3, [">"]), (1, [">"])]
)
def test_on_a_low_screen_the_draft_is_what_stays(rows: int, shown: list[str]) -> None:
    stage = Stage(rows=rows)
    stage.prelude.wait("waiting", "")
    assert stage.text.split("\n") == shown


def test_whole_lines_of_thoughts_are_printed_and_the_last_one_is_live() -> None:
    stage = Stage()
    stage.prelude.wait("waiting", "")
    for piece in ("First", ", this.\nThen ", "that.\n\nAnd"):
        stage.prelude.think(piece)
        stage.prelude.refresh()
    assert stage.text == f"First, this.\nThen that.\n\nAnd\n{STATUS}\n>"
    stage.screen.write(stage.live.erase())
    assert stage.text == "First, this.\nThen that."
    assert "\x1b[2mFirst, this.\x1b[0m\n" in stage.screen.getvalue()


def test_of_a_long_line_of_thoughts_the_end_is_seen_and_all_of_it_is_printed_when_it_is_whole() -> None:
    stage = Stage(columns=20, rows=6)
    line = " ".join(f"thought{number}" for number in range(12))
    stage.prelude.think(line)
    assert stage.text.endswith(f"\nthought10 thought11\n{STATUS}\n>")
    assert stage.text.count("\n") == 3
    stage.prelude.think("\n")
    stage.prelude.refresh()
    stage.screen.write(stage.live.erase())
    assert "".join(stage.text.split()) == line.replace(" ", "")


def test_thoughts_that_rush_are_painted_no_more_than_twenty_times_a_second() -> None:
    stage = Stage()
    painted = []
    for _ in range(60):
        before = len(stage.screen.getvalue())
        stage.prelude.think("word ")
        painted.append(len(stage.screen.getvalue()) > before)
    assert 1 <= sum(painted) <= 10
    stage.prelude.refresh()
    assert stage.text.count("word") == 60
