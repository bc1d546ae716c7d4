import io
import math
import struct
from typing import Any

import pytest

from chatllm_cli.services.local.gguf import context_length, fault_of, fault_of_facts, read_facts
from tests.model_server import a_model, a_model_that_says


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


def facts_of(content: bytes) -> dict[str, Any]:
    return read_facts(io.BytesIO(content))


def test_what_a_model_says_of_itself_is_read_up_to_its_vocabulary() -> None:
    said = {
        "general.architecture": "llama",
        "general.languages": ["en", "de"],
        "llama.context_length": 8192,
        "llama.attention.layer_norm_rms_epsilon": 0.5,
        "tokenizer.ggml.tokens": ["a"] * 1001,
        "general.name": "too late",
    }
    facts = facts_of(a_model_that_says(said))
    assert facts == {
        "general.architecture": "llama",
        "llama.context_length": 8192,
        "llama.attention.layer_norm_rms_epsilon": 0.5,
    }
    assert context_length(facts) == 8192


@pytest.mark.parametrize("said", [{}, {"general.architecture": "gpt2", "llama.context_length": 5}])
def test_a_model_that_does_not_say_its_window_has_none(said: dict[str, Any]) -> None:
    assert context_length(facts_of(a_model_that_says(said))) is None


def test_a_file_that_ends_anywhere_gives_what_came_before() -> None:
    whole = a_model_that_says({"general.architecture": "llama", "llama.context_length": 8192})
    facts = [facts_of(whole[:end]) for end in range(24, len(whole))]
    assert all(fact.items() <= facts_of(whole).items() for fact in facts)
    assert facts_of(a_model(1000)) == {}


@pytest.mark.parametrize(
    ("name", "value", "is_true"),
    [
        ("context_length", 0, False),
        ("context_length", 2**20, True),
        ("context_length", 2**32 - 1, False),
        ("block_count", 0, False),
        ("block_count", 1, True),
        ("block_count", 513, False),
        ("embedding_length", 0, False),
        ("attention.head_count", 0, True),
        ("attention.head_count", 2**32 - 1, False),
        ("attention.layer_norm_rms_epsilon", 0.5, True),
        ("attention.layer_norm_rms_epsilon", -0.5, False),
        ("attention.layer_norm_epsilon", 0.0, False),
        ("attention.layer_norm_epsilon", math.nan, False),
        ("attention.group_norm_epsilon", math.inf, False),
    ],
)
def test_a_fact_that_llama_cpp_would_die_of_is_told(name: str, value: float, is_true: bool) -> None:
    facts = facts_of(a_model_that_says({"general.architecture": "llama", f"llama.{name}": value}))
    assert fault_of_facts(facts) == (None if is_true else f"is damaged: its header says that {name} is {value}")
