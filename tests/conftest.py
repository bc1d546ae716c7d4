"""Every test runs with an empty home, no key, and no network but loopback."""

import io
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from chatllm_cli.cli import models
from chatllm_cli.cli.app import app
from chatllm_cli.config.places import Places, find_places
from chatllm_cli.config.profiles import PROFILE_VARIABLE
from chatllm_cli.config.sources import FOREIGN_VARIABLES
from chatllm_cli.render.renderer import Renderer
from tests.desks import Desk, open_desk
from tests.fake_openai import FakeOpenAI
from tests.redis_server import IS_MISSING, PROGRAM, RedisServer
from tests.terminal import FakeTerminal, Terminal

os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"  # read when it is imported: none is in sight
FOREIGN = ("CHATLLM_", "OPENAI_", "HF_", "LANGCHAIN_", "LANGSMITH_", "LC_")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> Path:
    """An empty home; nothing of the real one, or of the real environment's keys, is in sight."""
    for name in os.environ:
        if name.startswith(FOREIGN) or name in FOREIGN_VARIABLES or name.lower() in PROXIES:
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHATLLM_HOME", str(home / "chatllm"))
    monkeypatch.setenv(PROFILE_VARIABLE, "")
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    if sys.dont_write_bytecode and pytestconfig.cache:  # else each child would compile a thousand modules anew
        monkeypatch.delenv("PYTHONDONTWRITEBYTECODE")
        monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(pytestconfig.cache.mkdir("bytecode")))
    return home


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets reach loopback only."""
    connect = socket.socket.connect

    def connect_to_loopback(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6} and address[0] not in {"127.0.0.1", "::1"}:
            raise OSError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_to_loopback)


@pytest.fixture(autouse=True)
def nobody_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server of this machine is in sight, whatever runs on it."""
    monkeypatch.setattr(models, "SELF_ANNOUNCING", ())


@pytest.fixture
def places(home: Path) -> Places:
    return find_places()


@pytest.fixture
def desk(places: Places) -> Iterator[Desk]:
    """A session of the chat over a fake model."""
    with open_desk(places) as desk:
        yield desk


@pytest.fixture
def fake_openai() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
def provider(fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> FakeOpenAI:
    """The fake server, set up as the default provider."""
    monkeypatch.setenv("CHATLLM_BASE_URL", fake_openai.base_url)
    monkeypatch.setenv("CHATLLM_API_KEY", "sk-canary")
    monkeypatch.setenv("CHATLLM_MODEL", "says-hello-there")
    return fake_openai


@pytest.fixture(scope="session")
def redis_of_all_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if PROGRAM is None:
        pytest.skip(IS_MISSING)
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(redis_of_all_tests: RedisServer) -> RedisServer:
    """A real Redis server on loopback, empty."""
    redis_of_all_tests.client().flushall()
    return redis_of_all_tests


@pytest.fixture
def out() -> FakeTerminal:
    """What a person sees of stdout, on a terminal."""
    return FakeTerminal()


@pytest.fixture
def err() -> FakeTerminal:
    """What a person sees of stderr, on another."""
    return FakeTerminal()


@pytest.fixture
def on_terminal(out: FakeTerminal, err: FakeTerminal) -> Renderer:
    return Renderer(out, err)


@pytest.fixture
def pipe() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def err_pipe() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def on_pipe(pipe: io.StringIO, err_pipe: io.StringIO) -> Renderer:
    return Renderer(pipe, err_pipe)


Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Run a command in this process, its output on pipes."""

    def run(*arguments: str, stdin: str | bytes = "") -> Result:
        profile = os.environ.get(PROFILE_VARIABLE)  # which --profile changes for its own run alone
        return CliRunner().invoke(app, list(arguments), input=stdin, env={PROFILE_VARIABLE: profile})

    return run


Editor = Callable[[str], None]


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
    """Make a shell script the editor; $1 is the file, and an argument comes before it."""

    monkeypatch.delenv("VISUAL", raising=False)

    def make(script: str) -> None:
        path = tmp_path / "my editor"
        path.write_text(f"#!/bin/sh\nshift\n{script}\n")
        path.chmod(0o700)
        monkeypatch.setenv("EDITOR", f"'{path}' --wait")

    return make


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Start the installed `chatllm` on a terminal of its own."""
    terminals: list[Terminal] = []

    def start(*arguments: str, **how: Any) -> Terminal:
        terminals.append(Terminal(arguments, **how))
        return terminals[-1]

    yield start
    for each in terminals:
        each.close()
