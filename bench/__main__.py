"""Benchmarks: `python -m bench [NAME…]`; most figures are ratios of paired runs in one session.

What is measured is an install as people have it, with its bytecode, in an environment of its own that is made anew
each time; so are its peers, which stay in `.bench/`. Exits with 1 where a goal is missed.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench import batching, cache, growth, history, importing, peers, rendering, streaming, typing
from bench.figures import Figure, as_text
from bench.report import as_json, write_document
from bench.stand import Stand, stand

GROUPS: dict[str, Callable[[Stand], list[Figure]]] = {
    "peers": peers.run,
    "streaming": streaming.run,
    "batching": batching.run,
    "history": history.run,
    "cache": cache.run,
    "typing": typing.run,
    "rendering": rendering.run,
    "importing": importing.run,
}
GROWTH = "growth"


def main() -> None:
    """Run what is asked for."""
    arguments = _arguments()
    what = arguments.what or [*GROUPS, GROWTH]
    most = 300 if arguments.quick else arguments.conversations
    runs = 1 if arguments.quick else arguments.runs
    with stand(runs=runs, is_quick=arguments.quick, most_conversations=most) as there:
        groups = {name: _measured(name, there) for name in GROUPS if name in what}
        curves = _curves(there) if GROWTH in what else []
        report = as_json(there, groups, curves)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    if curves and (arguments.docs or arguments.what) and not arguments.quick:
        growth.draw_plots(curves)
    if arguments.docs:
        write_document(report, groups, curves)
    missed = any(figure.is_missed for figures in groups.values() for figure in figures)
    sys.exit(int(missed))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*GROUPS, GROWTH, []], help="all unless named")
    parser.add_argument(
        "--quick", action="store_true", help="whether all of it works, in a minute: nothing is judged"
    )
    parser.add_argument("--runs", type=int, default=11, help="pairs for each figure; the median counts")
    parser.add_argument("--conversations", type=int, default=100_000, help="in the largest history")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, as JSON")
    parser.add_argument("--docs", action="store_true", help="write the table of docs/performance.md")
    arguments = parser.parse_args()
    if arguments.docs and (arguments.what or arguments.quick):
        parser.error("--docs shows a whole run: it goes with no name, and not with --quick")
    return arguments


def _measured(name: str, there: Stand) -> list[Figure]:
    """Measure a group, and print its figures: a run is long, and may be ended."""
    print(f"{name} …", file=sys.stderr, flush=True)
    figures = GROUPS[name](there)
    if there.is_quick:  # sizes are not those that goals are for
        figures = [replace(figure, goal=None) for figure in figures]
    print(as_text(name, figures), flush=True)
    return figures


def _curves(there: Stand) -> list[growth.Curve]:
    print(f"{GROWTH} …", file=sys.stderr, flush=True)
    curves = growth.run(there)
    print("\n".join(["", *(curve.line() for curve in curves)]))
    if there.is_quick:
        growth.draw_plots(curves, there.folder)  # it works, and nobody looks at it
    return curves


if __name__ == "__main__":
    main()
