import io
import math
import time
from collections.abc import Callable, Iterator

import pytest
from pygments.lexers import get_all_lexers
from rich.console import Console

from chatllm_cli.render.markdown import stream as markdown_stream
from chatllm_cli.render.markdown.live import LEFT_FREE as LINES_LEFT_FREE
from chatllm_cli.render.markdown.stream import MarkdownStream
from tests.markdown_screens import console_on, in_random_pieces, printed, seen, streamed
from tests.terminal import COLUMNS, ROWS, FakeTerminal

WIDTHS = [20, 40, 80]
EVERY_CHUNK, ONLY_THE_FIRST = math.inf, 1e-9  # frames per second

DOCUMENTS = {
    "nothing": "",
    "blank lines": "\n \n\n",
    "one line": "Hello *there*",
    "headings": """\
# A title that is long enough to wrap
## Second
text right below
### Third ###

Underlined
==========

Also underlined
---
#### Fourth
""",
    "paragraphs": """\
The first paragraph is long enough to wrap on every terminal that is tried here, *with* **some** `style` in it.
It goes on over
three lines.


A hard break \x20
and a backslash\\
and #5 and *stars* and 1.5 that begin no block.

And a verylongwordthatfitsonnoterminaloftwentycolumnsandneitherononeoffortycolumns to break.
""",
    "lists": """\
Tight:
- one
- two, which is long enough to wrap on a narrow terminal
  - nested
    - more

      with a paragraph
- three
continued lazily

Loose:

* one

* two

  second paragraph

* three
- another list

done
""",
    "ordered lists": """\
1. one
2. two
   1. nested
   2. again
      - mixed
3. three
7) seven
8) eight

Text.

99. ninety-nine
100. a hundred, which is long enough to wrap on a narrow terminal
""",
    "mixed numbering": """\
1. one
2. two
   1. nested
   2. again
      - mixed
3. three

7) seven

8) eight

9) nine
10) ten

99. ninety-nine
100. a hundred
""",
    "fences": '''\
Code:
```python
def f():
    """Say it."""

    return "# no heading"


f()
```
~~~
```
- no list

~~~

    indented

    and on

1. In a list:

   ```sh
   ls

   cd ..
   ```

2. after

```

```
''',
    "quotes": """\
> A quote that is long enough to wrap on a narrow terminal, and
> goes on
lazily.
>
> - with a list
> - of two
>
> > nested

text
> right below

> another

***
> after a rule
""",
    "tables": """\
| Name | Count |
|:-----|------:|
| one  |     1 |
| `two` | 22 |

text
| a | b |
|---|---|
| **c** | [d](http://x.example) |
no pipes

| only | a | header |
|---|---|---|
""",
    "rules": """\
***
text

---
- - -
# Heading
___
- item
***
***
```
code
```
---""",
    "links": """\
See [the *manual*](http://manual.example/a?b=c "Title") and <http://auto.example>, not http://bare.example.

[safe](http://evil.example)

![a picture](http://picture.example/p.png) and text
""",
    "wide characters": """\
# 日本語の見出し

これは日本語の段落です。とても長いので、どの端末でも折り返されます。もう少し書きます。

- 一つ目
- 二つ目は長いので折り返されますよ、本当に

| 名前 | 数 |
|---|---|
| 犬 | 1 |

```
全角文字のコードは折り返されるでしょうか
```
😀 é한국어
""",
    "html": """\
text <b>bold</b> <kbd>Esc</kbd>

<div>

inside

</div>

<!-- a

comment -->

after &amp; entities &lt;
""",
    "ends in an open fence": "Look:\n\n```python\nfor x in y:\n\n    print(x)\n",
    "ends in an open list": "Look:\n\n- one\n\n  - two",
    "taller than the screen": "\n\n".join(
        [f"Paragraph {number} of many." for number in range(12)]
        + ["\n".join(f"- item {number}" for number in range(26))]
        + ["```\n" + "\n".join(f"line {number}" for number in range(30)) + "\n```"]
        + ["The end."]
    ),
}


def in_pieces_of(size: int) -> Callable[[str], Iterator[str]]:
    return lambda text: (text[at : at + size] for at in range(0, len(text), size))


