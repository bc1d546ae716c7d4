import asyncio
import stat
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.errors import FormatError, HistoryError
from chatllm_cli.models import Attachment, Conversation, Message, Role
from chatllm_cli.services.attachments.store import AttachmentStore
from chatllm_cli.services.history import HistoryService
from chatllm_cli.services.history.intake import Became, Intake, Taken
from chatllm_cli.services.history.records import journal_of

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
ID = "0123456789abcdef"
PROMPT = Message("m1", Role.USER, "Hi", NOON)
REPLY = Message("m2", Role.ASSISTANT, "Hello", NOON, parent="m1", model="openai/gpt")
CONVERSATION = Conversation(ID, "Greeting", NOON, messages=(PROMPT, REPLY), head="m2", tags=("old",))
LONGER = replace(CONVERSATION, messages=(PROMPT, REPLY, Message("m3", Role.USER, "More", NOON, "m2")), head="m3")


@pytest.fixture
def history(places: Places) -> HistoryService:
    return HistoryService(places.conversations, attached=AttachmentStore(places.attachments))


async def as_it_was(history: HistoryService) -> Conversation:
    """What is stored, but for when it came."""
    return replace(await history.load(ID), imported_at=None)


def files(places: Places) -> list[str]:
    return sorted(path.relative_to(places.data).as_posix() for path in places.data.rglob("*") if path.is_file())


async def test_a_new_conversation_is_stored_as_it_is_for_its_owner_alone(
    history: HistoryService, places: Places
) -> None:
    assert await history.intake().take(CONVERSATION) == Taken(Became.NEW, 2)
    assert await as_it_was(history) == CONVERSATION
    assert files(places) == [f"conversations/2026/07/{ID}.jsonl"]
    path = places.conversations / "2026/07" / f"{ID}.jsonl"
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)


async def test_taken_in_twice_it_is_known_and_nothing_is_written(history: HistoryService, places: Places) -> None:
    await history.intake().take(CONVERSATION)
    (path,) = places.conversations.rglob("*.jsonl")
    before = path.stat()
    assert await history.intake().take(CONVERSATION) == Taken(Became.KNOWN, 0)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_one_that_has_grown_elsewhere_grows_here(history: HistoryService) -> None:
    await history.intake().take(CONVERSATION)
    assert await history.intake().take(LONGER) == Taken(Became.GROWN, 1)
    assert await as_it_was(history) == LONGER


async def test_one_that_went_on_here_keeps_what_was_said_and_named_here(history: HistoryService) -> None:
    await history.intake().take(CONVERSATION)
    opened = await history.open(ID)
    await opened.set_title("Mine")
    await opened.set_tags(["new"])
    assert await history.intake().take(CONVERSATION) == Taken(Became.KNOWN, 0)
    assert await as_it_was(history) == replace(CONVERSATION, title="Mine", tags=("new",))


async def test_one_that_was_removed_stays_so_unless_it_is_wanted_back(history: HistoryService) -> None:
    await history.intake().take(CONVERSATION)
    await history.upkeep.remove([ID])
    assert await history.intake().take(CONVERSATION) == Taken(Became.REMOVED, 0)
    assert await history.intake(restore=True).take(CONVERSATION) == Taken(Became.NEW, 2)
    assert await as_it_was(history) == CONVERSATION
    assert await history.intake().take(LONGER) == Taken(Became.GROWN, 1)


async def test_a_dry_run_tells_the_same_and_writes_nothing(history: HistoryService, places: Places) -> None:
    dry = history.intake(dry_run=True, restore=True)
    assert [await dry.take(each) for each in (CONVERSATION, CONVERSATION, LONGER)] == [
        Taken(Became.NEW, 2), Taken(Became.KNOWN, 0), Taken(Became.GROWN, 1)
    ]  # fmt: skip
    assert files(places) == []


async def test_what_is_attached_comes_along(history: HistoryService, places: Places) -> None:
    image = b"\x89PNG of a cat"
    digest = sha256(image).hexdigest()
    prompt = replace(PROMPT, attachments=(Attachment("cat.png", "image/png", len(image), sha256=digest),))
    await history.intake().take(replace(CONVERSATION, messages=(prompt, REPLY)), {digest: image, "f" * 64: b"other"})
    assert files(places) == [f"attachments/{digest}", f"conversations/2026/07/{ID}.jsonl"]
    assert AttachmentStore(places.attachments).load(digest) == image


async def test_a_conversation_that_cannot_be_saved_leaves_nothing(history: HistoryService, places: Places) -> None:
    folder = places.conversations / "2026" / "07"
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way")
    with pytest.raises(HistoryError, match=f"conversation {ID} could not be saved: "):
        await history.intake().take(CONVERSATION)
    assert files(places) == ["conversations/2026/07"]


async def test_one_that_is_of_a_newer_version_here_is_told_and_left_as_it_is(
    history: HistoryService, places: Places
) -> None:
    await history.intake().take(CONVERSATION)
    (path,) = places.conversations.rglob("*.jsonl")
    newer = path.read_bytes() + b'{"v":99}\n'
    path.write_bytes(newer)
    for dry_run in (True, False):
        with pytest.raises(FormatError, match=f"conversation {ID}: it was written by a newer version"):
            await history.intake(dry_run=dry_run).take(LONGER)
    assert path.read_bytes() == newer
    (path.parent / f"{ID} (1).jsonl").write_bytes(journal_of(LONGER))
    assert [type(fault) async for _, fault in history.intake().fold_copies()] == [FormatError]


