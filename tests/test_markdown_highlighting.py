import pytest
from rich.syntax import Syntax
from rich.text import Text

from chatllm_cli.render.markdown.highlighting import BATCH, HELD_BACK, CodeLines

SOURCES = {
    "python": 'def f(x):\n    """Say\n    it.\n    """\n    return x + 1  # done\n\n\n'
    '@wrapped\nclass A:\n    b = f"{x!r}"\n',
    "bash": 'for f in *.txt; do\n  echo "$f: $(wc -l < "$f")"\ndone\ncat <<EOF\nhi $USER\nEOF\n',
    "javascript": "const f = async (x) => `a ${x + 1} b`;\n/* a\n comment */\nclass A { #b = /re/g }\n",
    "c": '#include <stdio.h>\n/* a\n * comment */\nint main(void) {\n    printf("%d\\n", 1);\n}\n',
    "json": '{"a": [1, 2.5, null, true],\n "b": {"c": "d"}}\n',
    "html": "<!-- a\ncomment -->\n<p class='x'>hi &amp; <b>ho</b></p>\n<script>let x = 1;</script>\n",
    "sql": "SELECT a, 'b' -- c\nFROM d\nWHERE e > 1;\n",
    "yaml": "a: 1\nb:\n  - c\n  - d: |\n      text\n      more\n",
    "diff": "--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new\n",
    "text": "just words\n\nand more\n",
    "nosuchlanguage": "what\never\n",
    "": "no language\n",
}
THEMES = ("ansi_dark", "monokai")


def looks(lines: list[Text]) -> list[tuple[str, list[str]]]:
    """Each line, and how each of its characters looks."""
    shown = []
    for line in lines:
        styles = [""] * len(line.plain)
        for span in line.spans:
            for at in range(span.start, min(span.end, len(styles))):
                styles[at] = str(span.style)
        shown.append((line.plain, styles))
    return shown


def at_once(source: str, language: str, theme: str) -> list[Text]:
    return list(Syntax("", language or "text", theme=theme).highlight(source).split("\n"))


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("language", SOURCES)
def test_lines_look_as_if_they_had_come_at_once(language: str, size: int, theme: str) -> None:
    source = SOURCES[language] * 12
    lines = source.splitlines(keepends=True)
    code = CodeLines(language, theme)
    found: list[Text] = []
    for at in range(0, len(lines), size):
        found += code.feed("".join(lines[at : at + size]))
        assert len(lines[: at + size]) - len(found) >= HELD_BACK or at + size < HELD_BACK
    found += code.close()
    assert looks(found) == looks(at_once(source, language, theme))


def test_few_lines_are_held_back_however_long_the_code_is() -> None:
    code = CodeLines("python", "ansi_dark")
    given = shown = 0
    for line in (SOURCES["python"] * 50).splitlines(keepends=True):
        shown += len(code.feed(line))
        given += 1
        assert given - shown < HELD_BACK + BATCH + 5  # a docstring is not cut
    assert given == 500


def test_what_is_held_back_looks_as_it_will(monkeypatch: pytest.MonkeyPatch) -> None:
    code = CodeLines("python", "ansi_dark")
    for count, line in enumerate(SOURCES["python"].splitlines(keepends=True), 1):
        assert code.feed(line) == []
        expected = at_once("".join(SOURCES["python"].splitlines(keepends=True)[:count]), "python", "ansi_dark")
        assert [text.plain for text in code.rest()] == [text.plain for text in expected]


def test_tabs_are_four_columns() -> None:
    code = CodeLines("text", "ansi_dark")
    code.feed("\ta\n\n")
    assert [line.plain for line in code.rest()] == ["    a", ""]
