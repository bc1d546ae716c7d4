"""Whatever is read as a conversation of another program: it is read, or refused with an error of ours, within bounds."""

import json
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from chatllm_cli import formats
from tests.durability.spoiled_imports import fixtures

ROOT = Path(__file__).parents[2]
COUNT = 20_000
MODULES = [each.name for each in pkgutil.iter_modules(formats.__path__)]
LOADERS = [name for name in MODULES if hasattr(import_module(f"chatllm_cli.formats.{name}"), "load")]


def run(*command: object) -> str:
    """Return what a Python process printed, which may fail in no way."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, cwd=ROOT, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("module", LOADERS)
def test_no_file_makes_a_loader_fail_or_take_much_memory(module: str) -> None:
    came = json.loads(run("-m", "tests.durability.spoiled_imports", module, 0, COUNT))
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
        "loaders": {module: {"zeros": "refused", "deep": "refused"} for module in LOADERS},
    }


@pytest.mark.parametrize("module", LOADERS)
def test_every_loader_has_files_that_it_is_tried_with(module: str) -> None:
    assert fixtures(module)
