import copy
import pickle
from dataclasses import KW_ONLY, FrozenInstanceError, astuple, dataclass, field, fields, replace
from inspect import signature

import pytest

from chatllm_cli.frozen import frozen


@frozen
class Point:
    """A sample."""

    x: int
    y: int = 2
    secret: str = field(default="s", repr=False)
    seen: int = field(default=0, compare=False)

    @property
    def total(self) -> int:
        return self.x + self.y


@frozen
class Other:
    """The same fields, and another kind of thing."""

    x: int
    y: int = 2


@frozen
class Single:
    """One field."""

    names: tuple[str, ...] = ()


@frozen
class Named:
    """What cannot be given by its place."""

    x: int
    _: KW_ONLY
    made: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AsEver:
    """What a dataclass makes of one field."""

    names: tuple[str, ...] = ()


def test_it_is_made_as_a_dataclass_is() -> None:
    point = Point(1, secret="t")
    assert (point.x, point.y, point.secret, point.total) == (1, 2, "t", 3)
    assert [each.name for each in fields(point)] == ["x", "y", "secret", "seen"]
    assert astuple(replace(point, y=5)) == (1, 5, "t", 0)


def test_its_initialiser_complains_as_a_dataclass_does_the_first_time_too() -> None:
    @frozen
    class New:
        """Of which there is none yet."""

        x: int

    complaint = r"New\.__init__\(\) missing 1 required positional argument: 'x'$"
    with pytest.raises(TypeError, match=complaint):
        New()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=complaint):
        New()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'y'"):
        New(1, y=2)  # type: ignore[call-arg]
    assert New(1).x == 1


def test_its_initialiser_is_compiled_once() -> None:
    @frozen
    class New:
        """Of which there is none yet."""

        x: int

    New(1)
    compiled = New.__init__
    assert list(signature(New).parameters) == ["x"]
    New(2)
    assert New.__init__ is compiled


def test_defaults_are_made_anew_and_names_are_asked_for_where_that_is_said() -> None:
    first, second = Named(1), Named(1)
    assert first == second
    assert first.made is not second.made
    assert Named(1, made=[2]).made == [2]
    with pytest.raises(TypeError):
        Named(1, [2])  # type: ignore[call-arg]


def test_nothing_of_it_can_be_changed_or_added() -> None:
    point = Point(1)
    with pytest.raises(FrozenInstanceError):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del point.x
    with pytest.raises((AttributeError, TypeError)):
        point.z = 2  # type: ignore[attr-defined]
    assert not hasattr(point, "__dict__")


def test_two_are_equal_that_hold_the_same_and_are_of_one_kind() -> None:
    assert Point(1) == Point(1, 2, seen=9)
    assert hash(Point(1)) == hash(Point(1, 2, seen=9))
    assert Point(1) != Point(1, secret="t")
    strangers: list[object] = [Other(1), (1, 2, "s"), None]
    assert Point(1) not in strangers
    assert len({Point(1), Point(1), Other(1)}) == 2
    assert Single(("a",)) == Single(("a",))
    assert Single(("a",)) != Single()


def test_it_is_shown_as_a_dataclass_is_without_what_is_secret() -> None:
    assert repr(Point(1, secret="sk-canary")) == "Point(x=1, y=2, seen=0)"
    assert repr(Single(("a",))) == repr(AsEver(("a",))).replace("AsEver", "Single")


def test_it_is_copied_pickled_and_matched() -> None:
    point = Point(1, 3, "t", 4)
    assert astuple(copy.copy(point)) == astuple(copy.deepcopy(point)) == astuple(point)
    assert astuple(pickle.loads(pickle.dumps(point))) == astuple(point)  # noqa: S301  (what this test wrote)
    match point:
        case Point(x, y):
            assert (x, y) == (1, 3)
