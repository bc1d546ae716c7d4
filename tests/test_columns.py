import pytest
from rich.console import ConsoleDimensions

from chatllm_cli.errors import HistoryError
from chatllm_cli.render.columns import Board, ColumnView, columns_that_fit
from chatllm_cli.render.renderer import Renderer
from tests.terminal import FakeTerminal


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> FakeTerminal:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    return FakeTerminal()


def columns_on(terminal: FakeTerminal, *names: str) -> tuple[Board, list[ColumnView]]:
    renderer = Renderer(terminal, terminal)
    board = Board(renderer, names)
    return board, [ColumnView(renderer, board, column) for column in board.columns]


def lines(*rows: tuple[str, ...], cells: int = 38) -> str:
    padded = (" │ ".join(cell.ljust(cells) for cell in row).rstrip() for row in rows)
    return "\n".join(padded)


@pytest.mark.parametrize(
    ("width", "count"), [(1, 1), (30, 1), (63, 1), (64, 2), (80, 2), (96, 2), (97, 3), (120, 3), (130, 4)]
)
def test_each_is_at_least_30_cells_wide(width: int, count: int) -> None:
    assert columns_that_fit(width) == count


def test_each_shows_what_it_waits_for_thinks_or_says(both: FakeTerminal) -> None:
    board, views = columns_on(both, "hub/one", "hub/two")
    views[0].on_reasoning("thinking hard")
    views[1].on_chunk("# Said\n\n**so**")
    board.refresh()
    assert both.text == lines(
        ("hub/one", "hub/two"), ("thinking hard", "# Said"), ("", ""), ("", "**so**")
    )  # fmt: skip
    views[0].on_chunk("done")
    board.refresh()
    assert both.text.splitlines()[1] == lines(("done", "# Said"))
    assert "thinking" not in both.text


def test_at_the_end_all_of_each_is_there_rendered_and_nothing_else(both: FakeTerminal) -> None:
    board, views = columns_on(both, "hub/one", "hub/two")
    for number in range(100):
        views[0].on_chunk(f"- item {number}\n")
        board.refresh()
    views[1].on_chunk("**bold** text")
    for view in views:
        view.close()
    board.finish()
    items = [f" • item {number}" for number in range(100)]
    left, right = zip(*(line.split("│") for line in both.text.splitlines()), strict=True)
    assert [cell.rstrip() for cell in left] == ["hub/one", "", *items]
    assert [cell.strip() for cell in right] == ["hub/two", "bold text", *[""] * 100]


def test_what_is_shown_meanwhile_is_never_taller_than_the_screen(
    both: FakeTerminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINES", "8")
    terminal = FakeTerminal(80, 8)
    board, views = columns_on(terminal, "hub/one", "hub/two")
    for number in range(60):
        views[number % 2].on_chunk(f"word{number}\n" * 5)
        board.refresh()
    assert not terminal.screen.history.top
    assert len(terminal.text.splitlines()) <= 6


def test_a_paragraph_is_broken_where_it_was_though_its_beginning_is_out_of_sight(both: FakeTerminal) -> None:
    board, views = columns_on(both, "hub/one", "hub/two")
    seen: set[str] = set()
    for number in range(200):
        views[0].on_chunk(f"word{number} ")
        board.refresh()
        seen |= {line.split("│")[0].rstrip() for line in both.text.splitlines()[1:-1]}
    for view in views:
        view.close()
    board.finish()
    assert seen <= {line.split("│")[0].rstrip() for line in both.text.splitlines()}


def test_what_else_is_said_stands_above_and_the_columns_come_back(both: FakeTerminal) -> None:
    board, views = columns_on(both, "hub/one", "hub/two")
    views[0].on_chunk("first")
    views[1].on_history_error(HistoryError("the disk is full"))
    views[0].on_chunk(" second")
    board.refresh()
    said, names, *rows = both.text.splitlines()
    assert (said, names) == ("chatllm: the disk is full", lines(("hub/one", "hub/two")))
    assert rows[0].startswith("first second ")


def test_wide_characters_keep_to_their_column(both: FakeTerminal) -> None:
    board, views = columns_on(both, "hub/one", "hub/two")
    views[0].on_chunk("日本語" * 30)
    views[1].on_chunk("right")
    board.refresh()
    rows = [both.screen.buffer[row] for row in range(1, 6)]
    assert {row[39].data for row in rows} == {"│"}
    for view in views:
        view.close()
    board.finish()
    assert {both.screen.buffer[row][39].data for row in range(5)} == {"│"}


def test_nothing_dangerous_gets_through(both: FakeTerminal) -> None:
    board, views = columns_on(both, "hub/\x1b]0;owned\x07", "hub/two")
    views[0].on_chunk("a\x1b]0;ow")
    views[0].on_chunk("ned\x07")
    board.refresh()
    for view in views:
        view.close()
    board.finish()
    assert both.screen.title == ""
    assert "a^[]0;owned^G" in both.text


def test_an_answer_that_never_came_leaves_its_column_empty(both: FakeTerminal) -> None:
    board, views = columns_on(both, "hub/one", "hub/two")
    views[0].on_chunk("said")
    for view in views:
        view.close()
    board.finish()
    assert both.text == lines(("hub/one", "hub/two"), ("said", ""))


def test_a_window_that_becomes_narrower_costs_nothing_that_stands_above() -> None:
    terminal = FakeTerminal(100, 24)
    terminal.write("above\n")
    renderer = Renderer(terminal, terminal)
    renderer.console.size = ConsoleDimensions(100, 24)
    board = Board(renderer, ["hub/one", "hub/two"])
    views = [ColumnView(renderer, board, column) for column in board.columns]
    views[0].on_chunk("left")
    views[1].on_chunk("right")
    board.refresh()
    renderer.console.size = ConsoleDimensions(64, 24)  # which has room for the rows: they end behind the right text
    terminal.screen.resize(24, 64)
    views[0].on_chunk(" more")
    board.refresh()
    assert terminal.text == "above\n" + lines(("hub/one", "hub/two"), ("left more", "right"), cells=30)
