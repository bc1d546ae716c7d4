"""What a chunk of a reply costs, against LangChain as it comes: processor time inside of one process."""

import statistics
import subprocess
from pathlib import Path

from bench.figures import Figure
from bench.stand import Stand

PROBE = Path(__file__).with_name("stream_probe.py")
GOAL = 1 / 5


def run(stand: Stand) -> list[Figure]:
    """Measure, and return the figures."""
    chunks = 1_000 if stand.is_quick else 20_000
    pairs = [
        tuple(cpu_of_reply(stand, way, f"tokens-{chunks}") for way in ("ours", "plain")) for _ in range(stand.runs)
    ]
    one, other = (statistics.median(side) / chunks * 1e6 for side in zip(*pairs, strict=True))
    name = f"CPU per chunk of {chunks:,} / ChatOpenAI.astream"
    return [Figure(name, [one / other for one, other in pairs], GOAL, f"{one:.0f} / {other:.0f} µs")]


def cpu_of_reply(stand: Stand, way: str, model: str, messages: int = 1) -> float:
    """Return the seconds of processor time that a reply takes, `ours` or `plain`, asked with so many messages."""
    command: list[str | Path] = [stand.python, "-P", PROBE, way, stand.base_url, model, str(messages)]
    done = subprocess.run(command, env=stand.environment(), stdout=subprocess.PIPE, check=True)
    return float(done.stdout)
