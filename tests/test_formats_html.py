"""A page is looked at as a browser does: by its elements and attributes."""

import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatllm_cli.formats.html import page as html
from chatllm_cli.formats.html import style as html_style
from chatllm_cli.formats.html.body import LONGEST_RUN, body_of, code_of
from chatllm_cli.models import Attachment, Conversation, Message, Role, Status
from tests.documents import GIF, PNG
from tests.payloads import ALL, forbidden_in
from tests.trees import AT, CONVERSATION, titled

Element = tuple[str, dict[str, str | None]]
VOID = {"meta", "img", "br", "hr"}
ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "main", "nav", "section", "article", "header", "footer", "h1",
    "h2", "h3", "h4", "h5", "h6", "p", "ol", "ul", "li", "a", "span", "time", "div", "pre", "code", "details",
    "summary", "figure", "figcaption", "img", "table", "thead", "tbody", "tr", "th", "td", "em",
    "strong", "s", "blockquote", "br", "hr",
}  # fmt: skip
ATTRIBUTES = {
    "class", "id", "href", "rel", "title", "lang", "charset", "content", "name", "http-equiv", "datetime", "tabindex",
    "style", "start", "src", "alt", "aria-label",
}  # fmt: skip
ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe src='javascript:alert(1)'></iframe>",
    "<style>*{display:none}</style><base href=//evil.example>",
    "</title></style></pre></code><script>alert(1)</script>",
    "<!--><script>alert(1)</script>-->",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](&#x6A;avascript:alert(1) 'title')",
    "[x](\x01javascript:alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](file:///etc/passwd)",
    "[x](//evil.example/x)",
    "[x](../../x)",
    "[x](#c1)",
    "<javascript:alert(1)>",
    '[x](http://a.example/"onmouseover="alert(1))',
    "[x](http://a.example/ '\"onmouseover=\"alert(1)')",
    "![x](http://evil.example/pixel.png)",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml,<svg onload=alert(1)>)",
    "[![x](http://evil.example/a.png)](http://b.example/)",
    '![" onerror="alert(1)](http://evil.example/a.png)',
    "[ref]\n\n[ref]: javascript:alert(1)",
    '```"><script>alert(1)</script>\ncode\n```',
    "```html\n<script>alert(1)</script>\n```",
    "```python\n'</code></pre><script>alert(1)</script>'\n```",
    "| a |\n|---|\n| <script>alert(1)</script> |",
    "# <img src=x onerror=alert(1)>",
    "$<script>alert(1)</script>$ \\(<b onclick=x>\\)",
    "&lt;script&gt; &#60;script&#62;",
]


