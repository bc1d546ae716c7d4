import struct

import pytest

from chatllm_cli.services.local.gguf import fault_of


def header(magic: bytes = b"GGUF", version: int = 3, tensors: int = 2, facts: int = 3) -> bytes:
    return struct.pack("<4sIQQ", magic, version, tensors, facts)


@pytest.mark.parametrize(
    ("beginning", "fault"),
    [
        (header(), None),
        (header(version=2), None),
        (header() + b"rest", None),
        (b"", "is not a GGUF file"),
        (b"<!doctype html>", "is not a GGUF file"),
        (header(magic=b"GGML"), "is not a GGUF file"),
        (header()[:-1], "is cut short"),
        (header(version=1), "is of GGUF version 1, which llama.cpp does not read here"),
        (header(version=4), "is of GGUF version 4, which llama.cpp does not read here"),
        (struct.pack(">4sIQQ", b"GGUF", 3, 2, 3), "is of GGUF version 50331648, which llama.cpp does not read here"),
        (header(tensors=0), "is damaged: its header cannot be true"),
        (header(facts=0), "is damaged: its header cannot be true"),
        (header(tensors=2**60), "is damaged: its header cannot be true"),
        (header(facts=2**63), "is damaged: its header cannot be true"),
    ],
)
def test_a_header_tells_what_cannot_be_a_model(beginning: bytes, fault: str | None) -> None:
    assert fault_of(beginning, 1000) == fault
