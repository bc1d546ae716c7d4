import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from chatllm_cli.errors import HistoryError, RateLimitError
from chatllm_cli.models import BudgetUse, Endpoint, RetryWait, Trimmed
from chatllm_cli.render.late_view import LateView
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.turn_views import PipeView, open_turn_view

ENDPOINT = Endpoint("hub", "other", "http://127.0.0.1:9/v1")


class PiecesView(PipeView):
    """Writes down in which pieces the reply came."""

    def on_chunk(self, text: str) -> None:
        super().on_chunk(text)
        self.__dict__.setdefault("pieces", []).append(text)


class Lent:
    """Counts how often the terminal was lent."""

    times = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.times += 1
        yield


def late(lend: Lent | None = None) -> LateView:
    return LateView(lend or Lent(), tells_secrets=True)


def tell_all(listener: LateView) -> None:
    """Tell it everything that can be told of a turn, with text in between."""
    listener.on_secrets(["a key"], replaced=True)
    listener.on_budget(BudgetUse("today", 9, 10))
    listener.on_unheld(BudgetUse("today", 9, 10, 2))
    listener.on_unpriced(ENDPOINT)
    listener.on_trimmed(Trimmed(2, 100))
    listener.on_wait(RetryWait("rate limited by hub", 1, 4, 2.0))
    listener.on_fallback(RateLimitError("rate limited by hub"), ENDPOINT)
    listener.on_cache_fault("the cache is damaged")
    listener.on_cached(datetime.now(UTC))
    listener.on_reasoning("hm")
    listener.on_chunk("one ")
    listener.on_silence(3.0)
    listener.on_history_error(HistoryError("the disk is full"))
    listener.on_chunk("two")


def test_what_was_told_before_there_is_a_view_is_told_in_order_once_there_is_one() -> None:
    outputs = []
    for is_late in (True, False):
        out, err = io.StringIO(), io.StringIO()
        listener = late()
        if is_late:
            tell_all(listener)
        listener.show(open_turn_view(Renderer(out, err), "hub/model"))
        if not is_late:
            tell_all(listener)
        outputs.append((out.getvalue(), err.getvalue()))
    assert outputs[0] == outputs[1]
    assert outputs[0][0] == "one two"
    assert len(outputs[0][1].splitlines()) == 10


def test_text_that_came_before_comes_at_once_and_later_text_as_it_comes() -> None:
    listener = late()
    for piece in ("one ", "two ", "three "):
        listener.on_chunk(piece)
    view = PiecesView(Renderer(io.StringIO(), io.StringIO()), "hub/model")
    listener.show(view)
    listener.on_chunk("four ")
    listener.on_chunk("five")
    assert view.__dict__["pieces"] == ["one two three ", "four ", "five"]


def test_the_terminal_is_lent_though_there_is_no_view_yet() -> None:
    lend = Lent()
    listener = late(lend)
    with listener.lend_terminal():
        assert lend.times == 1
    listener.show(open_turn_view(Renderer(io.StringIO(), io.StringIO()), "hub/model"))
    with listener.lend_terminal():
        assert lend.times == 1, "from here on it is the view's"
