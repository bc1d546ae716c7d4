import io
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatllm_cli.services.batch.lines import BLOCK, Splitter, count_lines, lines


def split(blocks: Sequence[bytes], longest: int = 100) -> list[bytes | None]:
    splitter = Splitter(longest)
    return [*(line for block in blocks for line in splitter.feed(block)), *splitter.end()]


@given(st.binary(max_size=60).map(lambda data: data.replace(b"\r", b"")), st.lists(st.integers(0, 60), max_size=5))
def test_however_it_is_cut_the_lines_are_the_same(data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(data)]
    blocks = [data[begin:end] for begin, end in pairwise(places)]
    expected = data.split(b"\n")
    assert split(blocks) == (expected if expected[-1] else expected[:-1])


def test_a_line_that_is_too_long_is_none_and_the_next_one_is_whole() -> None:
    assert split([b"a\n1234", b"5678", b"9\nb\n"], longest=8) == [b"a", None, b"b"]
    assert split([b"123456789"], longest=8) == [None]


def test_a_line_that_never_ends_is_not_kept() -> None:
    splitter = Splitter(10)
    for _ in range(1000):
        assert list(splitter.feed(b"12345")) == []
    assert splitter._pieces == []  # noqa: SLF001  (that is the point)


async def test_what_comes_on_a_pipe_is_there_before_the_pipe_ends() -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as stream:
        os.write(write, b"one\ntwo")
        coming = lines(stream)
        assert await anext(coming) == b"one"
        os.write(write, b"\n")
        assert await anext(coming) == b"two"
        os.close(write)
        assert [line async for line in coming] == []


@pytest.mark.parametrize(("text", "count"), [(b"", 0), (b"a", 1), (b"a\n\n \nb\n", 2), (b"a\n" * BLOCK, BLOCK)])
def test_lines_that_say_something_are_counted(text: bytes, count: int, tmp_path: Path) -> None:
    assert count_lines(io.BytesIO(text)) == count
