"""What a batch costs: a thousand prompts, against as many runs of `llm`, and how well it uses a provider's time."""

import statistics

from bench.figures import Figure
from bench.stand import Stand

MODEL = "tokens-20"
AT_ONCE, REPLY = 32, 0.216  # requests, and seconds that each takes to be answered
SLOW_MODEL = "tokens-20-10@16"
IDEAL_SHARE = 0.93  # of the rate that nothing but the provider limits
RUNS = 3  # of what takes seconds
LOOP = 1 / 200  # of what a loop of the peer takes


def run(stand: Stand) -> list[Figure]:
    """Measure, and return the figures."""
    prompts, runs = (64, 1) if stand.is_quick else (1_000, RUNS)
    at_once = [_batch(stand, MODEL, 8, prompts) for _ in range(runs)]
    each = f"{statistics.median(at_once) / prompts * 1000:.1f} ms for one"
    figures = [Figure(f"batch of {prompts:,} prompts, s", at_once, None, each)]
    if "llm" in stand.programs:
        figures.append(_against_a_loop(stand, at_once, prompts))
    slow = min(prompts, 20 * AT_ONCE)
    begin = statistics.median(_batch(stand, "tokens-1", 1, 1) for _ in range(runs))
    ideal = slow / AT_ONCE * REPLY
    times = [(_batch(stand, SLOW_MODEL, AT_ONCE, slow) - begin) / ideal for _ in range(runs)]
    name = f"batch, {AT_ONCE} at once, replies of {REPLY * 1000:.0f} ms: time / ideal"
    detail = f"{1 / statistics.median(times):.0%} of the ideal rate, start-up left out"
    return [*figures, Figure(name, times, 1 / IDEAL_SHARE, detail)]


def _batch(stand: Stand, model: str, concurrency: int, prompts: int) -> float:
    """Return how many seconds a batch takes, from start to exit, all of its answers on the disk."""
    asked, output = stand.folder / "prompts.txt", stand.folder / "answers.jsonl"
    asked.write_text("".join(f"prompt {number}\n" for number in range(prompts)))
    output.unlink(missing_ok=True)
    command = stand.ours("batch", asked, "-o", output, "-m", model, "--concurrency", str(concurrency))
    seconds = command.run().seconds
    if len(output.read_text().splitlines()) != prompts:
        raise RuntimeError("not every prompt was answered")
    return seconds


def _against_a_loop(stand: Stand, at_once: list[float], prompts: int) -> Figure:
    """Compare with a loop of `llm`; a few runs tell what all of them would take."""
    llm = stand.peer("llm", "-m", MODEL, "prompt")
    llm.run()
    each = [llm.run().seconds for _ in range(stand.runs)]
    median = statistics.median(each)
    detail = f"{median * 1000:.0f} ms for one of llm, {len(each)} measured"
    ratios = [seconds / (median * prompts) for seconds in at_once]
    return Figure(f"batch of {prompts:,} / a loop of llm", ratios, LOOP, detail)
