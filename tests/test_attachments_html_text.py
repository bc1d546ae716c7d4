import pytest

from chatllm_cli.services.attachments import html_text
from chatllm_cli.services.attachments.html_text import text_of

PAGE = """<!doctype html><html><head><title>The title</title><style>p { color: red }</style></head><body>
<nav><a href="/">Home</a></nav><script>alert("no")</script>
<h1>Greetings</h1><p>Some <b>bold</b> text, <a href="/x">a link</a> and <code>code_with_signs*</code>.
<ul><li>one<li>two</ul><pre>def f():
    pass</pre>
<table><tr><th>name<th>age<tr><td>Ada<td>36</table>
<template>hidden</template><noscript>turn it on</noscript><svg><text>drawn</text></svg>
<img src="x.png" alt="a picture">
</body></html>"""
TEXT = """The title

# Greetings

Some **bold** text, a link and `code_with_signs*`.

- one
- two

```
def f():
    pass
```

| name | age |
| --- | --- |
| Ada | 36 |

a picture"""


def test_a_page_is_read_as_markdown_without_scripts_styles_and_menus() -> None:
    text = text_of(PAGE)
    assert text.removesuffix("\n\na picture") == TEXT.removesuffix("\n\na picture")


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("", ""),
        ("just text", "just text"),
        ("a &lt;b&gt; &amp; &#169;", "a <b> & ©"),
        ("<div>" * 3000 + "deep" + "</div>" * 3000, "deep"),
        ("<p>one<p>two", "one\n\ntwo"),
        ("<b>not <i>closed", "**not *closed***"),
        ("<!-- only a comment", ""),
        ("<a <b <c" * 50_000, ""),
        ("<title>Same</title><h1>Same</h1>", "# Same"),
        ("<?xml version='1.0'?><html><body><p>x</p></body></html>", "x"),
        ("a.html", "a.html"),
    ],
)
def test_whatever_a_page_is_it_is_read(page: str, text: str) -> None:
    assert text_of(page) == text


def test_a_page_that_would_take_too_long_is_read_without_its_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_text, "LAID_OUT", 10)
    assert text_of("<h1>Title</h1><p>and <b>text</b></p>") == "Title\nand\ntext"
