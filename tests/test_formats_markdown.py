from dataclasses import replace

import pytest

from chatllm_cli.errors import FormatError
from chatllm_cli.formats import markdown
from chatllm_cli.formats.reading.source import Imported, Source
from chatllm_cli.models import Attachment, Conversation, Message, Role
from tests.trees import AT, CONVERSATION, titled

MARKDOWN = """\
---
id: "c1"
title: "Grüße"
model: "openai/gpt"
created: "2026-01-02T03:04:05+00:00"
updated: "2026-01-02T03:10:05+00:00"
---

<!-- chatllm {"system_prompt": true} -->
## System

Be kind.

<!-- chatllm {"id": "u1", "role": "user", "at": "2026-01-02T03:04:05+00:00"} -->
## User

Say *hello*

in 日本

<!-- chatllm {"id": "a2", "role": "assistant", "at": "2026-01-02T03:06:05+00:00", "status": "truncated", \
"model": "hub/other", "usage": {"input_tokens": 3, "output_tokens": 4, "cached_tokens": 0}, \
"finish_reason": "length"} -->
## Assistant (hub/other, truncated)

こんにちは

<!-- chatllm {"id": "u2", "role": "user", "at": "2026-01-02T03:07:05+00:00"} -->
## User

more

<!-- chatllm {"id": "a3", "role": "assistant", "at": "2026-01-02T03:08:05+00:00", "status": "error", \
"model": "hub/other", "error": "hub failed"} -->
## Assistant (hub/other, error)



<!-- chatllm {"id": "u3", "role": "user", "at": "2026-01-02T03:09:05+00:00"} -->
## User

again

<!-- chatllm {"id": "a4", "role": "assistant", "at": "2026-01-02T03:10:05+00:00"} -->
## Assistant

done

<!-- chatllm end -->
"""
EMPTY = (
    '---\nid: "c1"\ntitle: "Empty"\nmodel: ""\ncreated: "2026-01-02T03:04:05+00:00"\n'
    'updated: "2026-01-02T03:04:05+00:00"\n---\n\n<!-- chatllm end -->\n'
)
THREAD = replace(CONVERSATION, messages=CONVERSATION.thread(), damaged_lines=0)


def loaded(document: str) -> list[Conversation | FormatError]:
    found = markdown.load(Source("a.md", document.encode()))
    return [each.conversation if isinstance(each, Imported) else each for each in found]


def said(*contents: str) -> Conversation:
    parents = [None, *(f"m{number}" for number in range(len(contents)))]
    messages = [
        Message(f"m{number}", Role.USER, content, AT, parent)
        for number, (content, parent) in enumerate(zip(contents, parents, strict=False))
    ]
    return Conversation("c1", "t", AT, messages=tuple(messages), head=messages[-1].id)


def test_markdown_holds_the_heads_thread_and_no_other_branch() -> None:
    assert markdown.dump(CONVERSATION) == MARKDOWN
    assert loaded(MARKDOWN) == [THREAD]


def test_branches_are_written_on_demand_and_marked() -> None:
    document = markdown.dump(CONVERSATION, branches=True)
    assert "## Assistant (openai/gpt, on another branch)\n\nleft out\n" in document
    assert '"model": "hub/other", "usage"' in document
    assert '"parent": "u1"} -->\n## Assistant (hub/other, truncated)' in document
    assert loaded(document) == [replace(CONVERSATION, damaged_lines=0)]


def test_a_conversation_without_messages_is_a_front_matter_alone() -> None:
    assert markdown.dump(titled("Empty")) == EMPTY
    assert loaded(EMPTY) == [titled("Empty")]


def test_tags_and_a_head_that_is_not_the_last_message_stand_in_front() -> None:
    conversation = replace(said("a", "b"), tags=("x", "y z"), head="m0")
    document = markdown.dump(conversation, branches=True)
    assert document.splitlines()[6:9] == ['tags: ["x", "y z"]', 'head: "m0"', "---"]
    assert loaded(document) == [conversation]


