import io

import pytest

from chatllm_cli.render import progress as progress_module
from chatllm_cli.render.progress import Counter, ProgressBar, bar, clock
from chatllm_cli.render.renderer import Renderer
from tests.terminal import FakeTerminal

HOST = "host"


def test_a_terminal_shows_a_bar_that_is_taken_away(
    on_terminal: Renderer, out: FakeTerminal, err: FakeTerminal
) -> None:
    progress = ProgressBar(on_terminal, "tiny")
    progress.start(HOST, 0, 20_000_000)
    assert err.text == "tiny [....................] 0 % · 0.0 MB of 20 MB"
    progress.show(20_000_000)
    assert err.text == "tiny [====================] 100 % · 20 MB of 20 MB"
    progress.end()
    assert (out.text, err.text) == ("", "")


def test_a_narrow_terminal_does_without_the_bar(out: FakeTerminal) -> None:
    err = FakeTerminal(columns=40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "40")
        ProgressBar(Renderer(out, err), "tiny").start(HOST, 10_000_000, 20_000_000)
    assert err.text == "tiny 50 % · 10 MB of 20 MB"


def test_a_pipe_gets_one_line_and_says_what_is_there(
    on_pipe: Renderer, pipe: io.StringIO, err_pipe: io.StringIO
) -> None:
    progress = ProgressBar(on_pipe, "tiny")
    progress.start(HOST, 0, 2_500_000_000)
    progress.show(1_000_000)
    progress.start(HOST, 1_000_000, 2_500_000_000)
    progress.end()
    ProgressBar(on_pipe, "other").start(HOST, 1_000_000, 20_000_000)
    assert pipe.getvalue() == ""
    assert err_pipe.getvalue() == (
        "fetching tiny, 2.50 GB, from host\nfetching other, 20 MB, of which 1.0 MB are there, from host\n"
    )


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599, "59:59"), (3661, "1:01:01")]
)
def test_a_time_is_shown_as_on_a_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


@pytest.mark.parametrize(("share", "filled"), [(0, 0), (0.049, 0), (0.05, 1), (0.5, 10), (1, 20)])
def test_the_bar_is_full_only_at_the_end(share: float, filled: int) -> None:
    assert bar(share).count("=") == filled


def test_a_count_is_shown_once_it_takes_long_and_taken_away_at_the_end(
    on_terminal: Renderer, err: FakeTerminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Counter(on_terminal, "exporting")
    count(1, 3)
    assert err.text == ""
    monkeypatch.setattr(progress_module, "PATIENCE", 0.0)
    count(2, 3)
    assert err.text == "exporting [=============.......] 2 of 3 conversations"
    count(3, 3)
    assert err.text == ""
