"""Export, import, export: nothing is lost on the way, whatever was said."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from chatllm_cli.formats import json
from chatllm_cli.formats.source import Imported, Source
from chatllm_cli.models import Conversation
from chatllm_cli.services.history import HistoryService, files, records
from tests.trees import FILES, trees

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
@given(grown=trees())
def test_what_is_exported_imported_and_exported_again_is_the_same_byte_for_byte(grown: list[Conversation]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        begun = asyncio.run(stored(Path(folder, "one"), grown))
        there = asyncio.run(stored(Path(folder, "two"), loaded(dumped_array(begun))))
        assert dumped_array(there) == dumped_array(begun)
        assert dumped_lines(there) == dumped_lines(begun)
        assert loaded(dumped_lines(begun)) == begun == there
