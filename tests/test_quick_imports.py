"""Imports that ask the system less: the same modules as Python's own imports give."""

import importlib.util
import inspect
import json
import os
import py_compile
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

import pytest

from chatllm_cli.quick_imports import QuickFinder, QuickLoader

ALL_THAT_IS_IMPORTED = """
import json, sys
from chatllm_cli import quick_imports
quick_imports.install()
import chatllm_cli.cli.ask, chatllm_cli.repl.loop, chatllm_cli.services.llm
named = ("__name__", "__file__", "__cached__", "__package__", "__path__")
quick, told = 0, {}
for name, module in sorted(sys.modules.items()):
    quick += type(getattr(module, "__loader__", None)).__name__ == "QuickLoader"
    if name != "chatllm_cli.quick_imports":
        spec = getattr(module, "__spec__", None)
        told[name] = [repr(vars(module).get(each)) for each in named] + [spec and spec.origin]
print(json.dumps([quick, told]))
"""
FINDERS = """
import sys
import chatllm_cli.__main__, chatllm_cli.cli.app
chatllm_cli.cli.app.main = lambda: print(*[getattr(each, "__name__", type(each).__name__) for each in sys.meta_path])
sys.argv = ["chatllm", "ask"]
chatllm_cli.__main__.main()
"""


def output_of(script: str, *flags: str) -> str:
    done = subprocess.run(
        [sys.executable, *flags, "-c", script], capture_output=True, text=True, check=True, timeout=100
    )
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """It is the only one where modules are looked for."""
    return tmp_path


