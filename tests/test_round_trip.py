"""Export, import, export: nothing is lost on the way, whatever was said."""

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings

from chatllm_cli.errors import FormatError
from chatllm_cli.formats import json, markdown
from chatllm_cli.formats.reading.source import Imported, Source
from chatllm_cli.models import Conversation
from chatllm_cli.services.history import HistoryService, files, records
from tests.durability.odd_values import text as odd_text
from tests.trees import FILES, SEEDS, conversation, grown

GROWN = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))  # 25 trees each


async def stored(folder: Path, conversations: Sequence[Conversation]) -> list[Conversation]:
    """Keep conversations in a history, and return what it has of them."""
    history = HistoryService(folder)
    places: list[Path] = []
    for each in conversations:
        lines = [
            records.conversation_record(each),
            *map(records.message_record, each.messages),
            records.tags_record(each.id, each.tags, each.created_at),
            records.head_record(each.id, each.head, each.created_at),
        ]
        place = files.journal_at(folder, f"{each.created_at:%Y/%m}", each.id)
        place.parent.mkdir(parents=True, exist_ok=True)
        places.append(place)
        place.write_bytes(records.encode(*lines))
    return [await history.read(place) for place in places]


def attached_to(conversation: Conversation) -> dict[str, bytes]:
    hashes = {each.sha256 for message in conversation.messages for each in message.attachments if each.sha256}
    return {sha256: FILES[sha256] for sha256 in hashes}


def loaded(document: str) -> list[Conversation]:
    """Read an export; the bytes of what is attached have to come along."""
    found = []
    for outcome in json.load(Source("export", document.encode())):
        assert isinstance(outcome, Imported), outcome
        assert outcome.files == attached_to(outcome.conversation)
        found.append(outcome.conversation)
    return found


def dumped_array(conversations: Sequence[Conversation]) -> str:
    return "[\n" + ",\n".join(json.dump(each, attached_to(each)) for each in conversations) + "]\n"


def dumped_lines(conversations: Sequence[Conversation]) -> str:
    return "".join(json.dump_line(each, attached_to(each)) for each in conversations)


@GROWN
@given(seeds=SEEDS)
def test_what_is_exported_imported_and_exported_again_is_the_same_byte_for_byte(seeds: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        begun = asyncio.run(stored(Path(folder, "one"), grown(seeds)))
        there = asyncio.run(stored(Path(folder, "two"), loaded(dumped_array(begun))))
        assert dumped_array(there) == dumped_array(begun)
        assert dumped_lines(there) == dumped_lines(begun)
        assert loaded(dumped_lines(begun)) == begun == there


@GROWN
@given(seeds=SEEDS)
def test_markdown_brings_back_what_was_said_and_every_branch_of_it(seeds: list[int]) -> None:
    whole = [in_milliseconds(each) for each in grown(seeds, halves=False, images=False)]
    threads = [replace(each, messages=each.thread()) for each in whole]
    for kept, has_branches in ((whole, True), (threads, False)):
        document = "\n".join(markdown.dump(each, branches=has_branches) for each in whole)
        found = list(markdown.load(Source("export.md", document.encode())))
        assert [each.conversation for each in found if isinstance(each, Imported)] == kept


def in_milliseconds(conversation: Conversation) -> Conversation:
    """Return a conversation with its times as the history keeps them."""
    messages = tuple(replace(each, at=cut(each.at)) for each in conversation.messages)
    return replace(conversation, created_at=cut(conversation.created_at), messages=messages)


def cut(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@pytest.mark.parametrize("seed", range(10))
def test_whatever_a_file_holds_is_read_or_refused(seed: int) -> None:
    random = Random(seed)  # noqa: S311  (no secrets)
    for _ in range(60):
        kept = conversation(random)
        document = random.choice((json.dump, json.dump_line, markdown.dump))(kept).encode()
        load = markdown.load if document.startswith(b"---") else json.load
        with suppress(FormatError):
            for outcome in load(Source("a", mutated(random, document))):
                if isinstance(outcome, Imported):  # then it can be written again
                    json.dump(outcome.conversation, outcome.files)


def mutated(random: Random, document: bytes) -> bytes:
    """Return a document in which some bytes are others, missing, or there twice."""
    for _ in range(random.randint(1, 5)):
        begin, end = sorted(random.choices(range(len(document) + 1), k=2))
        end = min(end, begin + 40)
        piece = document[begin:end]
        odd = (b"", piece * 2, b"\xff", b"null", b'"\\ud800"', b"[", b"-1", b"-->\n", odd_text(random, 8).encode())
        changed = random.choice(odd)
        document = document[:begin] + changed + document[end:]
    return document
