"""Images of a conversation: in the store before their message is, and gone with the last one that holds them."""

import asyncio
import errno
import os
import re
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.errors import HistoryError
from chatllm_cli.models import Attachment, Message, Role
from chatllm_cli.private_files import write_all
from chatllm_cli.services.attachments import store as store_module
from chatllm_cli.services.attachments.store import AttachmentStore
from chatllm_cli.services.history import HistoryService, OpenConversation, files, journal
from tests.documents import GIF, PNG

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


class Shelf:
    """A history, and the store that images of it lie in."""

    def __init__(self, places: Places) -> None:
        self.folder = places.attachments
        self.store = AttachmentStore(places.attachments)
        self.history = HistoryService(places.conversations, places.index, attached=self.store)

    def image(self, data: bytes = PNG, name: str = "a.png") -> Attachment:
        """An image as `Attachments` reads one."""
        return Attachment(name, "image/png", len(data), sha256=self.store.hold(data))

    async def conversation(self, *attachments: Attachment, message_id: str = "u1") -> OpenConversation:
        log = self.history.start("Why?", model="hub/m")
        await log.add(Message(message_id, Role.USER, "Why?", NOON, attachments=attachments))
        return log

    @property
    def kept(self) -> set[bytes]:
        return {path.read_bytes() for path in self.folder.iterdir()} if self.folder.exists() else set()


@pytest.fixture
def shelf(places: Places) -> Shelf:
    return Shelf(places)


async def test_an_image_is_kept_with_its_message_for_its_owner_alone(shelf: Shelf) -> None:
    image = shelf.image()
    await shelf.conversation(image)
    assert [path.name for path in shelf.folder.iterdir()] == [image.sha256]
    assert stat.S_IMODE((shelf.folder / image.sha256).stat().st_mode) == 0o600
    assert (await shelf.history.load("@1")).messages[0].attachments == (image,)
    assert AttachmentStore(shelf.folder).load(image.sha256) == PNG


async def test_nothing_is_written_of_a_private_conversation(shelf: Shelf, places: Places) -> None:
    log = shelf.history.start("Why?", model="hub/m", keep=False)
    image = shelf.image()
    await log.add(Message("u1", Role.USER, "Why?", NOON, attachments=(image,)))
    assert not places.data.exists()
    assert shelf.store.load(image.sha256) == PNG


async def test_the_file_is_on_the_disk_before_the_message_that_names_it(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[bytes]] = []

    def write(descriptor: int, data: bytes) -> None:
        seen.append(shelf.kept)
        write_all(descriptor, data)

    monkeypatch.setattr("chatllm_cli.services.history.journal.write_all", write)
    await shelf.conversation(shelf.image())
    assert seen == [{PNG}]


