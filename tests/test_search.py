import os
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from chatllm_cli.errors import UsageError
from chatllm_cli.models import Conversation, Filter, Hit, Message, Role
from chatllm_cli.services.history import records
from chatllm_cli.services.history.index import Index
from chatllm_cli.services.history.search import (
    Query,
    ids_beginning,
    list_conversations,
    search,
    shortest_address,
    tallies,
)

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
TEXTS = {
    "uuid": "see CFF90D7C-A2EC-4FE5-9F2B-000000000001 for it",
    "quotes": 'she said "don\'t" and left',
    "hyphens": "a well-known state-of-the-art thing",
    "japanese": "東京タワーは日本の観光地です",
    "emoji": "ship it 🚀 now",
    "accents": "a café in Zürich, a naïve Straße",
    "code": "def main(argv): return os.environ['HOME']",
    "percent": "100% of the_rest",
    "caps": "DOCKER Compose",
    "short": "go is ok",
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Every text as a conversation of its own, an hour after the one before, answered by a model."""
    root = tmp_path_factory.mktemp("search")
    folder = root / "data" / "2026" / "07"
    folder.mkdir(parents=True)
    for hours, (name, text) in enumerate(TEXTS.items()):
        at = NOON + timedelta(hours=hours)
        prompt = Message(f"{name}-q", Role.USER, text, at)
        reply = Message(f"{name}-a", Role.ASSISTANT, f"answer to {name}", at, prompt.id, model=f"hub/{name[:1]}")
        conversation = Conversation(f"{name:x<16}", name, at, messages=(prompt, reply))
        lines = (records.conversation_record(conversation), *map(records.message_record, conversation.messages))
        tags = [records.tags_record(conversation.id, ["odd"], at)] if hours % 2 else []
        (folder / f"{conversation.id}.jsonl").write_bytes(records.encode(*lines, *tags))
    return Index(root / "cache" / "index.db", root / "data")


def find(index: Index, text: str, wanted: Filter | None = None, **how: bool) -> list[Hit]:
    return index.ask(lambda db: search(db, Query(text, **how), wanted or Filter(), 20))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CFF90D7C-A2EC-4FE5-9F2B-000000000001", "uuid"),
        ("cff90d7c-a2ec", "uuid"),
        ("0D7C-A2", "uuid"),
        ('"don\'t"', "quotes"),
        ('said "don', "quotes"),
        ("state-of-the-art", "hyphens"),
        ("known art", "hyphens"),
        ("日本", "japanese"),
        ("タワー", "japanese"),
        ("観光地です", "japanese"),
        ("🚀", "emoji"),
        ("ship 🚀", "emoji"),
        ("cafe", "accents"),
        ("café", "accents"),
        ("cafe\u0301", "accents"),
        ("ZÜRICH", "accents"),
        ("strasse", "accents"),
        ("os.environ['HOME']", "code"),
        ("main(argv)", "code"),
        ("viron", "code"),
        ("100%", "percent"),
        ("the_rest", "percent"),
        ("docker compose", "caps"),
        ("ocke", "caps"),
        ("ok", "short"),
        ('"state-of-the-art thing"', "hyphens"),
        ('"ZÜRICH, a" café', "accents"),
    ],
)
def test_any_text_is_found_as_it_is_typed(index: Index, text: str, name: str) -> None:
    assert [hit.message for hit in find(index, text)] == [f"{name}-q"]


@pytest.mark.parametrize(
    "text",
    [
        "nowhere",
        "docker zürich",
        "%%%",
        "_____",
        "AND",
        "*",
        '"',
        "'",
        "(",
        "日本語",
        "0D7D",
        "ab_cd def",
        "a%b c%d efg",
    ],
)
def test_what_nobody_said_is_not_found(index: Index, text: str) -> None:
    assert [hit.message for hit in find(index, text) if hit.message not in {"quotes-q", "code-q", "hyphens-q"}] == []


@pytest.mark.parametrize("text", ["go!", "thing.", "C++", '"known thing"', '"left and"', "argv(main)"])
def test_punctuation_and_the_order_of_a_quoted_phrase_count(index: Index, text: str) -> None:
    assert find(index, text) == []


def test_titles_that_are_nobody_s_words_are_found(index: Index) -> None:
    assert [(hit.message, hit.role) for hit in find(index, "percent")] == [
        ("title", "title"),
        ("percent-a", "assistant"),
    ]


def test_instructions_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "2026" / "07"
    folder.mkdir(parents=True)
    prompt = Message("q", Role.USER, "hi", NOON)
    conversation = Conversation("abcd", "hi", NOON, system_prompt="Speak like a zebra.", messages=(prompt,))
    lines = (records.conversation_record(conversation), records.message_record(prompt))
    (folder / "abcd.jsonl").write_bytes(records.encode(*lines))
    assert [hit.role for hit in find(Index(tmp_path / "index.db", tmp_path), "zebra")] == ["system"]


def test_the_newest_of_very_many_are_found_and_as_many_as_are_asked_for(tmp_path: Path) -> None:
    names = [f"{number:04}" for number in range(700)]
    for number in sorted(range(700), key=lambda each: each * 7919 % 700):  # in no order that a folder may have
        at = NOON + timedelta(hours=number)
        folder = tmp_path / "2026" / f"{1 + number % 12:02}"
        folder.mkdir(parents=True, exist_ok=True)
        prompt = Message("q", Role.USER, f"commonword {names[number]}", at)
        conversation = Conversation(names[number], "", at, messages=(prompt,))
        path = folder / f"{names[number]}.jsonl"
        path.write_bytes(records.encode(records.conversation_record(conversation), records.message_record(prompt)))
        os.utime(path, (at.timestamp(), at.timestamp()))
    index = Index(tmp_path / "index.db", tmp_path)
    newest = index.ask(lambda db: search(db, Query("commonword"), Filter(), 3))
    assert [hit.conversation for hit in newest] == ["0699", "0698", "0697"]
    for query in (Query("commonword"), Query("commonword", is_raw=True), Query("common", is_regex=True)):
        assert len(index.ask(partial(search, query=query, wanted=Filter(), limit=2000))) == 700


def test_a_find_says_where_it_is_and_what_stands_around_it(index: Index) -> None:
    (hit,) = find(index, "compose")
    assert hit == Hit(
        "capsxxxxxxxxxxxx",
        "caps",
        "caps",
        "caps-q",
        "user",
        "",
        NOON + timedelta(hours=8),
        (("DOCKER ", False), ("Compose", True)),
    )


def test_a_snippet_of_a_long_text_is_around_the_find(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "2026" / "07"
    folder.mkdir(parents=True)
    text = "before " * 500 + "\nneedle\n" + "after " * 500
    conversation = Conversation("aaaa", "t", NOON, messages=(Message("m", Role.USER, text, NOON),))
    lines = (records.conversation_record(conversation), records.message_record(conversation.messages[0]))
    (folder / "aaaa.jsonl").write_bytes(records.encode(*lines))
    (hit,) = find(Index(None, tmp_path / "data"), "needle")
    shown = "".join(part for part, _ in hit.snippet)
    assert shown.startswith("…")
    assert "before needle after" in shown
    assert shown.endswith("…")
    assert len(shown) < 200


def test_whole_words_come_before_parts_of_words_and_more_before_fewer(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "2026" / "07"
    folder.mkdir(parents=True)
    texts = ["filler " * 60 + "net", "net net net", "net " + "filler " * 10]
    messages = tuple(Message(f"m{n}", Role.USER, text, NOON + timedelta(n)) for n, text in enumerate(texts))
    conversation = Conversation("aaaa", "t", NOON, messages=messages)
    lines = (records.conversation_record(conversation), *map(records.message_record, messages))
    (folder / "aaaa.jsonl").write_bytes(records.encode(*lines))
    assert [hit.message for hit in find(Index(None, tmp_path / "data"), "net")] == ["m1", "m2", "m0"]


@pytest.mark.parametrize(
    ("wanted", "messages"),
    [
        (Filter(role="assistant"), []),
        (Filter(role="user"), ["emoji-q"]),
        (Filter(since=NOON + timedelta(hours=5)), []),
        (Filter(since=NOON, until=NOON + timedelta(hours=5)), ["emoji-q"]),
        (Filter(tag="odd"), []),
        (Filter(tag="none"), []),
    ],
)
def test_a_search_may_be_narrowed_down(index: Index, wanted: Filter, messages: list[str]) -> None:
    assert [hit.message for hit in find(index, "ship", wanted)] == messages


def test_answers_of_a_model_are_found_by_its_name(index: Index) -> None:
    assert [hit.message for hit in find(index, "answer", Filter(model="HUB/U"))] == ["uuid-a"]


def test_raw_takes_the_syntax_of_fts5(index: Index) -> None:
    assert [hit.message for hit in find(index, "dock* OR ship", is_raw=True)] == ["caps-q", "emoji-q"]
    with pytest.raises(UsageError, match=r"^'dock AND' is not FTS5 syntax: "):
        find(index, "dock AND", is_raw=True)


def test_regex_takes_regular_expressions(index: Index) -> None:
    assert [hit.message for hit in find(index, r"[A-F0-9]{8}-[A-F0-9]{4}", is_regex=True)] == ["uuid-q"]
    assert [hit.message for hit in find(index, r"^D\w+ C", is_regex=True)] == ["caps-q"]
    with pytest.raises(UsageError, match=r"^'\(' is not a regular expression: "):
        find(index, "(", is_regex=True)


@pytest.mark.parametrize(
    ("wanted", "sort", "first"),
    [
        (Filter(), "used", "short"),
        (Filter(), "created", "short"),
        (Filter(), "title", "accents"),
        (Filter(until=NOON + timedelta(hours=3)), "used", "hyphens"),
        (Filter(model="hub/j"), "used", "japanese"),
        (Filter(tag="odd"), "used", "short"),
    ],
)
def test_lists_are_filtered_and_sorted(index: Index, wanted: Filter, sort: str, first: str) -> None:
    assert index.ask(lambda db: list_conversations(db, wanted, sort=sort))[0].title == first


def test_only_the_plain_list_has_places(index: Index) -> None:
    plain = index.ask(lambda db: list_conversations(db, Filter(), limit=2))
    tagged = index.ask(lambda db: list_conversations(db, Filter(tag="odd"), limit=2))
    assert ([each.place for each in plain], [each.place for each in tagged]) == ([1, 2], [None, None])


def test_figures_are_told_apart_by_model_provider_and_time(index: Index) -> None:
    by = index.ask(lambda db: {name: tallies(db, name, Filter()) for name in ("provider", "month", "day")})
    assert [(tally.name, tally.conversations, tally.messages) for tally in by["provider"]] == [("hub", 10, 10)]
    assert [tally.name for tally in by["month"]] == ["2026-07"]
    assert sum(tally.messages for tally in by["day"]) == 10


def test_an_address_is_as_short_as_can_be_and_names_one(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "2026" / "07"
    folder.mkdir(parents=True)
    for conversation_id in ("abcd1111", "abcd1222", "abcz0000", "b" * 16):
        conversation = Conversation(conversation_id, "t", NOON, messages=(Message("m", Role.USER, "x", NOON),))
        lines = (records.conversation_record(conversation), records.message_record(conversation.messages[0]))
        (folder / f"{conversation_id}.jsonl").write_bytes(records.encode(*lines))
    index = Index(None, tmp_path / "data")
    ids = ("abcd1111", "abcd1222", "abcz0000")
    addresses = index.ask(lambda db: [shortest_address(db, each) for each in ids])
    assert addresses == ["abcd11", "abcd12", "abcz"]
    assert len(index.ask(lambda db: ids_beginning(db, "abc"))) == 3
