import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chatllm_cli.errors import HistoryError
from chatllm_cli.models import Attachment, Conversation, Message, Role, Status
from chatllm_cli.services.history import records
from chatllm_cli.services.history.rewriting import (
    places,
    scrubbed,
    split_damaged,
    without_message,
)

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
U1 = Message("u1", Role.USER, "my key is sk-12345", NOON)
A1 = Message("a1", Role.ASSISTANT, "so sk-12345 it is", NOON, "u1", model="hub/m")
A2 = Message("a2", Role.ASSISTANT, "so sk-12345 it is not", NOON, "u1", model="hub/m", continues="a1")
U2 = Message("u2", Role.USER, "thanks", NOON, "a2")
CONVERSATION = Conversation("c1", "my key is sk-12345", NOON, "hub/m", "never say sk-12345", (U1, A1, A2, U2), "u2")
DAMAGED = b'{"v":1,"type":"message","id":"u9","content":"sk-12345'


def journal(*extra: records.Record) -> bytes:
    messages = map(records.message_record, CONVERSATION.messages)
    return records.encode(records.conversation_record(CONVERSATION), *messages, *extra)


def scrub(data: bytes, pattern: str = "sk-12345") -> bytes:
    return scrubbed(data, re.compile(pattern), "[removed]")


def test_damaged_lines_are_told_from_the_others_and_both_stay_as_they_are() -> None:
    good, bad = split_damaged(journal() + DAMAGED + b"\n\n" + b"\0\0\0\n")
    assert (good, bad) == (journal(), [DAMAGED, b"\0\0\0"])


def test_what_stood_below_a_removed_message_stands_below_its_parent() -> None:
    read = records.decode(without_message(journal(), "a2"), "c1")
    assert [(message.id, message.parent) for message in read.messages] == [("u1", None), ("a1", "u1"), ("u2", "u1")]
    read = records.decode(without_message(journal(), "u1"), "c1")
    assert [(message.id, message.parent) for message in read.messages] == [("a1", None), ("a2", None), ("u2", "a2")]


def test_nothing_of_a_removed_message_is_left() -> None:
    data = journal(records.partial_record(A1, "so sk-12345 it", 0), records.head_record("c1", "a1", NOON))
    after = without_message(data, "a1")
    assert b'"a1"' not in after
    assert records.decode(after, "c1").head == "u1"
    assert records.decode(after, "c1").damaged_lines == 0


def test_a_text_is_taken_out_everywhere() -> None:
    titled = records.title_record("c1", "about sk-12345", NOON)
    tagged = records.tags_record("c1", ["sk-12345"], NOON)
    failed = records.message_record(replace(A1, id="a9", content="", status=Status.ERROR, error="bad key sk-12345"))
    data = journal(titled, tagged, failed)
    after = scrub(data + DAMAGED + b"\n")
    assert b"sk-12345" not in after
    read = records.decode(after, "c1")
    assert (read.title, read.tags, read.system_prompt) == ("about [removed]", ("[removed]",), "never say [removed]")
    assert [message.content for message in read.messages] == [
        "my key is [removed]",
        "so [removed] it is",
        "so [removed] it is not",
        "thanks",
        "",
    ]
    assert read.damaged_lines == 1


def test_a_text_is_found_across_two_marks() -> None:
    texts = (("it is sk-1", 0), ("2345, no", 10), (" doubt", 18))
    marks = [records.partial_record(replace(A1, id="a9"), *text) for text in texts]
    after = scrub(journal(*marks))
    reply = records.decode(after, "c1").messages[-1]
    assert (reply.content, reply.status) == ("it is [removed], no doubt", Status.INTERRUPTED)
    assert b"2345" not in after


def test_marks_of_a_reply_that_is_there_are_dropped() -> None:
    marked = (
        records.encode(records.partial_record(A1, "so sk-1", 0), records.partial_record(A1, "2345", 7)) + journal()
    )
    assert b"partial" not in scrub(marked)


def test_a_regular_expression_takes_out_what_it_matches() -> None:
    read = records.decode(scrub(journal(), r"sk-\d+"), "c1")
    assert read.messages[0].content == "my key is [removed]"


def test_a_replacement_is_taken_as_it_is() -> None:
    after = scrubbed(journal(), re.compile("(thanks)"), r"\1\g<0>")
    assert records.decode(after, "c1").messages[-1].content == r"\1\g<0>"


