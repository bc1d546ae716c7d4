import time

import pytest

from chatllm_cli.services.attachments.git_patterns import patterns_in


@pytest.mark.parametrize(
    ("line", "matched", "not_matched"),
    [
        (b"*.key", ["a.key", "sub/.key"], ["a.key/x", "akey"]),
        (b"certs/", ["certs/", "sub/certs/"], ["certs", "certs/a/"]),
        (b"/a", ["a", "a/"], ["sub/a"]),
        (b"a/b", ["a/b"], ["x/a/b", "a/b/c"]),
        (b"**/b", ["b", "a/b", "a/a/b"], ["ab", "b/a"]),
        (b"a/**", ["a/b", "a/b/c/"], ["a/", "b/a/b"]),
        (b"a/**/b", ["a/b", "a/x/y/b"], ["a/xb", "ab"]),
        (b"a/**/**/b*/*c", ["a/b/c", "a/x/bb/cc"], ["a/c"]),
        (b"a*b?c", ["abxc", "aab.c"], ["ab/c", "abc"]),
        (b"[]-]x", ["]x", "-x"], ["[x"]),
        (b"[!a-c]", ["d", "-"], ["b"]),
        (b"[[:digit:]x]", ["7", "x"], ["y", ":"]),
        (b"[a\\]]", ["a", "]"], ["\\"]),
        (b"\\#a\\ ", ["#a "], ["#a"]),
        (b"a  ", ["a"], ["a  "]),
        (b"a\\", [], ["a", "a\\"]),
        (b"[a", [], ["a", "[a"]),
        (b"[[:what:]]", [], ["w", "["]),
        (b"/", [], ["a", "a/"]),
    ],
)
def test_a_line_matches_a_path_and_nothing_below_it(line: bytes, matched: list[str], not_matched: list[str]) -> None:
    (pattern,) = patterns_in(line)
    found = [
        path
        for path in (*matched, *not_matched)
        if pattern.matches(path.rstrip("/").encode(), is_folder=path.endswith("/"))
    ]
    assert found == matched


def test_lines_end_at_a_line_feed_alone_and_a_mark_at_the_beginning_is_none_of_them() -> None:
    first, second = patterns_in("\ufeffa.txt\r\n# what else\n\n!b\x0c\u2028c".encode())
    assert (first.leaves_out, first.matches(b"a.txt", is_folder=False)) == (True, True)
    assert (second.leaves_out, second.matches("b\x0c\u2028c".encode(), is_folder=False)) == (False, True)


@pytest.mark.parametrize("line", [b"*a" * 40 + b"b", b"**/a/" * 40 + b"b", b"x/" + b"a*?" * 40 + b"b"])
def test_a_pattern_with_many_stars_takes_no_time(line: bytes) -> None:
    (pattern,) = patterns_in(line)
    begun = time.perf_counter()
    for path in (b"a" * 250, b"a/" * 250, b"x/" + b"a" * 250):
        pattern.matches(path, is_folder=False)
    assert time.perf_counter() - begun < 0.5
