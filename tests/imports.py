"""What the tests of loaders share: files that hold conversations, and what comes of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.reading.source import Imported, Outcome, Source
from chatllm_cli.models import Conversation
from chatllm_cli.services.imports.detection import loader

FOLDER = Path(__file__).parent / "data" / "imports"


def nothing(_: str) -> bytes | None:
    """Stand for a file that lies alone."""
    return None


def fixture(format_: str, name: str) -> bytes:
    """Return a file that a foreign program would have left."""
    return (FOLDER / format_ / name).read_bytes()


def outcomes(
    format_: str, data: bytes, name: str = "file", beside: Callable[[str], bytes | None] = nothing
) -> list[Outcome]:
    """Return all that a loader makes of a file."""
    return list(loader(format_).load(Source(name, data, beside=beside)))


def conversations(format_: str, value: Any, name: str = "file") -> list[Conversation]:
    """Return the conversations of a file, all of which can be read; `value` is its bytes, or what its JSON says."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    found = outcomes(format_, data, name)
    assert all(isinstance(each, Imported) for each in found), found
    return [each.conversation for each in found if isinstance(each, Imported)]


def faults(format_: str, value: Any) -> list[str]:
    """Return what a loader says of a file that holds this one value."""
    try:
        found = outcomes(format_, json.dumps(value).encode())
    except FormatError as error:
        return [error.message]
    return [each.message for each in found if isinstance(each, FormatError)]