@pytest.mark.parametrize(
    ("title", "quoted"),
    [
        ('Why "no"?', r'"Why \"no\"?"'),
        ("a: b # c", '"a: b # c"'),
        ("- [x] {y} & *z", '"- [x] {y} & *z"'),
        ("back\\slash", r'"back\\slash"'),
        ("two\nlines\ttab", r'"two\nlines\ttab"'),
        ("---\n", r'"---\n"'),
        ("\x1b]0;owned\x07", r'"\u001b]0;owned\u0007"'),
        ("null", '"null"'),
        ("", '""'),
        ("日本 \U0001f600", '"日本 \U0001f600"'),
    ],
)
def test_a_title_is_quoted(title: str, quoted: str) -> None:
    document = markdown.dump(titled(title))
    assert document.splitlines()[2] == f"title: {quoted}"
    assert loaded(document) == [titled(title)]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n",
        "\n\n a \n\n\n",
        "\r",
        "a\r\nb\r\n",
        "## User",
        "---\nid: x\n---\n",
        "```\nopen",
        "\u2028",
        "\0",
        "# h\n-->",
    ],
)
def test_a_text_comes_back_as_it_was(content: str) -> None:
    conversation = said(content, content, "end")
    assert loaded(markdown.dump(conversation)) == [conversation]


def test_a_quoted_export_is_no_structure() -> None:
    once = said("first", "second")
    twice = said(markdown.dump(once), "<!-- chatllm {")
    thrice = said(markdown.dump(twice), markdown.dump(once))
    documents = [markdown.dump(each) for each in (once, twice, thrice)]
    assert [document.count("<!-- chatllm3 ") for document in documents] == [0, 0, 3]
    assert loaded("".join(documents)) == [once, twice, thrice]


def test_nothing_in_a_comment_ends_it() -> None:
    reply = Message(
        "a1", Role.ASSISTANT, "x", AT, model="-->a--b>", error="--> <!-- chatllm {", reasoning="a\n-->\nb"
    )
    conversation = Conversation("c1", "t", AT, messages=(reply,), head="a1")
    document = markdown.dump(conversation)
    assert document.count("-->") == 2 + 1  # two comments, and the heading
    assert loaded(document) == [conversation]


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert "caf\ufffd" in markdown.dump(said("caf\udce9"))
    assert "caf\ufffd" in markdown.dump(titled("caf\udce9"))


def test_what_was_attached_stands_within_fences_that_it_cannot_end() -> None:
    attached = (
        Attachment("a.md", "text/plain", 20, "````\ncode\n````"),
        Attachment("empty\n# x", "text/plain", 0),
        Attachment("a.png", "image/png", 34_000, sha256="a" * 64),
    )
    asked = Message("u1", Role.USER, "", AT, attachments=attached)
    conversation = Conversation("c1", "t", AT, messages=(asked,), head="u1")
    document = markdown.dump(conversation)
    told = [
        '<!-- chatllm {"attached": {"name": "a.md", "media_type": "text/plain", "size": 20}, "no_newline": true} -->',
        '<!-- chatllm {"attached": {"name": "empty\\n# x", "media_type": "text/plain", "size": 0}} -->',
        '<!-- chatllm {"attached": {"name": "a.png", "media_type": "image/png", "size": 34000, "sha256": "'
        + "a" * 64
        + '"}} -->',
    ]
    assert document.partition("## User\n\n\n\n")[2] == (
        f"{told[0]}\nAttached: a.md (20 bytes)\n\n`````\n````\ncode\n````\n`````\n\n"
        f"{told[1]}\nAttached: empty # x (0 bytes)\n\n```\n```\n\n"
        f"{told[2]}\nAttached: a.png (image/png, 34 kB)\n\n<!-- chatllm end -->\n"
    )
    assert loaded(document) == [conversation]


def test_what_a_person_changes_in_the_texts_is_what_is_read() -> None:
    changed = MARKDOWN.replace("Say *hello*\n\nin 日本", "Say bye").replace('title: "Grüße"', "title: Bye now")
    changed = changed.replace("## Assistant\n", "## The answer, at last\n").replace("done\n\n<!--", "done\n<!--")
    (found,) = loaded(changed)
    assert isinstance(found, Conversation)
    assert (found.title, found.messages[0].content, found.last_text) == ("Bye now", "Say bye", "done")


