"""Ten long replies, as models give them, streamed in pieces: they end up as if they had been printed at once."""

import itertools

import pytest

from chatllm_cli.render.markdown.document import Document
from chatllm_cli.render.markdown.parsing import parse
from chatllm_cli.render.markdown.stream import MarkdownStream
from tests.markdown_screens import (
    REPLIES,
    a_frame_for_every_piece,
    console_on,
    in_random_pieces,
    printed,
    seen,
    streamed,
    styled,
)
from tests.terminal import ROWS, FakeTerminal

WIDTHS = (20, 80, 200)
SPLITS = (3, 12, 200)  # the longest piece
DEFINED_AFTER_USE = "docker-networking"  # its links are printed before they are defined
ONE_LONG_TOKEN = "python-tutorial"  # a fence in a fence, which the lexer takes for one
WHOLE = [name for name in REPLIES if name != DEFINED_AFTER_USE]


def test_there_are_ten() -> None:
    assert len(REPLIES) == 10
    assert all(reply.count("\n") >= 90 for reply in REPLIES.values())


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", WHOLE)
def test_a_long_reply_ends_up_as_if_it_had_been_printed_at_once_and_looks_so(
    monkeypatch: pytest.MonkeyPatch, name: str, width: int
) -> None:
    expected = printed(REPLIES[name], width)
    with a_frame_for_every_piece(monkeypatch):
        for longest in SPLITS:
            found = streamed(in_random_pieces(REPLIES[name], longest, longest), width)
            assert seen(found) == seen(expected)
            assert name == ONE_LONG_TOKEN or styled(found) == styled(expected)


def test_a_link_that_is_defined_later_is_shown_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_frame_for_every_piece(monkeypatch):
        found = streamed(in_random_pieces(REPLIES[DEFINED_AFTER_USE], 1), 200).text
    expected = printed(REPLIES[DEFINED_AFTER_USE], 200).text
    assert "[networking overview][overview]" in found
    assert "networking overview (https://" in expected
    kept = [line for line in expected.splitlines() if "(https://" not in line]
    assert len(kept) > 100
    assert [line for line in kept if line not in found.splitlines()] == []


@pytest.mark.parametrize(("before", "after"), [(40, 80), (80, 40), (80, 79), (20, 200)])
@pytest.mark.parametrize("name", ["python-tutorial", "project-plan", "travel-plan", "sql-report"])
def test_after_a_resize_the_rest_is_as_wide_as_the_window_and_nothing_is_left_of_what_was_open(
    monkeypatch: pytest.MonkeyPatch, name: str, before: int, after: int
) -> None:
    monkeypatch.setenv("XTERM_VERSION", "XTerm(390)")  # as the emulator here, it does not wrap lines anew
    reply = REPLIES[name]
    blocks, _ = parse(reply)
    lines = reply.split("\n")
    middle = next(at for at in range(len(blocks) // 2, len(blocks)) if blocks[at].kind == "paragraph_open")
    cut = sum(len(line) + 1 for line in lines[: blocks[middle].begin + 1])  # with the first line of what is open

    expected = FakeTerminal(before, ROWS)
    console = console_on(expected, before)
    console.print(Document(list(itertools.chain(*(block.tokens for block in blocks[:middle]))), "ansi_dark"))
    expected.screen.resize(ROWS, after)
    console.width = after
    rest = list(itertools.chain(*(block.tokens for block in blocks[middle:])))
    console.print(Document(rest, "ansi_dark", is_first=False))

    found = FakeTerminal(before, ROWS)
    console = console_on(found, before)
    with a_frame_for_every_piece(monkeypatch):
        stream = MarkdownStream(console)
        for piece in in_random_pieces(reply[:cut], 1):
            stream.feed(piece)
        found.screen.resize(ROWS, after)
        console.width = after
        for piece in in_random_pieces(reply[cut:], 2):
            stream.feed(piece)
        stream.finish()
    assert found.text == expected.text
