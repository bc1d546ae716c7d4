import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.foreign import llm_logs
from chatllm_cli.formats.reading import sqlite_files
from chatllm_cli.formats.reading.source import Imported, Outcome, Source
from chatllm_cli.models import Attachment, Conversation, Message, TokenUsage
from tests.documents import GIF, PNG

PLACE = Path(__file__).parent / "data" / "imports" / "llm"
FIXTURES = sorted(PLACE.glob("*.db"))
PICTURE = "6b7fa434f92a8b80aab02d9bf1a12e49ffcae424e4013a1c4f68b67e3d2bbcd0"
TOOK = "7+3"
KEEL = [
    ["user", "What is a keel?"],
    ["assistant", "The keel 🚢 is the **lowest** part.", "harbour", "complete", TOOK],
    ["user", "And behind it?"],
    ["assistant", "Then the rudder.", "harbour", "complete", TOOK],
]
HASTY = ["Cut this short", "", ["user", "Cut this short"], ["assistant", "cut short", "hasty", "truncated", TOOK]]
PICTURED = [
    "What is in it?",
    "",
    ["user", "What is in it?", f"attachment 6b7fa434 image/png 70 {PICTURE}"],
    ["assistant", "A very small picture.", "harbour", "complete", TOOK],
]
GUSTS = [
    "Erste Bö Zweite Bö Sum it up",
    "",
    ["user", "Erste Bö\nZweite Bö\n\nSum it up\n\n[attached: boat.gif]"],
    ["assistant", "A list of boats.", "harbour", "complete", TOOK],
]
DEPTH = [["user", "Wie tief ist es?"], ["assistant", "Am Kai: 4 m.", "harbour", "complete", TOOK]]


LEFT_OUT = ("the conversations after it are left out: there is too much to read",)


def with_tool(version: str) -> list[Any]:
    return [
        "Which version are you?",
        "",
        ["user", "Which version are you?"],
        ["assistant", "[called llm_version {}]", "harbour", "complete", TOOK],
        ["system", f"[llm_version returned]\n{version}"],
        ["assistant", "It is that version.", "harbour", "complete", TOOK],
    ]


def said(version: str) -> list[list[Any]]:
    """What the same prompts became in each version."""
    return [
        ["What is a keel?", "Be brief. 日本語も可。", *KEEL],
        HASTY,
        with_tool(version),
        PICTURED,
        GUSTS,
        ["Wie tief ist es?", "", *DEPTH],
    ]


def source_of(path: Path) -> Source:
    return Source(path.name, path.read_bytes(), path)


def load(path: Path) -> list[Conversation]:
    return [outcome.conversation for outcome in llm_logs.load(source_of(path)) if isinstance(outcome, Imported)]


def outcomes(path: Path) -> list[Outcome]:
    return list(llm_logs.load(source_of(path)))


def told(conversation: Conversation) -> list[Any]:
    """Title, system prompt and messages down to the head, without what differs each time."""
    return [conversation.title, conversation.system_prompt, *map(message_told, conversation.thread())]


def message_told(message: Message) -> list[str]:
    reply = [message.model or "", message.status, usage_told(message.usage)] if message.role == "assistant" else []
    return [message.role, message.content, *reply, *map(attachment_told, message.attachments)]


def usage_told(usage: TokenUsage | None) -> str:
    return f"{usage.input_tokens}+{usage.output_tokens}" if usage else ""


def attachment_told(each: Attachment) -> str:
    return f"{each.name} {each.media_type} {each.size} {each.sha256 or each.text}"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A copy of the newest fixture, to be changed."""
    return copied("threads", tmp_path)


def copied(name: str, folder: Path) -> Path:
    path = folder / "logs.db"
    path.write_bytes((PLACE / f"{name}.db").read_bytes())
    return path


def change(path: Path, *statements: str, **values: object) -> Path:
    """Run statements, each with all of these values by their names."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement, values)
        connection.commit()
    return path


def rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_the_older_tables_are_read_with_prompts_tools_pictures_and_fragments() -> None:
    assert [told(each) for each in load(PLACE / "responses.db")] == said("0.27.1")


def test_threads_are_read_alike_and_a_fork_is_a_branch_whose_end_is_in_use() -> None:
    first, *others = load(PLACE / "threads.db")

    above = [["user", "And above it?"], ["assistant", "The deck.", "harbour", "complete", TOOK]]
    assert told(first) == ["What is a keel?", "Be brief. 日本語も可。", *KEEL[:2], *above]
    assert [message_told(each) for each in first.aside()] == KEEL[2:]
    assert [told(each) for each in others] == said("0.36")[1:]


def test_what_an_older_version_began_and_a_newer_went_on_with_is_one_conversation() -> None:
    first, *others = load(PLACE / "upgraded.db")

    more = [["user", "Und am neuen Kai?"], ["assistant", "Am neuen Kai: 5 m.", "harbour", "complete", TOOK]]
    assert told(first) == ["Wie tief ist es?", "", *DEPTH, *more]
    assert not first.aside()
    assert [told(each) for each in others] == [*said("0.36"), *said("0.27.1")[:-1]]


def test_its_messages_are_known_again_after_the_upgrade(tmp_path: Path) -> None:
    """Those of the newer tables alone, as if the older ones had been left behind."""
    begun = load(PLACE / "responses.db")[-1]
    path = change(copied("upgraded", tmp_path), "DELETE FROM responses")
    upgraded = load(path)[0]

    assert upgraded.id == begun.id
    assert [each.id for each in upgraded.messages[:2]] == [each.id for each in begun.messages]


def test_the_oldest_tables_join_prompts_by_their_chat_or_not_at_all() -> None:
    anchor = [
        ["user", "Was hält ein Schiff?"],
        ["assistant", "An anchor holds.", "says-An-anchor-holds.", "complete", ""],
    ]
    count = [["user", "Count"], ["assistant", "word0 word1 word2 ", "tokens-3", "complete", ""]]
    chat = [
        ["user", "Schöne Grüße"],
        ["assistant", "Ahoy.", "says-Ahoy.", "complete", ""],
        ["user", "And at the end?"],
        ["assistant", "Farewell.", "says-Farewell.", "complete", ""],
    ]
    assert [told(each) for each in load(PLACE / "log.db")] == [["", "Be brief.", *anchor], ["", "", *count]]
    assert [told(each) for each in load(PLACE / "log-chat.db")] == [["", "Be brief.", *chat], ["", "", *count]]


def test_the_same_number_in_two_old_databases_is_two_conversations() -> None:
    ids = [each.id for name in ("log", "log-chat") for each in load(PLACE / f"{name}.db")]
    assert len(set(ids)) == 4


def test_dates_are_those_of_the_prompt_and_of_the_end_of_its_answer() -> None:
    [(begun, took)] = rows(PLACE / "threads.db", "SELECT datetime_utc, duration_ms FROM turns ORDER BY id LIMIT 1")
    conversation = load(PLACE / "threads.db")[0]
    asked, answered = conversation.messages[:2]

    assert conversation.created_at == asked.at
    assert 0 <= datetime.fromisoformat(begun).timestamp() - asked.at.timestamp() < 0.001
    assert round((answered.at - asked.at).total_seconds() * 1000) == took


def test_nothing_that_was_said_costs_anything_here() -> None:
    costs = {
        each.cost for path in FIXTURES for found in load(path) for each in found.messages if each.role == "assistant"
    }
    assert costs == {0.0}


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_a_database_read_twice_is_the_same_also_from_memory(path: Path) -> None:
    on_disk, again = (list(llm_logs.load(source_of(path))) for _ in range(2))
    in_memory = list(llm_logs.load(Source("-", path.read_bytes())))

    assert on_disk == again == in_memory
    assert all(isinstance(each, Imported) for each in on_disk)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_the_head_and_all_parents_are_there(path: Path) -> None:
    for each in load(path):
        ids = {message.id for message in each.messages}
        assert {each.head, *(message.parent for message in each.messages)} - {None} <= ids


