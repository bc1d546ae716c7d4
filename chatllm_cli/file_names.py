"""The names of files: as somebody begins to type them, and made of what was said."""

import os
from itertools import islice
from pathlib import Path

MOST_RETURNED = 2000
LONGEST_PART, MOST_BYTES = 60, 150  # characters and bytes of a part of a name, of whose 255 others need some


def names_beginning(text: str) -> list[str]:
    """Return the files and folders whose path begins so, folders with a slash behind them; hidden ones if meant.

    Blocking. What has a character in its name that cannot be typed is left out.
    """
    folder, slash, begin = text.rpartition("/")
    try:
        with os.scandir(Path(folder + slash or ".").expanduser()) as entries:
            fitting = (
                entry
                for entry in entries
                if entry.name.startswith(begin) and (begin or entry.name[0] != ".") and entry.name.isprintable()
            )
            return sorted(f"{folder}{slash}{_shown(entry)}" for entry in islice(fitting, MOST_RETURNED))
    except (OSError, RuntimeError, ValueError):
        return []


def safe_part(words: str) -> str:
    """Return a part of a file's name that is made of words: lower-case letters and digits, with dashes between them.

    It has no separator, no dot and nothing that a shell would take for its own; it is empty if there is no letter.
    """
    import unicodedata  # noqa: PLC0415  (which completing a name does without)

    folded = unicodedata.normalize("NFC", words).lower()
    kept = "".join(each if each.isalnum() or unicodedata.category(each)[0] == "M" else " " for each in folded)
    part = "-".join(kept.split())[:LONGEST_PART]
    return part.encode()[:MOST_BYTES].decode(errors="ignore").strip("-")


def _shown(entry: "os.DirEntry[str]") -> str:
    try:
        return f"{entry.name}/" if entry.is_dir() else entry.name
    except OSError:
        return entry.name
