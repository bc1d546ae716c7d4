import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatllm_cli.errors import HistoryError
from chatllm_cli.models import Conversation, Message, Role, Status
from chatllm_cli.services.history import records
from chatllm_cli.services.history.merging import Merged, merged
from chatllm_cli.services.history.records import journal_of
from chatllm_cli.services.history.rewriting import scrubbed

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
ID = "c" * 16
HEADER = Conversation(ID, "Greeting", NOON, model="openai/gpt")


def said(message_id: str, parent: str | None, *, minute: int = 0) -> Message:
    role = Role.USER if message_id.startswith("u") else Role.ASSISTANT
    return Message(message_id, role, f"text of {message_id}", NOON + timedelta(minutes=minute), parent)


def conversation(*messages: Message, head: str | None = None) -> Conversation:
    return replace(HEADER, messages=messages, head=head or (messages[-1].id if messages else None))


def read(data: bytes) -> Conversation:
    return records.decode(data, ID)


BEGUN = conversation(said("u1", None), said("a1", "u1"))
OURS = journal_of(BEGUN)


def grown(*messages: Message) -> bytes:
    return OURS + records.encode(*map(records.message_record, messages))


def test_a_conversation_comes_back_from_its_journal() -> None:
    wanted = replace(BEGUN, tags=("a", "b"), head="u1", system_prompt="Be kind.")
    assert read(journal_of(wanted)) == wanted
    assert read(journal_of(replace(wanted, head=None))) == replace(wanted, head=None)


def test_a_journal_lacks_nothing_of_itself_or_of_an_older_state() -> None:
    longer = grown(said("u2", "a1"))
    assert merged(longer, longer, ID) == Merged(longer)
    assert merged(longer, OURS, ID) == Merged(longer)


def test_what_only_the_other_went_on_with_follows_on_ours_and_the_head_moves_along() -> None:
    theirs = grown(said("u2", "a1"), said("a2", "u2"))
    assert merged(OURS, theirs, ID) == Merged(theirs, 2)


def test_two_that_both_went_on_make_two_branches_and_ours_stays_in_use() -> None:
    ours, theirs = grown(said("u2", "a1"), said("a2", "u2")), grown(said("u3", "a1"), said("a3", "u3"))
    both = merged(ours, theirs, ID)
    assert (both.messages, both.has_branched) == (2, True)
    assert [message.id for message in read(both.data).messages] == ["u1", "a1", "u2", "a2", "u3", "a3"]
    assert [message.id for message in read(both.data).thread()] == ["u1", "a1", "u2", "a2"]
    assert merged(both.data, theirs, ID) == Merged(both.data)


def test_the_head_does_not_move_for_what_is_known_already() -> None:
    theirs = grown(said("u2", "a1"), said("a2", "u2"))
    undone = theirs + records.encode(records.head_record(ID, "a1", NOON))
    assert merged(undone, theirs, ID) == Merged(undone)


def test_the_head_follows_on_an_answer_that_takes_up_ours() -> None:
    half = replace(said("a1", "u1"), status=Status.INTERRUPTED)
    ours = journal_of(conversation(said("u1", None), half))
    theirs = ours + records.encode(records.message_record(replace(said("a2", "u1"), continues="a1")))
    assert read(merged(ours, theirs, ID).data).head == "a2"


def test_an_answer_of_which_we_have_only_marks_is_taken_whole() -> None:
    reply = said("a2", "u2")
    marks = records.encode(records.message_record(said("u2", "a1")), records.partial_record(reply, "text", 0))
    both = merged(OURS + marks, OURS + marks + records.encode(records.message_record(reply)), ID)
    assert both.messages == 0
    assert read(both.data).messages[-1] == reply


def test_the_head_stays_when_an_answer_on_another_branch_comes_whole() -> None:
    reply = said("a2", "u2")
    begun = grown(said("u2", "a1")) + records.encode(records.partial_record(reply, "te", 0))
    ours = begun + records.encode(
        records.head_record(ID, "a1", NOON), *map(records.message_record, (said("u3", "a1"), said("a3", "u3")))
    )
    both = merged(ours, begun + records.encode(records.message_record(reply)), ID)
    assert read(both.data).head == "a3"
    assert read(both.data).find("a2") == reply


def test_the_head_stays_when_more_marks_of_an_answer_on_another_branch_come() -> None:
    reply = said("a2", "u2")
    begun = grown(said("u2", "a1")) + records.encode(records.partial_record(reply, "one ", 0))
    ours = begun + records.encode(records.head_record(ID, "a1", NOON))
    both = merged(ours, begun + records.encode(records.partial_record(reply, "two", 4)), ID)
    assert read(both.data).head == "a1"


def test_marks_of_an_answer_that_nobody_finished_are_joined() -> None:
    reply = said("a2", "u1")
    ours = OURS + records.encode(records.partial_record(reply, "one ", 0))
    theirs = ours + records.encode(records.partial_record(reply, "two", 4))
    both = read(merged(ours, theirs, ID).data)
    assert (both.messages[-1].content, both.messages[-1].status) == ("one two", Status.INTERRUPTED)


def test_marks_from_which_something_was_taken_out_stay_so() -> None:
    reply = said("a2", "u1")
    marks = [records.partial_record(reply, text, begin) for text, begin in (("my secret ", 0), ("end", 10))]
    theirs = OURS + records.encode(*marks)
    ours = scrubbed(theirs, re.compile("secret"), "[removed]")
    assert merged(ours, theirs, ID) == Merged(ours)
    assert read(ours).messages[-1].content == "my [removed] end"