async def test_a_disk_without_room_for_it_is_told_in_one_line_and_the_next_write_brings_both(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    log = shelf.history.start("Why?", model="hub/m")
    image = shelf.image()
    with monkeypatch.context() as patched:
        patched.setattr(store_module, "replace_private_file", full)
        with pytest.raises(HistoryError) as raised:
            await log.add(Message("u1", Role.USER, "Why?", NOON, attachments=(image,)))
    assert raised.value.message.endswith(".jsonl: No space left on device")
    assert (log.is_kept, shelf.kept, shelf.store.load(image.sha256)) == (False, set(), PNG)
    await log.add(Message("a1", Role.ASSISTANT, "So.", NOON, "u1", model="hub/m"))
    assert (log.is_kept, shelf.kept) == (True, {PNG})
    assert (await shelf.history.load("@1")).messages[0].attachments == (image,)


async def test_an_image_goes_with_the_last_conversation_that_holds_it(shelf: Shelf) -> None:
    first = await shelf.conversation(shelf.image(), shelf.image(GIF))
    second = await shelf.conversation(shelf.image())
    await shelf.history.upkeep.remove([first.conversation.id])
    assert shelf.kept == {PNG}
    await shelf.history.upkeep.remove([second.conversation.id])
    assert shelf.kept == set()


async def test_an_image_goes_with_the_last_message_that_holds_it(shelf: Shelf) -> None:
    log = await shelf.conversation(shelf.image())
    await log.add(Message("u2", Role.USER, "And now?", NOON, "u1", attachments=(shelf.image(), shelf.image(GIF))))
    path = await shelf.history.find("@1")
    await shelf.history.upkeep.remove_message(path, "u1")
    assert shelf.kept == {PNG, GIF}
    await shelf.history.upkeep.remove_message(path, "u2")
    assert shelf.kept == set()


async def test_a_copy_of_a_conversation_keeps_its_images(shelf: Shelf) -> None:
    image = shelf.image()
    origin = await shelf.conversation(image)
    fork = await shelf.history.fork("@1")
    assert fork.messages[0].attachments == (image,)
    await shelf.history.upkeep.remove([origin.conversation.id])
    assert shelf.kept == {PNG}
    await shelf.history.upkeep.remove([fork.id])
    assert shelf.kept == set()


async def test_an_image_stays_that_was_not_removed_because_its_conversation_was_used_since(shelf: Shelf) -> None:
    log = await shelf.conversation(shelf.image())
    await shelf.history.upkeep.remove([log.conversation.id], unused_since=NOON - timedelta(days=1))
    assert shelf.kept == {PNG}


async def test_an_image_that_a_damaged_line_names_stays(shelf: Shelf) -> None:
    log = await shelf.conversation(shelf.image())
    path = await shelf.history.find("@1")
    damaged = path.with_name("aaaabbbbccccdddd.jsonl")
    damaged.write_bytes(path.read_bytes().replace(b'"Why?"', b'"Who?"'))
    await shelf.history.upkeep.remove([log.conversation.id])
    assert shelf.kept == {PNG}
    await shelf.history.upkeep.repair()
    await shelf.history.upkeep.remove([log.conversation.id])
    assert shelf.kept == {PNG}
    await shelf.history.upkeep.remove(["aaaabbbbccccdddd"])
    assert shelf.kept == set()


async def test_removing_what_has_no_image_looks_through_no_other_conversation(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await shelf.conversation(Attachment("a.py", "text/plain", 4, f'"sha256":"{"a" * 64}"'))
    monkeypatch.setattr(shelf.store, "remove_unused", lambda *_: pytest.fail("it looked"))
    await shelf.history.upkeep.scrub([await shelf.history.find("@1")], re.compile("Why"), "[removed]")
    await shelf.history.upkeep.remove([log.conversation.id])


async def test_scrubbing_keeps_images(shelf: Shelf) -> None:
    image = shelf.image()
    await shelf.conversation(image)
    await shelf.history.upkeep.scrub([await shelf.history.find("@1")], re.compile(rf"{image.sha256[:8]}|a\.png"), "x")
    assert (await shelf.history.load("@1")).messages[0].attachments == (replace(image, name="x"),)
    assert shelf.kept == {PNG}


async def test_images_go_with_what_was_removed_before_something_failed(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await shelf.conversation(shelf.image())
    second = await shelf.conversation(shelf.image(GIF))
    failing, real = second.conversation.id, journal.rewrite

    async def rewrite(path: Path, change: Callable[[bytes], bytes | None]) -> None:
        if path.stem == failing:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        await real(path, change)

    monkeypatch.setattr(journal, "rewrite", rewrite)
    with pytest.raises(HistoryError, match="Permission denied"):
        await shelf.history.upkeep.remove([first.conversation.id, failing])
    assert shelf.kept == {GIF}


async def test_a_conversation_that_others_remove_meanwhile_needs_no_image(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await shelf.conversation(shelf.image())
    other = await shelf.conversation()
    listed, gone = files.all_journals, await shelf.history.find(other.conversation.id)

    def journals(root: Path) -> list[Path]:
        found = listed(root)
        gone.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(files, "all_journals", journals)
    await shelf.history.upkeep.remove([log.conversation.id])
    assert shelf.kept == set()


async def test_no_image_stays_of_a_message_for_a_conversation_that_was_removed_meanwhile(shelf: Shelf) -> None:
    log = await shelf.conversation()
    await shelf.history.upkeep.remove([log.conversation.id])
    image = shelf.image()
    with pytest.raises(HistoryError, match="it was removed meanwhile"):
        await log.add(Message("u2", Role.USER, "And now?", NOON, "u1", attachments=(image,)))
    assert (shelf.kept, shelf.store.load(image.sha256)) == (set(), PNG)


async def test_an_image_of_others_stays_when_a_message_with_it_cannot_be_written(
    shelf: Shelf, places: Places
) -> None:
    log = await shelf.conversation()
    await shelf.history.upkeep.remove([log.conversation.id])
    other = Shelf(places)
    await other.conversation(other.image())
    with pytest.raises(HistoryError, match="it was removed meanwhile"):
        await log.add(Message("u2", Role.USER, "And now?", NOON, "u1", attachments=(shelf.image(), shelf.image(GIF))))
    assert shelf.kept == {PNG}


async def test_what_cannot_be_looked_through_costs_no_image(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    log = await shelf.conversation(shelf.image())
    await shelf.conversation(shelf.image(GIF))

    def refuse(_: Path) -> list[Path]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(files, "all_asides", refuse)
    with pytest.raises(HistoryError, match=r"^images that were attached could not be removed: Permission denied$"):
        await shelf.history.upkeep.remove([log.conversation.id])
    assert shelf.kept == {PNG, GIF}


async def test_writers_and_a_remover_at_the_same_time_lose_nothing(shelf: Shelf) -> None:
    doomed = [await shelf.conversation(shelf.image()) for _ in range(5)]

    async def write(number: int) -> None:
        await shelf.conversation(shelf.image(), message_id=f"w{number}")

    removals = (shelf.history.upkeep.remove([log.conversation.id]) for log in doomed)
    await asyncio.gather(*removals, *(write(number) for number in range(5)))
    listing = await shelf.history.list()
    assert (len(listing.conversations), shelf.kept) == (5, {PNG})
