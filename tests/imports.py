"""What the tests of loaders share: files that hold conversations, and what comes of them."""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.source import Imported, Outcome, Source
from chatllm_cli.models import Conversation

FOLDER = Path(__file__).parent / "data" / "imports"


def nothing(_: str) -> bytes | None:
    """Stand for a file that lies alone."""
    return None


def fixture(module: str, name: str) -> bytes:
    """Return a file that a foreign program would have left."""
    return (FOLDER / module / name).read_bytes()


def outcomes(
    module: str, data: bytes, name: str = "file", beside: Callable[[str], bytes | None] = nothing
) -> list[Outcome]:
    """Return all that a loader makes of a file."""
    return list(import_module(f"chatllm_cli.formats.{module}").load(Source(name, data, beside=beside)))


def conversations(module: str, value: Any, name: str = "file") -> list[Conversation]:
    """Return the conversations of a file, all of which can be read; `value` is its bytes, or what its JSON says."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    found = outcomes(module, data, name)
    assert all(isinstance(each, Imported) for each in found), found
    return [each.conversation for each in found if isinstance(each, Imported)]


def faults(module: str, value: Any) -> list[str]:
    """Return what a loader says of a file that holds this one value."""
    try:
        found = outcomes(module, json.dumps(value).encode())
    except FormatError as error:
        return [error.message]
    return [each.message for each in found if isinstance(each, FormatError)]
