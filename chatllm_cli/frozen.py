"""Plain data that is quick to define: a start spends more time on dataclasses than on anything else of ours."""

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

Data = TypeVar("Data")


@dataclass_transform(frozen_default=True)
def frozen(cls: type[Data]) -> type[Data]:
    """Make a dataclass with slots of which nothing can be changed.

    It is what `dataclass(frozen=True, slots=True)` makes. But that compiles seven methods for each class: what
    compares, hashes and shows is the same for all classes here, and compiled once.
    """
    made: Any = dataclass(frozen=True, slots=True, eq=False, repr=False)(cls)
    compared = [each.name for each in fields(made) if each.compare]
    shown = [each.name for each in fields(made) if each.repr]
    values: Any = attrgetter(*compared)

    def equal(self: object, other: object) -> bool:
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    def show(self: object) -> str:
        told = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({told})"

    made.__eq__, made.__hash__, made.__repr__ = equal, lambda self: hash(values(self)), show
    return made  # type: ignore[no-any-return]  # a dataclass of the same fields
