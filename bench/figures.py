"""A figure of a benchmark, and how a table shows it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One thing that was measured; `ratio` is to be at most `goal`."""

    name: str
    ratio: float
    goal: float | None
    detail: str = ""

    @property
    def is_missed(self) -> bool:
        """Whether it is above its goal."""
        return self.goal is not None and self.ratio > self.goal

    def line(self) -> str:
        """Return the figure as a line of a table."""
        goal = "" if self.goal is None else f"goal {self.goal:g} {'MISSED' if self.is_missed else 'ok'}"
        return f"{self.name:<66} {self.ratio:8.2f}  {goal:<16} {self.detail}".rstrip()


def show(figures: Sequence[Figure]) -> int:
    """Print the table, and return 1 if a goal is missed."""
    print("\n".join(figure.line() for figure in figures))
    return int(any(figure.is_missed for figure in figures))
