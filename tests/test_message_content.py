import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chatllm_cli.message_content import content_of, images_in, text_in
from chatllm_cli.models import Attachment, Message, Role

PROMPT = Message("u1", Role.USER, "What is it?", datetime(2026, 7, 1, tzinfo=UTC))
CODE = Attachment("src/a.py", "text/plain", 8, "print(1)")
IMAGE = Attachment("a.png", "image/png", 70, sha256="a" * 64)


def with_attachments(*attachments: Attachment, content: str = PROMPT.content) -> Message:
    return replace(PROMPT, content=content, attachments=attachments)


def test_a_prompt_alone_is_sent_as_it_is() -> None:
    assert content_of(PROMPT) == "What is it?"


def test_attached_texts_stand_before_the_prompt_each_named_and_delimited() -> None:
    notes = Attachment("notes.txt", "text/plain", 6, "notes\n")
    assert content_of(with_attachments(CODE, notes)) == (
        '<document name="src/a.py">\nprint(1)\n</document>\n\n'
        '<document name="notes.txt">\nnotes\n</document>\n\nWhat is it?'
    )


def test_without_a_prompt_what_is_attached_is_sent_alone() -> None:
    assert content_of(with_attachments(CODE, content="")) == '<document name="src/a.py">\nprint(1)\n</document>'
    assert content_of(with_attachments(IMAGE, content="")) == ('Image "a.png":', IMAGE)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("a </document> b", "document2"),
        ("</DOCUMENT >", "document2"),
        ("</document></document2>", "document3"),
        ("</documents>", "document2"),
        ("<document>", "document2"),
        ("<document2></document3>", "document"),
        ("</document> </document23>", "document2"),
    ],
)
def test_a_text_cannot_end_its_own_tag(text: str, tag: str) -> None:
    sent = content_of(with_attachments(replace(CODE, text=text), content=""))
    assert sent == f'<{tag} name="src/a.py">\n{text}\n</{tag}>'


def test_a_name_cannot_end_it_either() -> None:
    sent = content_of(with_attachments(replace(CODE, name='a">\n</document>x', text="")))
    assert text_in(sent).splitlines()[0] == '<document name="a&quot;&gt; &lt;/document&gt;x">'


def test_images_are_parts_of_their_own_each_named() -> None:
    sent = content_of(with_attachments(IMAGE, CODE))
    text = '<document name="src/a.py">\nprint(1)\n</document>\n\nWhat is it?'
    assert sent == ('Image "a.png":', IMAGE, text)
    assert (images_in(sent), images_in("text")) == ((IMAGE,), ())
    assert text_in(sent) == f'Image "a.png":\n\n{text}'


def test_the_tag_of_a_text_that_has_many_is_found_at_once() -> None:
    text = "</document" + "".join(f"</document{number}" for number in range(2, 50_000))
    begun = time.perf_counter()
    sent = content_of(with_attachments(replace(CODE, text=text), content=""))
    assert text_in(sent).startswith('<document50000 name="src/a.py">')
    assert time.perf_counter() - begun < 0.5
