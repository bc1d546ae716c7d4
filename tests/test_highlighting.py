import pytest
from prompt_toolkit.document import Document

from chatllm_cli.repl.highlighting import MarkdownLexer, open_fence


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("", False),
        ("hi", False),
        ("```", True),
        ("```py\nx", True),
        ("```py\nx\n```", False),
        ("```py\nx\n``` no", True),
        ("````\n```", True),
        ("~~~\n```", True),
        ("~~~\n~~~", False),
        ("a ``` b", False),
        ("```inline``` is none", False),
        ("   ```", True),
        ("    ```", False),
        ("```\n```\n```", True),
    ],
)
def test_a_code_block_is_open_until_a_fence_of_its_kind_closes_it(text: str, is_open: bool) -> None:
    assert open_fence(text) is is_open


@pytest.mark.parametrize(
    ("line", "coloured"),
    [
        ("plain", [("", "plain")]),
        ("a `b` c", [("", "a "), ("class:md.code", "`b`"), ("", " c")]),
        ("**b**", [("", ""), ("class:md.strong", "**b**"), ("", "")]),
        ("an *e* b", [("", "an "), ("class:md.emphasis", "*e*"), ("", " b")]),
        ("2*3*4", [("", "2*3*4")]),
        ("# head", [("class:md.heading", "# head")]),
        ("> q", [("class:md.quote", "> q")]),
        ("- item", [("", ""), ("class:md.item", "-"), ("", " item")]),
        ("see @a.py now", [("", "see "), ("class:md.file", "@a.py"), ("", " now")]),
        ("me@home", [("", "me@home")]),
        ("at https://x.y/z", [("", "at "), ("class:md.link", "https://x.y/z"), ("", "")]),
        ("/model gpt", [("class:md.command", "/model"), ("", " gpt")]),
        ("/etc/hosts", [("", "/etc/hosts")]),
    ],
)
def test_a_line_is_coloured_by_what_it_is(line: str, coloured: list[tuple[str, str]]) -> None:
    assert MarkdownLexer().lex_document(Document(line))(0) == coloured


def test_what_stands_in_a_code_block_is_code_whatever_it_looks_like() -> None:
    colour = MarkdownLexer().lex_document(Document("```\n# no heading\n```\n# one"))
    assert [colour(number)[0][0] for number in range(4)] == ["class:md.code"] * 3 + ["class:md.heading"]
    assert colour(4) == []


def test_no_character_is_lost_by_colouring() -> None:
    text = "# a\n> **b** `c`\n```\nd *e*\n```\n- @f https://g __h__ \x1b[31m\n"
    document = Document(text)
    colour = MarkdownLexer().lex_document(document)
    shown = ["".join(part[1] for part in colour(number)) for number in range(document.line_count)]
    assert "\n".join(shown) == text
