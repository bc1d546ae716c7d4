"""Imports that ask the system less: a start is up to a thousand of them.

Before each import Python looks at the folder's time of change, then at the file, the file again, and at its bytecode,
which it opens as a text editor would. Here a folder is listed once, and bytecode is read in one go.

What is imported is the same. Bytecode counts as it does there: of this version of Python, and of a source with the
time and the size that are noted in it. And what is not plainly a source file with bytecode beside it is left to
Python, as everything is where CHATLLM_PLAIN_IMPORTS is set. `docs/decisions/0035-quick-imports.md` has what it gains.
"""

import marshal
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import MAGIC_NUMBER
from types import CodeType, ModuleType

PLAIN_IMPORTS_VARIABLE = "CHATLLM_PLAIN_IMPORTS"
SOURCE = ".py"
INITIALISER = "__init__"
BYTECODE = f".{sys.implementation.cache_tag}.pyc"
HEAD = MAGIC_NUMBER + bytes(4)  # of bytecode that goes by the time and size of its source: PEP 552
HEAD_SIZE = 16


def install() -> None:
    """Import so from here on, where bytecode has the names that it has if nobody says otherwise."""
    is_usual = os.sep == "/" and not sys.flags.optimize
    if is_usual and PathFinder in sys.meta_path and not os.environ.get(PLAIN_IMPORTS_VARIABLE):
        sys.meta_path.insert(sys.meta_path.index(PathFinder), QuickFinder())


class QuickFinder:
    """Finds modules and packages that are source files in plain folders.

    It is a MetaPathFinder by its methods alone: to import that class from importlib.abc brings 30 modules.
    """

    def __init__(self) -> None:
        self._listed: dict[str, _Listing | None] = {}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002  (as it is called)
    ) -> ModuleSpec | None:
        """Find a module, or leave it to the next finder."""
        name = fullname.rpartition(".")[2]
        for folder in sys.path if path is None else path:
            if (listing := self._list(folder)) is None:
                return None
            if name in listing.others:
                inner = f"{folder}/{name}"
                return _spec(fullname, inner, INITIALISER) if _is_source(self._list(inner), INITIALISER) else None
            if name in listing.sources:
                return _spec(fullname, folder, name)
        return None

    def invalidate_caches(self) -> None:
        """Forget what was in the folders."""
        self._listed.clear()

    def _list(self, folder: str) -> "_Listing | None":
        try:
            return self._listed[folder]
        except KeyError:
            self._listed[folder] = listing = _list(folder)
            return listing


class QuickLoader(SourceFileLoader):
    """Reads bytecode that is there and up to date; for all else it is Python's own."""

    def get_code(self, fullname: str) -> CodeType | None:
        """Return what to execute. Raises as Python's own does."""
        try:
            code = _bytecode_of(self.path)
        except OSError:
            code = None
        return code or super().get_code(fullname)


class _Listing:
    """What is in a folder, by the names before the first dot."""

    def __init__(self, entries: Sequence[str]) -> None:
        self.sources = {each.removesuffix(SOURCE) for each in entries if each.endswith(SOURCE)}
        self.others = {each.partition(".")[0] for each in entries if not each.endswith(SOURCE)}


def _list(folder: str) -> _Listing | None:
    """Return what is in a folder; None for what only Python itself knows how to look into."""
    if not isinstance(folder, str) or not folder.startswith("/") or folder.endswith("/"):
        return None
    try:
        return _Listing(os.listdir(folder))  # noqa: PTH208  (pathlib takes as long as all else here)
    except FileNotFoundError:
        return _Listing(())
    except OSError:  # a zip file is no folder
        return None


def _is_source(listing: _Listing | None, name: str) -> bool:
    return listing is not None and name in listing.sources and name not in listing.others


def _spec(fullname: str, folder: str, name: str) -> ModuleSpec | None:
    path = f"{folder}/{name}{SOURCE}"
    if not os.path.isfile(path):  # noqa: PTH113  (as above: it may be a folder, lead nowhere, or be gone since)
        return None
    spec = ModuleSpec(fullname, QuickLoader(fullname, path), origin=path, is_package=name == INITIALISER)
    if spec.submodule_search_locations is not None:
        spec.submodule_search_locations.append(folder)
    spec.cached = _path_of_bytecode(path)
    spec.has_location = True  # it is how a module gets its __file__
    return spec


def _path_of_bytecode(path: str) -> str:
    folder, _, name = path.rpartition("/")
    prefix = sys.pycache_prefix
    kept = f"{folder}/__pycache__" if prefix is None else f"{prefix.rstrip('/')}{folder}"
    return f"{kept}/{name.removesuffix(SOURCE)}{BYTECODE}"


def _bytecode_of(path: str) -> CodeType | None:
    """Return the bytecode of a source file; None if it is not there as expected. Raises what reading it raises."""
    source = os.stat(path)  # noqa: PTH116  (as above)
    descriptor = os.open(_path_of_bytecode(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)
    if data[:HEAD_SIZE] != HEAD + _four_bytes(int(source.st_mtime)) + _four_bytes(source.st_size):
        return None
    code = marshal.loads(memoryview(data)[HEAD_SIZE:])  # noqa: S302  (as Python itself does)
    return code if isinstance(code, CodeType) and code.co_filename == path else None


def _four_bytes(number: int) -> bytes:
    return (number & 0xFFFF_FFFF).to_bytes(4, "little")
