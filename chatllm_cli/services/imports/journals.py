"""Our own journals, as files that somebody brings: those of another machine's history, one by one."""

from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from hashlib import sha256
from pathlib import Path, PurePath
from typing import Any

from chatllm_cli.errors import ChatllmError, FormatError, HistoryError, UsageError
from chatllm_cli.formats.own_data import IS_CONVERSATION_ID
from chatllm_cli.formats.reading import json_values
from chatllm_cli.formats.reading.source import MOST_BYTES, Source
from chatllm_cli.frozen import frozen
from chatllm_cli.ids import IS_ID
from chatllm_cli.models import Conversation
from chatllm_cli.services.attachments.store import AttachmentStore
from chatllm_cli.services.history import files, records

JOURNAL = "journal"
CONVERSATIONS, ATTACHMENTS = "conversations", "attachments"  # folders of a data folder


@frozen
class Journal:
    """A journal, and the conversation that it is read as."""

    data: bytes
    conversation: Conversation
    attached: Mapping[str, bytes] = field(default_factory=dict)  # by SHA-256


def is_journal(value: Any) -> bool:
    """Tell whether a file is a journal whose first line holds this."""
    return isinstance(value, dict) and value.get("type") == "conversation" and {"v", "id", "at"} <= value.keys()


def read_journal(source: Source) -> Journal:
    """Return what is read, with what is attached if that lies beside it under its hash.

    Raises `FormatError`, and `HistoryError` for a newer version's.
    """
    path = PurePath(source.name)
    named = path.stem if IS_ID.fullmatch(path.stem) else files.copied_id(path)
    data = source.all()
    header = json_values.first(data)
    conversation_id = named or (header.get("id") if is_journal(header) else None)
    if not isinstance(conversation_id, str) or not IS_CONVERSATION_ID.fullmatch(conversation_id):
        raise FormatError("its name is no conversation's id, and none stands in it")
    conversation = records.decode(data, conversation_id)
    if not conversation.messages:
        raise FormatError("nothing in it can be read")
    beside = {each: source.beside(each) for each in records.hashes_in(data)}
    attached = {each: found for each, found in beside.items() if found and sha256(found).hexdigest() == each}
    return Journal(data, conversation, attached)


def journals_under(folder: Path) -> Iterator[Journal | ChatllmError]:
    """Yield the journals of another machine's data folder, each with what is attached. Raises `UsageError`."""
    root = _root(folder)
    store = AttachmentStore(root.parent / ATTACHMENTS)
    for path in _journals(root):
        try:
            found = read_journal(Source(path.name, _bytes_of(path)))
        except OSError as error:
            yield FormatError(f"{path.name}: it cannot be read: {error.strerror}")
        except (FormatError, HistoryError) as error:
            yield FormatError(f"{path.name}: {error.message}", hint=error.hint)
        else:
            held = {each: store.load(each) for each in records.hashes_in(found.data)}
            yield replace(found, attached={each: data for each, data in held.items() if data is not None})


def _bytes_of(path: Path) -> bytes:
    """Return what is in a file; of one that is too large, enough to tell. Raises OSError."""
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)


def _root(folder: Path) -> Path:
    for root in (folder, folder / CONVERSATIONS, folder / "data" / CONVERSATIONS):
        if _journals(root):
            return root
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder", hint="`chatllm history import` takes files")
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    raise UsageError(
        f"no conversations lie in {folder}", hint="name the data folder of the other machine: `history path` shows it"
    )


def _journals(root: Path) -> list[Path]:
    try:
        return files.all_journals(root)
    except OSError as error:
        raise UsageError(f"{root} cannot be read: {error.strerror}") from None
