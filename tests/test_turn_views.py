import asyncio
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from chatllm_cli.errors import HistoryError, RateLimitError
from chatllm_cli.models import BudgetUse, Endpoint, RetryWait, Trimmed
from chatllm_cli.render.clean import clean
from chatllm_cli.render.json_renderer import open_renderer
from chatllm_cli.render.markdown_view import MarkdownView
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.themes import Looks
from chatllm_cli.render.turn_views import PipeView, PlainView, TurnView, open_turn_view
from tests.terminal import COLUMNS, ROWS, FakeTerminal

PIECES = ["**a\r", "\n\nb\x1b", "]0;owned\x07** \ud83d", "\ude00 \U0001f3f4\U000e0067", "\u202e"]
EXACT = "".join(PIECES)
CLEAN = "**a\n\nb^[]0;owned^G** \U0001f600 \U0001f3f4\\u{e0067}\\u{202e}"
TERMINALS = ["plain", "dumb", "markdown"]


@pytest.fixture(autouse=True)
def size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setenv("LINES", str(ROWS))


@pytest.fixture
def both() -> FakeTerminal:
    """The one terminal that stdout and stderr end up on, as they do for most people."""
    return FakeTerminal()


@pytest.fixture(params=TERMINALS)
def view(request: pytest.FixtureRequest, both: FakeTerminal, monkeypatch: pytest.MonkeyPatch) -> TurnView:
    """A view of each kind that terminals have."""
    if request.param == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    return open_turn_view(Renderer(both, both, Looks(plain=request.param == "plain")), "hub/model")


@pytest.mark.parametrize(
    ("stdout", "plain", "term", "kind"),
    [
        (io.StringIO(), False, "xterm-256color", PipeView),
        (io.StringIO(), True, "dumb", PipeView),
        (FakeTerminal(), False, "xterm-256color", MarkdownView),
        (FakeTerminal(), True, "xterm-256color", PlainView),
        (FakeTerminal(), False, "dumb", PlainView),
        (FakeTerminal(), False, "unknown", PlainView),
    ],
)
def test_the_view_fits_where_stdout_goes(
    monkeypatch: pytest.MonkeyPatch, stdout: io.StringIO, plain: bool, term: str, kind: type[TurnView]
) -> None:
    monkeypatch.setenv("TERM", term)
    assert type(open_turn_view(Renderer(stdout, FakeTerminal(), Looks(plain=plain)), "hub/model")) is kind


def test_a_pipe_gets_each_piece_at_once_and_exactly_as_it_came_and_the_wait_leaves_no_trace() -> None:
    pipe, err = io.StringIO(), FakeTerminal()
    view = open_turn_view(Renderer(pipe, err), "hub/model")
    for count, piece in enumerate(PIECES, start=1):
        view.on_chunk(piece)
        assert pipe.getvalue() == "".join(PIECES[:count])
    view.close()
    assert (pipe.getvalue(), err.text) == (EXACT, "")


@pytest.mark.parametrize("plain", [True, False])
def test_a_plain_terminal_gets_the_clean_text(monkeypatch: pytest.MonkeyPatch, plain: bool) -> None:
    if not plain:
        monkeypatch.setenv("TERM", "dumb")
    out, err = FakeTerminal(), io.StringIO()
    view = open_turn_view(Renderer(out, err, Looks(plain=plain)), "hub/model")
    for piece in PIECES:
        view.on_chunk(piece)
    view.close()
    assert (out.getvalue(), out.screen.title, err.getvalue()) == (f"{CLEAN}\n", "", "")


def test_a_terminal_gets_the_clean_text_rendered() -> None:
    out, err = FakeTerminal(), io.StringIO()
    view = open_turn_view(Renderer(out, err), "hub/model")
    for piece in ["# T\x1b", "]0;owned\x07\n\n**bo", "ld** [x](http:", "//y)\u202e\n"]:
        view.on_chunk(piece)
    view.close()
    assert (out.text, out.screen.title, err.getvalue()) == (
        f"{'T^[]0;owned^G'.center(COLUMNS).rstrip()}\n\nbold x (http://y)\\u{{202e}}",
        "",
        "",
    )


def wait(seconds: float, retry: int = 1) -> RetryWait:
    return RetryWait("rate limited by hub", retry, 4, seconds)


