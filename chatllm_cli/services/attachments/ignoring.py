"""What the .gitignore files of a repository leave out: the only module that knows pathspec."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pathspec import GitIgnoreSpec

from chatllm_cli.services.attachments.files import kind_of, read_some

NAME = ".gitignore"
LARGEST = 1_000_000  # bytes that such a file may have


class Ignored:
    """Tells what is left out in a folder, by its own .gitignore files and those above it in the repository.

    A folder that the ones above leave out was meant all the same by whoever named it: then these say nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._specs: dict[Path, GitIgnoreSpec | None] = {}
        self._root = next((each for each in (folder, *folder.parents) if kind_of(each / ".git") != "nothing"), folder)
        if any(self.leaves_out(each, is_folder=True) for each in _between(folder, self._root)):
            self._root = folder

    def leaves_out(self, path: Path, *, is_folder: bool) -> bool:
        """Tell whether the nearest .gitignore that says anything of `path` leaves it out."""
        for folder in path.parents:
            if spec := self._spec(folder):
                verdict = spec.check_file(f"{path.relative_to(folder).as_posix()}{'/' if is_folder else ''}").include
                if verdict is not None:
                    return verdict
            if folder == self._root:
                break
        return False

    def _spec(self, folder: Path) -> GitIgnoreSpec | None:
        if folder not in self._specs:
            self._specs[folder] = _read(folder / NAME)
        return self._specs[folder]


def _between(folder: Path, root: Path) -> Iterator[Path]:
    """Yield a folder and those around it, but for `root`."""
    while folder != root:
        yield folder
        folder = folder.parent


def _read(path: Path) -> GitIgnoreSpec | None:
    try:
        data = read_some(path, LARGEST)
    except (OSError, ValueError):
        return None
    return GitIgnoreSpec.from_lines([line for line in data.decode("utf-8", "replace").splitlines() if _is_good(line)])


def _is_good(line: str) -> bool:
    """Tell whether a line can be a pattern: git passes over others, too."""
    with suppress(ValueError):
        return bool(GitIgnoreSpec.from_lines([line]).patterns)
    return False
