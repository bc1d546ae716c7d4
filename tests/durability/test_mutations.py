"""Damage of every kind: it costs what it hits and no more, it is told, and no text is another without a word of it."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from random import Random

import pytest

from chatllm_cli.models import Conversation, Message, Role, Status, TokenUsage
from chatllm_cli.services.history import records
from tests.durability.helpers import NOON, chance, conversation_of

MUTATIONS = 14_000  # of each of six kinds; with all pairs of lines and all cuts they are a hundred thousand
USUAL = 180  # bytes of a line, about


def build() -> Conversation:
    """Return a conversation of fifty messages with all that a message may hold."""
    messages: list[Message] = []
    for number in range(50):
        text = f"message {number}: „Grüße 😀“\u2028 and {'so on ' * (number % 5)}"
        is_reply = number % 2 == 1
        messages.append(
            Message(
                f"{number:04}bbbbccccdddd",
                Role.ASSISTANT if is_reply else Role.USER,
                text,
                NOON + timedelta(minutes=number),
                messages[-1].id if messages else None,
                (Status.COMPLETE, Status.TRUNCATED, Status.ERROR)[number % 3] if is_reply else Status.COMPLETE,
                model="hub/model" if is_reply else None,
                usage=TokenUsage(number, 2) if is_reply else None,
                finish_reason="stop" if is_reply else None,
            )
        )
    return conversation_of(messages)


def journal() -> bytes:
    """Return its journal, with the marks of some of the replies before these."""
    lines = [records.conversation_record(CONVERSATION)]
    for number, message in enumerate(CONVERSATION.messages):
        if number % 10 == 1:
            lines += [
                records.partial_record(message, message.content[:9], 0),
                records.partial_record(message, message.content[9:], 9),
            ]
        lines.append(records.message_record(message))
    return records.encode(*lines)


CONVERSATION = build()
JOURNAL = journal()
TEXTS = {message.id: message.content for message in CONVERSATION.messages}
LINES = JOURNAL.count(b"\n")


def flip(data: bytes, random: Random) -> bytes:
    place = random.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]


def delete(data: bytes, random: Random) -> bytes:
    place = random.randrange(len(data))
    return data[:place] + data[place + random.randint(1, 40) :]


def zero(data: bytes, random: Random) -> bytes:
    place, length = random.randrange(len(data)), random.randint(1, USUAL)
    return data[:place] + b"\0" * min(length, len(data) - place) + data[place + length :]


def overwrite(data: bytes, random: Random) -> bytes:
    place, length = random.randrange(len(data)), random.randint(1, 40)
    return data[:place] + random.randbytes(min(length, len(data) - place)) + data[place + length :]


def duplicate(data: bytes, random: Random) -> bytes:
    place, length = random.randrange(len(data)), random.randint(1, 3 * USUAL)
    target = random.choice([place + length, random.randrange(len(data))])
    return data[:target] + data[place : place + length] + data[target:]


def insert(data: bytes, random: Random) -> bytes:
    place = random.randrange(len(data))
    strange = random.choice(
        ["\u2028", "\u2029", "\x85", "\n", "\r\n", "\r", "\n\n", "\0", "\x1c", '"', "\\", "}", "{"]
    )
    return data[:place] + strange.encode() + data[place:]


MOST_LOST: dict[Callable[[bytes, Random], bytes], int] = {
    flip: 2, delete: 3, zero: 3, overwrite: 3, duplicate: 3, insert: 2,
}  # fmt: skip


def is_unguarded(data: bytes) -> bool:
    """Whether a fault took a line's checksum away, or from its end, and yet the line is read: see the last tests."""
    lines = [line for line in records.lines(data) if not re.search(rb',"crc":"[0-9a-f]{8}"}$', line)]
    return not all(map(records.is_damaged, lines))


def wrong(data: bytes, most_lost: int) -> str:
    """Return what is wrong with what is read of a damaged journal, if anything is."""
    found = records.decode(data, CONVERSATION.id)
    texts = {message.id: message.content for message in found.messages}
    if texts == TEXTS:
        return ""
    whole = {key for key, text in texts.items() if text == TEXTS.get(key)}
    lost = len(TEXTS) - len(whole)
    if lost > most_lost:
        return f"{lost} messages are lost"
    if lost and not found.damaged_lines and len(records.lines(data)) == LINES:
        return "a loss is not told"
    for message in found.messages:
        # Where the end of a reply is damaged its marks are left; a slice that stands twice may hold one of them.
        is_told = message.status is Status.INTERRUPTED and message.id in TEXTS and found.damaged_lines
        if message.id not in whole and not is_told:
            return f"a text is another: {message}"
    return ""


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("mutate", MOST_LOST)
def test_one_fault_costs_few_messages_is_told_and_changes_no_text(mutate: Callable[[bytes, Random], bytes]) -> None:
    cases, harmful, unguarded = 0, 0, 0
    for seed in range(MUTATIONS):
        data = mutate(JOURNAL, chance(seed))
        complaint = wrong(data, MOST_LOST[mutate])
        if complaint and is_unguarded(data):
            unguarded += 1
        else:
            assert not complaint, f"seed {seed}: {complaint}"
        cases += 1
        harmful += data != JOURNAL
    assert cases == MUTATIONS
    assert harmful >= 0.98 * MUTATIONS
    assert unguarded <= 0.001 * MUTATIONS


