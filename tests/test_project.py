"""Facts about the whole: what a command imports, and documents that could go stale."""

import ast
import io
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chatllm_cli import __version__
from chatllm_cli.cli.late_commands import COMMANDS
from chatllm_cli.errors import ChatllmError, ExitCode
from chatllm_cli.models import Conversation, Message, Role
from chatllm_cli.render.json_renderer import JsonRenderer, kind_of
from chatllm_cli.render.wishes import Wish

ROOT = Path(__file__).parent.parent
HEAVY = {"langchain_core", "langchain_openai", "langsmith", "openai", "prompt_toolkit", "diskcache", "xllamacpp"}
HEAVY |= {"genai_prices", "pydantic", "pydantic_settings", "redis", "markdownify", "bs4", "lxml", "pypdf", "httpx2"}
HEAVY |= {"pygments", "markdown_it", "rich", "jsonschema", "yaml", "tomlkit", "keyring"}
SOURCES = sorted((ROOT / "chatllm_cli").rglob("*.py"))

IMPORTED = """
import sys
from chatllm_cli.cli.app import app
try:
    app(sys.argv[1:])
except SystemExit as exit:
    print("exit", exit.code, file=sys.stderr)
print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["--version"],
        ["ask", "--help"],
        ["batch", "--help"],
        ["history", "list"],
        ["history", "stats"],
        ["history", "export", "--help"],
        ["config", "path"],
    ],
)
def test_a_command_imports_nothing_heavy_that_it_does_not_use(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *command], capture_output=True, text=True, check=True, timeout=50
    )
    status, modules = done.stderr.splitlines()[-2:]
    assert status == "exit 0"
    assert HEAVY & set(modules.split()) == set()


def test_help_imports_no_command_and_no_event_loop() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED + "print(*sys.modules, file=sys.stderr)", "--help"],
        capture_output=True, text=True, check=True, timeout=50,
    )  # fmt: skip
    modules = set(done.stderr.splitlines()[-1].split())
    assert modules & {"asyncio", "chatllm_cli.models", *(f"chatllm_cli.cli.{name}" for name in COMMANDS)} == set()


def test_the_version_is_told_with_next_to_no_import() -> None:
    code = "from chatllm_cli.__main__ import main; main(); import sys; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=True, timeout=50
    )
    assert {name for name in done.stderr.split() if name.startswith(("chatllm_cli", "typer", "asyncio", "re"))} <= {
        *("chatllm_cli", "chatllm_cli.__main__", "reprlib")
    }


def test_the_chat_imports_nothing_before_its_first_prompt_that_only_an_answer_takes() -> None:
    code = "import chatllm_cli.cli.chat, chatllm_cli.repl.loop, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    modules = set(done.stdout.split())
    late = {"chatllm_cli.services.chat", "chatllm_cli.services.history", "sqlite3"}
    assert (HEAVY - {"prompt_toolkit"} | late) & modules == set()


@pytest.mark.parametrize(
    "line", ["", "ask -", "ask -m ", "ask -m groq/", "ask -p ", "prompts show ", "history show "]
)
def test_the_shell_is_answered_without_anything_heavy(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_CHATLLM_COMPLETE", "complete_zsh")
    monkeypatch.setenv("_CHATLLM_LINE", f"chatllm {line}")
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True, timeout=50)
    status, modules = done.stderr.splitlines()[-2:]
    assert status == "exit 0"
    heavy = {"langchain_core", "openai", "pydantic", "rich", "prompt_toolkit", "yaml", "tomlkit"}
    assert heavy & set(modules.split()) == set()


def test_an_answer_from_the_cache_imports_nothing_heavy_but_the_cache(provider: object) -> None:
    for is_cached in (False, True):
        question = ["ask", "--temperature", "0", "hi"]
        done = subprocess.run(
            [sys.executable, "-c", IMPORTED, *question],
            capture_output=True, text=True, check=True, timeout=50, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.stdout == "hello there"
        found = HEAVY & set(done.stderr.splitlines()[-1].split())
        assert found == {"diskcache"} if is_cached else found > {"langchain_openai", "pydantic"}


@pytest.mark.parametrize("command", ["--help", "--version", "history list", "config show", "config path"])
def test_looking_writes_no_file(command: str, home: Path) -> None:
    program = Path(sys.executable).with_name("chatllm")
    subprocess.run([program, *command.split()], capture_output=True, check=True, timeout=50)
    assert list(home.rglob("*")) == []


def test_the_readme_begins_with_its_two_commands() -> None:
    commands = re.findall(r"^    (python3 .*?) +#", (ROOT / "README.md").read_text(), re.MULTILINE)
    setup = "python3 -m pip install -q uv && python3 -m uv run"
    assert commands[:2] == [f'{setup} chatllm ask "Why is the sky blue?"', f"{setup} pytest"]


def test_the_documented_exit_codes_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", (ROOT / "docs/exit-codes.md").read_text(), re.MULTILINE)
    assert [(int(code), name) for code, name in rows] == [(code.value, code.name) for code in ExitCode]


def test_the_changelog_knows_this_version() -> None:
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("link", sorted({*re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())}))
def test_every_link_of_the_readme_leads_somewhere(link: str) -> None:
    assert link.startswith("https://") or (ROOT / link).exists()


def test_imports_go_down_and_each_library_has_one_home() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    environment = os.environ | {"COLUMNS": "200"}
    done = subprocess.run(
        [linter, "--no-cache"], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout


def functions() -> list[tuple[str, int]]:
    nodes = ((path, node) for path in SOURCES for node in ast.walk(ast.parse(path.read_text())))
    return [
        (f"{path.name}:{node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for path, node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_functions_and_files_stay_small() -> None:
    lengths = sorted(length for _, length in functions())
    assert [name for name, length in functions() if length > 60] == []
    assert lengths[len(lengths) // 2] <= 10
    assert lengths[len(lengths) * 9 // 10] <= 30
    assert [path.name for path in SOURCES if len(path.read_text().splitlines()) > 400] == []


def test_every_public_function_and_class_says_what_it_is_for() -> None:
    silent = [
        f"{path.name}:{node.name}"
        for path in SOURCES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_the_documented_fields_and_kinds_of_json_are_those_of_the_code() -> None:
    document = (ROOT / "docs/json-output.md").read_text()
    fields = [
        name
        for cell in re.findall(r"^\| (`.*?`) \|", document, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", cell)
    ]
    reply = Message("m1", Role.ASSISTANT, "text", datetime.now(UTC))
    stdout = io.StringIO()
    conversation = Conversation("c1", "t", datetime.now(UTC), messages=(reply,), head="m1")
    JsonRenderer(stdout, io.StringIO()).answer(conversation, Wish(), {})
    assert sorted(fields) == sorted(json.loads(stdout.getvalue()))
    kinds = re.findall(r"`([a-z_]+)`", document.partition("`kind` is one of")[2].partition("the codes are")[0])
    assert sorted(kinds) == sorted(kind_of(kind("x")) for kind in every_kind_of(ChatllmError))


def every_kind_of(kind: type[ChatllmError]) -> list[type[ChatllmError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in every_kind_of(child))]
