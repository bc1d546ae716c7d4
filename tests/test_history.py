import json
import os
import re
import resource
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chatllm_cli.errors import ConversationNotFoundError, HistoryError
from chatllm_cli.ids import new_id
from chatllm_cli.models import Conversation, Message, Role, Status, Summary
from chatllm_cli.services.history import HistoryService, Listing, OpenConversation, records

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
PROMPT = Message("m1", Role.USER, "Hi", NOON)
REPLY = Message("m2", Role.ASSISTANT, "Hello", NOON, parent="m1", model="openai/gpt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "conversations"


@pytest.fixture
def history(folder: Path) -> HistoryService:
    return HistoryService(folder)


AT = f"{NOON.astimezone():%Y-%m-%d %H:%M}"


def stored(folder: Path, *ids_and_titles: tuple[str, str]) -> Sequence[Conversation]:
    """Conversations that were stored before, each used a while after the one before it."""
    conversations = []
    for moment, (conversation_id, title) in enumerate(ids_and_titles):
        prompt = replace(PROMPT, at=NOON + timedelta(seconds=moment))
        conversation = Conversation(conversation_id, title, NOON, messages=(prompt,), head="m1")
        path = folder / "2026" / "07" / f"{conversation_id}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(records.encode(records.conversation_record(conversation), records.message_record(prompt)))
        conversations.append(conversation)
    return conversations


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def journal_in(folder: Path) -> list[tuple[object, object]]:
    """The type of each record of the only conversation there is, and what it says."""
    (path,) = files_in(folder)
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    says = {"conversation": "title", "message": "content", "partial": "text", "system_prompt": "system_prompt"}
    return [(line["type"], line[says[line["type"]]]) for line in lines]


async def listed(history: HistoryService, limit: int | None = None) -> list[str]:
    return [each.title for each in (await history.list(limit=limit)).conversations]


def to_the_millisecond(conversation: Conversation) -> Conversation:
    """As a journal keeps it."""
    at = conversation.created_at
    return replace(conversation, created_at=at.replace(microsecond=at.microsecond // 1000 * 1000))


async def test_a_conversation_is_stored_with_its_first_message(history: HistoryService, folder: Path) -> None:
    opened = history.start("\nWhat is  new?\nTell me", model="openai/gpt", system_prompt="Be kind.")
    assert not folder.exists()
    await opened.add(PROMPT)
    conversation = opened.conversation
    assert (conversation.title, conversation.model, conversation.system_prompt, conversation.messages) == (
        "What is new?", "openai/gpt", "Be kind.", (PROMPT,)
    )  # fmt: skip
    month = conversation.created_at.strftime("%Y/%m")
    assert files_in(folder) == [folder / month / f"{conversation.id}.jsonl"]
    assert await history.load(conversation.id) == to_the_millisecond(conversation)


async def test_messages_are_added_under_the_head(history: HistoryService, folder: Path) -> None:
    opened = history.start("Hi", model="")
    for message in (PROMPT, REPLY):
        await opened.add(message)
    assert (opened.conversation.messages, opened.conversation.head) == ((PROMPT, REPLY), "m2")
    assert journal_in(folder) == [("conversation", "Hi"), ("message", "Hi"), ("message", "Hello")]
    assert await history.load("@1") == to_the_millisecond(opened.conversation)


async def test_what_was_marked_of_a_reply_survives_without_its_end(history: HistoryService, folder: Path) -> None:
    opened = history.start("Hi", model="")
    await opened.add(PROMPT)
    await opened.mark(REPLY, "Hel")
    await opened.mark(REPLY, "lo")
    assert journal_in(folder)[2:] == [("partial", "Hel"), ("partial", "lo")]
    assert (await history.load("@1")).messages == (PROMPT, replace(REPLY, status=Status.INTERRUPTED))
    assert opened.conversation.messages == (PROMPT,)
    await opened.add(replace(REPLY, content="Hello!"))
    assert (await history.load("@1")).messages == (PROMPT, replace(REPLY, content="Hello!"))


async def test_a_message_is_on_the_disk_when_it_is_added_and_a_mark_does_not_wait(
    history: HistoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync
    synced = []

    def fsync_and_tell(descriptor: int) -> None:
        synced.append(descriptor)
        fsync(descriptor)

    opened = history.start("Hi", model="")
    await opened.add(PROMPT)
    monkeypatch.setattr("chatllm_cli.services.history.journal.os.fsync", fsync_and_tell)
    await opened.mark(REPLY, "Hel")
    assert len(synced) == 0
    await opened.add(REPLY)
    assert len(synced) == 1


async def test_nothing_is_marked_before_the_first_message(history: HistoryService, folder: Path) -> None:
    await history.start("Hi", model="").mark(REPLY, "Hel")
    assert not folder.exists()


async def test_what_is_not_to_be_kept_is_not_written(history: HistoryService, folder: Path) -> None:
    opened = history.start("Hi", model="", keep=False)
    await opened.add(PROMPT)
    await opened.mark(REPLY, "Hel")
    opened.set_system_prompt("Be brief.")
    await opened.add(REPLY)
    assert (opened.conversation.messages, opened.conversation.system_prompt) == ((PROMPT, REPLY), "Be brief.")
    assert not folder.exists()


async def test_what_is_not_to_be_kept_of_a_stored_conversation_is_not_written(
    history: HistoryService, folder: Path
) -> None:
    (conversation,) = stored(folder, ("abcd1234", "Greeting"))
    opened = await history.resume(conversation, system_prompt="Be brief.", keep=False)
    await opened.add(REPLY)
    assert opened.conversation.messages == (PROMPT, REPLY)
    assert await history.load("@1") == conversation


async def test_what_could_not_be_written_goes_with_the_next_record(history: HistoryService, folder: Path) -> None:
    opened = history.start("Hi", model="", system_prompt="Be kind.")
    folder.write_text("in the way")
    month = opened.conversation.created_at.strftime("%Y/%m")
    opened.set_system_prompt("Be brief.")
    with pytest.raises(HistoryError) as raised:
        await opened.add(PROMPT)
    assert (raised.value.message, raised.value.hint) == (
        f"the conversation could not be saved to {folder}/{month}/{opened.conversation.id}.jsonl: File exists",
        "make room or check the folder; --no-history goes without",
    )
    with pytest.raises(HistoryError):
        await opened.mark(REPLY, "Hel")
    assert (opened.conversation.messages, opened.is_kept) == ((PROMPT,), False)
    folder.unlink()
    await opened.mark(REPLY, "Hel")
    assert opened.is_kept
    await opened.add(REPLY)
    assert journal_in(folder) == [
        ("conversation", "Hi"),
        ("system_prompt", "Be brief."),
        ("message", "Hi"),
        ("partial", "Hel"),
        ("message", "Hello"),
    ]
    assert await history.load("@1") == to_the_millisecond(opened.conversation)


async def test_a_mark_that_could_not_be_written_is_an_error(history: HistoryService, folder: Path) -> None:
    opened = history.start("Hi", model="")
    await opened.add(PROMPT)
    folder.rename(folder.with_name("elsewhere"))
    folder.write_text("in the way")
    with pytest.raises(HistoryError):
        await opened.mark(REPLY, "Hel")


async def test_a_conversation_goes_on_where_it_was_left(history: HistoryService, folder: Path) -> None:
    (conversation,) = stored(folder, ("abcd1234", "Greeting"))
    opened = await history.resume(conversation)
    assert opened.conversation == conversation
    await opened.add(REPLY)
    assert journal_in(folder) == [("conversation", "Greeting"), ("message", "Hi"), ("message", "Hello")]
    assert await history.load("@1") == replace(conversation, messages=(PROMPT, REPLY), head="m2")


async def test_a_conversation_goes_on_in_the_file_where_it_lies_now(history: HistoryService, folder: Path) -> None:
    (conversation,) = stored(folder, ("abcd1234", "Greeting"))
    moved = folder / "1999" / "12" / "abcd1234.jsonl"
    moved.parent.mkdir(parents=True)
    (folder / "2026" / "07" / "abcd1234.jsonl").rename(moved)
    opened = await history.resume(conversation)
    await opened.add(REPLY)
    assert files_in(folder) == [moved]
    assert (await history.load("@1")).messages == (PROMPT, REPLY)


async def test_two_may_continue_one_conversation(history: HistoryService, folder: Path) -> None:
    (conversation,) = stored(folder, ("abcd1234", "Greeting"))
    one, other = await history.resume(conversation), await history.resume(conversation)
    await one.add(REPLY)
    await other.add(replace(REPLY, id="m3", content="Good day"))
    loaded = await history.load("@1")
    assert [message.content for message in loaded.messages] == ["Hi", "Hello", "Good day"]
    assert [message.content for message in loaded.thread()] == ["Hi", "Good day"]


async def test_a_new_system_prompt_is_kept_along_with_the_next_message(history: HistoryService, folder: Path) -> None:
    (conversation,) = stored(folder, ("abcd1234", "Greeting"))
    opened = await history.resume(conversation, system_prompt="Be brief.")
    assert opened.conversation.system_prompt == "Be brief."
    assert await history.load("@1") == conversation
    await opened.add(REPLY)
    assert journal_in(folder)[2:] == [("system_prompt", "Be brief."), ("message", "Hello")]
    assert (await history.load("@1")).system_prompt == "Be brief."


async def test_a_system_prompt_can_be_taken_away(history: HistoryService, folder: Path) -> None:
    opened = history.start("Hi", model="", system_prompt="Be kind.")
    await opened.add(PROMPT)
    again = await history.resume(opened.conversation, system_prompt="")
    await again.add(REPLY)
    assert (await history.load("@1")).system_prompt == ""


@pytest.mark.parametrize("system_prompt", [None, "Be kind."])
async def test_the_same_system_prompt_is_not_written_again(
    history: HistoryService, folder: Path, system_prompt: str | None
) -> None:
    opened = history.start("Hi", model="", system_prompt="Be kind.")
    await opened.add(PROMPT)
    again = await history.resume(opened.conversation, system_prompt=system_prompt)
    await again.add(REPLY)
    assert journal_in(folder) == [("conversation", "Hi"), ("message", "Hi"), ("message", "Hello")]


async def test_conversations_are_listed_the_last_used_first(history: HistoryService, folder: Path) -> None:
    first, *_ = stored(folder, ("aaaa", "First"), ("bbbb", "Second"), ("cccc", "Third"))
    assert await listed(history) == ["Third", "Second", "First"]
    await (await history.resume(first)).add(replace(REPLY, at=NOON + timedelta(hours=1)))
    assert await listed(history) == ["First", "Third", "Second"]
    assert await listed(history, limit=2) == ["First", "Third"]
    summary = (await history.list()).conversations[0]
    assert summary == Summary(
        "aaaa", "aaaa", "First", "openai/gpt", NOON, NOON + timedelta(hours=1), 2, 0, 0, place=1, unpriced=1
    )


async def test_without_a_folder_there_is_nothing_to_list(history: HistoryService, folder: Path) -> None:
    assert await history.list() == Listing((), ())
    assert not folder.exists()


async def test_files_without_a_message_are_not_listed(history: HistoryService, folder: Path) -> None:
    (conversation,) = stored(folder, ("abcd1234", "Greeting"))
    (folder / "2026" / "07" / "empty.jsonl").touch()
    (folder / "2026" / "07" / "header.jsonl").write_bytes(records.encode(records.conversation_record(conversation)))
    assert await listed(history) == ["Greeting"]


async def test_a_file_that_cannot_be_read_is_told_and_the_others_are_listed(
    history: HistoryService, folder: Path
) -> None:
    old, new = stored(folder, ("aaaa", "Old"), ("bbbb", "New"))
    month = folder / "2026" / "07"
    (month / "future.jsonl").write_text('{"v":3,"type":"conversation"}\n')
    listing = await history.list()
    assert [each.title for each in listing.conversations] == ["New", "Old"]
    assert [(type(fault), fault.message, fault.hint) for fault in listing.faults] == [
        (
            HistoryError,
            "conversation future was written by a newer version of chatllm (format 3)",
            "update chatllm to read it",
        )
    ]
    assert [await history.load(address) for address in ("@1", "@2")] == [new, old]


async def test_a_file_that_cannot_be_read_is_told_to_who_asks_for_it(history: HistoryService, folder: Path) -> None:
    stored(folder, ("abcd1234", "Greeting"))
    (folder / "2026" / "07" / "abcd1234.jsonl").write_text('{"v":3}\n{"v":4,"type":"message"}\n')
    with pytest.raises(HistoryError, match=r"^conversation abcd1234 was written by a newer version"):
        await history.load("abcd")


async def test_damage_is_counted_and_the_rest_is_there(history: HistoryService, folder: Path) -> None:
    (conversation,) = stored(folder, ("abcd1234", "Greeting"))
    path = folder / "2026" / "07" / "abcd1234.jsonl"
    path.write_bytes(path.read_bytes() + b'{"v":1,"type":"mess')
    opened = await history.resume(await history.load("@1"))
    await opened.add(REPLY)
    assert await history.load("@1") == replace(conversation, messages=(PROMPT, REPLY), head="m2", damaged_lines=1)


@pytest.mark.parametrize(
    ("address", "title"),
    [
        ("@1", "Third"),
        ("@2", "Same"),
        ("@4", "First"),
        ("@04", "First"),
        ("abcd1111", "First"),
        ("abcd1", "First"),
        ("ABCD1", "First"),
        ("cdef", "Third"),
        ("First", "First"),
        ("Third", "Third"),
    ],
)
async def test_a_conversation_is_found_by_its_place_its_id_or_its_title(
    history: HistoryService, folder: Path, address: str, title: str
) -> None:
    stored(folder, ("abcd1111", "First"), ("abcd2222", "Same"), ("bcde3333", "Same"), ("cdef4444", "Third"))
    assert (await history.load(address)).title == title


@pytest.mark.parametrize(
    ("address", "message", "hint"),
    [
        ("@0", "there is no conversation '@0'", "the last used is @1, the oldest @4"),
        ("@5", "there is no conversation '@5'", "the last used is @1, the oldest @4"),
        ("@-1", "there is no conversation '@-1'", "`chatllm history list` shows what there is"),
        ("@x", "there is no conversation '@x'", "`chatllm history list` shows what there is"),
        ("@", "there is no conversation '@'", "`chatllm history list` shows what there is"),
        ("@²", "there is no conversation '@²'", "`chatllm history list` shows what there is"),
        ("@٣", "there is no conversation '@٣'", "`chatllm history list` shows what there is"),
        (
            "@" + "9" * 5_000,
            f"there is no conversation '@{'9' * 5_000}'",
            "the last used is @1, the oldest @4",
        ),
        ("", "there is no conversation ''", "`chatllm history list` shows what there is"),
        (
            "cde",
            "there is no conversation 'cde'",
            "of an id at least 4 characters are needed; `chatllm history list` shows what there is",
        ),
        (
            "2",
            "there is no conversation '2'",
            "perhaps @2; `chatllm history list` shows what there is",
        ),
        ("cdef44445", "there is no conversation 'cdef44445'", "`chatllm history list` shows what there is"),
        ("*", "there is no conversation '*'", "`chatllm history list` shows what there is"),
        ("../../07/cdef", "there is no conversation '../../07/cdef'", "`chatllm history list` shows what there is"),
        ("third", "there is no conversation 'third'", f"near it are: cdef (Third, {AT}, messages: 1)"),
        ("hir", "there is no conversation 'hir'", f"near it are: cdef (Third, {AT}, messages: 1)"),
        ("Firsst", "there is no conversation 'Firsst'", f"near it are: abcd1 (First, {AT}, messages: 1)"),
        (
            "abcd",
            "2 conversations answer to 'abcd'",
            f"one of: abcd2 (Same, {AT}, messages: 1); abcd1 (First, {AT}, messages: 1)",
        ),
        (
            "Same",
            "2 conversations answer to 'Same'",
            f"one of: bcde (Same, {AT}, messages: 1); abcd2 (Same, {AT}, messages: 1)",
        ),
    ],
)
async def test_an_address_that_names_none_or_several_is_told(
    history: HistoryService, folder: Path, address: str, message: str, hint: str
) -> None:
    stored(folder, ("abcd1111", "First"), ("abcd2222", "Same"), ("bcde3333", "Same"), ("cdef4444", "Third"))
    with pytest.raises(ConversationNotFoundError) as raised:
        await history.load(address)
    assert (raised.value.message, raised.value.hint) == (message, hint)


async def test_of_many_candidates_the_last_five_are_named(history: HistoryService, folder: Path) -> None:
    stored(folder, *((f"abcd{number}", "Same") for number in range(8)))
    with pytest.raises(ConversationNotFoundError) as raised:
        await history.load("Same")
    assert (raised.value.message, raised.value.hint) == (
        "8 conversations answer to 'Same'",
        "one of: " + "; ".join(f"abcd{number} (Same, {AT}, messages: 1)" for number in (7, 6, 5, 4, 3)),
    )


@pytest.mark.parametrize("address", ["@1", "@2", "@0", "@x"])
async def test_an_empty_history_says_how_to_begin(history: HistoryService, address: str) -> None:
    with pytest.raises(ConversationNotFoundError) as raised:
        await history.load(address)
    assert (raised.value.message, raised.value.hint) == (
        "there is no conversation yet",
        '`chatllm ask "…"` begins one',
    )


def test_ids_are_short_enough_to_type_and_never_the_same() -> None:
    ids = {new_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(re.fullmatch(r"[0-9a-hjkmnp-tv-z]{16}", each) for each in ids)


async def test_a_conversation_without_a_file_is_kept_in_memory_only(folder: Path) -> None:
    opened = OpenConversation(Conversation("c1", "Greeting", NOON), None)
    await opened.add(PROMPT)
    assert opened.conversation == Conversation("c1", "Greeting", NOON, messages=(PROMPT,), head="m1")


async def test_a_date_that_no_calendar_has_damages_its_line_and_no_more(
    history: HistoryService, folder: Path
) -> None:
    (stored_conversation,) = stored(folder, ("aaaabbbbccccdddd", "A title"))
    (path,) = files_in(folder)
    first, *rest = path.read_bytes().split(b"\n")
    header = json.loads(first) | {"at": "0001-01-01T00:00:00+10:00"}
    path.write_bytes(b"\n".join([json.dumps(header).encode(), *rest]))
    opened = await history.resume(await history.load("@1"))
    assert (opened.conversation.damaged_lines, opened.conversation.id) == (1, stored_conversation.id)


async def test_what_is_no_file_is_no_conversation_whatever_its_name(history: HistoryService, folder: Path) -> None:
    stored(folder, ("aaaabbbbccccdddd", "A title"))
    month = folder / "2026" / "07"
    (month / "loop.jsonl").symlink_to(month / "loop.jsonl")
    (month / "nowhere.jsonl").symlink_to(month / "nothing")
    (month / "folder.jsonl").mkdir()
    os.mkfifo(month / "pipe.jsonl")  # whoever opened it would wait for ever
    assert await history.list() == await history.list()
    assert (await listed(history), (await history.list()).faults) == (["A title"], ())


async def test_a_file_that_is_removed_meanwhile_is_written_anew_with_all_that_was_said(
    history: HistoryService, folder: Path
) -> None:
    opened = history.start("Hi", model="hub/model", system_prompt="Be kind.")
    await opened.add(PROMPT)
    await opened.add(REPLY)
    for path in files_in(folder):
        path.unlink()
    await opened.add(replace(PROMPT, id="m3", content="More", parent=REPLY.id))
    found = await history.load("@1")
    assert [message.content for message in found.thread()] == ["Hi", "Hello", "More"]
    assert (found.title, found.model, found.system_prompt) == ("Hi", "hub/model", "Be kind.")


async def test_a_beginning_that_was_torn_is_written_again(history: HistoryService, folder: Path) -> None:
    opened = history.start("Hi", model="hub/model", system_prompt="Be kind.")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(HistoryError):
            await opened.add(PROMPT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not opened.is_kept
    await opened.add(REPLY)
    found = await history.load("@1")
    assert (found.system_prompt, found.model, found.damaged_lines) == ("Be kind.", "hub/model", 0)
    assert [message.content for message in found.thread()] == ["Hi", "Hello"]


async def test_nothing_is_kept_before_anything_was_said(history: HistoryService) -> None:
    assert not history.start("Hi", model="").is_kept
