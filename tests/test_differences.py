import io
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatllm_cli.render.differences import show_difference, unified
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.themes import Looks
from tests.terminal import FakeTerminal

OLD = "one\ntwo small words\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\neleven"
NEW = "one\ntwo large words\nthree\nfour\nfive\nsix\nseven\neight\nnine\neleven\ntwelve"
UNIFIED = """\
--- hub/old
+++ hub/new
@@ -1,5 +1,5 @@
 one
-two small words
+two large words
 three
 four
 five
@@ -7,5 +7,5 @@
 seven
 eight
 nine
-ten
 eleven
+twelve
"""


def painted(old: str, new: str, looks: Looks | None = None) -> FakeTerminal:
    out = FakeTerminal()
    show_difference(Renderer(out, io.StringIO(), looks), ("hub/old", old), ("hub/new", new))
    return out


def test_what_differs_is_shown_with_what_stands_around_it() -> None:
    assert unified(("hub/old", OLD), ("hub/new", NEW)) == UNIFIED


def test_what_is_the_same_but_for_its_end_shows_nothing() -> None:
    assert unified(("a", "one\n"), ("b", "one")) == ""
    assert painted("one\n", "one").getvalue() == ""


def test_an_answer_where_there_was_none_is_new() -> None:
    assert unified(("no answer", ""), ("hub/new", "one\ntwo")) == (
        "--- no answer\n+++ hub/new\n@@ -1 +1,2 @@\n-\n+one\n+two\n"
    )


def test_a_pipe_gets_unified_diff_as_it_is() -> None:
    pipe = io.StringIO()
    show_difference(Renderer(pipe, io.StringIO()), ("a", "x\x1b[31m\u2028y"), ("b", "z"))
    assert pipe.getvalue() == "--- a\n+++ b\n@@ -1 +1 @@\n-x\x1b[31m\u2028y\n+z\n"


def test_a_terminal_shows_the_same_lines() -> None:
    assert painted(OLD, NEW).text + "\n" == UNIFIED


def test_a_terminal_shows_old_red_new_green_and_the_words_that_differ_reversed() -> None:
    screen = painted(OLD, NEW).screen
    lines = {line.rstrip(): number for number, line in enumerate(screen.display)}
    old, new = (screen.buffer[lines[line]] for line in ("-two small words", "+two large words"))
    assert (old[1].fg, new[1].fg, screen.buffer[lines[" one"]][1].fg) == ("red", "green", "default")
    for row, word in ((old, "small"), (new, "large")):
        assert "".join(row[column].data for column in range(20) if row[column].reverse) == word
    assert not any(screen.buffer[lines["-ten"]][column].reverse for column in range(20))


def test_lines_that_have_hardly_a_word_in_common_are_not_compared_by_words() -> None:
    screen = painted("all of it", "something else here").screen
    assert not any(screen.buffer[row][column].reverse for row in range(8) for column in range(40))


def test_what_a_terminal_must_not_get_is_spelled_out() -> None:
    assert painted("a\x1b]0;owned\x07", "b").text.splitlines()[-2:] == ["-a^[]0;owned^G", "+b"]


def test_a_terminal_without_colours_still_marks_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = painted("two small words", "two large words").screen
    assert screen.buffer[3][1].fg == "default"
    assert (
        "".join(screen.buffer[3][column].data for column in range(20) if screen.buffer[3][column].reverse) == "small"
    )


TEXTS = st.lists(st.sampled_from(["", "a", "b", "a b c", "-x", "+y", "@@"]), max_size=12).map("\n".join)


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch is not installed")
@settings(max_examples=25, deadline=None)
@given(old=TEXTS, new=TEXTS)
def test_patch_makes_the_new_answer_of_the_old_one(
    tmp_path_factory: pytest.TempPathFactory, old: str, new: str
) -> None:
    difference = unified(("old", old), ("new", new))
    path: Path = tmp_path_factory.mktemp("patched") / "answer"
    path.write_text(old.rstrip("\n") + "\n")
    if difference:
        subprocess.run(["patch", "-s", str(path)], input=difference, text=True, check=True, capture_output=True)
    assert path.read_text() == new.rstrip("\n") + "\n"
