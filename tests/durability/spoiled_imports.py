"""Feeds a loader with files that are spoiled in every way, within a bound of memory. `test_fuzz_imports` starts it.

    python -m tests.durability.spoiled_imports FORMAT FIRST_SEED COUNT

The last line that it prints is what came of them, as JSON.
"""

import json
import resource
import sys
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats import json as json_format
from chatllm_cli.formats import markdown
from chatllm_cli.formats.reading import json_values
from chatllm_cli.formats.reading.source import Imported, Source
from chatllm_cli.models import Conversation
from chatllm_cli.services.imports.detection import detected, loader
from tests.documents import PNG
from tests.durability.helpers import chance, conversation_of, journal_of, named, turns, use
from tests.durability.odd_values import text, value

IMPORTS = Path(__file__).parents[1] / "data" / "imports"
OURS: dict[str, Any] = {"chatllm": json_format, "markdown": markdown}
MOST_MEMORY = 1536 * 2**20  # bytes of address space
DEEPEST = 1_500
USED_EVERY, LOOKED_AT_EVERY = 16, 4


def fixtures(format_: str) -> list[bytes]:
    """Return the files that a loader is there for: those of foreign programs, or what we write."""
    folder = IMPORTS / format_
    files = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "README.md"]
    if format_ not in OURS:
        return [part for file in files for part in _parts(file)]
    return [OURS[format_].dump(conversation_of(turns(count))).encode() for count in (1, 3)]


def _parts(file: bytes) -> list[bytes]:
    """Return a few conversations of a file at a time, which are read faster: of an array each, of lines two."""
    if file.startswith(b"["):
        return [json.dumps([each], ensure_ascii=False).encode() for each in json_values.values(file)]
    lines = file.splitlines(keepends=True)
    if file.startswith(b"{") and all(line.startswith(b"{") for line in lines):
        return [b"".join(lines[number : number + 2]) for number in range(0, len(lines), 2)]
    return [file]


def spoiled(random: Random, files: list[bytes]) -> bytes:
    """Return a file that is not quite what it should be."""
    data = random.choices(files, [1 / (len(each) + 2_000) for each in files])[0]
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        way = random.choice(WAYS)
        data = way(random, data, random.choice(files))
    return data


def _flipped(random: Random, data: bytes, _other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        if changed:
            changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def _cut(random: Random, data: bytes, _other: bytes) -> bytes:
    return data[: random.randint(0, len(data))]


def _without(random: Random, data: bytes, _other: bytes) -> bytes:
    begin, end = _range(random, data)
    return data[:begin] + data[end:]


def _spliced(random: Random, data: bytes, other: bytes) -> bytes:
    begin, end = _range(random, data)
    other_begin, other_end = _range(random, other)
    return data[:begin] + other[other_begin:other_end] + data[end:]


def _doubled(random: Random, data: bytes, _other: bytes) -> bytes:
    begin, end = _range(random, data)
    return data[:end] + data[begin:]


def _odd(random: Random, data: bytes, _other: bytes) -> bytes:
    begin, end = _range(random, data, 8)
    return data[:begin] + text(random, 12).encode() + data[end:]


def _deep(random: Random, data: bytes, _other: bytes) -> bytes:
    place = random.randint(0, len(data))
    return data[:place] + random.choice([b"[", b'{"a":', b"- ", b"("]) * random.randint(1, DEEPEST) + data[place:]


def _retyped(random: Random, data: bytes, _other: bytes) -> bytes:
    """Replace values, however deep within, by others of any type; of what is no JSON, a line."""
    try:
        values = [each for each in islice(json_values.values(data), 20) if isinstance(each, dict | list)]
    except FormatError:
        values = []
    if not values:
        lines = data.split(b"\n")
        lines[random.randrange(len(lines))] = text(random).encode()
        return b"\n".join(lines)
    one = random.choice(values)
    for _ in range(random.randint(1, 3)):
        _replace(random, one)
    return json.dumps(random.choice([one, [one], values])).encode()


def _replace(random: Random, holder: Any) -> None:
    while holder:
        key = random.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        if not isinstance(holder[key], dict | list) or random.random() < 0.2:
            holder[key] = random.choice(
                [value(random), holder[random.choice([*holder])] if isinstance(holder, dict) else None]
            )
            return
        holder = holder[key]


def _range(random: Random, data: bytes, most: int = 2_000) -> tuple[int, int]:
    begin = random.randint(0, len(data))
    return begin, begin + random.randint(0, most)


WAYS: tuple[Callable[[Random, bytes, bytes], bytes], ...] = (
    _flipped, _cut, _without, _spliced, _doubled, _odd, _deep, _retyped, _retyped, _retyped,
)  # fmt: skip


def _check(conversation: Conversation, *, is_ours: bool) -> None:
    """See that messages form a tree, each below one that came before; ours may have lost some, and keep the gap."""
    known: set[str | None] = {None}
    for message in conversation.messages:
        assert message.id not in known, "an id that is there twice"
        assert is_ours or message.parent in known, "a parent that is not there"
        known.add(message.id)
    assert is_ours or conversation.head in known, "a head that is not there"


def feed(format_: str, begin: int, count: int) -> Counter[str]:
    """Have so many files read, and return what came of them. Raises AssertionError with the seed of one that failed."""
    load, files = loader(format_).load, fixtures(format_)
    came = Counter({"conversations": 0, "faults": 0, "refused": 0})
    for seed in range(begin, begin + count):
        data = spoiled(chance(format_, seed), files)
        source = Source("20260102T030405-file", data, beside={"file-AbC123": PNG}.get)
        with named(f"seed {seed}"):
            try:
                if seed % LOOKED_AT_EVERY == 0:
                    detected(source)
                for outcome in load(source):
                    assert isinstance(outcome, Imported | FormatError)
                    if isinstance(outcome, FormatError):
                        came["faults"] += 1
                        continue
                    came["conversations"] += 1
                    _check(outcome.conversation, is_ours=format_ in OURS)
                    if seed % USED_EVERY == 0:
                        use(outcome.conversation)
                        journal_of(outcome.conversation)
            except FormatError as error:
                came["refused"] += 1
                assert "memory" not in error.message
    return came


def main() -> None:
    """Do what the command line says."""
    format_, begin, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    feed(format_, 0, 10)  # what is loaded once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    came = feed(format_, begin, count)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({**came, "grown_kib": grown}))  # noqa: T201  (what it is started for)


if __name__ == "__main__":
    main()
