import asyncio
import errno
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chatllm_cli.errors import HistoryError
from chatllm_cli.models import Message, Role, Status
from chatllm_cli.services.history import Aside, HistoryService, OpenConversation, journal, records

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
PROMPT = Message("m1", Role.USER, "Hi", NOON)
REPLY = Message("m2", Role.ASSISTANT, "Hello", NOON, parent="m1", model="hub/one")
OTHER = replace(REPLY, id="m3", content="Hey", model="hub/two")
THIRD = replace(REPLY, id="m4", content="Moin", model="hub/three")


@pytest.fixture
def history(tmp_path: Path) -> HistoryService:
    return HistoryService(tmp_path)


@pytest.fixture
async def log(history: HistoryService) -> OpenConversation:
    """A conversation of one turn."""
    log = history.start("Hi", model="hub/one")
    await log.add(PROMPT)
    await log.add(REPLY)
    return log


def journal_of(tmp_path: Path) -> Path:
    (path,) = tmp_path.glob("*/*/*.jsonl")
    return path


async def stored(history: HistoryService, log: OpenConversation) -> tuple[list[str], str | None]:
    """The ids of all messages, and of the head, as somebody else reads them."""
    found = await history.load(log.conversation.id)
    return [message.id for message in found.messages], found.head


async def test_a_reply_aside_stands_below_its_prompt_and_the_head_stays(
    history: HistoryService, log: OpenConversation
) -> None:
    aside = Aside(log, "m1")
    assert aside.conversation.thread() == (PROMPT,)
    await aside.add(OTHER)
    assert aside.conversation.thread() == (PROMPT, OTHER)
    assert aside.is_kept
    assert log.conversation.thread() == (PROMPT, REPLY)
    assert log.conversation.messages == (PROMPT, REPLY, OTHER)
    assert await stored(history, log) == (["m1", "m2", "m3"], "m2")


async def test_what_is_sent_may_be_another_text_than_what_is_stored(
    history: HistoryService, log: OpenConversation
) -> None:
    said = replace(log.conversation, system_prompt="Be brief.", messages=(replace(PROMPT, content="Hi [key]"), REPLY))
    aside = Aside(log, "m1", said)
    await aside.add(OTHER)
    assert (aside.conversation.system_prompt, aside.conversation.thread()[0].content) == ("Be brief.", "Hi [key]")
    found = await history.load(log.conversation.id)
    assert (found.system_prompt, found.messages[0].content) == ("", "Hi")


async def test_marks_of_replies_that_come_at_the_same_time_are_kept_apart_and_the_head_is_the_first_ones(
    history: HistoryService,
) -> None:
    log = history.start("Hi", model="hub/one")
    await log.add(PROMPT)
    asides = Aside(log, "m1"), Aside(log, "m1")
    await asides[0].mark(OTHER, "He")
    assert await stored(history, log) == (["m1", "m3"], "m1")
    await log.mark(REPLY, "Hel")
    await asyncio.gather(asides[1].mark(THIRD, "Mo"), asides[0].mark(OTHER, "y"), log.mark(REPLY, "lo"))
    found = await history.load(log.conversation.id)
    assert found.head == "m2"
    assert {message.id: message.content for message in found.messages[1:]} == {"m2": "Hello", "m3": "Hey", "m4": "Mo"}
    assert {message.status for message in found.messages[1:]} == {Status.INTERRUPTED}


async def test_wherever_the_journal_is_cut_off_the_head_is_on_its_branch(
    history: HistoryService, log: OpenConversation, tmp_path: Path
) -> None:
    path = journal_of(tmp_path)
    begin = path.stat().st_size
    aside = Aside(log, "m1")
    await aside.mark(OTHER, "He")
    await aside.add(OTHER)
    data = path.read_bytes()
    heads = {records.decode(data[:end], log.conversation.id).head for end in range(begin, len(data) + 1)}
    assert heads == {"m2"}


async def test_what_could_not_be_written_goes_with_the_next_write_and_nothing_of_it_is_lost(
    history: HistoryService, log: OpenConversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = journal.append

    async def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(journal, "append", full)
    asides = Aside(log, "m1"), Aside(log, "m1")
    with pytest.raises(HistoryError):
        await asides[0].add(OTHER)
    assert not asides[1].is_kept
    monkeypatch.setattr(journal, "append", append)
    await asides[1].add(THIRD)
    assert asides[0].is_kept
    assert await stored(history, log) == (["m1", "m2", "m3", "m4"], "m2")


async def test_a_reply_that_could_not_be_written_waits_though_others_were_written_meanwhile(
    history: HistoryService, log: OpenConversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, writes = journal.append, 0

    async def full_at_the_third(*arguments: object, **more: object) -> None:
        nonlocal writes
        writes += 1
        if writes == 3:
            await asyncio.sleep(0.05)
            raise OSError(errno.ENOSPC, "no space left on device")
        await append(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(journal, "append", full_at_the_third)
    messages = OTHER, THIRD, replace(OTHER, id="m5")
    path = journal_of(tmp_path)
    adding = [Aside(log, "m1").add(each) for each in messages]
    results = await asyncio.gather(*adding, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), type(None), HistoryError]
    assert not log.is_kept
    await log.save()
    assert path.read_text().count('"type":"message"') == 5, "each is written once"
    ids, head = await stored(history, log)
    assert (sorted(ids), head) == (["m1", "m2", "m3", "m4", "m5"], "m2")  # whichever of two threads was first


async def test_what_another_is_writing_right_now_does_not_count_as_lost(log: OpenConversation) -> None:
    writing = asyncio.ensure_future(Aside(log, "m1").add(OTHER))
    await asyncio.sleep(0)
    assert not writing.done()
    assert log.is_kept
    await writing
    assert log.is_kept


async def test_a_file_that_was_emptied_is_written_anew_with_the_head_where_it_was(
    history: HistoryService, log: OpenConversation, tmp_path: Path
) -> None:
    await Aside(log, "m1").add(OTHER)
    journal_of(tmp_path).write_bytes(b"")
    await Aside(log, "m1").add(THIRD)
    assert await stored(history, log) == (["m1", "m2", "m3", "m4"], "m2")
