"""The names of files, as somebody begins to type them."""

import os
from pathlib import Path

MOST_LOOKED_AT = 2000  # entries of a folder


def names_beginning(text: str) -> list[str]:
    """Return the files and folders whose path begins so, folders with a slash behind them; hidden ones if meant.

    Blocking. What has a character in its name that cannot be typed is left out.
    """
    folder, slash, begin = text.rpartition("/")
    try:
        with os.scandir(Path(folder + slash or ".").expanduser()) as entries:
            found = sorted(_shown(entry) for entry, _ in zip(entries, range(MOST_LOOKED_AT), strict=False))
    except (OSError, RuntimeError, ValueError):
        return []
    return [
        f"{folder}{slash}{name}"
        for name in found
        if name.startswith(begin) and (begin or not name.startswith(".")) and name.isprintable()
    ]


def _shown(entry: "os.DirEntry[str]") -> str:
    try:
        return f"{entry.name}/" if entry.is_dir() else entry.name
    except OSError:
        return entry.name