def test_what_matches_nothing_in_particular_is_left_alone() -> None:
    read = records.decode(scrub(journal(), "(?=thanks)|x*|k"), "c1")
    assert read.messages[-1].content == "than[removed]s"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (
            "sk-12345",
            ["my key is [sk-12345]"] * 2 + ["never say [sk-12345]", "so [sk-12345] it is", "so [sk-12345] it is not"],
        ),
        ("nks", ["tha[nks]"]),
        ("nowhere", []),
    ],
)
def test_what_would_be_replaced_is_shown_before_it_is(pattern: str, found: list[str]) -> None:
    assert sorted(places(journal(), re.compile(pattern))) == sorted(found)


def test_a_title_that_was_made_of_a_removed_prompt_goes_with_it() -> None:
    after = without_message(journal(records.title_record("c1", "my key is sk-12345", NOON)), "u1")
    assert b"my key" not in after
    assert records.decode(after, "c1").title == "thanks"
    assert records.decode(without_message(journal(), "u2"), "c1").title == "my key is sk-12345"


BY_NAME = replace(U1, content="Review this:\n\nmy secret  plan, and then sk-12345")


@pytest.mark.parametrize("title", ["review: my secret plan, and then sk-1…", "my secret plan (fork)"])
def test_a_title_that_a_conversation_began_with_goes_with_the_first_prompt_whatever_it_says(title: str) -> None:
    begun = records.conversation_record(replace(CONVERSATION, title=title))
    data = records.encode(begun, *map(records.message_record, (BY_NAME, A1, U2)))
    after = without_message(data, "u1")
    assert b"secret" not in after
    assert records.decode(after, "c1").title == "thanks"
    assert records.decode(without_message(data, "u2"), "c1").title == title


def test_a_title_that_was_given_later_stays() -> None:
    begun = records.conversation_record(replace(CONVERSATION, title="review: my secret plan"))
    later = records.title_record("c1", "Plans", NOON)
    data = records.encode(begun, *map(records.message_record, (BY_NAME, U2)), later)
    for after in (without_message(data, "u1"), scrub(data, r"secret\s+plan")):
        assert b"secret" not in after
        assert records.decode(after, "c1").title == "Plans"


def test_a_title_that_divides_what_is_scrubbed_out_of_the_first_prompt_is_made_anew() -> None:
    begun = records.conversation_record(replace(CONVERSATION, title="review: my secret plan, and then sk-1…"))
    data = records.encode(begun, *map(records.message_record, (BY_NAME, U2)))
    assert records.decode(scrub(data), "c1").title == "Review this:"
    assert records.decode(scrub(data, "thanks|review"), "c1").title.startswith("[removed]: my secret plan")


def test_so_does_one_that_says_what_a_removed_reply_said_that_never_ended() -> None:
    reply = Message("a9", Role.ASSISTANT, "", NOON, "u2", model="hub/m")
    marks = [records.partial_record(reply, "never say sk-", 0), records.partial_record(reply, "12345", 13)]
    data = records.encode(records.conversation_record(replace(CONVERSATION, title="never say sk-12345")), *marks)
    assert records.decode(without_message(data, "a9"), "c1").title == ""


def test_what_is_not_touched_is_byte_for_byte_the_same() -> None:
    assert scrub(journal(), "nowhere") == journal()


def test_a_newer_format_is_not_rewritten() -> None:
    newer = json.dumps({"v": 3, "type": "message", "id": "m"}).encode() + b"\n"
    for change in (scrub, lambda data: without_message(data, "u1"), split_damaged):
        with pytest.raises(HistoryError, match="written by a newer version"):
            change(journal() + newer)


KEY_FILE = Attachment("https://host/?key=sk-12345", "text/plain", 12, "key=sk-12345\n")
IMAGE = Attachment("sk-12345.png", "image/png", 70, sha256="a" * 64)


def test_a_text_is_taken_out_of_what_was_attached_and_of_its_name() -> None:
    asked = replace(U1, id="u9", content="", attachments=(KEY_FILE, IMAGE))
    data = records.encode(
        records.title_record("c1", "https://host/?key=sk-12345", NOON), records.message_record(asked)
    )
    after = scrub(data, "(sk-12345|a{64})")
    read = records.decode(after, "c1")
    assert read.messages[0].attachments == (
        replace(KEY_FILE, name="https://host/?key=[removed]", text="key=[removed]\n"),
        replace(IMAGE, name="[removed].png"),
    )
    assert (read.title, read.damaged_lines) == ("https://host/?key=[removed]", 0)
    assert len(places(data, re.compile("sk-12345"))) == 4


def test_a_title_that_was_made_of_a_removed_attachment_goes_with_it() -> None:
    asked = replace(U1, id="u9", content="", attachments=(KEY_FILE,))
    titled = records.title_record("c1", records.title_of(KEY_FILE.name), NOON)
    after = without_message(records.encode(records.message_record(asked), titled) + journal(), "u9")
    assert b"host" not in after