def test_a_picture_comes_with_its_bytes() -> None:
    files = [
        outcome.files for outcome in outcomes(PLACE / "threads.db") if isinstance(outcome, Imported) and outcome.files
    ]
    assert files == [{PICTURE: PNG}]


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"plain text\n", "boat.txt text/plain 11 plain text\n"),
        (GIF, "boat.txt image/gif 14 "),
        (b"\0\1", None),
        (b"\xff", None),
    ],
)
def test_an_attachment_is_kept_if_it_can_be_read_or_seen_and_named_if_not(
    database: Path, content: bytes, kept: str | None
) -> None:
    statement = "UPDATE attachments SET path = 'boat.txt', content = :content WHERE path = 'boat.gif'"
    change(database, statement, content=content)
    [prompt] = [message for found in load(database) for message in found.messages if "Sum it up" in message.content]

    assert [attachment_told(each).startswith(kept or "-") for each in prompt.attachments] == ([True] if kept else [])
    assert ("[attached: boat.txt]" in prompt.content) is (kept is None)


def test_a_system_prompt_that_changes_stands_where_it_does(tmp_path: Path) -> None:
    path = change(
        copied("responses", tmp_path), "UPDATE responses SET system = 'Be long.' WHERE prompt = 'And behind it?'"
    )

    assert told(load(path)[0]) == [
        "What is a keel?",
        "Be brief. 日本語も可。",
        *KEEL[:2],
        ["system", "Be long."],
        *KEEL[2:],
    ]


def test_reasoning_and_cached_tokens_are_kept(tmp_path: Path) -> None:
    details = '{"prompt_tokens_details": {"cached_tokens": 5}}'
    older = copied("responses", tmp_path)
    change(older, "ALTER TABLE responses ADD COLUMN reasoning TEXT")
    change(older, "UPDATE responses SET reasoning = 'Hm.', token_details = :details", details=details)
    reply = load(older)[0].messages[1]
    assert (reply.reasoning, reply.usage) == ("Hm.", TokenUsage(7, 3, 5))

    newer = copied("threads", tmp_path)
    change(newer, "UPDATE turns SET token_details = :details", details=details)
    change(newer, "UPDATE parts SET type = 'reasoning', text = 'Hm.' WHERE text = 'Then the rudder.'")
    reply = load(newer)[0].messages[3]
    assert (reply.content, reply.reasoning, reply.usage) == ("", "Hm.", TokenUsage(7, 3, 5))


def test_what_says_nothing_is_left_out_and_what_follows_hangs_above_it(database: Path) -> None:
    change(database, "UPDATE parts SET text = '' WHERE text LIKE 'The keel%'")
    first = load(database)[0]
    assert [each.content for each in first.messages] == ["What is a keel?", "And behind it?", "Then the rudder.",
                                                        "And above it?", "The deck."]  # fmt: skip
    assert first.messages[1].parent == first.messages[3].parent == first.messages[0].id


def test_turns_whose_thread_is_gone_are_read_all_the_same(database: Path) -> None:
    before = load(database)
    change(database, "DELETE FROM threads WHERE forked_from IS NULL")
    after = {each.id: told(each)[1:] for each in load(database)}
    assert after == {each.id: told(each)[1:] for each in before}


def test_threads_that_were_forked_from_each_other_are_one_conversation(database: Path) -> None:
    change(database, "UPDATE threads SET forked_from = (SELECT max(id) FROM threads)")
    assert len(load(database)) == 1


NO_FRAGMENT = '{"text_ref": [{"fragment": 9}]}'
NO_ATTACHMENT = '{"attachments": [{"id": "9"}]}'
NO_UTF8 = "the database cannot be read: Could not decode to UTF-8 column 'text' with text '\ufffd'"


