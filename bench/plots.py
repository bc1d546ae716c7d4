"""Plots of growth, as SVG that is the same for the same figures."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.stand import INSTALLED

# Where it keeps its list of the machine's fonts, read as it is imported: nothing of it belongs in somebody's home.
os.environ.setdefault("MPLCONFIGDIR", str(INSTALLED / "matplotlib"))

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

if TYPE_CHECKING:
    from bench.growth import Curve

SIZE = (7, 4.2)  # inches
SAME: Any = {"svg.hashsalt": "chatllm", "svg.fonttype": "none", "font.family": "DejaVu Sans"}


def draw(path: Path, unit: str, curves: "Sequence[Curve]") -> None:
    """Draw these curves, both axes logarithmic: a straight line is a power of the size, and its slope says which."""
    with mpl.rc_context(SAME):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        for curve in curves:
            axes.plot(curve.sizes, curve.costs, marker="o", label=curve.label())
        axes.set(xscale="log", yscale="log", xlabel=unit, ylabel="seconds of CPU")
        axes.set_title(f"Cost against {unit}: slope 1 is linear, 0 is constant", fontsize="medium")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
            axis.set_minor_formatter(NullFormatter())
        costs = [math.log10(cost) for curve in curves for cost in curve.costs]
        axes.set_ylim(10 ** math.floor(min(costs)), 10 ** math.ceil(max(costs)))
        axes.grid(visible=True, which="major", alpha=0.3)
        figure.legend(fontsize="small", loc="outside lower center")
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": "python -m bench growth"})
    # Some of its lines end in blanks.
    path.write_text("".join(f"{line.rstrip()}\n" for line in path.read_text("utf-8").splitlines()), "utf-8")
