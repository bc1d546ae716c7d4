"""What a run of the benchmarks found, as JSON, and as the part of docs/performance.md that it writes."""

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import ROOT
from bench.figures import Groups, as_markdown
from bench.growth import PLOTS, Curve
from bench.stand import Stand, versions

DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- written by `python -m bench --docs` -->", "<!-- here it ends -->"


def as_json(stand: Stand, groups: Groups, curves: Sequence[Curve]) -> dict[str, Any]:
    """Return all of it: where, when and what was measured, and every run of each figure."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "quick": stand.is_quick,
        "conversations": stand.most_conversations,
        "machine": machine(),
        "versions": versions(stand),
        "figures": [figure.as_json(group) for group, figures in groups.items() for figure in figures],
        "growth": [
            {
                "plot": curve.plot,
                "name": curve.name,
                "sizes": list(curve.sizes),
                "cpu_seconds": list(curve.costs),
                "slope": curve.slope,
                "last_slope": curve.last_slope,
            }
            for curve in curves
        ],
    }


def machine() -> dict[str, Any]:
    """Return what is worth knowing of this machine, and nothing that names it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "cpu": _processor(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    """Return the processor's model, as Linux names it; else its architecture."""
    described = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)$", described.read_text(), re.MULTILINE) if described.exists() else None
    return f"{platform.machine()}, {found[1].strip()}" if found else platform.machine()


def section(report: dict[str, Any], groups: Groups, curves: Sequence[Curve]) -> str:
    """Return what stands between the document's two marks."""
    missed = sum(figure["missed"] for figure in report["figures"])
    judged = sum(figure["goal"] is not None for figure in report["figures"])
    programs = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    lines = [
        f"Measured on {report['date']}, with {report['conversations']:,} conversations in the largest history.",
        "{cores} cores ({cpu}), {memory_gib} GiB, {system}, Python {python}.".format(**report["machine"]),
        f"{programs}.",
        "",
        f"{judged - missed} of {judged} goals are reached.",
        "",
        as_markdown(groups),
        "### Growth",
        "",
    ]
    for name, unit in PLOTS.items():
        slopes = "; ".join(curve.label() for curve in curves if curve.plot == name)
        lines += [f"![Cost against {unit}](growth/{name}.svg)", "", f"{slopes}.", ""]
    return "\n".join(lines)


def write_document(report: dict[str, Any], groups: Groups, curves: Sequence[Curve], path: Path = DOCUMENT) -> None:
    """Replace what stands between the document's two marks."""
    before, _, rest = path.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n\n{section(report, groups, curves)}\n{END}{after}", "utf-8")
