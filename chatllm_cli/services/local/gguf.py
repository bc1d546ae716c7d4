"""What can be told from the beginning of a model file, before llama.cpp is let near it."""

import math
import struct
from typing import BinaryIO

MAGIC = b"GGUF"
HEADER = struct.Struct("<4sIQQ")  # magic, version, number of tensors, number of facts about the model
VERSIONS = range(2, 4)
LEAST_PER_ENTRY = 13  # bytes of the shortest fact: an empty name, its kind and a value of one byte
MOST_FACTS = 10_000
LONGEST_TEXT = 1_000_000  # bytes of a fact: a licence, a template
LONGEST_ARRAY = 1000  # what is longer is a vocabulary: what a model can do stands before it
# Beyond these llama.cpp ends the process, or no model is. A model without attention has no heads.
RANGES = {
    "context_length": range(1, 2**31),
    "block_count": range(1, 513),
    "embedding_length": range(1, 2**24),
    "attention.head_count": range(2**16),
}
EPSILONS = ("attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon", "attention.group_norm_epsilon")

Value = int | float | bool | str
_NUMBERS = {
    number: struct.Struct(f"<{kind}")
    for number, kind in {
        0: "B",
        1: "b",
        2: "H",
        3: "h",
        4: "I",
        5: "i",
        6: "f",
        7: "?",
        10: "Q",
        11: "q",
        12: "d",
    }.items()
}
_TEXT, _ARRAY = 8, 9
_COUNT, _KIND = struct.Struct("<Q"), struct.Struct("<I")


def fault_of(beginning: bytes, size: int | None = None) -> str | None:
    """Return what is wrong with a file of `size` bytes that begins so, or None if it may be a model."""
    if beginning[: len(MAGIC)] != MAGIC:
        return "is not a GGUF file"
    if len(beginning) < HEADER.size:
        return "is cut short"
    _, version, tensors, facts = HEADER.unpack(beginning[: HEADER.size])
    if version not in VERSIONS:
        return f"is of GGUF version {version}, which llama.cpp does not read here"
    if not tensors or not facts or (size is not None and (tensors + facts) * LEAST_PER_ENTRY > size):
        return "is damaged: its header cannot be true"
    return None


def read_facts(file: BinaryIO) -> dict[str, Value]:
    """Return what a model file says of itself before its vocabulary begins, lists apart.

    What cannot be read ends it without a word: llama.cpp refuses such a file by itself. Raises OSError.
    """
    facts: dict[str, Value] = {}
    _, _, _, count = HEADER.unpack(file.read(HEADER.size))
    try:
        for _ in range(min(count, MOST_FACTS)):
            name = _text(file)
            value = _value(file, *_KIND.unpack(file.read(_KIND.size)))
            if value is not None:
                facts[name] = value
    except (struct.error, EOFError, KeyError):
        pass
    return facts


def fault_of_facts(facts: dict[str, Value]) -> str | None:
    """Return which fact cannot be true of any model, or None: llama.cpp believes them, and ends the process."""
    own = {name: facts.get(f"{facts.get('general.architecture')}.{name}") for name in (*RANGES, *EPSILONS)}
    for name, value in own.items():
        is_wrong = isinstance(value, int) and name in RANGES and value not in RANGES[name]
        if is_wrong or (isinstance(value, float) and name in EPSILONS and not (math.isfinite(value) and value > 0)):
            return f"is damaged: its header says that {name} is {value}"
    return None


def context_length(facts: dict[str, Value]) -> int | None:
    """Return how many tokens a model was made to read, if it says so."""
    length = facts.get(f"{facts.get('general.architecture')}.context_length")
    return length if isinstance(length, int) else None


def _value(file: BinaryIO, kind: int) -> Value | None:
    """Read a value; a list gives None. Raises EOFError for a vocabulary."""
    if kind == _TEXT:
        return _text(file)
    if kind != _ARRAY:
        number = _NUMBERS[kind]
        value: Value = number.unpack(file.read(number.size))[0]
        return value
    (kind,), (count,) = _KIND.unpack(file.read(_KIND.size)), _COUNT.unpack(file.read(_COUNT.size))
    if count > LONGEST_ARRAY or kind == _ARRAY:
        raise EOFError
    for _ in range(count):
        _value(file, kind)
    return None


def _text(file: BinaryIO) -> str:
    (length,) = _COUNT.unpack(file.read(_COUNT.size))
    text = file.read(length) if length <= LONGEST_TEXT else b""
    if len(text) < length:
        raise EOFError
    return text.decode(errors="replace")
