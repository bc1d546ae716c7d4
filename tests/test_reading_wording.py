from typing import Any

import pytest

from chatllm_cli.formats.reading.wording import called, fenced, joined, note


def test_texts_become_paragraphs_and_blank_ones_are_left_out() -> None:
    assert joined("a", "", " \n", "b\n") == "a\n\nb\n"


@pytest.mark.parametrize(
    ("text", "language", "shown"),
    [
        ("a", "", "```\na\n```"),
        ("a\n", "python", "```python\na\n```"),
        ("```\nb\n````", "", "`````\n```\nb\n````\n`````"),
        ("a", "py thon\n# x", "```\na\n```"),
        (" \n", "", ""),
    ],
)
def test_text_stands_between_fences_that_it_cannot_end(text: str, language: str, shown: str) -> None:
    assert fenced(text, language) == shown


@pytest.mark.parametrize(
    ("name", "arguments", "shown"),
    [
        ("look", {"what": "Grüße"}, '[call look: {"what": "Grüße"}]'),
        ("look", '{"a": 1}', '[call look: {"a": 1}]'),
        ("", None, "[call a tool: null]"),
    ],
)
def test_a_call_is_one_line(name: str, arguments: Any, shown: str) -> None:
    assert called(name, arguments) == shown


def test_a_note_names_what_is_left_out() -> None:
    assert (note("image"), note("file", "a.pdf")) == ("[image]", "[file: a.pdf]")