SPLITS: dict[str, Callable[[str], Iterator[str]]] = {
    "1 each": in_pieces_of(1),
    "3 each": in_pieces_of(3),
    "7 each": in_pieces_of(7),
    "random": lambda text: in_random_pieces(text, 1, 30),
}


@pytest.fixture
def every_chunk_paints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown_stream, "FRAMES_PER_SECOND", EVERY_CHUNK)
    monkeypatch.setattr(markdown_stream, "PAUSE_PER_COST", 0)


@pytest.fixture
def only_the_first_chunk_paints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown_stream, "FRAMES_PER_SECOND", ONLY_THE_FIRST)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_a_streamed_reply_ends_up_as_if_it_had_been_printed_at_once(
    every_chunk_paints: None, split: Callable[[str], Iterator[str]], document: str, width: int
) -> None:
    assert seen(streamed(split(document), width)) == seen(printed(document, width))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_reply_that_comes_too_fast_to_be_painted_ends_up_the_same(
    only_the_first_chunk_paints: None, document: str, width: int
) -> None:
    assert seen(streamed(SPLITS["3 each"](document), width)) == seen(printed(document, width))


def test_an_open_block_is_shown_as_plain_text_and_a_finished_one_rendered(every_chunk_paints: None) -> None:
    terminal = FakeTerminal()
    stream = MarkdownStream(console_on(terminal, COLUMNS))
    shown = []
    for piece in ("*o", "ne*", "\n\n", "- t", "wo\n\n", "`three`\n", "four"):
        stream.feed(piece)
        shown.append(terminal.text)
    stream.finish()
    assert [*shown, terminal.text] == [
        "*o",
        "*one*",
        "one",
        "one\n\n- t",
        "one\n\n- two",
        "one\n\n • two\n\n`three`",
        "one\n\n • two\n\n`three`\nfour",
        "one\n\n • two\n\nthree four",
    ]


def test_frames_are_spared_between_chunks_that_come_fast(only_the_first_chunk_paints: None) -> None:
    terminal = FakeTerminal()
    stream = MarkdownStream(console_on(terminal, COLUMNS))
    for piece in ("one", " two", " three"):
        stream.feed(piece)
        assert terminal.text == "one"
    stream.finish()
    assert terminal.text == "one two three"


