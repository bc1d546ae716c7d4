"""What it costs as something grows: a reply, a conversation, a history; the slope of each, and a plot."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import ROOT
from bench.conversations import RARE, make_history
from bench.processes import Command
from bench.stand import Stand
from bench.streaming import cpu_of_reply

FOLDER = ROOT / "docs" / "growth"
RUNS = 3  # of each point: the time of the processor, which is steadier than the clock's
CHUNKS = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
MESSAGES = (10, 30, 100, 300, 1_000, 3_000, 10_000)
CONVERSATIONS = (100, 30, 10, 3, 1)  # so many times fewer than the largest history has
WORDS_IN_MESSAGE = 15
PLOTS = {  # what grows, and in what it is counted
    "reply": "chunks of a reply",
    "conversation": "messages sent",
    "history": "conversations in the history",
}


@dataclass(frozen=True)
class Curve:
    """What something costs at each size, in seconds of the processor."""

    plot: str
    name: str
    sizes: Sequence[int]
    costs: Sequence[float]

    @property
    def slope(self) -> float:
        """By which power of the size it grows, over all of the sizes: 1 is linear."""
        return _power(self.sizes, self.costs)

    @property
    def last_slope(self) -> float:
        """The same between the two largest sizes, where what every run costs weighs least."""
        return _power(self.sizes[-2:], self.costs[-2:])

    @property
    def each(self) -> float:
        """What one more costs there, in seconds."""
        (one, other), (low, high) = self.sizes[-2:], self.costs[-2:]
        return (high - low) / (other - one)

    def label(self) -> str:
        """Return what stands for it in a plot."""
        return f"{self.name}: slope {_two(self.slope)}, {_two(self.last_slope)} at its end"

    def line(self) -> str:
        """Return it as a line of text."""
        points = ", ".join(f"{size:,}: {cost:.3g}" for size, cost in zip(self.sizes, self.costs, strict=True))
        return f"{self.plot}, {self.label()}; one more {self.each * 1e6:.1f} µs; seconds of CPU {points}"


def _power(sizes: Sequence[int], costs: Sequence[float]) -> float:
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(cost) for cost in costs]).slope


def _two(number: float) -> str:
    return f"{number + 0.0:.2f}".replace("-0.00", "0.00")


def run(stand: Stand) -> list[Curve]:
    """Measure, and return the curves."""
    return [*_reply(stand), *_conversation(stand), *_history(stand)]


def draw_plots(curves: Sequence[Curve], folder: Path = FOLDER) -> None:
    """Draw a plot of each kind there."""
    from bench.plots import draw  # noqa: PLC0415  (it takes a second to import)

    folder.mkdir(exist_ok=True)
    for name, unit in PLOTS.items():
        draw(folder / f"{name}.svg", unit, [curve for curve in curves if curve.plot == name])


def _reply(stand: Stand) -> list[Curve]:
    sizes = (100, 200) if stand.is_quick else CHUNKS

    def whole(size: int) -> float:
        return stand.ours("ask", "-m", f"tokens-{size}", "hi").run().cpu

    def shown(size: int) -> float:
        return replace(stand.ours("ask", "-m", f"markdown-{size}", "hi"), on_terminal=True).run().cpu

    def stream(size: int) -> float:
        return cpu_of_reply(stand, "ours", f"tokens-{size}")

    costs = {"whole process": whole, "whole process, rendered on a terminal": shown, "the stream by itself": stream}
    return [_curve(stand, "reply", name, sizes, cost) for name, cost in costs.items()]


def _conversation(stand: Stand) -> list[Curve]:
    sizes = (10, 30) if stand.is_quick else MESSAGES
    turns = {size: iter(_turns(stand, stand.folder / f"messages-{size}", size)) for size in sizes}

    def whole(size: int) -> float:
        return next(turns[size]).run().cpu

    def request(size: int) -> float:
        return cpu_of_reply(stand, "ours", "tokens-20", size)

    costs = {"one more turn, whole process": whole, "its request by itself": request}
    return [_curve(stand, "conversation", name, sizes, cost) for name, cost in costs.items()]


def _turns(stand: Stand, home: Path, messages: int) -> list[Command]:
    """Return commands that go on with conversations of so many messages: each with another, for it grows."""
    conversations = home / "data" / "conversations"
    make_history(conversations, _runs(stand), messages=messages, words=WORDS_IN_MESSAGE)
    stand.ours("history", "list", home=home).run()
    return [
        stand.ours("ask", "-m", "tokens-20", "--conversation", path.stem, "hi", home=home)
        for path in conversations.rglob("*.jsonl")
    ]


def _history(stand: Stand) -> list[Curve]:
    parts = (10, 1) if stand.is_quick else CONVERSATIONS
    sizes = [stand.most_conversations // part for part in parts]
    commands: dict[str, tuple[str, ...]] = {
        "list": ("history", "list"),
        "search": ("history", "search", RARE),
        "one more turn": ("ask", "--continue", "-m", "tokens-20", "hi"),
    }

    def cost(arguments: tuple[str, ...]) -> Callable[[int], float]:
        return lambda size: stand.ours(*arguments, home=stand.history(size)).run().cpu

    return [_curve(stand, "history", name, sizes, cost(arguments)) for name, arguments in commands.items()]


def _runs(stand: Stand) -> int:
    return min(stand.runs, RUNS)


def _curve(stand: Stand, plot: str, name: str, sizes: Sequence[int], cost: Callable[[int], float]) -> Curve:
    costs = [statistics.median(cost(size) for _ in range(_runs(stand))) for size in sizes]
    return Curve(plot, name, sizes, costs)
