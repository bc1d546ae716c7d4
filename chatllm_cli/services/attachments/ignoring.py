"""What the .gitignore files of a repository leave out."""

import os
from collections.abc import Iterator
from pathlib import Path

from chatllm_cli.services.attachments.files import kind_of, read_some
from chatllm_cli.services.attachments.git_patterns import Pattern, patterns_in

NAME = ".gitignore"
LARGEST = 1_000_000  # bytes that such a file may have


class Ignored:
    """Tells what is left out in a folder, by its own .gitignore files and those above it in the repository.

    A folder that the ones above leave out was meant all the same by whoever named it: then these say nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._patterns: dict[Path, list[Pattern]] = {}
        self._root = next((each for each in (folder, *folder.parents) if kind_of(each / ".git") != "nothing"), folder)
        if any(self.leaves_out(each, is_folder=True) for each in _between(folder, self._root)):
            self._root = folder

    def leaves_out(self, path: Path, *, is_folder: bool) -> bool:
        """Tell whether the nearest .gitignore that says anything of `path` leaves it out, by its last word.

        Of the folders around it nothing is told: what one holds that is left out is so, too, whatever is said of it.
        """
        for folder in path.parents:
            way = os.fsencode(path.relative_to(folder))
            for pattern in reversed(self._said_in(folder)):
                if pattern.matches(way, is_folder=is_folder):
                    return pattern.leaves_out
            if folder == self._root:
                break
        return False

    def _said_in(self, folder: Path) -> list[Pattern]:
        if folder not in self._patterns:
            self._patterns[folder] = _read(folder / NAME)
        return self._patterns[folder]


def _between(folder: Path, root: Path) -> Iterator[Path]:
    """Yield a folder and those around it, but for `root`."""
    while folder != root:
        yield folder
        folder = folder.parent


def _read(path: Path) -> list[Pattern]:
    try:
        return patterns_in(read_some(path, LARGEST))
    except (OSError, ValueError):
        return []
