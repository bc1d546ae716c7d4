"""Where all of it is measured: programs installed as people have them, a server, a folder, histories."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import ROOT
from bench.conversations import make_history
from bench.instant_server import instant_server
from bench.processes import Command

INSTALLED = ROOT / ".bench"  # an environment for each program; peers stay there for the next time
PEERS = {  # programs, and what is installed for them: the package, and what it does not say that it imports
    "llm": ("llm",),
    "sgpt": ("shell-gpt", "click"),
}
LLM_MODELS = ("tokens-20", "tokens-20@300", "tokens-20000", "markdown-5000", "markdown-500", "tokens-1000")
NOT_INHERITED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "VIRTUAL_ENV", "FORCE_COLOR", "NO_COLOR")


@dataclass(frozen=True)
class Stand:
    """What every benchmark gets."""

    folder: Path
    base_url: str  # of the instant server
    programs: Mapping[str, Path]  # chatllm, and those of its peers that there are
    runs: int  # pairs for each figure
    is_quick: bool
    most_conversations: int
    _histories: dict[int, Path] = field(default_factory=dict)

    @property
    def chatllm(self) -> Path:
        """The program."""
        return self.programs["chatllm"]

    @property
    def python(self) -> Path:
        """The interpreter that runs it."""
        return self.chatllm.with_name("python")

    def ours(self, *arguments: str | Path, home: Path | None = None, on_terminal: bool = False) -> Command:
        """Return a command of chatllm."""
        return Command([self.chatllm, *arguments], self.environment(home), on_terminal)

    def bare(self, code: str) -> Command:
        """Return a bare Python that runs some code: the one that chatllm runs on."""
        return Command([self.python, "-c", code], self.environment())

    def peer(self, name: str, *arguments: str) -> Command:
        """Return a command of a peer, set up to ask the instant server."""
        home = self.folder / name
        if not home.exists():
            _set_up_peer(home, self.base_url)
        variables = {
            "LLM_USER_PATH": str(home / "llm"),
            "OPENAI_API_KEY": "x",
            "API_BASE_URL": self.base_url,  # from here on sgpt's
            "DEFAULT_MODEL": "tokens-20",
            "PRETTIFY_MARKDOWN": "false",
            "OS_NAME": "Linux",
            "SHELL_NAME": "bash",
        }
        return Command([self.programs[name], *arguments], clean_environment(HOME=str(home), **variables))

    def environment(self, home: Path | None = None, **variables: str) -> dict[str, str]:
        """Return chatllm's environment; its home is one of the benchmarks' own unless named."""
        home = home or self.folder / "home"
        return clean_environment(CHATLLM_HOME=str(home), CHATLLM_BASE_URL=self.base_url, **variables)

    def history(self, conversations: int) -> Path:
        """Return a home with so many conversations, its index built; it is made once."""
        if conversations not in self._histories:
            home = self.folder / f"history-{conversations}"
            make_history(home / "data" / "conversations", conversations)
            self.ours("history", "list", home=home).run()
            self._histories[conversations] = home
        return self._histories[conversations]


@contextmanager
def stand(*, runs: int, is_quick: bool, most_conversations: int) -> Iterator[Stand]:
    """Install what is measured, start the server, and take all of it down again but the installed peers."""
    programs = installed(["llm"] if is_quick else [*PEERS])
    with TemporaryDirectory(prefix="chatllm-bench-") as name, instant_server() as base_url:
        yield Stand(Path(name), base_url, programs, runs, is_quick, most_conversations)


def installed(peers: list[str]) -> dict[str, Path]:
    """Install chatllm anew, and the peers that are not there yet; one that the registry does not give is left out."""
    programs = {
        "chatllm": _install("chatllm", f"chatllm-cli[redis] @ {ROOT.as_uri()}", "--refresh-package", "chatllm-cli")
    }
    for name in peers:
        program = INSTALLED / name / "bin" / name
        try:
            programs[name] = program if program.exists() else _install(name, *PEERS[name])
        except subprocess.CalledProcessError:
            print(f"{name} cannot be installed here: its rows are left out", file=sys.stderr)
    return programs


def versions(stand: Stand) -> dict[str, str]:
    """Return which versions of what are compared."""
    packages = {"chatllm": "chatllm-cli"} | {name: what[0] for name, what in PEERS.items()}
    code = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    found = {
        name: subprocess.run(
            [program.with_name("python"), "-c", code, packages[name]], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name, program in stand.programs.items()
    }
    for package in ("langchain-openai", "langchain-core", "openai", "httpx2", "typer", "rich", "prompt-toolkit"):
        done = subprocess.run([stand.python, "-c", code, package], capture_output=True, text=True, check=False)
        found |= {package: done.stdout.strip()} if done.returncode == 0 else {}
    return found


def clean_environment(**variables: str) -> dict[str, str]:
    """Return ours without what would make a program slower, or another, than a person's is."""
    kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    return {name: value for name, value in kept.items() if not name.startswith("CHATLLM_")} | variables


def _install(name: str, *what: str) -> Path:
    """Install it as a user would, compiled to bytecode, in an environment of its own. Raises `CalledProcessError`."""
    folder = INSTALLED / name
    uv = os.environ.get("UV") or shutil.which("uv")
    tool = [uv] if uv else [sys.executable, "-m", "uv"]
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([*tool, "venv", "-q", "--no-project", "--python", sys.executable, folder], check=True)
    python = folder / "bin" / "python"
    install = [*tool, "pip", "install", "-q", "--compile-bytecode", "--python", str(python), *what]
    elsewhere = ROOT.anchor  # what this checkout overrides, it overrides for itself
    subprocess.run(install, check=True, cwd=elsewhere, env=clean_environment())
    starts = Command([python.with_name(name), "--help"], clean_environment(HOME=str(folder), OPENAI_API_KEY="x"))
    starts.run()
    return python.with_name(name)


def _set_up_peer(home: Path, base_url: str) -> None:
    (home / "llm").mkdir(parents=True)
    models = [f"- model_id: {each}\n  model_name: {each}\n  api_base: {base_url}\n" for each in LLM_MODELS]
    (home / "llm" / "extra-openai-models.yaml").write_text("".join(models))
