"""How the history bears a large number of conversations: whole processes against a bare Python that imports Typer."""

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from bench.conversations import BEGIN, MESSAGES, RARE, make_history
from bench.figures import Figure
from bench.processes import compare, timed
from bench.stand import Stand
from chatllm_cli.models import Filter, Message, Role
from chatllm_cli.services.history import journal, records, search
from chatllm_cli.services.history.index import Index

LISTED = 2.5  # times as long as importing Typer
SEARCHED = 1.5  # times as long as listing


def run(stand: Stand) -> list[Figure]:
    """Measure, and return the figures."""
    most = stand.most_conversations
    figures = [figure for size in (most // 100, most // 10, most) for figure in _lists(stand, size)]
    return [*figures, *_searches(stand, most), *_append_against_a_bare_write(stand), *_indexes(stand, most // 10)]


def _lists(stand: Stand, size: int) -> list[Figure]:
    listing = stand.ours("history", "list", home=stand.history(size))
    name = f"list, {size:,} conversations"
    return [
        compare(f"{name} / import typer", listing, stand.bare("import typer"), stand.runs, LISTED),
        Figure(f"{name}: peak memory, MB", [listing.peak_memory()]),
    ]


def _searches(stand: Stand, size: int) -> list[Figure]:
    home = stand.history(size)
    listing = stand.ours("history", "list", home=home)
    return [
        compare(f"{name} / list", stand.ours("history", *arguments, home=home), listing, stand.runs, goal)
        for name, arguments, goal in (
            ("search of a rare word", ["search", RARE], SEARCHED),
            ("search of a common word", ["search", "w0"], SEARCHED),
            ("search of a part of a word", ["search", RARE[2:-2]], None),
            ("show @1", ["show", "@1"], None),
        )
    ]


def _indexes(stand: Stand, size: int) -> list[Figure]:
    """Measure how long all of a history takes to be indexed, and what came to it."""
    with tempfile.TemporaryDirectory(dir=stand.folder) as name:
        folder = Path(name) / "conversations"
        index = Index(Path(name) / "index.db", folder)

        def catch_up() -> None:
            index.ask(lambda db: search.list_conversations(db, Filter(), limit=20))

        make_history(folder, size)
        all_of_it = timed(catch_up)
        make_history(folder, 100, seed=7)
        detail = f"{size * MESSAGES / all_of_it:.0f} messages/s"
        return [
            Figure(f"index of {size:,} conversations, s", [all_of_it], None, detail),
            Figure("catching up after 100 new files, s", [timed(catch_up)]),
        ]


def _append_against_a_bare_write(stand: Stand) -> list[Figure]:
    """Compare an acknowledged append with a write and an fsync: in the same thread, and in another, as ours is."""
    line = records.encode(records.message_record(Message("m", Role.USER, "x" * 400, BEGIN)))
    bare, ours = stand.folder / "bare", stand.folder / "journals" / "ours.jsonl"

    def write() -> None:
        descriptor = os.open(bare, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, line)
        os.fsync(descriptor)
        os.close(descriptor)

    async def measured() -> list[tuple[float, float, float]]:
        times: list[tuple[float, float, float]] = []
        for _ in range(20 * stand.runs):
            begin = time.perf_counter()
            await journal.append(ours, line, durable=True)
            middle = time.perf_counter()
            await asyncio.to_thread(write)
            times.append((middle - begin, time.perf_counter() - middle, timed(write)))
        return times

    times = asyncio.run(measured())
    one, threaded, at_once = ([each[column] for each in times] for column in range(3))
    took = f"{statistics.median(one) * 1e6:.0f} µs"
    in_thread = "append / the same in a thread, as an event loop needs it"
    return [
        Figure("append / bare write and fsync", _ratios(one, at_once), 1.5, took),
        Figure(in_thread, _ratios(one, threaded), None, took),
    ]


def _ratios(ours: list[float], others: list[float]) -> list[float]:
    return [one / other for one, other in zip(ours, others, strict=True)]