@pytest.fixture
def finder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[QuickFinder]:
    """What it finds is gone with the test."""
    monkeypatch.setattr(sys, "path", [str(folder)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    known = {*sys.modules}
    yield QuickFinder()
    for name in {*sys.modules} - known:
        del sys.modules[name]


def write(path: Path, text: str) -> Path:
    """Write a source file, and its bytecode, as what is installed has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    py_compile.compile(str(path), doraise=True)
    return path


def load(finder: QuickFinder, name: str) -> ModuleType:
    spec = finder.find_spec(name, None)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_whatever_a_chat_imports_is_what_python_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    quick, modules = json.loads(output_of(ALL_THAT_IS_IMPORTED))
    monkeypatch.setenv("CHATLLM_PLAIN_IMPORTS", "1")
    none, expected = json.loads(output_of(ALL_THAT_IS_IMPORTED))
    assert (none, quick > 500) == (0, True)
    assert {name: told for name, told in modules.items() if expected.get(name) != told} == {}


def test_it_comes_right_before_pythons_own_and_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHATLLM_PLAIN_IMPORTS", raising=False)
    *_, before, last = output_of(FINDERS).split()
    assert (before, last) == ("QuickFinder", "PathFinder")
    assert "QuickFinder" not in output_of(FINDERS, "-O")
    monkeypatch.setenv("CHATLLM_PLAIN_IMPORTS", "1")
    assert "QuickFinder" not in output_of(FINDERS)


@pytest.mark.parametrize("prefix", [None, "/kept/elsewhere", "beside/", "/"])
@pytest.mark.parametrize("name", ["module", "package", "package.inner", "package.deeper"])
def test_a_module_has_all_that_python_gives_it(
    finder: QuickFinder, folder: Path, name: str, prefix: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("module.py", "package/__init__.py", "package/inner.py", "package/deeper/__init__.py"):
        write(folder / file, "x = 1")
    monkeypatch.setattr(sys, "pycache_prefix", prefix)
    path = [str(folder / "package")] if "." in name else None
    found, expected = finder.find_spec(name, path), PathFinder.find_spec(name, path)
    assert found
    assert expected
    assert isinstance(found.loader, QuickLoader)
    names = ("name", "origin", "cached", "parent", "has_location", "submodule_search_locations")
    assert [getattr(found, each) for each in names] == [getattr(expected, each) for each in names]


def test_the_first_folder_that_has_it_counts(
    finder: QuickFinder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "second" / "module.py", "x = 2")
    write(folder / "third" / "module.py", "x = 3")
    monkeypatch.setattr(sys, "path", [str(folder / each) for each in ("missing", "second", "third")])
    assert load(finder, "module").x == 2


@pytest.mark.parametrize(
    "files",
    [
        (),
        ("module/data.txt",),
        ("module.txt",),
        ("module.pyc",),
        ("module.py", "module.pyi"),
        ("module.py", "module.so"),
        ("module.py", f"module.{sys.implementation.cache_tag}-x86_64-linux-gnu.so"),
        ("module.py", "module/data.txt"),
        ("module/__init__.py", "module/__init__.abi3.so"),
        ("module/__init__.pyc",),
    ],
)
def test_what_is_no_plain_source_file_is_left_to_python(
    finder: QuickFinder, folder: Path, files: tuple[str, ...]
) -> None:
    for file in files:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text("")
    assert finder.find_spec("module", None) is None


@pytest.mark.parametrize("first", ["", ".", "inner", "archive.zip", "behind/"])
def test_behind_a_path_that_is_no_plain_folder_python_looks_itself(
    finder: QuickFinder, folder: Path, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "behind" / "module.py", "")
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.writestr("module.py", "")
    named = f"{folder}/{first}" if first in {"archive.zip", "behind/"} else first
    monkeypatch.setattr(sys, "path", [named, str(folder / "behind")])
    assert finder.find_spec("module", None) is None


def folder_of_that_name(path: Path) -> None:
    path.mkdir(parents=True)


def link_that_leads_nowhere(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("nowhere")


def pipe(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)


@pytest.mark.parametrize("make", [folder_of_that_name, link_that_leads_nowhere, pipe])
@pytest.mark.parametrize("file", ["module.py", "module/__init__.py"])
def test_what_only_has_the_name_of_a_source_file_is_left_to_python(
    finder: QuickFinder, folder: Path, file: str, make: Callable[[Path], None]
) -> None:
    make(folder / file)
    assert finder.find_spec("module", None) is None


def test_a_file_that_is_gone_since_its_folder_was_listed_is_not_found(finder: QuickFinder, folder: Path) -> None:
    path = write(folder / "module.py", "x = 1")
    assert finder.find_spec("module", None)
    path.unlink()
    assert finder.find_spec("module", None) is None


@pytest.mark.parametrize("entry", [Path("/"), b"/", None])
def test_an_entry_that_is_no_text_is_left_to_python_which_skips_it(
    finder: QuickFinder, folder: Path, entry: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "module.py", "x = 1")
    monkeypatch.setattr(sys, "path", [entry, str(folder)])
    assert finder.find_spec("module", None) is None


def test_a_new_file_is_found_once_caches_are_invalidated(finder: QuickFinder, folder: Path) -> None:
    assert finder.find_spec("module", None) is None
    write(folder / "module.py", "x = 1")
    assert finder.find_spec("module", None) is None
    finder.invalidate_caches()
    assert load(finder, "module").x == 1


def rewrite(path: Path, text: str) -> None:
    """Give a source another text, and the time that it had."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def newer(path: Path) -> None:
    path.write_text("x = 2")
    os.utime(path, (1, 1))


def longer(path: Path) -> None:
    rewrite(path, "x = 2 ")


def bytecode_of(path: Path) -> Path:
    return Path(importlib.util.cache_from_source(path))


def without_bytecode(path: Path) -> None:
    path.write_text("x = 2")
    bytecode_of(path).unlink()


def of_another_python(path: Path) -> None:
    rewrite(path, "x = 2")
    bytecode_of(path).write_bytes(b"\0\0\r\n" + bytecode_of(path).read_bytes()[4:])


def by_its_hash(path: Path) -> None:
    py_compile.compile(str(path), invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    path.write_text("x = 2")


def cut(path: Path) -> None:
    newer(path)
    py_compile.compile(str(path))
    os.truncate(bytecode_of(path), 40)
    longer(path)


def elsewhere(path: Path) -> None:
    path.write_text("x = 2")
    py_compile.compile(str(path), dfile="/elsewhere/module.py")


@pytest.mark.parametrize("change", [newer, longer, without_bytecode, of_another_python, by_its_hash, cut, elsewhere])
def test_the_source_counts_wherever_its_bytecode_is_not_what_it_should_be(
    finder: QuickFinder, folder: Path, change: Callable[[Path], None]
) -> None:
    change(write(folder / "module.py", "x = 1"))
    module = load(finder, "module")
    assert module.x == 2
    assert inspect.getsource(module).strip() == "x = 2"


def test_a_fault_of_a_source_is_told_without_what_was_tried_before(finder: QuickFinder, folder: Path) -> None:
    (folder / "module.py").write_text("def f(:")
    with pytest.raises(SyntaxError) as caught:
        load(finder, "module")
    assert caught.value.__context__ is None


def test_code_names_the_file_that_it_is_from(finder: QuickFinder, folder: Path) -> None:
    path = write(folder / "module.py", "def f(): pass")
    py_compile.compile(str(path), dfile="/elsewhere/module.py")
    assert load(finder, "module").f.__code__.co_filename == str(path)


def test_bytecode_is_what_is_executed_without_asking_pythons_own_loader(
    finder: QuickFinder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QuickLoader, "get_data", None, raising=False)
    rewrite(write(folder / "module.py", "x = 1"), "x = 2")
    assert load(finder, "module").x == 1


def test_damaged_bytecode_is_told_as_python_tells_it(finder: QuickFinder, folder: Path) -> None:
    path = write(folder / "module.py", "x = 1")
    os.truncate(bytecode_of(path), 40)
    with pytest.raises(EOFError):
        load(finder, "module")