async def test_one_whose_file_here_is_a_link_is_told_as_the_others_are_not(
    history: HistoryService, places: Places
) -> None:
    folder = places.conversations / "2026" / "07"
    folder.mkdir(parents=True)
    (folder / f"{ID}.jsonl").symlink_to(places.data / "elsewhere")
    with pytest.raises(FormatError, match=f"conversation {ID} cannot be written: "):
        await history.intake().take(CONVERSATION)


COPIES = [
    "{id} (conflicted copy 2026-11-26 105245)",
    "{id} (box's conflicted copy 2026-11-26)",
    "{id}.sync-conflict-20261126-105245-ABCDEFG",
    "{id}-BOX",
    "{id}_conflict-20261126",
    "{id} 2",
    "{id} (1)",
]


@pytest.mark.parametrize("name", COPIES)
async def test_copies_that_sync_tools_leave_are_folded_in_and_removed(
    name: str, history: HistoryService, places: Places
) -> None:
    await history.intake().take(CONVERSATION)
    copy = places.conversations / "2026/07" / f"{name.format(id=ID)}.jsonl"
    copy.write_bytes(journal_of(LONGER))
    assert [each async for each in history.intake(dry_run=True).fold_copies()] == [(copy, Taken(Became.GROWN, 1))]
    assert copy.exists()
    assert [each async for each in history.intake().fold_copies()] == [(copy, Taken(Became.GROWN, 1))]
    assert files(places) == [f"conversations/2026/07/{ID}.jsonl"]
    assert await as_it_was(history) == LONGER
    assert [each async for each in history.intake().fold_copies()] == []


async def test_a_copy_without_an_original_becomes_the_conversation(history: HistoryService, places: Places) -> None:
    folder = places.conversations / "2026/07"
    folder.mkdir(parents=True)
    (folder / f"{ID} (1).jsonl").write_bytes(journal_of(CONVERSATION))
    assert [taken async for _, taken in history.intake().fold_copies()] == [Taken(Became.NEW, 2)]
    assert await as_it_was(history) == CONVERSATION


async def test_damaged_lines_of_a_copy_are_kept_beside_the_conversation(
    history: HistoryService, places: Places
) -> None:
    await history.intake().take(CONVERSATION)
    copy = places.conversations / "2026/07" / f"{ID} (1).jsonl"
    copy.write_bytes(journal_of(CONVERSATION) + b'{"half": "a li\n')
    assert [taken async for _, taken in history.intake().fold_copies()] == [Taken(Became.KNOWN, 0)]
    (aside,) = places.conversations.rglob("*.corrupt-*")
    assert aside.read_bytes() == b'{"half": "a li\n'
    assert not copy.exists()


async def test_a_copy_that_cannot_be_read_stays_and_is_told(history: HistoryService, places: Places) -> None:
    folder = places.conversations / "2026/07"
    folder.mkdir(parents=True)
    copy = folder / f"{ID} (1).jsonl"
    for data in (b'{"v":99}\n', b"", b"half a li\n"):
        copy.write_bytes(data)
        ((path, fault),) = [each async for each in history.intake().fold_copies()]
        assert (path, type(fault), copy.exists()) == (copy, HistoryError, True)
        assert files(places) == [f"conversations/2026/07/{ID} (1).jsonl"]


async def test_a_copy_of_a_conversation_that_was_removed_stays(history: HistoryService, places: Places) -> None:
    await history.intake().take(CONVERSATION)
    await history.upkeep.remove([ID])
    copy = places.conversations / "2026/07" / f"{ID} (1).jsonl"
    copy.write_bytes(journal_of(CONVERSATION))
    assert [taken async for _, taken in history.intake().fold_copies()] == [Taken(Became.REMOVED, 0)]
    assert copy.exists()


async def test_several_who_take_in_the_same_at_once_store_it_once(history: HistoryService, places: Places) -> None:
    intakes = [Intake(places.conversations) for _ in range(4)]
    taken = await asyncio.gather(*(intake.take(CONVERSATION) for intake in intakes))
    assert sorted(each.became for each in taken) == [Became.KNOWN, Became.KNOWN, Became.KNOWN, Became.NEW]
    assert await as_it_was(history) == CONVERSATION
    assert files(places) == [f"conversations/2026/07/{ID}.jsonl"]


async def test_the_last_used_is_one_that_was_used_here(history: HistoryService) -> None:
    later = Message("m9", Role.USER, "Later", NOON.replace(year=2026, month=11), None)
    await history.intake().take(replace(CONVERSATION, messages=(later,), head="m9"))
    assert (await history.last()).id == ID
    log = history.start("Mine", model="hub/model")
    await log.add(Message("m1", Role.USER, "Mine", NOON))
    assert (await history.last()).title == "Mine"
    opened = await history.open(ID)
    await opened.add(Message("m10", Role.USER, "Here", datetime.now(UTC), "m9"))
    assert (await history.last()).id == ID
