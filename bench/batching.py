"""What a batch costs: a thousand prompts, against as many runs of `llm`, and how well it uses a provider's time."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing import Event, Process, Queue
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import Figure
from bench.processes import CHATLLM, timed
from tests.fake_openai import FakeOpenAI

if TYPE_CHECKING:
    from multiprocessing.queues import Queue as AnyQueue
    from multiprocessing.synchronize import Event as AnyEvent

PEER = "llm"
PEER_RUNS = 10
AT_ONCE, REPLY = 32, 0.216  # requests, and seconds that each takes to be answered
WORDS, PAUSE_MS = 20, 10
IDEAL_SHARE = 0.93  # of the rate that nothing but the provider limits


def run(prompts: int, runs: int) -> list[Figure]:
    """Measure, and return the figures."""
    with tempfile.TemporaryDirectory(prefix="chatllm-bench-") as name, _server() as base_url:
        root = Path(name)
        (root / "prompts.txt").write_text("".join(f"prompt {number}\n" for number in range(prompts)))
        at_once = statistics.median(_batch(root, base_url, f"tokens-{WORDS}", 8) for _ in range(min(runs, 3)))
        figures = [
            Figure(f"batch of {prompts} prompts, instant server, s", at_once, 2.5 * prompts / 1000),
            *_against_peer(root, base_url, prompts, at_once),
        ]
        startup = _batch(root, base_url, "says-x", 1, prompts=1)
        slow = min(prompts, 640)
        seconds = _batch(root, base_url, f"tokens-{WORDS}-{PAUSE_MS}", AT_ONCE, prompts=slow) - startup
        ideal = slow / AT_ONCE * REPLY
        what = f"{AT_ONCE} at once, replies of {REPLY * 1000:.0f} ms: time / ideal, start-up left out"
        figures.append(Figure(what, seconds / ideal, 1 / IDEAL_SHARE, f"{slow / seconds:.0f} answers/s"))
        return figures


def _batch(root: Path, base_url: str, model: str, concurrency: int, *, prompts: int | None = None) -> float:
    """Return how many seconds a batch takes, from start to exit, all of its answers on the disk."""
    lines = (root / "prompts.txt").read_text().splitlines(keepends=True)[:prompts]
    (root / "some.txt").write_text("".join(lines))
    output = root / "answers.jsonl"
    output.unlink(missing_ok=True)
    command = [CHATLLM, "batch", root / "some.txt", "-o", output, "-m", model, "--concurrency", str(concurrency)]
    environment = _environment(root, {"CHATLLM_HOME": str(root / "home"), "CHATLLM_BASE_URL": base_url})
    seconds = timed(lambda: subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL))
    if len(output.read_text().splitlines()) != len(lines):
        raise RuntimeError("not every prompt was answered")
    return seconds


def _against_peer(root: Path, base_url: str, prompts: int, seconds: float) -> list[Figure]:
    """Compare with a loop of `llm`, some runs of which tell what all would take; nothing where there is none."""
    if not (peer := _installed(root)):
        return []
    user = root / "llm"
    user.mkdir()
    model = f"- model_id: fake\n  model_name: tokens-{WORDS}\n  api_base: {base_url}\n"
    (user / "extra-openai-models.yaml").write_text(model)
    environment = _environment(root, {"LLM_USER_PATH": str(user), "OPENAI_API_KEY": "x"})

    def ask() -> None:
        subprocess.run([peer, "-m", "fake", "prompt"], env=environment, check=True, stdout=subprocess.DEVNULL)

    ask()
    each = statistics.median(timed(ask) for _ in range(PEER_RUNS))
    detail = f"{each * 1000:.0f} ms for one, {PEER_RUNS} measured"
    return [Figure(f"batch of {prompts} / a loop of {PEER}", seconds / (each * prompts), 1 / 200, detail)]


def _installed(root: Path) -> str | None:
    """Install the peer beside us, and return its program; None if the registry does not give it."""
    folder = root / "peer"
    uv = [sys.executable, "-m", "uv"] if shutil.which("uv") is None else ["uv"]
    for command in (
        ["venv", "-q", folder],
        ["pip", "install", "-q", "--compile", "--python", folder / "bin/python", PEER],
    ):
        if subprocess.run([*uv, *command], check=False, cwd=root, stderr=subprocess.DEVNULL).returncode:
            return None
    return str(folder / "bin" / PEER)


def _environment(root: Path, variables: Mapping[str, str]) -> dict[str, str]:
    environment = {**os.environ, "HOME": str(root), **variables}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


class _server:  # noqa: N801  (it is called as a function)
    """The fake server, in a process of its own: it must not share ours."""

    def __enter__(self) -> str:
        self._stop, told = Event(), Queue()
        self._process = Process(target=_serve, args=(told, self._stop), daemon=True)
        self._process.start()
        base_url: str = told.get(timeout=20)
        return base_url

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._process.join(5)


def _serve(told: "AnyQueue[str]", stop: "AnyEvent") -> None:
    with FakeOpenAI() as fake:
        told.put(fake.base_url)
        stop.wait()
