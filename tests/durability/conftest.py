"""A folder for tests that write a great deal."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

MEMORY = "/dev/shm"  # noqa: S108  (what is made there has a name of chance)


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, if there is such a place: what is written counts there, not how fast the disk is."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(prefix="chatllm-test-", dir=MEMORY) as folder:
        yield Path(folder)
