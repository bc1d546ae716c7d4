import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from chatllm_cli.errors import HistoryError, RateLimitError
from chatllm_cli.models import Endpoint, RetryWait, Trimmed
from chatllm_cli.render.footed_view import FootedView
from chatllm_cli.render.footer import Footer
from chatllm_cli.render.markdown_view import MarkdownView
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.themes import Looks
from chatllm_cli.render.turn_views import PlainView, TurnView, open_turn_view
from tests.markdown_screens import REPLIES, a_frame_for_every_piece
from tests.terminal import FakeTerminal

FOOT = "status\n>"
OTHER = Endpoint("other", "model", "http://o")


class Desk:
    """A view with a footer on a terminal, and somebody who types."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, columns: int = 80, rows: int = 24, looks: Looks | None = None
    ) -> None:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(rows))
        self.screen = FakeTerminal(columns, rows)
        self.draft = ""
        self.status = "status"
        footer = Footer(lambda _: self.status, lambda: self.draft)
        renderer = Renderer(self.screen, self.screen, looks)
        self.view: TurnView = open_turn_view(renderer, "hub/model", footer=footer)

    def type(self, text: str) -> None:
        self.draft += text
        self.view.refresh()

    @property
    def text(self) -> str:
        return self.screen.text


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(monkeypatch)


def test_a_footer_is_shown_only_where_the_reply_is_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(Desk(monkeypatch).view) is FootedView
    assert type(Desk(monkeypatch, looks=Looks(plain=True)).view) is PlainView
    monkeypatch.setenv("TERM", "dumb")
    assert type(Desk(monkeypatch).view) is PlainView
    assert type(Desk(monkeypatch, looks=Looks(markdown=True)).view) is MarkdownView


def test_what_is_typed_is_seen_at_once_before_the_reply_and_while_it_comes(desk: Desk) -> None:
    assert desk.text == f"⠋ waiting for hub/model…\n{FOOT}"
    desk.type("ne")
    assert desk.text == f"⠋ waiting for hub/model…\n{FOOT} ne"
    desk.view.on_chunk("hello")
    assert desk.text == f"hello\n{FOOT} ne"
    desk.type("xt")
    assert desk.text == f"hello\n{FOOT} next"
    cursor = desk.screen.screen.cursor
    assert (cursor.x, cursor.y) == (6, 2)
    desk.view.close()
    assert desk.text == "hello"


def test_the_status_is_live(desk: Desk) -> None:
    desk.view.on_chunk("hello")
    desk.status = "other"
    desk.view.on_silence(0.5)
    assert desk.text == "hello\nother\n>"


@pytest.mark.parametrize("name", ["comparison-table", "python-tutorial", "travel-plan"])
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 24), (40, 5)])
def test_the_footer_leaves_no_trace_in_the_scrollback(
    monkeypatch: pytest.MonkeyPatch, columns: int, rows: int, name: str
) -> None:
    reply = REPLIES[name][:2000]
    desk = Desk(monkeypatch, columns, rows)
    with a_frame_for_every_piece(monkeypatch):
        for at in range(0, len(reply), 40):
            desk.view.on_chunk(reply[at : at + 40])
            desk.type("x" if at % 80 else "全")
            assert desk.text.splitlines()[-1].startswith("> ")
    desk.view.close()
    without = FakeTerminal(columns, rows)
    view = open_turn_view(Renderer(without, without), "hub/model")
    view.on_chunk(reply)
    view.close()
    assert desk.text == without.text


def test_a_wait_counts_down_above_the_footer(desk: Desk) -> None:
    for seconds, shown in (
        (7.0, "rate limited by hub, retry 1/4 in 7 s (Ctrl-C stops)"),
        (0.4, "rate limited by hub, retry 1/4 in 1 s (Ctrl-C stops)"),
        (0.0, "⠋ waiting for hub/model…"),
    ):
        desk.view.on_wait(RetryWait("rate limited by hub", 1, 4, seconds))
        assert desk.text == f"{shown}\n{FOOT}"


async def test_the_spinner_turns_above_the_footer(desk: Desk) -> None:
    desk.view.step_aside()
    desk.view.on_silence(0.0)
    seen = set()
    for _ in range(8):
        await asyncio.sleep(0.05)
        seen.add(desk.text)
    assert len(seen) >= 3
    assert all(text.endswith(f"waiting for hub/model…\n{FOOT}") for text in seen)
    desk.view.close()
    assert desk.text == ""


@pytest.mark.parametrize(
    ("tell", "told"),
    [
        (
            lambda view: view.on_fallback(RateLimitError("hub is busy", words="slow down"), OTHER),
            "hub is busy: slow down; other/model is asked instead\n⠋ waiting for other/model…",
        ),
        (
            lambda view: view.on_secrets(["a key"], replaced=True),
            (
                "the prompt holds what looks like a secret: a key; it was replaced (redact in the\n"
                "settings)\n⠋ waiting for hub/model…"
            ),
        ),
        (
            lambda view: view.on_trimmed(Trimmed(6, 11_980)),
            (
                "left out of the request: the 6 oldest messages, about 12,000 tokens; the history\n"
                "keeps them\n⠋ waiting for hub/model…"
            ),
        ),
        (
            lambda view: view.on_cache_fault("the cache is broken"),
            "the cache is broken; it goes on without\n⠋ waiting for hub/model…",
        ),
        (
            lambda view: view.on_history_error(HistoryError("the disk is full")),
            "chatllm: the disk is full\n⠋ waiting for hub/model…",
        ),
    ],
)
def test_what_is_said_stands_above_the_footer_for_good(
    desk: Desk, tell: Callable[[TurnView], None], told: str
) -> None:
    desk.type("next")
    tell(desk.view)
    assert desk.text == f"{told}\n{FOOT} next"


def test_what_is_said_in_mid_answer_does_not_get_in_its_way(desk: Desk) -> None:
    desk.view.on_chunk("- one\n- two\n- thr")
    desk.type("next")
    desk.view.on_history_error(HistoryError("the disk is full"))
    desk.view.on_chunk("ee")
    assert desk.text == f"\n • one\nchatllm: the disk is full\n- two\n- three\n{FOOT} next"
    desk.view.close()
    assert desk.text == "\n • one\nchatllm: the disk is full\n • two\n • three"


def test_thoughts_are_printed_above_the_footer_and_kept_apart_from_the_answer(desk: Desk) -> None:
    for piece in ("First, ", "this.\nThen", " that"):
        desk.view.on_reasoning(piece)
        desk.type("x")
    assert desk.text == f"First, this.\nThen that\n{FOOT} xxx"
    desk.view.on_silence(0.5)
    assert desk.text == f"First, this.\nThen that\n{FOOT} xxx"
    desk.view.on_chunk("hello")
    assert desk.text == f"First, this.\nThen that\n\nhello\n{FOOT} xxx"
    desk.view.close()
    assert desk.text == "First, this.\nThen that\n\nhello"


def test_whoever_asks_a_person_gets_the_screen_without_a_footer(desk: Desk) -> None:
    @contextmanager
    def lifted() -> Iterator[None]:
        assert desk.text == ""
        yield

    desk.view.lends(lifted)
    with desk.view.lend_terminal():
        desk.screen.write("PASS: \n")
        desk.type("next")
        assert desk.text == "PASS:"
    assert desk.text == f"PASS:\n⠋ waiting for hub/model…\n{FOOT} next"


def test_the_footer_comes_back_after_a_program_that_failed(desk: Desk) -> None:
    with pytest.raises(ValueError, match="no key"), desk.view.lend_terminal():
        raise ValueError("no key")
    desk.type("next")
    assert desk.text == f"{FOOT} next"


def test_it_steps_aside_and_comes_back(desk: Desk) -> None:
    desk.view.on_chunk("hello")
    desk.view.step_aside()
    assert desk.text == ""
    desk.view.refresh()
    assert desk.text == f"hello\n{FOOT}"


def test_once_closed_it_shows_no_footer_any_more(desk: Desk) -> None:
    desk.view.on_chunk("hello")
    desk.view.close()
    desk.type("next")
    desk.view.close()
    assert desk.text == "hello"


def test_it_tells_how_much_has_come(desk: Desk) -> None:
    desk.view.on_chunk("hel")
    desk.view.on_chunk("lo")
    assert desk.view.characters == 5
