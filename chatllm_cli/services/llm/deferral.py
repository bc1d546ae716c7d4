"""Two ways to import LangChain's and OpenAI's packages without what nobody here asks of them.

Of the 1,400 modules that they import as they begin, a chat needs half: the rest are types of other APIs, which some
packages only re-export. Here such a name is looked up, where the package itself has it from, when it is used first.
And the models of LangSmith, whose tracer LangChain loads even where it is off, are built when they are used first,
which pydantic has a setting for.

Nothing is replaced: the classes are the same. A package whose initialiser does anything else is imported as ever, and
so is everything where CHATLLM_PLAIN_IMPORTS is set. `docs/decisions/0034-deferred-imports.md` has what it gains.
"""

import ast
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

from chatllm_cli.quick_imports import PLAIN_IMPORTS_VARIABLE

RE_EXPORTING = ("openai.types", "openai.lib", "langsmith.types", "langchain_openai")  # with the packages below
OF_LATE_MODELS = "langsmith.schemas"

Exports = dict[str, tuple[str, str]]  # a name in the package: the module it is from, and its name there


def install() -> None:
    """Import so from here on."""
    if not os.environ.get(PLAIN_IMPORTS_VARIABLE):
        sys.meta_path.insert(0, Finder())


class Finder:
    """Finds the modules that are imported in one of these ways.

    It is a MetaPathFinder by its method alone: to import that class from importlib.abc brings 30 modules.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find one of the modules, or leave it to the next finder."""
        if not (loader := _loader_for(fullname)):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and type(spec.loader) is SourceFileLoader:
            spec.loader = loader(fullname, spec.loader.path)
        return spec


def _loader_for(name: str) -> "type[SourceFileLoader] | None":
    if name == OF_LATE_MODELS:
        return _LoaderOfLateModels
    is_below = any(f"{name}.".startswith(f"{package}.") for package in RE_EXPORTING)
    return _LoaderOfNames if is_below else None


class _LoaderOfNames(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        """Give a package its names, each to be looked up when it is used first, if it has nothing but names."""
        name = module.__name__
        exports = exports_of(self.get_data(self.path), name) if self.is_package(name) else None
        if exports is None:
            super().exec_module(module)
            return

        def look_up(wanted: str) -> Any:
            if wanted == "__all__":
                return list(exports)
            if wanted not in exports:  # `from package import submodule` comes here first
                raise AttributeError(f"module {name!r} has no attribute {wanted!r}", name=wanted, obj=module)
            source, original = exports[wanted]
            setattr(module, wanted, value := getattr(import_module(source), original))
            return value

        vars(module).update(__getattr__=look_up, __dir__=lambda: sorted({*vars(module), *exports}))


class _LoaderOfLateModels(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        """Import a module whose models inherit the wish to be built late."""
        from pydantic import BaseModel  # noqa: PLC0415  (whoever imports such a module has imported it)

        BaseModel.model_config["defer_build"] = True
        try:
            super().exec_module(module)
        finally:
            del BaseModel.model_config["defer_build"]


def exports_of(source: bytes, package: str) -> Exports | None:
    """Return what an initialiser re-exports; None if it does anything else."""
    exports: Exports = {}
    try:
        for statement in ast.parse(source).body:
            exports |= _re_exported(statement, package)
    except (SyntaxError, ValueError):
        return None
    modules = {module for module, _ in exports.values()}
    return None if any(f"{package}.{name}" in modules for name in exports) else exports  # one would hide the other


def _re_exported(statement: ast.stmt, package: str) -> Exports:
    """Return what one statement re-exports. Raises ValueError if it is none that does."""
    match statement:
        case ast.ImportFrom(module="__future__") | ast.Expr(value=ast.Constant()):
            return {}
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return {}
        case ast.ImportFrom(module=str(module), names=names, level=0) if module.startswith(f"{package}."):
            return _named(names, module)
        case ast.ImportFrom(module=str(module), names=names, level=1):
            return _named(names, f"{package}.{module}")
    raise ValueError("it does something")


def _named(names: Sequence[ast.alias], module: str) -> Exports:
    if any(each.name == "*" for each in names):
        raise ValueError("it does not say which")
    return {each.asname or each.name: (module, each.name) for each in names}
