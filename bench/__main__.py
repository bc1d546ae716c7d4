"""Benchmarks: `python -m bench [NAME…]`; most figures are ratios of paired runs in one session."""

import argparse
import sys

from bench import batching, cache, history, importing, rendering, typing
from bench.figures import show

ALL = ["history", "rendering", "cache", "typing", "importing", "batching"]


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*ALL, []], help="all unless named")
    parser.add_argument("--conversations", type=int, default=100_000, help="how many to make for the largest history")
    parser.add_argument("--runs", type=int, default=11, help="pairs per figure; the median counts")
    parser.add_argument("--quick", action="store_true", help="small sizes, in a minute")
    arguments = parser.parse_args()
    what = arguments.what or ALL
    figures = []
    if "history" in what:
        figures += history.run(1_000 if arguments.quick else arguments.conversations, arguments.runs)
    if "rendering" in what:
        figures += rendering.run(quick=arguments.quick)
    if "cache" in what:
        figures += cache.run(arguments.runs)
    if "typing" in what:
        figures += typing.run(arguments.runs, quick=arguments.quick)
    if "importing" in what:
        figures += importing.run(10_000 if arguments.quick else 100_000)
    if "batching" in what:
        figures += batching.run(100 if arguments.quick else 1_000, arguments.runs)
    sys.exit(show(figures))


if __name__ == "__main__":
    main()
