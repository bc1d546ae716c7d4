"""The models that were fetched: a folder of GGUF files, each with a record of what it is beside it.

For a model NAME there is `NAME.gguf` and `NAME.gguf.json`; while it is fetched, `NAME.gguf.part`, locked, and
`NAME.gguf.part.json`. A GGUF file that somebody put there by hand counts, too: only nothing is known of it.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chatllm_cli.errors import ChatllmError, UsageError
from chatllm_cli.frozen import frozen
from chatllm_cli.private_files import open_private, read_json, replace_private_file

SUFFIX = ".gguf"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


@frozen
class PulledModel:
    """A model in the folder, and what was written down when it was fetched."""

    name: str
    path: Path
    source: str = ""
    sha256: str | None = None
    size: int = 0
    at: str = ""
    verified_ns: int | None = None  # the age of the file when its hash was last found to be right
    address_sha256: str = ""  # of the whole address, whose query may hold a secret; empty in older records

    @property
    def is_verified(self) -> bool:
        """Whether the file is as it was when its hash was last found to be right."""
        status = self.path.stat()
        return (status.st_size, status.st_mtime_ns) == (self.size, self.verified_ns)


def check_name(name: str) -> str:
    """Return `name` if a model can have it; so nothing leads out of the folder. Raises `UsageError`."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' cannot be the name of a model",
            hint="a name is made of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit",
        )
    return name


class PulledModels:
    """The folder. Nothing is made in it before something is fetched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Return the names of the models that are there, whole."""
        try:
            found = [path.name.removesuffix(SUFFIX) for path in self.folder.iterdir() if path.name.endswith(SUFFIX)]
        except OSError:
            return []
        return sorted(name for name in found if NAME.fullmatch(name) and self.path(name).is_file())

    def path(self, name: str) -> Path:
        """Return where a model of that name lies."""
        return self.folder / f"{check_name(name)}{SUFFIX}"

    def part(self, name: str) -> Path:
        """Return where a model lies while it is fetched."""
        return self.folder / f"{check_name(name)}{SUFFIX}.part"

    def find(self, name: str) -> PulledModel | None:
        """Return a model by its name, if it is there."""
        if not NAME.fullmatch(name) or not self.path(name).is_file():
            return None
        path = self.path(name)
        told = read_record(path)
        sha256, verified = told.get("sha256"), told.get("verified_ns")
        return PulledModel(
            name,
            path,
            str(told.get("source", "")),
            sha256 if isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256) else None,
            path.stat().st_size,
            str(told.get("at", "")),
            verified if isinstance(verified, int) and told.get("size") == path.stat().st_size else None,
            str(told.get("address_sha256", "")),
        )

    def note(self, model: PulledModel, file: Path) -> None:
        """Write down what is known of a model, and that its hash is right as `file` is now. Raises OSError."""
        status = file.stat()
        told = asdict(model) | {"size": status.st_size, "verified_ns": status.st_mtime_ns}
        del told["name"], told["path"]
        write_record(model.path, told)

    def size_of(self, name: str) -> int | None:
        """Return how many bytes are there of a model, whole or half fetched, or None if there is nothing."""
        sizes = [path.stat().st_size for path in (self.path(name), self.part(name)) if path.is_file()]
        return sum(sizes) if sizes else None

    def remove(self, name: str) -> None:
        """Remove a model, and what there may be of one half fetched. Raises `ChatllmError`."""
        part = self.part(name)
        try:
            with _locked_if_there(part):
                for path in (self.path(name), part):
                    path.unlink(missing_ok=True)
                    record_of(path).unlink(missing_ok=True)
        except OSError as error:
            raise ChatllmError(f"{self.path(name)} cannot be removed: {error.strerror}") from None


def record_of(path: Path) -> Path:
    """Return where it is written down what a file is."""
    return path.with_name(f"{path.name}.json")


def read_record(path: Path) -> dict[str, Any]:
    """Return what is written down of a file; nothing if that cannot be read."""
    told = read_json(record_of(path))
    return told if isinstance(told, dict) else {}


def write_record(path: Path, told: dict[str, Any]) -> None:
    """Write down what a file is. Raises OSError."""
    replace_private_file(record_of(path), json.dumps(told, indent=2).encode() + b"\n")


@contextmanager
def locked(part: Path) -> Iterator[int]:
    """Open the file that is being fetched, for this process alone. Raises `ChatllmError`, or OSError."""
    while True:
        descriptor = open_private(part, os.O_RDWR | os.O_CREAT)
        try:
            _lock(descriptor, part)
            if _is_at(descriptor, part):  # else whoever had it was just done with it
                yield descriptor
                return
        finally:
            os.close(descriptor)


@contextmanager
def _locked_if_there(part: Path) -> Iterator[None]:
    if not part.exists():
        yield
        return
    with locked(part):
        yield


def _lock(descriptor: int, part: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        name = part.name.removesuffix(f"{SUFFIX}.part")
        raise ChatllmError(f"local/{name} is being fetched by another process") from None


def _is_at(descriptor: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False
