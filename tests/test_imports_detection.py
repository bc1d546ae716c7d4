from pathlib import Path

import pytest

from chatllm_cli.formats.reading import json_values
from chatllm_cli.formats.reading.source import Source
from chatllm_cli.services.imports.detection import JSON, NAMES, OTHERS, detected, loader

FIXTURES = Path(__file__).parent / "data" / "imports"


def files(name: str) -> list[Path]:
    folder = FIXTURES / name
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".md", ".png"})


@pytest.mark.parametrize("name", ["chatgpt", "claude", "openai", "gptme", "shell_gpt", "llm", "aichat"])
def test_a_file_is_told_by_what_is_in_it_whatever_it_is_called(name: str) -> None:
    assert files(name)
    for path in files(name):
        assert (path, detected(Source("x", path.read_bytes(), path))) == (path, name)


@pytest.mark.parametrize("name", sorted({*JSON, *OTHERS}))
def test_every_format_has_a_loader(name: str) -> None:
    module = loader(name)
    assert (callable(module.load), callable(module.is_one), name in NAMES) == (True, True, True)


JOURNAL = b'{"v":2,"type":"conversation","id":"0123456789abcdef","at":"2026-07-01T12:00:00.000Z"}\n'


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (JOURNAL, "journal"),
        (JOURNAL + b'{"v":2,"type":"head","id":"0123456789abcdef","at":"","head":null}\n', "journal"),
        (json_values.BOM + b' [{"role": "system", "content": "a"}]', "shell_gpt"),
        (b"", None),
        (b"plain text", None),
        (b"---\ntitle: a note\n---\n\n# A note\n", None),
        (b"# heading\n", None),
        (b'{"name": "package", "version": "1.0"}', None),
        (b"[1, 2, 3]", None),
        (b"[]", None),
        (b"{", None),
        (b"[" * 100_000, None),
        (b"model: car\nwheels: 4\n", None),
        (b"SQLite format 3\0" + b"\0" * 84, None),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"%PDF-1.7", None),
    ],
)
def test_what_is_no_conversation_is_taken_for_none(data: bytes, name: str | None) -> None:
    assert detected(Source("x", data)) == name
