"""bash, zsh and fish as a person has them: what is typed, a tab, and the words that the shell makes of it."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest

from chatllm_cli.cli.shells import install
from chatllm_cli.config.places import Places
from tests.test_completion import NASTY, converse, remember
from tests.test_config import write_config

SHELLS = {
    "bash": ["--noprofile", "-i"],
    "zsh": ["-o", "no_global_rcs", "-i"],
    "fish": ["-i"],
}
PATIENCE = 20  # seconds
HOME_KEY = "\x01"

pytestmark = pytest.mark.slow


class Shell:
    """A shell on a terminal, with completion installed."""

    def __init__(self, name: str, home: Path) -> None:
        self.screen = pyte.Screen(200, 50)
        self._stream = pyte.Stream(self.screen)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "PS1": "$ ", "PROMPT": "$ ", "ZDOTDIR": str(home)}
        self.child = pexpect.spawn(
            name, SHELLS[name], encoding="utf-8", dimensions=(50, 200), env=environment, cwd=str(home)
        )
        self._until(lambda: bool(self.text), "a prompt")
        self._lines = 0
        self._clear()

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display).strip()

    def _until(self, is_done: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not is_done():
            assert time.monotonic() < end, f"no {what}:\n{self.text}"
            self._read()

    def _read(self) -> None:
        try:
            piece = self.child.read_nonblocking(65536, 0.05)
        except pexpect.TIMEOUT:
            return
        if "\x1b[c" in piece or "\x1b[0c" in piece:  # fish asks what it runs on, and waits for the answer
            self.child.send("\x1b[?62;c")
        self._stream.feed(piece)

    def _clear(self) -> None:
        self._lines += 1
        mark = f"{self._lines}-is-empty"
        self.child.send(f"clear; printf '%s-is-%s\\n' {self._lines} empty\n")
        self._until(lambda: self.text.startswith(mark) and self.text != mark, f"{mark} and a prompt")

    def run(self, line: str) -> None:
        """Type a line and have it run before anything else is."""
        self.child.send(f"{line}\n")
        self._clear()

    def words(self, typed: str, shown: str) -> list[str]:
        """Type, with a tab at the end, wait until it is `shown`, and return the words that the line has then."""
        self._clear()
        self.child.send(f"{typed}\t")
        self._until(lambda: shown in self.text, shown)
        self.child.send(f"{HOME_KEY}printf '<%s>' \n")
        self._until(lambda: "<chatllm>" in self.text, "<chatllm>")
        line = next(line for line in self.text.splitlines() if "<chatllm>" in line)
        return line[line.index("<") + 1 : line.rindex(">")].split("><")


@pytest.fixture(params=[*SHELLS])
def shell(request: pytest.FixtureRequest, home: Path, places: Places) -> Iterator[Shell]:
    name = request.param
    if not shutil.which(name):
        pytest.skip(f"there is no {name}")
    converse(places, NASTY)
    write_config(places, '[aliases]\nfast = "x/y"\n[providers.acme]\nbase_url = "https://acme.example/v1"\n')
    install(name)
    shell = Shell(name, home)
    yield shell
    shell.child.close(force=True)


async def test_what_is_completed_is_what_the_command_gets(shell: Shell, places: Places, home: Path) -> None:
    await remember(places, "acme", "https://acme.example/v1", ["qwen3:8b", "qwen3:14b", "it's one"])
    assert shell.words("chatllm ask -p tra", "translate") == ["chatllm", "ask", "-p", "translate"]
    assert shell.words("chatllm ask -m fa", "fast") == ["chatllm", "ask", "-m", "fast"]
    assert shell.words("chatllm ask --model=fa", "fast") == ["chatllm", "ask", "--model=fast"]
    assert shell.words("chatllm ask -m acme/qwen3:1", "4b") == ["chatllm", "ask", "-m", "acme/qwen3:14b"]
    assert shell.words("chatllm ask -m acme/it", "one") == ["chatllm", "ask", "-m", "acme/it's one"]
    assert shell.words("chatllm history show @", "@1") == ["chatllm", "history", "show", "@1"]
    for begun in ("It", '"It'):
        assert shell.words(f"chatllm history show {begun}", "touch") == ["chatllm", "history", "show", NASTY]
    assert not (home / "x").exists()  # what the title says was not run


RECALLED = "Fix !false now"


@pytest.mark.parametrize("begun", ["Fix", '"Fix', "'Fix"])
def test_no_earlier_line_is_recalled_by_what_is_completed(
    shell: Shell, places: Places, home: Path, begun: str
) -> None:
    converse(places, RECALLED)
    shell.run('false && echo "a; touch PWNED; b"')
    assert shell.words(f"chatllm history show {begun}", "now")[-1] == RECALLED
    assert not (home / "PWNED").exists()
