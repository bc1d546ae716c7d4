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
from typing import TypeVar

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
T = TypeVar("T")


def main() -> None:
    """Run what is asked for."""
    arguments = _arguments()
    what = arguments.what or [*GROUPS, GROWTH]
    most = 300 if arguments.quick else arguments.conversations
    runs = 1 if arguments.quick else arguments.runs
    with stand(runs=runs, is_quick=arguments.quick, most_conversations=most) as there:
        groups = {name: _told(name, GROUPS[name], there) for name in GROUPS if name in what}
        curves = _told(GROWTH, growth.run, there) if GROWTH in what else []
        if curves and arguments.quick:
            growth.plot(curves, there.folder)  # it works, and nobody looks at it
        if arguments.quick:  # sizes are not those that goals are for
            groups = {name: [replace(figure, goal=None) for figure in figures] for name, figures in groups.items()}
        report = as_json(there, groups, curves)
    if groups:
        print(as_text(groups))
    if curves:
        print("\n".join(["", *(curve.line() for curve in curves)]))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    if curves and (arguments.docs or arguments.what) and not arguments.quick:
        growth.plot(curves)
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


def _told(name: str, work: Callable[[Stand], T], there: Stand) -> T:
    print(f"{name} …", file=sys.stderr, flush=True)
    return work(there)


if __name__ == "__main__":
    main()
