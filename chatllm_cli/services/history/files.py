"""Where the journals lie: data/conversations/<year>/<month>/<id>.jsonl, and what else may lie beside them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePath

from chatllm_cli.ids import IS_ID, LENGTH
from chatllm_cli.private_files import open_private, replace_private_file, temporary_prefix, write_all

ENDING = ".jsonl"
ASIDE = ".corrupt-"
REMOVED = "removed"  # the ids of conversations that were removed, a line each


def month_folders(root: Path) -> "Iterator[tuple[str, os.DirEntry[str]]]":
    """Yield the folders of all months, each with its place under `root`. Raises OSError."""
    for year in _folders_in(root):
        for month in _folders_in(Path(year.path)):
            yield f"{year.name}/{month.name}", month


def journals_in(folder: Path) -> "list[os.DirEntry[str]]":
    """Return the journals in a folder: files, as they are never written through a link. Raises OSError."""
    return [
        entry for entry in _entries(folder) if entry.name.endswith(ENDING) and entry.is_file(follow_symlinks=False)
    ]


def all_journals(root: Path) -> list[Path]:
    """Return every journal. Raises OSError."""
    return sorted(Path(entry.path) for _, month in month_folders(root) for entry in journals_in(Path(month.path)))


def all_asides(root: Path) -> list[Path]:
    """Return the files of damaged lines that were taken out of journals. Raises OSError."""
    months = (Path(month.path) for _, month in month_folders(root))
    return sorted(Path(entry.path) for month in months for entry in _entries(month) if ASIDE in entry.name)


def id_of(path: Path) -> str:
    """Return the id of the conversation that a journal, or what was taken out of it, is of."""
    return path.name.partition(ENDING)[0]


def copied_id(path: PurePath) -> str:
    """Return the id of the conversation that a sync tool's "conflicted copy" is of; an empty one for any other file.

    Dropbox, Nextcloud, Syncthing, OneDrive and iCloud all put their words behind the name and before its ending.
    """
    begin, rest = path.stem[:LENGTH], path.stem[LENGTH:]
    return begin if IS_ID.fullmatch(begin) and rest and not rest[0].isalnum() else ""


def journal_at(root: Path, place: str, conversation_id: str) -> Path:
    """Return where the journal of a conversation lies in the folder of a month."""
    return root / place / f"{conversation_id}{ENDING}"


def without_copies(conversation_ids: Sequence[str]) -> list[str]:
    """Return those that are no conflicted copies of others among them."""
    return [each for each in conversation_ids if copied_id(PurePath(f"{each}{ENDING}")) not in conversation_ids]


def new_journal(root: Path, conversation_id: str, created_at: datetime) -> Path:
    """Return where the journal of a new conversation is to lie."""
    return journal_at(root, f"{created_at.astimezone(UTC):%Y/%m}", conversation_id)


def copies(root: Path, conversation_ids: Sequence[str]) -> list[Path]:
    """Return every file of these conversations: a sync tool may have left one in two months. Raises OSError."""
    places = [place for place, _ in month_folders(root)]
    found = (journal_at(root, place, each) for each in conversation_ids for place in places)
    return [path for path in found if path.exists()]


def asides_of(journal: Path) -> list[Path]:
    """Return the files of damaged lines that were taken out of a journal. Raises OSError."""
    return _beginning(journal.parent, f"{journal.name}{ASIDE}")


def note_removal(root: Path, conversation_id: str) -> None:
    """Keep in mind that a conversation was removed on purpose, if there is room for that."""
    with suppress(OSError):  # on a full disk removing is what helps
        descriptor = open_private(root / REMOVED, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            write_all(descriptor, f"{conversation_id}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def removed_ids(root: Path) -> set[str]:
    """Return the ids of the conversations that were removed on purpose. Raises OSError."""
    try:
        return set((root / REMOVED).read_text("utf-8", "replace").split("\n")) - {""}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def was_removed(journal: Path) -> bool:
    """Tell whether a conversation was removed on purpose. Raises OSError."""
    return journal.stem in removed_ids(journal.parents[2])


def forget_removal(root: Path, conversation_id: str) -> None:
    """Let a conversation that was removed be there again. Raises OSError."""
    left = sorted(removed_ids(root) - {conversation_id})
    replace_private_file(root / REMOVED, "".join(f"{each}\n" for each in left).encode())


def remove_asides(journal: Path) -> None:
    """Remove the damaged lines that were taken out of a journal. Raises OSError."""
    for path in asides_of(journal):
        path.unlink(missing_ok=True)


def remove_leftovers(journal: Path) -> None:
    """Remove what a crash left of writing a journal anew. Nobody else may be at it. Raises OSError."""
    for path in _beginning(journal.parent, temporary_prefix(journal)):
        path.unlink(missing_ok=True)


def _beginning(folder: Path, name: str) -> list[Path]:
    """Return the files in a folder whose names begin so."""
    return sorted(Path(entry.path) for entry in _entries(folder) if entry.name.startswith(name))


def _folders_in(folder: Path) -> "list[os.DirEntry[str]]":
    return [entry for entry in _entries(folder) if entry.is_dir()]


def _entries(folder: Path) -> "list[os.DirEntry[str]]":
    """Return what is in a folder, but for names that are none of ours, and that nobody could type."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if entry.name.isprintable() and _is_utf8(entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_utf8(name: str) -> bool:
    with suppress(UnicodeEncodeError):
        return bool(name.encode())
    return False
