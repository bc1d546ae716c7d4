"""The names of files, as somebody begins to type them."""

import os
from itertools import islice
from pathlib import Path

MOST_RETURNED = 2000


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


def _shown(entry: "os.DirEntry[str]") -> str:
    try:
        return f"{entry.name}/" if entry.is_dir() else entry.name
    except OSError:
        return entry.name
