"""What it costs to show a reply while it comes: processor time against its length, and against rich and others."""

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown

from bench.figures import Figure
from bench.replies import KINDS, reply
from bench.stand import Stand
from chatllm_cli.render.markdown import stream
from chatllm_cli.render.markdown.document import rendered
from chatllm_cli.render.markdown.stream import MarkdownStream

PACE = 100  # chunks a second
SIZES = (1_000, 5_000, 20_000, 50_000)  # chunks
WIDTH, HEIGHT = 100, 30
LIVE_ROWS = 6  # that aider repaints
GIANTS = {"one paragraph", "one table"}


class Clock:
    """Time as the stream sees it: as long as its own work takes, and what passes between two chunks."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        """Return it, in seconds."""
        return time.perf_counter() + self.passed


@dataclass
class Run:
    """What showing one reply took."""

    seconds: float  # of the processor
    frames: list[float] = field(default_factory=list)  # each frame's length, the last one apart
    last: float = 0.0


def streamed(pieces: list[str], *, pace: float | None) -> Run:
    """Show a reply that comes at that pace, or as fast as it can."""
    clock, frames = Clock(), []
    vars(stream)["time"] = clock
    shown = MarkdownStream(_console())
    paint = shown.paint

    def timed_paint() -> None:
        begin = time.perf_counter()
        paint()
        frames.append(time.perf_counter() - begin)

    shown.paint = timed_paint  # type: ignore[method-assign]
    begin = time.process_time()
    for piece in pieces:
        shown.feed(piece)
        clock.passed += 1 / pace if pace else 0.0
    last = time.perf_counter()
    shown.finish()
    vars(stream)["time"] = time
    return Run(time.process_time() - begin, frames, time.perf_counter() - last)


def at_once(pieces: list[str]) -> float:
    """Return how long rich takes for the whole text."""
    begin = time.process_time()
    _console().print(rendered("".join(pieces)))
    return time.process_time() - begin


def with_live(pieces: list[str]) -> float:
    """Show a reply as shell_gpt does: all of it anew for each piece."""
    begin, text = time.process_time(), ""
    with Live(console=_console(), auto_refresh=False, vertical_overflow="visible") as live:
        for piece in pieces:
            text += piece
            live.update(Markdown(text), refresh=True)
    return time.process_time() - begin


def with_stable_lines(pieces: list[str]) -> float:
    """Show a reply as aider does: as a whole twenty times a second, all but its last six lines printed once."""
    begin, text, printed, console = time.process_time(), "", 0, _console()
    every = PACE // stream.FRAMES_PER_SECOND
    with Live(console=console, auto_refresh=False) as live:
        for number, piece in enumerate(pieces):
            text += piece
            if number % every:
                continue
            lines = _lines(text)
            stable = max(len(lines) - LIVE_ROWS, 0)
            if stable > printed:
                live.console.print("\n".join(lines[printed:stable]))
                printed = stable
            live.update("\n".join(lines[printed:]), refresh=True)
    return time.process_time() - begin


def run(stand: Stand) -> list[Figure]:
    """Measure, and return the figures."""
    sizes = (500, 1_000) if stand.is_quick else SIZES
    figures = [figure for kind in KINDS for figure in _of_kind(kind, sizes)]
    small = reply("mixed", 100 if stand.is_quick else 1_000)
    ours = streamed(small, pace=PACE).seconds
    return [
        *figures,
        Figure(f"{len(small):,} chunks / rich.Live for each, as shell_gpt", [ours / with_live(small)], 0.1),
        Figure(f"{len(small):,} chunks / all but six lines stable, as aider", [ours / with_stable_lines(small)], 0.5),
    ]


def _of_kind(kind: str, sizes: tuple[int, ...]) -> Iterator[Figure]:
    streamed(reply(kind, 100), pace=PACE)  # what is imported on the way is not measured
    at_pace = {size: streamed(reply(kind, size), pace=PACE) for size in sizes}
    largest = sizes[-1]
    pieces = reply(kind, largest)
    shares = [measured.seconds / (size / PACE) * 100 for size, measured in at_pace.items()]
    sizes_and_shares = ", ".join(f"{size:,} chunks: {share:.2f}" for size, share in zip(sizes, shares, strict=True))
    yield Figure(f"{kind} at 100 chunks/s: most of a core, in %", [max(shares)], 1.0, sizes_and_shares)
    if largest >= SIZES[-1]:
        growth = at_pace[largest].seconds / at_pace[SIZES[1]].seconds
        yield Figure(f"{kind}: 50,000 chunks / 5,000", [growth], 11)
    full = [streamed(pieces, pace=None).seconds / at_once(pieces) for _ in range(3)]
    yield Figure(f"{kind}, {largest:,} chunks at full speed / rich at once", full, 1.1)
    longest = max(max(measured.frames) for measured in at_pace.values()) * 1000
    detail = f"the last one {at_pace[largest].last * 1000:.0f} ms" if kind in GIANTS else ""
    yield Figure(f"{kind}: longest frame, ms", [longest], 30, detail)


def _lines(text: str) -> list[str]:
    console = _console()
    with console.capture() as capture:
        console.print(Markdown(text))
    return capture.get().splitlines()


def _console() -> Console:
    return Console(
        file=io.StringIO(), width=WIDTH, height=HEIGHT, force_terminal=True, color_system="256", highlight=False
    )