@pytest.mark.parametrize(
    ("tags", "title"),
    [
        ("tags:\n  - work\n  - 2026", "title: 2026"),
        ("tags:\n- work\n- '2026'", "# by hand\ntitle: '2026'"),
        ("tags: [work, 2026]", "\ntitle: 2026 # at last"),
        ('tags: ["work", 2026]', "css-class: wide\naliases:\n  - other\ntitle: 2026"),
    ],
)
def test_a_front_matter_may_be_spelled_as_programs_for_notes_spell_it(tags: str, title: str) -> None:
    document = MARKDOWN.replace('title: "Grüße"', f"{title}\n{tags}").replace("---\n", "--- \n", 2)
    assert markdown.is_one(Source("a.md", document.encode()))
    assert loaded(document) == [replace(THREAD, title="2026", tags=("work", "2026"))]


@pytest.mark.parametrize(
    ("tags", "expected"), [("tags:", ()), ("tags: null", ()), ("tags: work", ("work",)), ("tags: a: b", ("a: b",))]
)
def test_tags_need_not_be_spelled_as_a_list(tags: str, expected: tuple[str, ...]) -> None:
    (found,) = loaded(MARKDOWN.replace("model:", f"{tags}\nmodel:", 1))
    assert isinstance(found, Conversation)
    assert found.tags == expected


def test_what_formatters_put_between_a_comment_and_its_heading_is_not_said() -> None:
    assert loaded(MARKDOWN.replace("-->\n", "-->\n\n")) == [THREAD]
    assert loaded(MARKDOWN.replace("-->\n", "-->  \n")) == [THREAD]


def test_line_ends_of_windows_all_over_are_those_of_an_editor() -> None:
    assert loaded(MARKDOWN.replace("\n", "\r\n")) == [THREAD]


def test_without_its_end_it_is_read_to_the_end_of_the_file() -> None:
    assert loaded(MARKDOWN.removesuffix("\n<!-- chatllm end -->\n")) == [THREAD]


@pytest.mark.parametrize(
    "document", ["# Notes\n", "---\ntitle: x\n---\n\ntext\n", MARKDOWN.replace("<!-- chatllm", "<!-- other")]
)
def test_markdown_without_its_comments_is_refused(document: str) -> None:
    assert not markdown.is_one(Source("a.md", document.encode()))
    with pytest.raises(FormatError, match="it is no markdown that chatllm wrote: its comments are missing"):
        loaded(document)


def test_its_files_are_told_from_others_by_their_beginning() -> None:
    assert markdown.is_one(Source("a", f"\ufeff\n{MARKDOWN}".encode()))
    assert not markdown.is_one(Source("a", b"\xff"))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('{"id": "u2"', '{"id": "u1"', "number 1: conversation 'c1', message 3: another message has the id 'u1'"),
        ('{"id": "u2"', '{id: "u2"', "number 1: a comment is damaged: <!-- chatllm {id: "),
        ('{"id": "u2"', '["u2"] -->', "number 1: a comment is damaged"),
        ('"role": "user"', '"role": "me"', "number 1: conversation 'c1', message 1: role: expected something else"),
        ('id: "c1"\n', "", "number 1: conversation None: the field 'id' is missing"),
        ('{"id": "u1"', '{"attached": 1, "id": "u1"', "number 1: something is attached to no message"),
        ('{"id": "u2"', '{"attached": 1, "id": "u2"', "number 1: a comment of what is attached is damaged"),
        (
            '{"id": "u2"',
            '{"attached": {}, "id": "u2"',
            "number 1: the text of what is attached does not stand between",
        ),
    ],
)
def test_what_is_damaged_is_named_and_the_next_one_is_read(old: str, new: str, told: str) -> None:
    fault, other = loaded(MARKDOWN.replace(old, new, 1) + MARKDOWN)
    assert isinstance(fault, FormatError)
    assert fault.message.startswith(told)
    assert other == THREAD


def test_what_follows_on_a_conversation_and_is_none_is_told() -> None:
    found = markdown.load(Source("a.md", f"{MARKDOWN}\nMy notes\n".encode()))
    assert next(found) == Imported(THREAD)
    with pytest.raises(FormatError, match="what follows on conversation 1 is none that chatllm wrote"):
        next(found)
