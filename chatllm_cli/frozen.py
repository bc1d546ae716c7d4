"""Plain data that is quick to define: a start spends more time on dataclasses than on anything else of ours."""

from dataclasses import Field, FrozenInstanceError, dataclass, field, fields, make_dataclass
from operator import attrgetter
from typing import Any, NoReturn, TypeVar, dataclass_transform

Data = TypeVar("Data")


@dataclass_transform(frozen_default=True)
def frozen(cls: type[Data]) -> type[Data]:
    """Make a dataclass with slots of which nothing can be changed.

    It is what `dataclass(frozen=True, slots=True)` makes. But that compiles seven methods for each class: what
    compares, hashes, shows and refuses is the same for all classes here, and compiled once. The initialiser is
    compiled when it is called first: of the classes that a command defines, most are not used by it. There has to be
    a field that is compared, and what these methods would call or be replaced by is not looked for: `__post_init__`,
    `InitVar`, `field(hash=…)`, an `__eq__` or `__repr__` of the class's own.
    """
    made: Any = dataclass(slots=True, init=False, eq=False, repr=False)(cls)
    compared = [each.name for each in fields(made) if each.compare]
    shown = [each.name for each in fields(made) if each.repr]
    values: Any = attrgetter(*compared)

    def initialise(self: object, *args: object, **named: object) -> None:
        made.__init__ = _initialiser_of(made)
        made.__init__(self, *args, **named)

    def equal(self: object, other: object) -> bool:
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    def show(self: object) -> str:
        told = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({told})"

    made.__init__, made.__eq__, made.__hash__, made.__repr__ = (
        initialise,
        equal,
        lambda self: hash(values(self)),
        show,
    )
    made.__setattr__, made.__delattr__, made.__setstate__ = _refuse, _refuse, _restore
    return made  # type: ignore[no-any-return]  # a dataclass of the same fields


def _initialiser_of(made: Any) -> Any:
    """Return what a dataclass has for these fields."""
    named = [(each.name, each.type, _of(each)) for each in fields(made)]
    return make_dataclass(made.__name__, named, frozen=True, eq=False, repr=False).__init__  # type: ignore[misc]  # its own


def _of(told: Field[Any]) -> Any:
    return field(default=told.default, default_factory=told.default_factory, init=told.init, kw_only=told.kw_only)


def _refuse(self: object, name: str, *_: object) -> NoReturn:
    raise FrozenInstanceError(f"the {name} of a {type(self).__qualname__} cannot be changed")


def _restore(self: object, state: tuple[None, dict[str, object]]) -> None:
    """Give a copy what its original has."""
    for name, value in state[1].items():
        object.__setattr__(self, name, value)
