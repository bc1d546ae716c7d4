"""Which files a folder or a glob stands for: sorted, without hidden ones and what .gitignore leaves out."""

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from chatllm_cli.frozen import frozen
from chatllm_cli.services.attachments.files import is_glob
from chatllm_cli.services.attachments.ignoring import Ignored

ANY_DEPTH = "**"


@frozen
class Found:
    """A file, and its name as an attachment: what the person wrote, and the way from there."""

    name: str
    path: Path


def files_in(folder: Path, shown: str) -> Iterator[Found]:
    """Yield the files in a folder that the person calls `shown`, and in those below it. Raises OSError."""
    begin = "" if shown in {".", "./"} else f"{shown.rstrip('/')}/"
    for path in _walk(folder.resolve(), (ANY_DEPTH,)):
        yield Found(f"{begin}{'/'.join(path)}", folder.joinpath(*path))


def files_matching(pattern: str, shown: str) -> Iterator[Found]:
    """Yield the files that match a glob that the person wrote `shown`: ** stands for any folders. Raises OSError."""
    parts, said = pattern.split("/"), shown.rstrip("/").split("/")
    fixed = next(place for place, part in enumerate(parts) if is_glob(part))
    folder = Path("/".join(parts[:fixed]) or ("/" if pattern.startswith("/") else "."))
    begin = "/".join([*said[: len(said) - len(parts) + fixed], ""])
    for path in _walk(folder.resolve(), _without_repeats(parts[fixed:])):
        yield Found(f"{begin}{'/'.join(path)}", folder.joinpath(*path))


def _walk(root: Path, wanted: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the way from `root` to each file that fits. Links are followed to files under `root` and no others."""
    ignored = Ignored(root)
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        way = waiting.pop()
        if way and not _is_folder(root.joinpath(*way)):
            yield way
            continue
        entries = sorted(_entries(root.joinpath(*way), is_first=not way), key=lambda entry: entry.name, reverse=True)
        waiting += [
            (*way, entry.name) for entry in entries if _is_wanted(entry, (*way, entry.name), wanted, root, ignored)
        ]


def _is_wanted(
    entry: "os.DirEntry[str]", way: Sequence[str], wanted: Sequence[str], root: Path, ignored: Ignored
) -> bool:
    is_folder = entry.is_dir(follow_symlinks=False)
    if entry.name.startswith(".") and not _names_hidden(entry.name, wanted):
        return False
    if not (_may_lead(way, wanted) if is_folder else _fits(way, wanted)):
        return False
    if entry.is_symlink() and not _may_be_followed(entry.path, wanted, root, ignored):
        return False
    return (is_folder or entry.is_file()) and not ignored.leaves_out(Path(entry.path), is_folder=is_folder)


def _entries(folder: Path, *, is_first: bool) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
    except OSError:
        if is_first:
            raise
        return []  # one that may not be read


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _may_be_followed(link: str, wanted: Sequence[str], root: Path, ignored: Ignored) -> bool:
    """Tell whether what a link leads to lies under `root`, and would not be left out there."""
    try:
        target = Path(link).resolve()
        way = target.relative_to(root)
    except (OSError, RuntimeError, ValueError):
        return False
    if any(name.startswith(".") and not _names_hidden(name, wanted) for name in way.parts):
        return False
    around = [root / each for each in way.parents[:-1]]
    return not any(ignored.leaves_out(each, is_folder=each != target) for each in (target, *around))


def _names_hidden(name: str, wanted: Sequence[str]) -> bool:
    return any(part.startswith(".") and fnmatchcase(name, part) for part in wanted)


def _without_repeats(parts: Sequence[str]) -> list[str]:
    return [part for place, part in enumerate(parts) if part != ANY_DEPTH or parts[:place][-1:] != [ANY_DEPTH]]


def _fits(way: Sequence[str], wanted: Sequence[str]) -> bool:
    """Tell whether a file's way is as wanted."""
    if not wanted:
        return not way
    if wanted[0] == ANY_DEPTH:
        return _fits(way, wanted[1:]) or (bool(way) and (_fits(way[1:], wanted) or len(wanted) == 1))
    return bool(way) and fnmatchcase(way[0], wanted[0]) and _fits(way[1:], wanted[1:])


def _may_lead(way: Sequence[str], wanted: Sequence[str]) -> bool:
    """Tell whether files that fit may lie below a folder."""
    for name, part in zip(way, wanted, strict=False):
        if part == ANY_DEPTH:
            return True
        if not fnmatchcase(name, part):
            return False
    return len(way) < len(wanted)