def test_marks_of_an_answer_that_we_have_whole_add_nothing() -> None:
    theirs = OURS + records.encode(records.partial_record(said("a1", "u1"), "te", 0))
    assert merged(OURS, theirs, ID) == Merged(OURS)


def test_a_message_that_both_have_stays_as_it_is_here() -> None:
    ours = journal_of(conversation(replace(said("u1", None), content="[removed]"), said("a1", "u1")))
    assert merged(ours, OURS, ID) == Merged(ours, differing=1)


@pytest.mark.parametrize(("ours_at", "theirs_at", "expected"), [(1, 2, "theirs"), (2, 1, "ours"), (1, 1, "ours")])
def test_of_two_titles_the_later_one_stands(ours_at: int, theirs_at: int, expected: str) -> None:
    def titled(title: str, minute: int) -> bytes:
        return OURS + records.encode(records.title_record(ID, title, NOON + timedelta(minutes=minute)))

    assert read(merged(titled("ours", ours_at), titled("theirs", theirs_at), ID).data).title == expected


def test_tags_and_system_prompts_follow_the_same_rule() -> None:
    later = NOON + timedelta(minutes=1)
    theirs = OURS + records.encode(
        records.tags_record(ID, ["new"], later),
        records.system_prompt_record(replace(HEADER, system_prompt="Be brief."), later),
    )
    both = read(merged(OURS, theirs, ID).data)
    assert (both.tags, both.system_prompt) == (("new",), "Be brief.")


def test_damaged_lines_of_the_other_are_left_where_they_are() -> None:
    theirs = OURS + b'{"v":2,"type":"message","id":"u9"\n' + records.encode(records.message_record(said("u2", "a1")))
    both = merged(OURS, theirs, ID)
    assert both.messages == 1
    assert read(both.data).damaged_lines == 0


@pytest.mark.parametrize(
    "line",
    [
        b'{"v":1,"type":"title","id":"c","at":5,"title":"x"}',
        b'{"v":1,"type":"title","id":"c","at":null,"title":"x"}',
        b'{"v":1,"type":[],"id":"c","at":"2026"}',
        b'{"v":1,"type":"message","id":[],"at":"2026"}',
        b'{"v":Infinity,"type":"title","id":"c","at":"2026"}',
    ],
)
def test_records_whose_fields_are_of_another_kind_are_left_where_they_are(line: bytes) -> None:
    damaged, theirs = OURS + line + b"\n", grown(said("u2", "a1"))
    assert merged(OURS, damaged, ID) == Merged(OURS)
    assert merged(damaged, theirs, ID).data.startswith(damaged)
    assert merged(damaged, theirs, ID).messages == 1


def test_records_of_a_later_version_that_nobody_knows_are_kept() -> None:
    line = records.encode({"type": "mood", "id": ID, "at": "2026-07-01T12:00:00.000Z", "mood": "good"})
    assert merged(OURS, OURS + line, ID) == Merged(OURS + line)


def test_a_torn_last_line_of_ours_is_ended_first() -> None:
    torn = OURS + b'{"v":2,"ty'
    both = merged(torn, grown(said("u2", "a1")), ID)
    assert [message.id for message in read(both.data).messages] == ["u1", "a1", "u2"]
    assert read(both.data).damaged_lines == 1


def test_a_header_that_ours_has_lost_is_taken_from_the_other() -> None:
    without = OURS.partition(b"\n")[2]
    assert read(merged(without, OURS, ID).data) == BEGUN


def test_a_newer_format_is_refused() -> None:
    with pytest.raises(HistoryError):
        merged(OURS, OURS + b'{"v":99,"type":"message","id":"x","at":""}\n', ID)


@st.composite
def apart(draw: st.DrawFn) -> tuple[bytes, bytes, set[str]]:
    """Two journals with a common beginning that went on apart, and the ids of all messages."""
    messages = [said("u0", None)]

    def more(prefix: str) -> list[Message]:
        known = list(messages)
        for number in range(draw(st.integers(0, 5))):
            parent = draw(st.sampled_from(known))
            kind = "a" if parent.role is Role.USER else "u"
            known.append(said(f"{kind}{prefix}{number}", parent.id, minute=number))
        return known[len(messages) :]

    messages += more("c")
    common = journal_of(conversation(*messages))
    ours, theirs = more("o"), more("t")
    sides = [common + records.encode(*map(records.message_record, side)) for side in (ours, theirs)]
    return sides[0], sides[1], {message.id for message in (*messages, *ours, *theirs)}


@given(apart())
@settings(deadline=None)
def test_whatever_two_machines_did_neither_loses_anything_and_both_end_with_the_same_messages(
    case: tuple[bytes, bytes, set[str]],
) -> None:
    ours, theirs, ids = case
    here, there = merged(ours, theirs, ID), merged(theirs, ours, ID)
    assert here.data.startswith(ours)
    assert {message.id for message in read(here.data).messages} == ids
    assert set(read(here.data).messages) == set(read(there.data).messages)
    assert read(here.data).head in {read(ours).head, read(theirs).head}
    assert merged(here.data, there.data, ID).messages == 0
    assert merged(here.data, theirs, ID) == Merged(here.data)
