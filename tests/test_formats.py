import json as standard_json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest

from chatllm_cli.formats import json, markdown
from chatllm_cli.models import Attachment, Conversation, Message, Role, Status, TokenUsage

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def minutes(count: int) -> datetime:
    return AT + timedelta(minutes=count)


# The first answer was asked for anew: what hangs on `a1` is another branch.
CONVERSATION = Conversation(
    "c1",
    "Grüße",
    AT,
    "openai/gpt",
    "Be kind.",
    (
        Message("u1", Role.USER, "Say *hello*\n\nin 日本", AT),
        Message("a1", Role.ASSISTANT, "left out", minutes(1), "u1", model="openai/gpt", cached=True),
        Message(
            "a2",
            Role.ASSISTANT,
            "こんにちは",
            minutes(2),
            "u1",
            Status.TRUNCATED,
            "hub/other",
            TokenUsage(3, 4),
            "length",
        ),
        Message("u2", Role.USER, "more", minutes(3), "a2"),
        Message("a3", Role.ASSISTANT, "", minutes(4), "u2", Status.ERROR, "hub/other", error="hub failed"),
        Message("u3", Role.USER, "again", minutes(5), "a3"),
        Message("a4", Role.ASSISTANT, "done", minutes(6), "u3"),
    ),
    "a4",
    damaged_lines=1,
)

MARKDOWN = """\
---
id: "c1"
title: "Grüße"
model: "openai/gpt"
created: "2026-01-02T03:04:05+00:00"
updated: "2026-01-02T03:10:05+00:00"
---

## System

Be kind.

## User

Say *hello*

in 日本

## Assistant (hub/other, truncated)

こんにちは

## User

more

## Assistant (hub/other, error)



## User

again

## Assistant

done
"""

JSON = """\
{
  "format": "chatllm 1",
  "id": "c1",
  "title": "Grüße",
  "created_at": "2026-01-02T03:04:05+00:00",
  "model": "openai/gpt",
  "system_prompt": "Be kind.",
  "messages": [
    {
      "id": "u1",
      "role": "user",
      "content": "Say *hello*\\n\\nin 日本",
      "at": "2026-01-02T03:04:05+00:00",
      "parent": null,
      "status": "complete",
      "model": null,
      "usage": null,
      "finish_reason": null,
      "cached": false,
      "error": null,
      "instead_of": null,
      "reasoning": "",
      "continues": null,
      "cost": null,
      "attachments": []
    },
    {
      "id": "a1",
      "role": "assistant",
      "content": "left out",
      "at": "2026-01-02T03:05:05+00:00",
      "parent": "u1",
      "status": "complete",
      "model": "openai/gpt",
      "usage": null,
      "finish_reason": null,
      "cached": true,
      "error": null,
      "instead_of": null,
      "reasoning": "",
      "continues": null,
      "cost": null,
      "attachments": []
    },
    {
      "id": "a2",
      "role": "assistant",
      "content": "こんにちは",
      "at": "2026-01-02T03:06:05+00:00",
      "parent": "u1",
      "status": "truncated",
      "model": "hub/other",
      "usage": {
        "input_tokens": 3,
        "output_tokens": 4,
        "cached_tokens": 0
      },
      "finish_reason": "length",
      "cached": false,
      "error": null,
      "instead_of": null,
      "reasoning": "",
      "continues": null,
      "cost": null,
      "attachments": []
    }
  ],
  "head": "a2",
  "tags": []
}
"""


def titled(title: str) -> Conversation:
    return Conversation("c1", title, AT)


def test_markdown_holds_the_heads_thread_and_no_other_branch() -> None:
    assert markdown.dump(CONVERSATION) == MARKDOWN


def test_json_holds_everything_every_branch_included() -> None:
    assert json.dump(replace(CONVERSATION, messages=CONVERSATION.messages[:3], head="a2")) == JSON


def test_a_conversation_without_messages_is_a_front_matter_alone() -> None:
    assert markdown.dump(titled("Empty")) == (
        '---\nid: "c1"\ntitle: "Empty"\nmodel: ""\n'
        'created: "2026-01-02T03:04:05+00:00"\nupdated: "2026-01-02T03:04:05+00:00"\n---\n'
    )


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
def test_a_title_is_quoted_in_both_formats(title: str, quoted: str) -> None:
    assert markdown.dump(titled(title)).splitlines()[2] == f"title: {quoted}"
    assert json.dump(titled(title)).splitlines()[3] == f'  "title": {quoted},'


def test_half_a_surrogate_pair_is_escaped_in_json() -> None:
    document = json.dump(replace(titled("日本"), messages=(Message("u1", Role.USER, "caf\udce9", AT),)))
    assert '"content": "caf\\udce9"' in document
    assert '"title": "\\u65e5\\u672c"' in document
    assert document.isascii()


@pytest.mark.parametrize(
    "conversation",
    [
        titled("caf\udce9"),
        replace(titled("Half"), model="caf\udce9"),
        replace(titled("Half"), system_prompt="caf\udce9"),
        replace(titled("Half"), messages=(Message("u1", Role.USER, "caf\udce9", AT),), head="u1"),
        replace(titled("Half"), messages=(Message("a1", Role.ASSISTANT, "", AT, error="caf\udce9"),), head="a1"),
    ],
    ids=["title", "model", "system prompt", "content", "error"],
)
def test_half_a_surrogate_pair_anywhere_can_be_written_and_read_back(conversation: Conversation) -> None:
    written = json.dump(conversation).encode("utf-8", "backslashreplace")  # as `history export` writes it
    stored = standard_json.dumps(asdict(conversation), default=datetime.isoformat)
    expected = {"format": "chatllm 1", **standard_json.loads(stored)}
    del expected["damaged_lines"]
    assert standard_json.loads(written) == expected
    assert markdown.dump(conversation).encode("utf-8", "backslashreplace")


def test_what_was_attached_is_in_the_markdown_within_fences_that_it_cannot_end() -> None:
    attached = (
        Attachment("a.md", "text/plain", 20, "````\ncode\n````"),
        Attachment("empty\n# x", "text/plain", 0),
        Attachment("a.png", "image/png", 34_000, sha256="a" * 64),
    )
    asked = Message("u1", Role.USER, "", AT, attachments=attached)
    document = markdown.dump(Conversation("c1", "t", AT, messages=(asked,), head="u1"))
    assert document.partition("## User\n\n")[2] == (
        "Attached: a.md (20 bytes)\n\n`````\n````\ncode\n````\n`````\n\n"
        "Attached: empty # x (0 bytes)\n\n```\n```\n\n"
        "Attached: a.png (image/png, 34 kB)\n"
    )


def test_json_has_all_of_what_was_attached() -> None:
    attached = Attachment("a.md", "text/plain", 20, "text")
    asked = Message("u1", Role.USER, "hi", AT, attachments=(attached,))
    found = standard_json.loads(json.dump(Conversation("c1", "t", AT, messages=(asked,), head="u1")))
    assert found["messages"][0]["attachments"] == [asdict(attached)]
