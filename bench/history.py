"""How the history bears a large number of conversations: whole processes against a bare Python that imports Typer."""

import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.figures import Figure
from bench.processes import CHATLLM, pair, peak_memory, timed
from chatllm_cli.models import Conversation, Filter, Message, Role, TokenUsage
from chatllm_cli.services.history import journal, records, search
from chatllm_cli.services.history.index import Index

BARE = [sys.executable, "-c", "import typer"]
MESSAGES, WORDS = 10, 75  # messages in a conversation, words in a message
BEGIN = datetime(2018, 1, 1, tzinfo=UTC)
DAYS = 8 * 365
RARE = "xylographical"
VOCABULARY = 30_000


def run(conversations: int, runs: int) -> list[Figure]:
    """Measure, and return the figures."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="chatllm-bench-") as root:
        for size in sorted({max(conversations // 100, 10), max(conversations // 10, 10), conversations}):
            figures += _measure(Path(root) / str(size), size, runs, is_largest=size == conversations)
    return figures


def _measure(home: Path, size: int, runs: int, *, is_largest: bool) -> list[Figure]:
    make_history(home / "data" / "conversations", size)
    index = Index(home / "cache" / "index.db", home / "data" / "conversations")
    seconds = timed(lambda: index.ask(lambda db: search.list_conversations(db, Filter(), limit=1)))
    print(
        f"{size} conversations: index built in {seconds:.1f} s, {size * MESSAGES / seconds:.0f} messages/s",
        flush=True,
    )
    listing = [CHATLLM, "history", "list"]
    figures = [pair(f"list, {size} conversations / import typer", listing, BARE, home, runs, goal=2.5)]
    figures.append(Figure(f"list, {size} conversations: peak memory, MB", peak_memory(listing, home), None))
    if not is_largest:
        return figures
    for name, command, goal in (
        ("search of a rare word / list", [CHATLLM, "history", "search", RARE], 1.5),
        ("search of a common word / list", [CHATLLM, "history", "search", "w0"], 1.5),
        ("search of a part of a word / list", [CHATLLM, "history", "search", "ylographica"], None),
        ("show @1 / list", [CHATLLM, "history", "show", "@1"], None),
    ):
        figures.append(pair(name, command, listing, home, runs, goal=goal))
    figures += _append_against_a_bare_write(home, runs)
    make_history(home / "data" / "conversations", 100, seed=7)
    seconds = timed(lambda: index.ask(lambda db: search.list_conversations(db, Filter(), limit=20)))
    figures.append(Figure("catching up after 100 new files, seconds", seconds, None))
    return figures


def make_history(folder: Path, size: int, seed: int = 1) -> None:
    """Write `size` conversations of ten messages each, over eight years."""
    chance = random.Random(seed)  # noqa: S311
    words = [f"w{number}" for number in range(VOCABULARY)]
    weights = [1 / (number + 1) for number in range(VOCABULARY)]
    texts = [" ".join(chance.choices(words, weights, k=WORDS)) for _ in range(2000)]
    for number in range(size):
        begin = BEGIN + timedelta(days=chance.random() * DAYS)
        conversation_id = "".join(chance.choices("0123456789abcdefghjkmnpqrstvwxyz", k=16))
        path = folder / f"{begin:%Y}" / f"{begin:%m}" / f"{conversation_id}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_journal(conversation_id, begin, chance.choices(texts, k=MESSAGES), number == size // 2))
    for month in folder.glob("*/*"):
        os.utime(month, (0, time.time() - 60))


def _journal(conversation_id: str, begin: datetime, texts: Sequence[str], is_special: bool) -> bytes:
    conversation = Conversation(conversation_id, texts[0][:50], begin, model="hub/model")
    lines = [records.conversation_record(conversation)]
    parent = None
    for place, text in enumerate(texts):
        is_reply = place % 2 == 1
        message = Message(
            f"{conversation_id[:12]}{place:04}",
            Role.ASSISTANT if is_reply else Role.USER,
            f"{text} {RARE}" if is_special and place == 1 else text,
            begin + timedelta(minutes=place),
            parent,
            model="hub/model" if is_reply else None,
            usage=TokenUsage(100, 50) if is_reply else None,
        )
        lines.append(records.message_record(message))
        parent = message.id
    return records.encode(*lines)


def _append_against_a_bare_write(home: Path, runs: int) -> list[Figure]:
    """Compare an acknowledged append with a write and an fsync: in the same thread, and in another, as ours is."""
    line = records.encode(records.message_record(Message("m", Role.USER, "x" * 400, BEGIN)))
    bare, ours = home / "bare", home / "journals" / "ours.jsonl"

    def write() -> None:
        descriptor = os.open(bare, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, line)
        os.fsync(descriptor)
        os.close(descriptor)

    async def medians() -> tuple[float, float, float]:
        times: list[tuple[float, float, float]] = []
        for _ in range(20 * runs):
            begin = time.perf_counter()
            await journal.append(ours, line, durable=True)
            middle = time.perf_counter()
            await asyncio.to_thread(write)
            times.append((middle - begin, time.perf_counter() - middle, timed(write)))
        one, two, three = (statistics.median(column) for column in zip(*times, strict=True))
        return one, two, three

    ours_took, in_thread, at_once = asyncio.run(medians())
    microseconds = f"{ours_took * 1e6:.0f} µs"
    return [
        Figure("append / bare write and fsync", ours_took / at_once, 1.5, microseconds),
        Figure("append / the same in a thread, as an event loop needs it", ours_took / in_thread, None, microseconds),
    ]