@pytest.mark.slow
def test_no_message_is_lost_when_lines_change_places() -> None:
    lines = JOURNAL.split(b"\n")[:-1]
    pairs = list(combinations(range(LINES), 2))
    for one, other in pairs:
        swapped = lines.copy()
        swapped[one], swapped[other] = lines[other], lines[one]
        complaint = wrong(b"\n".join(swapped), 0)
        assert not complaint, f"lines {one} and {other}: {complaint}"
    assert len(pairs) >= 1_500


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_what_stands_before_a_cut_is_there() -> None:
    lines = JOURNAL.splitlines(keepends=True)  # of bytes: at newlines only
    wholes = [records.decode(b"".join(lines[:count]), CONVERSATION.id).messages for count in range(LINES + 1)]
    cases = 0
    for end in range(len(JOURNAL)):
        found = records.decode(JOURNAL[:end], CONVERSATION.id)
        count = JOURNAL.count(b"\n", 0, end)
        assert found.messages in wholes[count : count + 2], (
            f"cut after {end} bytes"
        )  # it may be the newline that is cut
        cases += 1
    assert cases >= 12_000


REPLY = replace(CONVERSATION.messages[1], finish_reason=None, usage=None)
ID = "aaaabbbbccccdddd"
RECORDS: dict[str, records.Record] = {
    "conversation": records.conversation_record(CONVERSATION),
    "prompt": records.message_record(CONVERSATION.messages[0]),
    "reply": records.message_record(CONVERSATION.messages[1]),
    "failed reply": records.message_record(replace(REPLY, error="no connection to the server")),
    "later reply": records.message_record(replace(REPLY, continues=CONVERSATION.messages[3].id)),
    "partial": records.partial_record(REPLY, REPLY.content, 0),
    "system prompt": records.system_prompt_record(CONVERSATION, NOON),
    "title": records.title_record(ID, "Another title", NOON),
    "tags": records.tags_record(ID, ["one", "two"], NOON),
    "head": records.head_record(ID, CONVERSATION.messages[1].id, NOON),
}


def changed(line: bytes, place: int, length: int, other: bytes) -> bool:
    """Whether a line is read as another record, without a word, when some of its bytes are others."""
    damaged = line[:place] + other + line[place + length :]
    read = records.decode(damaged, ID)
    return not read.damaged_lines and read not in (records.decode(line, ID), records.decode(b"", ID))


@pytest.mark.parametrize("kind", RECORDS)
def test_no_flipped_bit_changes_a_record_without_a_word(kind: str) -> None:
    line = records.encode(RECORDS[kind])
    cases = [(place, bytes([line[place] ^ 1 << bit])) for place in range(len(line)) for bit in range(8)]
    assert [place for place, other in cases if changed(line, place, 1, other)] == []
    assert len(cases) >= 900


@pytest.mark.parametrize("kind", RECORDS)
def test_no_deletion_changes_a_record_without_a_word(kind: str) -> None:
    line = records.encode(RECORDS[kind])
    cases = [(place, length) for place in range(len(line)) for length in range(1, 41)]
    assert len(cases) >= 4_500
    assert [case for case in cases if changed(line, *case, b"")] == []


def test_a_line_that_goes_on_behind_its_checksum_is_damaged() -> None:
    line = records.encode(RECORDS["prompt"]).rstrip().removesuffix(b"}") + b',"content":"something else"}'
    assert records.is_damaged(line)


MARKS = [
    records.encode(records.partial_record(REPLY, text, begin))
    for text, begin in (("one ", 0), ("two ", 4), ("three", 8))
]


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (0, 0, 1, 2), (0, 1, 1, 2), (0, 1, 2, 2)])
def test_marks_that_were_swapped_or_doubled_change_no_text(order: tuple[int, ...]) -> None:
    found = records.decode(b"".join(MARKS[place] for place in order), ID)
    assert (found.messages[0].content, found.damaged_lines) == ("one two three", 0)


def test_a_mark_that_is_lost_from_the_middle_is_told() -> None:
    found = records.decode(MARKS[0] + MARKS[1][:-9] + b"\n" + MARKS[2], ID)
    assert (found.messages[0].content, found.damaged_lines) == ("one […]three", 1)
