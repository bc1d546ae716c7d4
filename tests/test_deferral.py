"""LangChain's and OpenAI's packages without what nobody asks of them: the same classes, fewer modules."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path

import pytest

from chatllm_cli.services.llm import deferral
from chatllm_cli.services.llm.deferral import Exports, exports_of
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI

SAME_NAMES = """
import json, pkgutil, sys
import chatllm_cli.services.llm
from importlib import import_module
from chatllm_cli.services.llm.deferral import RE_EXPORTING

def packages(name):
    package = import_module(name)
    yield package
    for below in pkgutil.iter_modules(package.__path__, f"{name}."):
        if below.ispkg and below.name != "langchain_openai.middleware":  # which needs LangChain itself
            yield from packages(below.name)

differing, compared = [], 0
for name in RE_EXPORTING:
    for package in packages(name):
        real = {"__name__": package.__name__, "__package__": package.__name__, "__path__": package.__path__}
        with open(package.__file__) as file:
            exec(compile(file.read(), package.__file__, "exec"), real)
        for each in {each for each in real if not each.startswith("__") and each != "annotations"}:
            compared += 1
            if getattr(package, each) is not real[each] or each not in dir(package):
                differing.append(f"{package.__name__}.{each}")
print(json.dumps([compared, differing]))
"""
SCHEMAS = """
import json
import chatllm_cli.services.llm
from langsmith import run_trees, schemas
from pydantic import BaseModel
kinds = {name: each for name, each in vars(schemas).items() if isinstance(each, type)}
models = {name: each for name, each in kinds.items() if issubclass(each, BaseModel)}
models["RunTree"] = run_trees.RunTree
told = {}
for name, model in models.items():
    try:
        told[name] = model.model_json_schema()
    except Exception as error:
        told[name] = type(error).__name__
print(json.dumps([type(vars(schemas)["Run"]).__name__, told, BaseModel.model_config]))
"""
LOADED = "import sys; import chatllm_cli.services.llm; print(*sys.modules)"
UNUSED = {
    "openai.types.graders.multi_grader",
    "openai.types.responses.response",
    "langsmith.types.run",
    "langchain_openai.embeddings",
}


def output_of(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=100)
    return done.stdout


@pytest.mark.slow
def test_every_name_is_the_object_that_the_packages_own_initialiser_has() -> None:
    compared, differing = json.loads(output_of(SAME_NAMES))
    assert compared > 1000
    assert differing == []


@pytest.mark.slow
def test_models_that_are_built_late_are_built_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    late = json.loads(output_of(SCHEMAS))
    monkeypatch.setenv("CHATLLM_PLAIN_IMPORTS", "1")
    assert late == json.loads(output_of(SCHEMAS))
    assert len(late[1]) > 40
    assert late[2] == {}


def test_what_a_chat_does_not_use_is_imported_only_where_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(output_of(LOADED).split()) & UNUSED == set()
    monkeypatch.setenv("CHATLLM_PLAIN_IMPORTS", "1")
    assert set(output_of(LOADED).split()) >= UNUSED


@pytest.mark.parametrize("switch", ["", "1"])
def test_a_question_is_answered_either_way(
    switch: str, monkeypatch: pytest.MonkeyPatch, provider: FakeOpenAI, home: Path
) -> None:
    monkeypatch.setenv("CHATLLM_PLAIN_IMPORTS", switch)
    program = Path(sys.executable).with_name("chatllm")
    done = subprocess.run([program, "ask", "hi"], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout == "hello there"


def test_the_switch_is_no_setting(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setenv("CHATLLM_PLAIN_IMPORTS", "1")
    assert "CHATLLM_PLAIN_IMPORTS" not in run("config", "show").stdout


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", {}),
        ('"""Words."""\nfrom __future__ import annotations\n__all__ = ["A"]\n', {}),
        ("from .a import A as A", {"A": ("package.a", "A")}),
        ("from .a import A as B, C", {"B": ("package.a", "A"), "C": ("package.a", "C")}),
        ("from package.a.b import A", {"A": ("package.a.b", "A")}),
        ("from . import a", None),
        ("from .. import a", None),
        ("from ..other import A", None),
        ("from os import path", None),
        ("import os", None),
        ("from .a import *", None),
        ("from .a import A\nA.rebuild()", None),
        ("if True:\n    from .a import A", None),
        ("x = 1", None),
        ("from .a import a", None),
        ("from .a import b\nfrom .b import A", None),
        ("from .a import", None),
        ("\0", None),
    ],
)
def test_an_initialiser_that_does_anything_but_re_export_is_left_alone(source: str, expected: Exports | None) -> None:
    assert exports_of(source.encode(), "package") == expected


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Write the initialiser of a package, `sample`, that is deferred, with the modules `heavy` and `light` in it."""

    def write(initialiser: str) -> None:
        for name, text in {
            "__init__": initialiser,
            "heavy": "class Heavy: ...\nclass Other: ...\n",
            "light": "x = 1\n",
        }.items():
            (tmp_path / "sample" / f"{name}.py").write_text(text)

    (tmp_path / "sample").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(deferral, "RE_EXPORTING", ("sample",))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.delenv("CHATLLM_PLAIN_IMPORTS", raising=False)
    deferral.install()
    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "sample"]:
        del sys.modules[name]


def names_after(statement: str) -> Mapping[str, object]:
    names: dict[str, object] = {}
    exec(statement, names)  # noqa: S102  (a statement of this test)
    return names


@pytest.mark.parametrize("statement", ["from sample import Heavy", "import sample; Heavy = sample.Heavy"])
def test_a_name_is_looked_up_when_it_is_used_first(sample: Callable[[str], None], statement: str) -> None:
    sample("from .heavy import Heavy as Heavy, Other as Other\n")
    package = import_module("sample")
    assert "sample.heavy" not in sys.modules
    assert "Heavy" not in vars(package)
    assert {"Heavy", "Other"} <= set(dir(package))
    assert names_after(statement)["Heavy"] is sys.modules["sample.heavy"].Heavy
    assert "Heavy" in vars(package)


def test_all_names_come_with_a_star(sample: Callable[[str], None]) -> None:
    sample("from .heavy import Heavy as Heavy, Other as Other\n")
    assert {"Heavy", "Other"} <= set(names_after("from sample import *"))


def test_a_module_of_the_package_is_imported_as_ever(sample: Callable[[str], None]) -> None:
    sample("from .heavy import Heavy as Heavy\n")
    assert names_after("from sample import light")["light"] is sys.modules["sample.light"]
    assert "sample.heavy" not in sys.modules


def test_a_name_that_is_not_there_is_told_as_ever(sample: Callable[[str], None]) -> None:
    sample("from .heavy import Heavy as Heavy\n")
    with pytest.raises(ImportError, match="cannot import name 'nothing' from 'sample'"):
        names_after("from sample import nothing")
    with pytest.raises(AttributeError, match="module 'sample' has no attribute 'nothing'"):
        _ = import_module("sample").nothing


def test_a_package_that_does_more_is_imported_as_ever(sample: Callable[[str], None]) -> None:
    sample("from .heavy import Heavy as Heavy\nHeavy.mark = 1\n")
    assert vars(import_module("sample"))["Heavy"].mark == 1


def test_nothing_is_deferred_where_that_is_switched_off(
    sample: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "meta_path", [each for each in sys.meta_path if type(each) is not deferral.Finder])
    monkeypatch.setenv("CHATLLM_PLAIN_IMPORTS", "1")
    deferral.install()
    sample("from .heavy import Heavy as Heavy\n")
    assert "Heavy" in vars(import_module("sample"))