TALL = {
    "a table": "|a|\n|-|\n" + "\n".join(f"|row {number}|" for number in range(80)),
    "a paragraph": "many words " * 200,
    "a word": "x" * 2000,
    "wide characters": "全角文字" * 300,
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("document", TALL.values(), ids=TALL)
def test_nothing_taller_than_the_screen_is_ever_live(every_chunk_paints: None, document: str, width: int) -> None:
    terminal = FakeTerminal(width, ROWS)
    stream = MarkdownStream(console_on(terminal, width))
    for piece in in_pieces_of(50)(document):
        stream.feed(piece)
        assert not terminal.screen.history.top, "a line that is still open was scrolled off"
        assert terminal.screen.cursor.y < ROWS - LINES_LEFT_FREE
    stream.finish()
    assert seen(terminal) == seen(printed(document, width))


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_screen_of_hardly_any_rows_shows_the_last_line_that_is_open(every_chunk_paints: None, rows: int) -> None:
    terminal = FakeTerminal(COLUMNS, rows)
    stream = MarkdownStream(Console(file=terminal, width=COLUMNS, height=rows))
    for number in range(5):
        stream.feed(f"line {number}\n")
        assert terminal.text == f"line {number}"


def test_a_link_shows_where_it_goes_and_is_none_to_the_terminal(every_chunk_paints: None) -> None:
    document = '[safe](http://evil.example/a) <http://auto.example>\n\n- [`x`](http://b.example "title")\n'
    terminal = streamed(in_pieces_of(3)(document), COLUMNS)
    assert terminal.text == (
        "safe (http://evil.example/a) http://auto.example (http://auto.example)\n\n • x (http://b.example)"
    )
    assert "\x1b]8" not in terminal.getvalue()


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n``", "\n```", "\n```\n"])
def test_a_fence_is_printed_whether_or_not_it_was_finished(every_chunk_paints: None, end: str) -> None:
    terminal = streamed(in_pieces_of(3)(f"Look:\n\n```\none\n\n# two{end}"), COLUMNS)
    body = " one\n\n # two" + ("\n ``" if end == "\n``" else "")
    assert terminal.text == f"Look:\n\n\n{body}"


def test_a_reply_that_says_nothing_leaves_nothing(every_chunk_paints: None) -> None:
    for pieces in ([], [""], ["\n"], [" ", "\n\n", "  "]):
        assert seen(streamed(iter(pieces), COLUMNS)) == ("", 0, 0)


@pytest.mark.parametrize(
    "pieces",
    [
        ["1. one", "\n\n2", ". two\n"],
        ["1. one", "\n\n1", "0. two\n"],
        ["See\n#", "5 for more\n"],
        ["- one\n*", "bold* text\n"],
        ["> a\n-", "5 c\n"],
        ["- a\n1.", "5 kg\n"],
        ["a\n```", "x``` b\n"],
        ["a\n***", "b c*** d\n"],
        ["a\n<div", "x@y.z\n"],
    ],
)
def test_a_line_that_is_not_whole_yet_ends_no_block(every_chunk_paints: None, pieces: list[str]) -> None:
    assert seen(streamed(iter(pieces), 40)) == seen(printed("".join(pieces), 40))


CODE = "a = <<~EOT\nit's \"x\" /* y\n'''\n(* z *)\n<script>\nfoo(1) # c\n]]\n\n\tq\n"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_line_of_code_is_lost_in_any_language(every_chunk_paints: None) -> None:
    languages = [aliases[0] for _, aliases, _, _ in get_all_lexers() if aliases]
    assert len(languages) > 500
    for language in languages:
        document = f"```{language}\n{CODE * 9}tail"
        assert seen(streamed(iter(document.splitlines(keepends=True)), 80)) == seen(printed(document, 80)), language


LONG_TOKENS = {
    "php": "<?php\n/*\n" + "it's\n" * 60 + "*/\n" + '$x = "a";\n' * 60,
    "ruby": "x = <<~EOT\n" + "don't\n" * 60 + "EOT\n" + 'y = "a"\n' * 60,
    "terraform": "x = <<EOT\n" + "don't\n" * 60 + "EOT\n" + 'y = "a"\n' * 60,
    "elixir": '@moduledoc """\n' + "it's\n" * 60 + '"""\ndef x do\nend\n',
    "console": "$ ls\nfoo (* a *)\n" * 40 + "last line",
    "c": "/*\n" + " * it's\n" * 500 + " */\nint x;\n",
    "": "words\n" * 300,
}


@pytest.mark.parametrize("language", LONG_TOKENS)
def test_code_streams_line_by_line_whatever_its_lexer_makes_of_it(every_chunk_paints: None, language: str) -> None:
    document = f"```{language}\n{LONG_TOKENS[language]}"
    terminal = FakeTerminal()
    stream = MarkdownStream(console_on(terminal, COLUMNS))
    lines = document.splitlines(keepends=True)
    for count, line in enumerate(lines, 1):
        stream.feed(line)
        shown = terminal.text.count("\n")
        assert count - shown <= 3, "what came is neither in the scrollback nor on the screen"
    stream.finish()
    assert seen(terminal) == seen(printed(document, COLUMNS))


@pytest.mark.parametrize(
    "document",
    [
        "para\n" + "2. foo bar\n" * 3000,
        "```python\n" + "x = 1; " * 6000 + "\ny = 2\n",
        "```text\n" + "🇩🇪 x " * 3000 + "\n",
        "```\n" + "\n" * 5000,
        "| a |\n|---|\n" + "| b |\n" * 2000,
        "> " + "quoted words " * 3000,
    ],
    ids=["numbers in a paragraph", "long line", "flags", "blank lines", "table", "quote"],
)
def test_time_grows_with_the_reply_and_no_faster(every_chunk_paints: None, document: str) -> None:
    def seconds(text: str) -> float:
        begin = time.process_time()
        stream = MarkdownStream(Console(file=io.StringIO(), width=80, height=24, force_terminal=True))
        for piece in in_pieces_of(100)(text):
            stream.feed(piece)
        stream.finish()
        return time.process_time() - begin

    seconds(document[:1000])
    assert seconds(document) < 0.2 + 8 * seconds(document[: len(document) // 4])
