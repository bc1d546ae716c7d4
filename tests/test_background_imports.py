import gc
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatllm_cli.background_imports import import_in_background


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Whatever becomes of the collector ends with the test."""
    yield
    gc.unfreeze()
    gc.enable()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Modules in here can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("first", "second", "broken"):
        sys.modules.pop(name, None)


def import_and_wait(*modules: str) -> None:
    done = threading.Event()
    import_in_background(*modules, then=done.set)
    assert done.wait(10)


def test_modules_are_imported_without_collecting_garbage_meanwhile(folder: Path) -> None:
    (folder / "first.py").write_text("import gc\nis_collecting = gc.isenabled()\n")
    (folder / "second.py").write_text("import threading\nwhere = threading.current_thread()\n")
    import_and_wait("first", "second")
    assert sys.modules["first"].is_collecting is False
    assert sys.modules["second"].where is not threading.current_thread()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_a_fault_is_left_to_whoever_uses_the_module(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.py").write_text("1 / 0\n")
    import_and_wait("broken", "second")
    assert "broken" not in sys.modules
    assert gc.isenabled()
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of one thread is counted there only")
def test_deep_calls_do_not_get_and_return_memory_each_time(folder: Path) -> None:
    (folder / "first.py").write_text(
        "import resource\n"
        "def idle(): pass\n"
        "def calls_at_each_depth(left):\n"
        "    for _ in range(1000): idle()\n"
        "    if left: calls_at_each_depth(left - 1)\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt\n"
        "before = faults()\n"
        "calls_at_each_depth(300)\n"
        "taken = faults() - before\n"
    )
    import_and_wait("first")
    assert sys.modules["first"].taken < 500