@pytest.mark.parametrize(
    ("change_of_a_part", "message"),
    [
        ("type = 'dance'", "it has a part of a kind that is not known: dance"),
        ("text = x'00'", "a text was expected, not b'\\x00'"),
        ("text = cast(x'ff' AS TEXT)", NO_UTF8),
        ("payload = '['", "it is no JSON: Expecting value"),
        ("payload = '1'", "an object was expected, not 1"),
        (f"text = NULL, payload = '{NO_FRAGMENT}'", "one of its fragments is missing"),
        (f"payload = '{NO_ATTACHMENT}'", "one of its attachments is missing"),
    ],
)
def test_a_conversation_whose_text_is_damaged_is_named_and_the_others_are_read(
    database: Path, change_of_a_part: str, message: str
) -> None:
    change(database, f"UPDATE parts SET {change_of_a_part} WHERE text = 'What is a keel?'")  # noqa: S608  (our own)
    refuses_the_first(database, message)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE messages SET parent_hash = hash WHERE role = 'system'", "its messages have no beginning"),
        ("DELETE FROM messages WHERE role = 'system'", "one of its messages is missing"),
        ("UPDATE turns SET input_tokens = -1 WHERE rowid = 1", "a number of tokens was expected, not -1"),
        ("UPDATE turns SET datetime_utc = 'soon' WHERE rowid = 1", "a time was expected, not 'soon'"),
        ("UPDATE turns SET model = x'00' WHERE rowid = 1", "a text was expected, not b'\\x00'"),
    ],
)
def test_a_conversation_that_is_damaged_is_named_and_the_others_are_read(
    database: Path, statement: str, message: str
) -> None:
    change(database, statement)
    refuses_the_first(database, message)


def refuses_the_first(database: Path, message: str) -> None:
    [(key,)] = rows(database, "SELECT min(id) FROM threads")
    first, *others = outcomes(database)

    assert isinstance(first, FormatError)
    assert first.message == f"conversation {key}: {message}"
    assert all(isinstance(each, Imported) for each in others)
    assert len(others) == 5


def test_arguments_nested_as_deep_as_json_can_be_are_no_crash(database: Path) -> None:
    for depth in (*range(900, 1000, 10), 100_000):
        payload = f'{{"name": "a", "arguments": {"[" * depth + "]" * depth}}}'
        change(database, "UPDATE parts SET payload = :payload WHERE type = 'tool_call'", payload=payload)
        assert len(outcomes(database)) == 6


