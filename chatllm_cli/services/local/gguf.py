"""What can be told from the first bytes of a model file, before llama.cpp is let near it."""

import struct

MAGIC = b"GGUF"
HEADER = struct.Struct("<4sIQQ")  # magic, version, number of tensors, number of facts about the model
VERSIONS = range(2, 4)
LEAST_PER_ENTRY = 13  # bytes of the shortest fact: an empty name, its kind and a value of one byte


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
