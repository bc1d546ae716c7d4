"""Benchmarks: `python -m bench [history] [--conversations N]`; figures are ratios of paired runs in one session."""

import argparse
import sys

from bench import history


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["history"], default="history")
    parser.add_argument("--conversations", type=int, default=100_000, help="how many to make for the largest history")
    parser.add_argument("--runs", type=int, default=11, help="pairs per figure; the median counts")
    arguments = parser.parse_args()
    sys.exit(history.run(arguments.conversations, arguments.runs))


if __name__ == "__main__":
    main()
