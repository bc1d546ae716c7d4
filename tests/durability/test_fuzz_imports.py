"""Whatever is read as a conversation of another program: it is read, or refused with an error of ours, within bounds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chatllm_cli.services.imports.detection import JSON, OTHERS
from tests.durability.spoiled_imports import fixtures

ROOT = Path(__file__).parents[2]
COUNT = 20_000
LOADERS = sorted({*JSON, *OTHERS})


def run(*command: object) -> str:
    """Return what a Python process printed, which may fail in no way."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, cwd=ROOT, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("format_", LOADERS)
def test_no_file_makes_a_loader_fail_or_take_much_memory(format_: str) -> None:
    came = json.loads(run("-m", "tests.durability.spoiled_imports", format_, 0, COUNT))
    assert came["conversations"] >= COUNT // 40
    assert came["faults"] + came["refused"] >= COUNT // 40
    assert came["grown_kib"] < 100 * 1024


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_giants_are_refused_within_bounds() -> None:
    came = json.loads(run("-m", "tests.durability.giant_imports", *LOADERS))
    large, deep = "it is larger than 256 MiB", "it is nested too deeply"
    assert came == {
        "json": {"one line": large, "lists": large, "lists in an array": "told, and left", "deep": deep},
        "loaders": {format_: {"zeros": "refused", "deep": "refused"} for format_ in LOADERS},
    }


@pytest.mark.parametrize("format_", LOADERS)
def test_every_loader_has_files_that_it_is_tried_with(format_: str) -> None:
    assert fixtures(format_)
