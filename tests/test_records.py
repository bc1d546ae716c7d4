import json
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatllm_cli.errors import HistoryError
from chatllm_cli.models import Attachment, Conversation, Message, Role, Status, TokenUsage
from chatllm_cli.services.history import records

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOSTILE = "line\nfeed\r\u2028\u2029\x85\x0b\x1c NUL \0 half \ud83d of 😀 é \x1b[2J \u202e"

PROMPT = Message("m1", Role.USER, "Hi", NOON)
REPLY = Message("m2", Role.ASSISTANT, "Hello", NOON, parent="m1", model="openai/gpt")
HEADER = Conversation("c1", "Greeting", NOON, model="openai/gpt", system_prompt="Be kind.")


def journal_of(conversation: Conversation) -> bytes:
    return records.encode(
        records.conversation_record(conversation), *map(records.message_record, conversation.messages)
    )


def line(**fields: object) -> bytes:
    return json.dumps({"v": 1, **fields}).encode() + b"\n"


def contents(data: bytes) -> list[tuple[str, Status]]:
    return [(message.content, message.status) for message in records.decode(data, "c1").messages]


def with_pairs_joined(text: str) -> str:
    """Two halves of a surrogate pair side by side are one character to JSON, and to everyone else."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


texts = st.text(st.characters() | st.sampled_from(sorted(set(HOSTILE)))).map(with_pairs_joined)
seconds = st.integers(-62_000_000_000, 253_000_000_000)  # from the year 5 to 9987
moments = st.builds(
    lambda at, ms: NOON.fromtimestamp(at, UTC).replace(microsecond=ms * 1000), seconds, st.integers(0, 999)
)
tokens = st.integers(0, 2**40 - 1)
usages = st.builds(TokenUsage, tokens, tokens, tokens)
costs = st.none() | st.floats(0, 1e12, exclude_max=True)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    messages: list[Message] = []
    for message_id in draw(st.lists(texts, unique=True, max_size=6)):
        message = Message(
            message_id,
            draw(st.sampled_from(Role)),
            draw(texts),
            draw(moments),
            parent=draw(st.none() | st.sampled_from([earlier.id for earlier in messages])) if messages else None,
            status=draw(st.sampled_from(Status)),
            model=draw(st.none() | texts),
            usage=draw(st.none() | usages),
            cost=draw(costs),
            finish_reason=draw(st.none() | texts),
            cached=draw(st.booleans()),
            error=draw(st.none() | texts),
        )
        messages.append(message)
    return Conversation(
        draw(texts),
        draw(texts.filter(bool)),
        draw(moments),
        model=draw(texts),
        system_prompt=draw(texts),
        messages=tuple(messages),
        head=messages[-1].id if messages else None,
    )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(conversations())
def test_every_conversation_comes_back_as_it_was(conversation: Conversation) -> None:
    data = journal_of(conversation)
    assert data.count(b"\n") == 1 + len(conversation.messages)
    assert records.decode(data, conversation.id) == conversation


def test_hostile_text_comes_back_as_it_was() -> None:
    message = replace(PROMPT, content=HOSTILE)
    conversation = replace(HEADER, title=HOSTILE, system_prompt=HOSTILE, messages=(message,), head="m1")
    assert records.decode(journal_of(conversation), "c1") == conversation


def test_records_are_lines_of_json_that_others_can_read() -> None:
    reply = replace(
        REPLY, content="Grüße 😀\u2028", usage=TokenUsage(3, 5), finish_reason="stop", cached=True, error="none"
    )
    data = journal_of(replace(HEADER, messages=(PROMPT, reply)))
    lines = data.decode().removesuffix("\n").split("\n")
    sums = [f',"crc":"{zlib.crc32(line.rpartition(",")[0].encode()):08x}"}}' for line in lines]
    assert [line for line, crc in zip(lines, sums, strict=True) if not line.endswith(crc)] == []
    header, prompt, answer = (line.removesuffix(crc) + "}" for line, crc in zip(lines, sums, strict=True))
    assert header == (
        '{"v":2,"type":"conversation","id":"c1","at":"2026-07-01T12:00:00.000Z","title":"Greeting",'
        '"model":"openai/gpt","system_prompt":"Be kind."}'
    )
    assert prompt == (
        '{"v":2,"type":"message","id":"m1","at":"2026-07-01T12:00:00.000Z","parent":null,"role":"user",'
        '"content":"Hi","status":"complete"}'
    )
    assert answer == (
        '{"v":2,"type":"message","id":"m2","at":"2026-07-01T12:00:00.000Z","parent":"m1","role":"assistant",'
        '"content":"Grüße 😀\u2028","status":"complete","model":"openai/gpt",'
        '"usage":{"input_tokens":3,"output_tokens":5},"finish_reason":"stop","cached":true,"error":"none"}'
    )
    priced = records.message_record(replace(reply, usage=TokenUsage(3, 5, cached_tokens=2), cost=0.0041))
    assert priced["usage"] == {"input_tokens": 3, "output_tokens": 5, "cached_tokens": 2}
    assert priced["cost"] == 0.0041


def test_half_a_surrogate_pair_is_still_utf_8_on_the_disk() -> None:
    data = records.encode(records.message_record(replace(PROMPT, content="\ud83d é")))
    assert json.loads(data.decode("utf-8"))["content"] == "\ud83d é"


def test_times_are_utc_to_the_millisecond() -> None:
    local = datetime(2026, 7, 1, 1, 2, 3, 4567, tzinfo=timezone(timedelta(hours=2)))
    assert records.format_time(local) == "2026-06-30T23:02:03.004Z"


@pytest.mark.parametrize("written", ["2026-07-01T12:00:00.000Z", "2026-07-01T14:00:00+02:00", "2026-07-01T12:00:00"])
def test_times_that_others_wrote_are_understood(written: str) -> None:
    record = {**records.message_record(PROMPT), "at": written}
    assert records.decode(records.encode(record), "c1").messages == (PROMPT,)


@pytest.mark.parametrize("data", [b"", b"\n", b" \r\n\n\t\n"])
def test_a_file_without_records_is_an_empty_conversation(data: bytes) -> None:
    assert records.decode(data, "c1") == Conversation("c1", "", datetime.fromtimestamp(0, UTC))


def test_a_torn_tail_costs_its_own_record_only() -> None:
    data = journal_of(replace(HEADER, messages=(PROMPT, REPLY)))
    whole = data.rindex(b"\n", 0, -1) + 1
    for end in range(whole + 1, len(data) - 1):
        conversation = records.decode(data[:end], "c1")
        assert conversation == replace(HEADER, messages=(PROMPT,), head="m1", damaged_lines=1)
    assert records.decode(data[:-1], "c1") == replace(HEADER, messages=(PROMPT, REPLY), head="m2")


@pytest.mark.parametrize(
    "damaged",
    [
        b"\0\0\0\0",
        b"not json",
        b"\xff\xfe",
        b'{"v":1,"type":"message","content":"caf\xe9"}',
        b"[" * 100_000,
        b'{"v":' + b"9" * 5_000 + b',"type":"message"}',
        b"null",
        b"7",
        b"[]",
        b'"v"',
        b"{}",
        b'{"v":1}',
        b'{"type":"message"}',
        b'{"v":null,"type":"message"}',
        b'{"v":"one","type":"message"}',
        b'{"v":NaN,"type":"message"}',
        b'{"v":Infinity,"type":"message"}',
        b'{"v":1,"type":["message"]}',
        b'{"v":1,"type":"message","id":"m9"}',
        line(**{**records.message_record(PROMPT), "id": 9}),
        line(**{**records.message_record(PROMPT), "content": None}),
        line(**{**records.message_record(PROMPT), "role": "robot"}),
        line(**{**records.message_record(PROMPT), "status": "fine"}),
        line(**{**records.message_record(PROMPT), "at": "noon"}),
        line(**{**records.message_record(PROMPT), "at": 7}),
        line(**{**records.message_record(PROMPT), "parent": 7}),
        line(**{**records.message_record(PROMPT), "cost": "much"}),
        line(**{**records.message_record(PROMPT), "cost": -1}),
        line(**{**records.message_record(PROMPT), "cost": 1e999}),
        line(**{**records.message_record(PROMPT), "cost": True}),
        line(**{**records.message_record(PROMPT), "usage": "much"}),
        line(**{**records.message_record(PROMPT), "usage": {"input_tokens": 1}}),
        line(**{**records.message_record(PROMPT), "usage": {"input_tokens": 1e999, "output_tokens": 1}}),
        line(type="conversation", id="c1", title="No time"),
        line(type="partial", id="m9", text=["no", "text"]),
        line(type="system_prompt", system_prompt=None),
    ],
    ids=range(36),
)
def test_a_damaged_line_is_skipped_and_counted(damaged: bytes) -> None:
    header, prompt, reply = journal_of(replace(HEADER, messages=(PROMPT, REPLY))).splitlines(keepends=True)
    conversation = records.decode(header + prompt + damaged.strip() + b"\n" + reply, "c1")
    assert conversation == replace(HEADER, messages=(PROMPT, REPLY), head="m2", damaged_lines=1)


def test_a_byte_that_changed_anywhere_in_a_line_is_noticed() -> None:
    header, prompt, reply = journal_of(replace(HEADER, messages=(PROMPT, REPLY))).splitlines(keepends=True)
    for place in range(len(prompt) - 1):
        changed = prompt[:place] + bytes([prompt[place] ^ 1]) + prompt[place + 1 :]
        conversation = records.decode(header + changed + reply, "c1")
        assert (conversation.messages, conversation.damaged_lines > 0) == ((REPLY,), True), changed


@pytest.mark.parametrize(("version", "read"), [(1, ((PROMPT,), 0)), (2, ((), 1))])
def test_a_line_may_do_without_a_checksum_in_format_1_only(version: int, read: object) -> None:
    data = line(**records.message_record(PROMPT), v=version)
    conversation = records.decode(data, "c1")
    assert (conversation.messages, conversation.damaged_lines) == read


def test_titles_tags_and_the_head_are_those_that_were_written_last() -> None:
    journal = journal_of(replace(HEADER, messages=(PROMPT, REPLY))) + records.encode(
        records.title_record("c1", "Another", NOON),
        records.tags_record("c1", ["a"], NOON),
        records.tags_record("c1", ["b", "c"], NOON),
        records.head_record("c1", "m1", NOON),
    )
    conversation = records.decode(journal, "c1")
    assert (conversation.title, conversation.tags, conversation.head) == ("Another", ("b", "c"), "m1")
    beginning = records.decode(journal + records.encode(records.head_record("c1", None, NOON)), "c1")
    assert (beginning.head, beginning.thread()) == (None, ())


@pytest.mark.parametrize("torn_at", [None, 1, 40])
def test_glued_lines_cost_themselves_only(torn_at: int | None) -> None:
    header, prompt, reply = journal_of(replace(HEADER, messages=(PROMPT, REPLY))).splitlines(keepends=True)
    conversation = records.decode(header + reply.strip()[:torn_at] + reply + prompt, "c1")
    assert conversation == replace(HEADER, messages=(PROMPT,), head="m1", damaged_lines=1)


def test_damage_in_one_place_costs_two_messages_at_most() -> None:
    messages = tuple(replace(PROMPT, id=f"id{number:04}", content=f"text {number}") for number in range(8))
    data = journal_of(replace(HEADER, messages=messages))
    cases = 0
    for start in range(len(data)):
        for length in (1, 17, 40):
            cut = records.decode(data[:start] + data[start + length :], "c1")
            zeroed = records.decode((data[:start] + b"\0" * length + data[start + length :]), "c1")
            assert len(set(messages) - set(cut.messages)) <= 2
            assert len(set(messages) - set(zeroed.messages)) <= 2
            assert zeroed.damaged_lines in {1, 2}
            cases += 2
    assert cases > 5_000


def test_records_of_a_type_that_is_not_known_are_ignored() -> None:
    data = journal_of(replace(HEADER, messages=(PROMPT,))) + line(type="rating", id="m1", stars=5)
    assert records.decode(data, "c1") == replace(HEADER, messages=(PROMPT,), head="m1")


def test_fields_that_are_not_known_are_ignored() -> None:
    data = records.encode({**records.message_record(PROMPT), "mood": "good"})
    assert records.decode(data, "c1").messages == (PROMPT,)


@pytest.mark.parametrize("kind", ["conversation", "message", "of the future"])
def test_a_newer_format_is_refused_by_name_and_version(kind: str) -> None:
    data = journal_of(replace(HEADER, messages=(PROMPT,))) + json.dumps({"v": 3, "type": kind}).encode()
    with pytest.raises(HistoryError) as raised:
        records.decode(data, "c1")
    assert (raised.value.message, raised.value.hint) == (
        "conversation c1 was written by a newer version of chatllm (format 3)",
        "update chatllm to read it",
    )


def test_partials_without_their_message_are_an_interrupted_reply() -> None:
    data = journal_of(replace(HEADER, messages=(PROMPT,)))
    marks = (("Hel", 0), ("", 3), ("lo\u2028", 3), ("!", 6))
    data += records.encode(*(records.partial_record(REPLY, *mark) for mark in marks))
    interrupted = replace(REPLY, content="Hello\u2028!", status=Status.INTERRUPTED)
    assert records.decode(data, "c1") == replace(HEADER, messages=(PROMPT, interrupted), head="m2")


def test_a_message_supersedes_its_partials_whichever_comes_first() -> None:
    partial = records.encode(records.partial_record(REPLY, "Hel", 0))
    final = records.encode(records.message_record(REPLY))
    for order in (partial + final, final + partial, partial + final + partial):
        conversation = records.decode(journal_of(replace(HEADER, messages=(PROMPT,))) + order, "c1")
        assert conversation == replace(HEADER, messages=(PROMPT, REPLY), head="m2")


def test_partials_of_two_replies_do_not_mix() -> None:
    other = replace(REPLY, id="m3")
    data = records.encode(
        records.partial_record(REPLY, "a", 0),
        records.partial_record(other, "b", 0),
        records.partial_record(REPLY, "c", 1),
    )
    assert contents(data) == [("ac", Status.INTERRUPTED), ("b", Status.INTERRUPTED)]


@pytest.mark.parametrize(
    ("marks", "text"),
    [
        (((3, "lo"), (0, "Hel")), "Hello"),
        (((0, "Hel"), (0, "Hel"), (3, "lo")), "Hello"),
        (((0, "Hel"), (0, "Hello, "), (7, "you")), "Hello, you"),
        (((0, "Hello"), (3, "lo, you")), "Hello, you"),
        (((0, "Hel"), (5, ", you")), "Hel[…], you"),
        (((2, "llo"),), "[…]llo"),
    ],
)
def test_marks_are_put_where_they_belong_and_what_is_lost_between_them_is_shown(
    marks: tuple[tuple[int, str], ...], text: str
) -> None:
    data = records.encode(*(records.partial_record(REPLY, piece, begin) for begin, piece in marks))
    assert contents(data) == [(text, Status.INTERRUPTED)]


def test_marks_of_format_1_go_on_where_the_one_before_ended() -> None:
    marks = [dict(records.partial_record(REPLY, text, 0)) for text in ("Hel", "lo")]
    for mark in marks:
        del mark["from"]
    assert contents(b"".join(line(**mark) for mark in marks)) == [("Hello", Status.INTERRUPTED)]


def test_a_message_that_is_written_twice_is_there_once() -> None:
    conversation = replace(HEADER, messages=(PROMPT, REPLY), head="m2")
    assert records.decode(journal_of(conversation) * 2, "c1") == conversation


def test_a_lost_first_record_leaves_the_files_name_and_the_first_prompts_title() -> None:
    system = Message("m0", Role.SYSTEM, "Be kind.", NOON)
    data = b'{"v":1,"type":"conver\n' + records.encode(
        *map(records.message_record, (system, replace(PROMPT, content="\n  What is\t new?\nTell me"), REPLY))
    )
    conversation = records.decode(data, "of-the-file")
    assert (conversation.id, conversation.title, conversation.damaged_lines) == ("of-the-file", "What is new?", 1)
    assert (conversation.created_at, conversation.updated_at) == (datetime.fromtimestamp(0, UTC), NOON)


def test_a_copied_file_does_not_pose_as_the_one_it_was_copied_from() -> None:
    assert records.decode(journal_of(HEADER), "copy").id == "copy"


def test_the_last_system_prompt_holds() -> None:
    prompts = [replace(HEADER, system_prompt=text) for text in ("Be brief.", "", "Be bold.")]
    data = journal_of(HEADER) + records.encode(*(records.system_prompt_record(each, NOON) for each in prompts))
    assert records.decode(data, "c1") == replace(HEADER, system_prompt="Be bold.")


@pytest.mark.parametrize(
    ("parents", "head", "thread"),
    [
        ({"a": None, "b": "a", "c": "b"}, "c", "abc"),
        ({"a": None, "b": "a", "c": "a"}, "c", "ac"),
        ({"a": None, "b": "a", "c": "a"}, "b", "ab"),
        ({"a": "gone", "b": "a"}, "b", "ab"),
        ({"a": None}, "gone", ""),
        ({"a": None}, None, ""),
    ],
)
def test_the_thread_runs_from_the_first_message_to_the_head(
    parents: dict[str, str | None], head: str | None, thread: str
) -> None:
    messages = tuple(replace(PROMPT, id=name, parent=parent) for name, parent in parents.items())
    conversation = replace(HEADER, messages=messages, head=head)
    assert "".join(message.id for message in conversation.thread()) == thread


@pytest.mark.parametrize("parents", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "c", "b": "a", "c": "b", "d": "c"}])
def test_a_cycle_of_parents_ends(parents: dict[str, str]) -> None:
    data = records.encode(
        *(records.message_record(replace(PROMPT, id=name, parent=parent)) for name, parent in parents.items())
    )
    thread = records.decode(data, "c1").thread()
    assert len(thread) == len(parents)
    assert thread[-1].id == list(parents)[-1]


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("", ""),
        (" \n\t\n", ""),
        ("Hi", "Hi"),
        ("\n\n  first \t line  \nsecond", "first line"),
        ("one\u2028two", "one"),
        ("one\r\ntwo", "one"),
        ("日本語", "日本語"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        ("x" * 58 + " yz", "x" * 58 + "…"),
        ("x" * 58 + " y\nz", "x" * 58 + " y"),
    ],
)
def test_a_title_is_the_first_line_that_says_something(prompt: str, title: str) -> None:
    assert records.title_of(prompt) == title


TEXT = Attachment("src/a.py", "text/plain", 9, HOSTILE)
EMPTY = Attachment("empty", "text/plain", 0)
IMAGE = Attachment("a.png", "image/png", 70, sha256="0123456789abcdef" * 4)


def test_attachments_come_back_as_they_were() -> None:
    asked = replace(PROMPT, attachments=(TEXT, EMPTY, IMAGE))
    data = records.encode(records.message_record(asked))
    assert records.decode(data, "c1").messages == (asked,)
    assert records.hashes_in(data) == {IMAGE.sha256}


def test_a_message_without_attachments_says_nothing_of_them() -> None:
    assert "attachments" not in records.message_record(PROMPT)


@pytest.mark.parametrize(
    "attachments",
    [
        {},
        "text",
        5,
        [None],
        ["text"],
        [{}],
        [{"name": "a", "media_type": "text/plain", "size": 1}],
        [{"name": "a", "media_type": "text/plain", "size": "1", "text": "a"}],
        [{"name": "a", "media_type": "text/plain", "size": True, "text": "a"}],
        [{"name": "a", "media_type": "text/plain", "size": -1, "text": "a"}],
        [{"name": "a", "media_type": "text/plain", "size": 1e3, "text": "a"}],
        [{"name": "a", "media_type": "text/plain", "size": 2**60, "text": "a"}],
        [{"name": "a", "media_type": "text/plain", "size": 1, "text": None}],
        [{"name": None, "media_type": "text/plain", "size": 1, "text": "a"}],
        [{"name": "a", "media_type": [], "size": 1, "text": "a"}],
        [{"name": "a", "media_type": "image/png", "size": 1, "sha256": "../../../etc/passwd"}],
        [{"name": "a", "media_type": "image/png", "size": 1, "sha256": "A" * 64}],
        [{"name": "a", "media_type": "image/png", "size": 1, "sha256": "a" * 64 + "\n"}],
        [{"name": "a", "media_type": "image/png", "size": 1, "sha256": "a" * 63}],
        [{"name": "a", "media_type": "image/png", "size": 1, "sha256": ["a" * 64]}],
    ],
)
def test_a_line_with_attachments_that_are_none_is_a_damaged_one(attachments: object) -> None:
    record = {**records.message_record(PROMPT), "attachments": attachments}
    found = records.decode(records.encode(record), "c1")
    assert (found.messages, found.damaged_lines) == ((), 1)


def test_a_hash_that_somebody_only_talks_about_is_not_in_use() -> None:
    talk = replace(
        PROMPT, content=f'"sha256":"{IMAGE.sha256}"', attachments=(replace(TEXT, text=f'"sha256": "{"b" * 64}"'),)
    )
    assert records.hashes_in(records.encode(records.message_record(talk))) == set()


def test_a_conversation_without_a_title_or_a_prompt_is_called_after_what_was_attached() -> None:
    asked = replace(PROMPT, content="", attachments=(TEXT,))
    assert records.decode(records.encode(records.message_record(asked)), "c1").title == "src/a.py"
