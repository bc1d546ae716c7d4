"""Has loaders read files that would fill the memory, in a process that has little. `test_fuzz_imports` starts it.

    python -m tests.durability.giant_imports FORMAT…

What it prints is what came of each file, as JSON.
"""

import json
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.reading.source import Source
from chatllm_cli.services.imports.detection import loader
from tests.durability.spoiled_imports import MOST_MEMORY

GIGABYTE = 2**30
DEPTH = 200_000
LISTS = 100_000_000  # three bytes each


@contextmanager
def sparse(begin: bytes) -> Iterator[mmap]:
    """Give a file of a gigabyte that takes no place: it begins so, and zeros follow."""
    with tempfile.TemporaryFile() as file:
        file.write(begin)
        file.truncate(GIGABYTE)
        with mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:
            yield mapped


def told(format_: str, data: bytes | mmap) -> list[str]:
    """Return what a loader says of a file, of which it must be able to read nothing."""
    try:
        found = list(loader(format_).load(Source("giant", data)))
    except FormatError as error:
        return [error.message]
    assert all(isinstance(each, FormatError) for each in found)
    return [each.message for each in found if isinstance(each, FormatError)]


def giants() -> Iterator[tuple[str, str]]:
    """Yield what is said of the giants among JSON files, each of which one loader stands for all in reading."""
    with sparse(b'[{"mapping": {"a": "') as data:
        yield "one line", told("chatgpt", data)[-1].partition(": ")[2]
    yield "lists", told("chatgpt", b'{"mapping": [' + b"[]," * LISTS)[-1].partition(": ")[2]
    many = told("chatgpt", b"[" + b"[]," * LISTS)
    yield "lists in an array", "told, and left" if len(many) == 1_001 else many[-1]
    yield "deep", told("chatgpt", b'[{"mapping": ' + b'{"a":' * DEPTH)[-1].partition(": ")[2]


def main() -> None:
    """Do what the command line says."""
    formats = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    came: dict[str, dict[str, str]] = {}
    with sparse(b"") as zeros:
        for format_ in formats:
            came[format_] = {
                name: "refused" if told(format_, data) else "nothing was said of it"
                for name, data in (("zeros", zeros), ("deep", b"[" * DEPTH))
            }
    print(json.dumps({"json": dict(giants()), "loaders": came}))  # noqa: T201  (what it is started for)


if __name__ == "__main__":
    main()