def test_a_fragment_that_is_repeated_without_end_is_refused(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatllm_cli.formats.foreign.llm_tree.MOST_BYTES", 2**20)
    payload = json.dumps({"text_ref": [{"fragment": 1}] * 20})
    change(database, "UPDATE fragments SET content = :content", content="x" * 100_000)
    change(
        database, "UPDATE parts SET text = NULL, payload = :payload WHERE text = 'Cut this short'", payload=payload
    )

    [refused] = [each.message for each in outcomes(database) if isinstance(each, FormatError)]
    assert refused.endswith(": it is larger than 1 MiB")


@pytest.mark.parametrize("kind", ["VIEW responses AS", "VIRTUAL TABLE responses USING fts4", "TABLE responses AS"])
def test_only_a_real_table_is_read(tmp_path: Path, kind: str) -> None:
    columns = "SELECT 'a' AS id, 'b' AS conversation_id, 'hello' AS prompt, 'hi' AS response"
    made = "CREATE VIRTUAL TABLE responses USING fts4(id, conversation_id, prompt, response)"
    path = change(tmp_path / "x.db", made if "VIRTUAL" in kind else f"CREATE {kind} {columns}")

    assert llm_logs.is_one(source_of(path)) is (kind == "TABLE responses AS")


def test_a_column_that_is_worked_out_is_not_there(tmp_path: Path) -> None:
    path = change(tmp_path / "x.db", "CREATE TABLE responses (id TEXT, conversation_id TEXT, prompt TEXT,"
                  " response TEXT GENERATED ALWAYS AS (hex(zeroblob(1000))))")  # fmt: skip
    assert not llm_logs.is_one(source_of(path))


def other_files(folder: Path) -> Iterator[bytes]:
    yield b""
    yield b"SQLite format 3\0"
    yield b"SQLite format 3\0" + b"\0" * 4096
    yield change(folder / "other.db", "CREATE TABLE messages (hash TEXT)").read_bytes()
    yield b"[]"


def test_where_reading_would_take_too_long_it_ends(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = outcomes(database)
    monkeypatch.setattr(sqlite_files, "STEPS_AT_ONCE", 10)
    monkeypatch.setattr(sqlite_files, "STEPS_PER_BYTE", 0)
    endings = []
    for steps in range(1000, 6000, 250):  # how many it takes is SQLite's to say
        monkeypatch.setattr(sqlite_files, "MOST_STEPS", steps)
        with suppress(FormatError):  # nothing could be read
            read = outcomes(database)
            complete = [each for each in read if isinstance(each, Imported)]
            assert complete == whole[: len(complete)]
            endings.append([each.message for each in read if isinstance(each, FormatError)])

    cut = [ending for ending in endings if ending]
    assert cut
    assert all(ending[0].endswith(": the database takes too long to read") for ending in cut)
    assert {*(tuple(ending[1:]) for ending in cut)} == {LEFT_OUT}
    assert endings[-1] == []


def test_what_becomes_more_than_any_file_holds_is_ended(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm_logs, "MOST_SAID", 110)
    first, second, last = outcomes(database)

    assert isinstance(first, Imported)
    assert isinstance(second, Imported)
    assert isinstance(last, FormatError)
    assert (last.message,) == LEFT_OUT


def test_llm_can_write_while_a_conversation_is_being_imported(database: Path) -> None:
    reading = llm_logs.load(source_of(database))
    next(reading)
    change(database, "UPDATE threads SET name = 'Renamed' WHERE name = 'Cut this short'")
    second = next(reading)
    assert isinstance(second, Imported)
    assert second.conversation.title == "Renamed"


def test_other_files_are_none_of_its(tmp_path: Path) -> None:
    for data in other_files(tmp_path):
        source = Source("x.db", data)
        with suppress(FormatError):  # of a damaged one
            assert not llm_logs.is_one(source)
        with pytest.raises(FormatError):
            list(llm_logs.load(source))


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_each_kind_is_told_by_its_tables(path: Path) -> None:
    assert llm_logs.is_one(source_of(path))
    assert llm_logs.is_one(Source("-", path.read_bytes()))


@pytest.mark.parametrize("length", range(0, 66_560, 5120))
def test_of_a_database_that_is_cut_short_nothing_is_read(length: int) -> None:
    source = Source("x.db", (PLACE / "threads.db").read_bytes()[:length])
    read: list[Outcome] = []
    with suppress(FormatError):
        read.extend(llm_logs.load(source))
    assert not [each for each in read if isinstance(each, Imported)]


def test_moments_before_any_are_not_made_up(tmp_path: Path) -> None:
    path = change(copied("log", tmp_path), "UPDATE log SET timestamp = NULL")
    assert {each.created_at for each in load(path)} == {datetime(1970, 1, 1, tzinfo=UTC)}


def test_a_row_that_is_found_under_another_hash_is_no_crash(database: Path) -> None:
    """As a damaged index finds it, or a column that takes small letters for capitals."""
    change(
        database,
        "CREATE TABLE other (hash TEXT COLLATE NOCASE, parent_hash TEXT, role TEXT)",
        "INSERT INTO other SELECT hash, parent_hash, role FROM messages",
        "DROP VIEW message_tree",
        "DROP TABLE messages",
        "ALTER TABLE other RENAME TO messages",
        "UPDATE turns SET tip_message_hash = upper(tip_message_hash)",
    )
    assert len(outcomes(database)) == 6