def test_a_wait_counts_down_in_place_and_then_the_model_is_waited_for_again(
    view: TurnView, both: FakeTerminal, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["view"] == "dumb":
        pytest.skip("nothing can be counted there")
    for seconds, shown in (
        (7.0, "rate limited by hub, retry 1/4 in 7 s (Ctrl-C stops)"),
        (6.2, "rate limited by hub, retry 1/4 in 7 s (Ctrl-C stops)"),
        (0.4, "rate limited by hub, retry 1/4 in 1 s (Ctrl-C stops)"),
        (0.0, "⠋ waiting for hub/model…"),
    ):
        view.on_wait(wait(seconds))
        assert both.text == shown
    view.on_chunk("hello")
    view.close()
    assert both.text == "hello"


@pytest.mark.parametrize("err", [io.StringIO, FakeTerminal])
def test_a_wait_is_one_line_each_where_nothing_can_be_counted(
    monkeypatch: pytest.MonkeyPatch, err: type[io.StringIO]
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    told = err()
    view = open_turn_view(Renderer(io.StringIO(), told), "hub/model")
    for retry, seconds in ((1, 7.0), (1, 6.0), (1, 0.0), (2, 1.5), (2, 0.5), (2, 0.0)):
        view.on_wait(wait(seconds, retry))
    view.on_fallback(RateLimitError("rate limited by hub", words="slow down"), Endpoint("other", "model", "http://o"))
    view.on_wait(RetryWait("other failed", 1, 4, 3.0))
    view.close()
    assert told.getvalue() == (
        "rate limited by hub, retry 1/4 in 7 s\n"
        "rate limited by hub, retry 2/4 in 2 s\n"
        "rate limited by hub: slow down; other/model is asked instead\n"
        "other failed, retry 1/4 in 3 s\n"
    )


def test_who_is_asked_instead_is_told_and_waited_for(view: TurnView, both: FakeTerminal) -> None:
    view.on_fallback(RateLimitError("rate limited by hub", words="slow down"), Endpoint("other", "model", "http://o"))
    assert both.text.splitlines()[0] == "rate limited by hub: slow down; other/model is asked instead"
    view.on_chunk("hello")
    view.close()
    assert both.text == "rate limited by hub: slow down; other/model is asked instead\nhello"


def test_a_plain_terminal_shows_each_piece_at_once(both: FakeTerminal) -> None:
    view = open_turn_view(Renderer(both, io.StringIO(), Looks(plain=True)), "hub/model")
    for piece, shown in (("one", "one"), (" two\n", "one two\n"), ("\ud83d", "one two\n"), ("x", "one two\n\ufffdx")):
        view.on_chunk(piece)
        assert both.getvalue() == shown


async def test_a_wait_is_seen_to_go_on_and_leaves_no_trace(both: FakeTerminal) -> None:
    view = open_turn_view(Renderer(both, both), "hub/model")
    seen = set()
    for _ in range(24):
        seen.add(both.text)
        await asyncio.sleep(0.05)
    view.on_chunk("hello")
    await asyncio.sleep(0.2)
    view.close()
    assert len(seen) >= 8
    assert any(text.endswith("waiting for hub/model… 1 s") for text in seen)
    assert both.text == "hello"


@pytest.mark.parametrize("plain", [True, False])
def test_waiting_ends_with_the_first_piece(both: FakeTerminal, plain: bool) -> None:
    view = open_turn_view(Renderer(both, both, Looks(plain=plain)), "hub/model")
    assert both.text == "⠋ waiting for hub/model…"
    view.on_chunk("hello")
    assert both.text == "hello"
    view.on_chunk(" there")
    view.close()
    assert both.text == "hello there"


@pytest.mark.parametrize("pieces", [[], ["\r"], ["hello"], ["hello\n"], ["hello", "\n\n"], ["x" * 80], ["a\n\n- b"]])
def test_the_cursor_is_on_a_line_of_its_own_after_the_turn(
    view: TurnView, both: FakeTerminal, pieces: list[str]
) -> None:
    for piece in pieces:
        view.on_chunk(piece)
    view.close()
    cursor, lines = both.screen.cursor, both.text.splitlines()
    assert (cursor.x, cursor.y >= len(lines)) == (0, True)
    assert "waiting" not in both.text


def test_what_was_held_back_is_shown_at_the_end(view: TurnView, both: FakeTerminal) -> None:
    view.on_chunk("hi\ud83d")
    view.close()
    assert both.text == "hi\ufffd"


def test_a_cached_answer_is_told_before_it_is_shown(view: TurnView, both: FakeTerminal) -> None:
    view.on_cached(datetime.now(UTC) - timedelta(hours=5, minutes=1))
    view.on_chunk("hello")
    view.close()
    assert both.text == "cached 5 h ago (--refresh asks again)\nhello"


def test_a_cached_answer_is_told_on_stderr_when_stdout_is_a_pipe() -> None:
    pipe, err = io.StringIO(), io.StringIO()
    view = open_turn_view(Renderer(pipe, err), "hub/model")
    view.on_cached(datetime.now(UTC) - timedelta(hours=5, minutes=1))
    view.on_chunk("hello")
    view.close()
    assert (pipe.getvalue(), err.getvalue()) == ("hello", "cached 5 h ago (--refresh asks again)\n")


def test_a_history_that_fails_before_the_answer_is_told_once(view: TurnView, both: FakeTerminal) -> None:
    view.on_history_error(HistoryError("the disk is full", hint="make room"))
    view.on_history_error(HistoryError("the disk is full", hint="make room"))
    view.on_chunk("hello")
    view.close()
    assert both.text == "chatllm: the disk is full\n  hint: make room\nhello"


def test_a_history_that_fails_is_told_once_on_stderr_when_stdout_is_a_pipe() -> None:
    pipe, err = io.StringIO(), io.StringIO()
    view = open_turn_view(Renderer(pipe, err), "hub/model")
    view.on_chunk("hel")
    view.on_history_error(HistoryError("the disk is full"))
    view.on_chunk("lo")
    view.on_history_error(HistoryError("the disk is full"))
    view.close()
    assert (pipe.getvalue(), err.getvalue()) == ("hello", "chatllm: the disk is full\n")


TEXT = "- one\n- two\n- three"


@pytest.mark.parametrize(
    ("plain", "screen"),
    [
        (False, "\n • one\nchatllm: the disk is full\n  hint: make room\n • two\n • three"),
        (True, "- one\n- two\n- three\nchatllm: the disk is full\n  hint: make room"),
    ],
)
def test_a_history_that_fails_in_mid_answer_is_told_without_getting_in_its_way(
    both: FakeTerminal, plain: bool, screen: str
) -> None:
    view = open_turn_view(Renderer(both, both, Looks(plain=plain)), "hub/model")
    view.on_chunk(TEXT)
    view.on_history_error(HistoryError("the disk is full", hint="make room"))
    view.close()
    assert both.text == screen


HIDDEN = (
    "<http://a/%1b]52;c;cHduZWQ=%1b%5c> <http://a/%1b[2J> <http://a/%c2%9b31m> <mailto:a%1b@b.c> &#x202e; &#xE0041; "
    "&#xfeff; [x](http://b/%1b]0;t%07)\n\n| a |\n|---|\n| &#x2066; |\n\n- &#x3164; &#27;\n\n```\n\x1b[31m\n```\n"
)


@pytest.mark.parametrize("pieces", [[HIDDEN], [*HIDDEN]], ids=["whole", "by character"])
def test_what_markdown_decodes_does_not_reach_the_terminal_either(
    monkeypatch: pytest.MonkeyPatch, pieces: list[str]
) -> None:
    out = FakeTerminal()
    view = open_turn_view(Renderer(out, io.StringIO()), "hub/model")
    for piece in pieces:
        view.on_chunk(piece)
    view.close()
    ours = re.compile(r"\x1b\[[0-9;]*[mKA]|\r\x1b\[K")
    left = ours.sub("", out.getvalue()).replace("\n", "").replace("\r", "")
    assert clean(left) == left
    assert out.screen.title == ""


HOSTILE = Endpoint("hub", "m\x1b[31m", "https://hub.example/v1")


@pytest.mark.parametrize(
    ("tell", "told"),
    [
        (
            lambda view: view.on_trimmed(Trimmed(6, 11_980)),
            "left out of the request: the 6 oldest messages, about 12,000 tokens; the history keeps them",
        ),
        (
            lambda view: view.on_trimmed(Trimmed(2, 115, is_summed_up=True)),
            "summed up in the request: the 2 oldest messages, about 115 tokens; the history keeps them",
        ),
        (
            lambda view: view.on_budget(BudgetUse("November", 4.1, 5)),
            "the budget for November is nearly used up: $4.10 of $5.00",
        ),
        (
            lambda view: view.on_unheld(BudgetUse("today", 0, 1, unpriced=2)),
            "the price of 2 answers of today is unknown: it does not count towards the budget",
        ),
        (
            lambda view: view.on_unpriced(HOSTILE),
            "the price of hub/m^[[31m is unknown: what it costs does not count towards the budget",
        ),
    ],
)
def test_what_is_done_about_size_and_money_is_told_and_then_the_model_is_waited_for_again(
    view: TurnView, both: FakeTerminal, tell: Callable[[TurnView], None], told: str
) -> None:
    tell(view)
    *shown, waiting = both.text.split("\n") if view._renderer.can_paint else [*both.text.split("\n"), "waiting for"]  # noqa: SLF001
    assert (" ".join(shown), "waiting for" in waiting) == (told, True)
    view.on_chunk("text")
    view.close()
    assert "waiting" not in both.text
    err = io.StringIO()
    tell(open_turn_view(open_renderer(io.StringIO(), err), "hub/model"))
    assert err.getvalue() == f"{told}\n"
    err = io.StringIO()
    tell(open_turn_view(open_renderer(io.StringIO(), err, as_json=True), "hub/model"))
    assert json.loads(err.getvalue()) == {"notice": told.replace("^[", "\x1b")}
