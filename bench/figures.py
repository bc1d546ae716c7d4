"""A figure of a benchmark, and how tables show figures."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NAME_WIDTH = 72

Groups = Mapping[str, Sequence["Figure"]]  # by what they are about


@dataclass(frozen=True)
class Figure:
    """One thing that was measured, once or several times: mostly a ratio of two times, else its name has a unit."""

    name: str
    runs: Sequence[float]
    goal: float | None = None
    detail: str = ""

    @property
    def ratio(self) -> float:
        """The median of its runs."""
        return statistics.median(self.runs)

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles: half of the runs lie between them."""
        if len(self.runs) == 1:
            return self.ratio, self.ratio
        low, _, high = statistics.quantiles(self.runs, n=4, method="inclusive")
        return low, high

    @property
    def is_missed(self) -> bool:
        """Whether its median is above its goal."""
        return self.goal is not None and self.ratio > self.goal

    @property
    def verdict(self) -> str:
        """Whether the goal is reached, in a word; nothing where there is none."""
        return "" if self.goal is None else "MISSED" if self.is_missed else "ok"

    def cells(self) -> list[str]:
        """Return its cells of a table: name, median, quartiles, goal, verdict, detail."""
        spread = "" if len(self.runs) == 1 else "-".join(_short(bound) for bound in self.spread)
        goal = "" if self.goal is None else _short(self.goal)
        return [self.name, _short(self.ratio), spread, goal, self.verdict, self.detail]

    def as_json(self, group: str) -> dict[str, Any]:
        """Return it as JSON has it."""
        low, high = self.spread
        return {
            "group": group,
            "name": self.name,
            "median": self.ratio,
            "quartiles": [low, high],
            "goal": self.goal,
            "missed": self.is_missed,
            "detail": self.detail,
            "runs": list(self.runs),
        }


def as_text(group: str, figures: Sequence[Figure]) -> str:
    """Return a group of the table, for a terminal."""
    lines = ["", f"{group:<{NAME_WIDTH}} {'median':>8}  {'quartiles':<15} {'at most':>8}", "-" * (NAME_WIDTH + 36)]
    for name, ratio, spread, goal, verdict, detail in (figure.cells() for figure in figures):
        lines.append(f"{name:<{NAME_WIDTH}} {ratio:>8}  {spread:<15} {goal:>8} {verdict:<6}  {detail}".rstrip())
    return "\n".join(lines)


def as_markdown(groups: Groups) -> str:
    """Return a table for a document, a heading above each group."""
    lines = []
    for group, figures in groups.items():
        lines += [f"### {group[0].upper()}{group[1:]}", ""]
        lines += ["| what | median | quartiles | goal | | |", "|---|---|---|---|---|---|"]
        for cells in (figure.cells() for figure in figures):
            cells[4] = "**missed**" if cells[4] == "MISSED" else cells[4]
            lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
        lines.append("")
    return "\n".join(lines)


def _short(number: float) -> str:
    """Return a number with three figures that count."""
    if number >= 100:  # noqa: PLR2004  (those behind the point count no more)
        return f"{number:.0f}"
    return f"{number:.3g}"