class Reader(HTMLParser):
    """Takes a page apart, and notes what is not closed where it should be."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.faults: list[str] = []
        self.text = ""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if len(dict(attrs)) != len(attrs):
            self.faults.append(f"{tag} has an attribute twice")
        if tag == "a" and "a" in self._open:
            self.faults.append("a link in a link")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.faults.append(f"<{tag}/> ends itself")

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"</{tag}> closes something else")

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data

    def handle_comment(self, data: str) -> None:
        self.faults.append("a comment")


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def faults_of(page: str) -> Iterator[str]:
    """Yield what a page must not have."""
    reader = read(page)
    yield from reader.faults
    for tag, attributes in reader.elements:
        if tag not in ELEMENTS:
            yield f"<{tag}>"
        for name, value in attributes.items():
            if name not in ATTRIBUTES:
                yield f"<{tag} {name}>"
            if name == "href" and not re.match(r"https?://|mailto:|#c\d+\Z", value or ""):
                yield f"a link to {value}"
            if name == "src" and not re.match(
                r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]*\Z", value or ""
            ):
                yield f"something is loaded from {value}"
            if name == "style" and not re.fullmatch(r"text-align:(left|right|center)", value or ""):
                yield f"a style: {value}"
            if name == "http-equiv" and attributes["content"] != html.POLICY:
                yield "another policy"
    if (page.count("<style>"), page.count("<script")) != (1, 0):
        yield "another style, or a script"
    yield from forbidden_in(page)


def everywhere(text: str) -> Conversation:
    """Return a conversation in which all texts are this one."""
    attached = (
        Attachment(text, text, 3, text),
        Attachment(text, "image/png", 3, sha256=hashlib.sha256(PNG).hexdigest()),
    )
    messages = (
        Message("u1", Role.USER, text, AT, attachments=attached),
        Message(
            "a1", Role.ASSISTANT, text, AT, "u1", Status.ERROR, text, error=text, instead_of=text, reasoning=text
        ),
        Message("s1", Role.SYSTEM, text, AT, "a1", finish_reason=text),
    )
    return Conversation("c1", text, AT, text, text, messages, "s1", (text,))


def dumped(*conversations: Conversation) -> str:
    """Return a page of several."""
    page = html.Page()
    for each in conversations:
        page.add(each, FILES)
    return "".join(page.pieces())


FILES = {hashlib.sha256(PNG).hexdigest(): PNG}


@pytest.mark.parametrize("attack", [*ATTACKS, "\n\n".join(ATTACKS), ALL])
def test_nothing_that_was_said_acts_or_loads_or_leads_astray(attack: str) -> None:
    conversation = everywhere(attack)
    assert list(faults_of(html.dump(conversation, FILES))) == []
    assert list(faults_of(dumped(conversation, conversation))) == []


PIECES = st.sampled_from(
    ["<", ">", '"', "'", "&", "[", "]", "(", ")", "![", "](", "`", "```", "\n", "\n\n", "> ", "- ", "1. ", "|", "|-|",
     "# ", "*", "**", "_", "~~", "\\", "$", "a", " ", "http://x.example", "javascript:", "data:", "<a href=",
     "onclick=", "<!--", "-->",
     "</div>", "</article>", "&#", ";", "mailto:", "    ", "\t", ":", "<x@y.example>"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(PIECES, max_size=30))
def test_whatever_is_said_the_page_keeps_its_shape(pieces: list[str]) -> None:
    text = "".join(pieces)
    message = Message("a1", Role.ASSISTANT, text, AT, reasoning=text)
    page = html.dump(Conversation("c1", "t", AT, messages=(message,), head="a1"), {})
    assert list(faults_of(page)) == []


def body(page: str) -> str:
    return page.partition("<main>\n")[2].partition("</main>")[0]


def test_a_page_says_who_spoke_when_and_what_came_of_it() -> None:
    assert body(html.dump(CONVERSATION, {})) == (
        '<section class="conversation">\n<header>\n<h1>Grüße</h1>\n<p class="facts">openai/gpt · '
        '<time datetime="2026-01-02T03:04:05+00:00">2026-01-02 03:04 UTC</time> – '  # noqa: RUF001
        '<time datetime="2026-01-02T03:10:05+00:00">2026-01-02 03:10 UTC</time></p>\n</header>\n'
        '<article class="message system">\n<header><h2>System</h2></header>\n'
        '<div class="body">\n<p>Be kind.</p>\n</div>\n</article>\n'
        + article("user", "", 4, "<p>Say <em>hello</em></p>\n<p>in 日本</p>\n")
        + article("assistant", "hub/other · ", 6, f"<p>こんにちは</p>\n{not_whole('it was cut off')}")
        + article("user", "", 7, "<p>more</p>\n")
        + article("assistant", "hub/other · ", 8, not_whole("the request failed: hub failed"))
        + article("user", "", 9, "<p>again</p>\n")
        + article("assistant", "", 10, "<p>done</p>\n")
        + "<footer>Messages on other branches, which are not shown: 1</footer>\n</section>\n"
    )


def article(role: str, model: str, minute: int, said: str) -> str:
    at = f'<time datetime="2026-01-02T03:{minute:02}:05+00:00">2026-01-02 03:{minute:02} UTC</time>'
    return (
        f'<article class="message {role}">\n<header><h2>{role.capitalize()}</h2>'
        f'<span class="details">{model}{at}</span></header>\n<div class="body">\n{said}</div>\n</article>\n'
    )


def not_whole(why: str) -> str:
    return f'<p class="incomplete">This message is not whole: {why}.</p>\n'


def test_several_conversations_are_one_page_with_a_table_of_contents() -> None:
    reader = read(dumped(titled("First"), titled(""), titled("<b>")))
    anchors = [attributes["id"] for tag, attributes in reader.elements if tag == "section"]
    links = [attributes["href"] for tag, attributes in reader.elements if tag == "a"]
    assert (anchors, links) == (["c1", "c2", "c3"], ["#c1", "#c2", "#c3"])
    assert "3 conversations" in reader.text
    assert reader.text.count("Conversation") == 2  # what has no title


def test_pictures_of_known_kinds_are_in_the_page_and_others_are_named() -> None:
    kinds = ("image/png", "image/gif", "image/svg+xml", "text/html")
    hashes = {kind: hashlib.sha256(kind.encode()).hexdigest() for kind in kinds}
    files = dict.fromkeys(hashes.values(), GIF)
    attached = tuple(Attachment(f"a {kind}", kind, 5, sha256=sha256) for kind, sha256 in hashes.items())
    gone = Attachment("gone.png", "image/png", 5, sha256="b" * 64)
    asked = Message("u1", Role.USER, "", AT, attachments=(*attached, gone))
    reader = read(html.dump(replace(titled("t"), messages=(asked,), head="u1"), files))
    assert [attributes["alt"] for tag, attributes in reader.elements if tag == "img"] == [
        "a image/png",
        "a image/gif",
    ]
    for name in ("a image/svg+xml (image/svg+xml, 5 bytes)", "a text/html", "gone.png (image/png, 5 bytes)"):
        assert f"Attached: {name}" in reader.text


def test_a_picture_in_markdown_is_a_link_to_it() -> None:
    assert body_of("![a *cat*](https://x.example/c.png)") == (
        '<p><a href="https://x.example/c.png" rel="noopener noreferrer">[a cat]</a></p>\n'
    )


def test_code_is_in_colours_beneath_the_name_of_its_language() -> None:
    assert body_of("```python\nif x:\n```\n") == (
        '<div class="code"><span class="language">python</span><pre tabindex="0"><code><span class="k">if</span>'
        ' <span class="n">x</span><span class="p">:</span>\n</code></pre></div>\n'
    )
    assert code_of("a < b\n", "no-such-language") == (
        '<div class="code"><span class="language">no-such-language</span><pre tabindex="0"><code>a &lt; b\n'
        "</code></pre></div>\n"
    )


def test_mathematics_stays_as_it_was_written() -> None:
    assert body_of("so $a_1 * b_1$ and \\(x_1 < y_1\\)") == ("<p>so $a_1 * b_1$ and \\(x_1 &lt; y_1\\)</p>\n")


def test_a_prompts_lines_end_where_they_were_typed() -> None:
    assert body_of("a\nb", keeps_line_breaks=True) == "<p>a<br />\nb</p>\n"
    assert body_of("a\nb") == "<p>a\nb</p>\n"


@pytest.mark.parametrize(
    "text",
    [
        ">" * 100_000, "[" * 100_000, "![" * 50_000, "*a **b " * 15_000, "- " * 50_000, "`" * 100_000, "<" * 100_000,
        "[a](<b" * 15_000, "".join("`" * count + " " for count in range(400)), "\\(" * 50_000,
        "a|b\n-|-\n" * 2_000,
        "[" * 999 + "\n\n" + "![" * 450,
        "```html\n" + "<a " * 30_000 + "\n```", "```python\n" + "(" * 30_000 + "\n```",
        "```console\n" + "a:" * 30_000 + "\n```", "```cuda\n" + "\n " * 20_000 + "\n```",
        "```java\n" + "a\n" * 50_000 + "```",
        "[a]: b 'c\n" * 10_000, "x" * 2_000_000,
    ],
)  # fmt: skip
def test_what_is_made_to_be_slow_is_not(text: str) -> None:
    begun = time.process_time()
    found = body_of(text)
    assert time.process_time() - begun < 10  # it takes a twentieth of that; what grows with the square takes minutes
    assert found


def test_code_that_a_lexer_would_be_at_for_long_is_shown_without_colours() -> None:
    assert "<span" in code_of("x = 1\n" * 1_000, "python")
    for slow in ("a = '" + "x" * LONGEST_RUN + "'", "a = 1" + "\n" * (LONGEST_RUN + 1)):
        assert '<span class="s' not in (found := code_of(slow, "python"))
        assert escape(slow) in found


def luminance(colour: str) -> float:
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [html_style.LIGHT, html_style.DARK], ids=["light", "dark"])
def test_every_text_can_be_told_from_what_it_stands_on(colours: dict[str, str]) -> None:
    grounds = {"page", "user", "code"}
    texts = colours.keys() - grounds - {"note", "line", "warning"}
    pairs = [(text, ground) for text in texts for ground in grounds] + [("warning", "note")]
    assert [pair for pair in pairs if contrast(colours[pair[0]], colours[pair[1]]) < 4.5] == []


def test_both_schemes_have_every_colour_that_is_used() -> None:
    used = set(re.findall(r"var\(--(\w+)\)", html_style.style()))
    assert used == html_style.LIGHT.keys() == html_style.DARK.keys()
