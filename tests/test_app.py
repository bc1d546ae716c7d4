import json
import os
import subprocess
import sys
import time
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGPIPE, SIGTERM, Signals

import pytest

from chatllm_cli import __version__
from chatllm_cli.cli.late_commands import COMMANDS, build_command
from tests.conftest import Run
from tests.fake_openai import MARKDOWN, FakeOpenAI

LAUNCH = 0.1  # seconds until Python runs our first line, on a busy machine
CHATLLM = str(Path(sys.executable).with_name("chatllm"))
PATIENCE = 30  # seconds

HELP = """\
Usage: chatllm [OPTIONS] COMMAND [ARGS]...

  Chat with language models in the terminal, and keep every word.

Options:
  --version             Show the version and exit.
  --debug               Show a traceback when something goes wrong.
  --profile NAME        Take the settings of this profile, too.
  --install-completion  Let this shell complete commands.
  --show-completion     Show the script that would be installed.
  -h, --help            Show this message and exit.

Commands:
  ask      Ask one question and print the answer.
  chat     Talk with a model, turn after turn.
  batch    Ask many prompts, several at a time.
  doctor   Look whether everything is in order.
  prompts  See, make and remove the prompts of -p.
  history  Find, show, change, import and export the stored conversations.
  models   See which models and providers there are; fetch some.
  keys     Store, list and remove the keys of providers.
  config   See, check and change the settings.
  cache    See and clear the cache of answers.
"""


def test_version_is_one_line(run: Run) -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"chatllm {__version__}\n", "")


STDOUTS = {
    "a pipe": "{program} | cat; exit ${{PIPESTATUS[0]}}",
    "a file": "{program} >told; cat told",
    "a full disk": "{program} >/dev/full",
    "a pipe that nobody reads": "{program} | true; exit ${{PIPESTATUS[0]}}",
    "nothing": "{program} >&-",
    "nothing at all": "{program} >&- 2>&- <&-",
    "another encoding": "export PYTHONIOENCODING=utf-16; {program}",
    "unbuffered": "export PYTHONUNBUFFERED=1; {program}",
}
LATER = {"a pipe that nobody reads": "sleep 0.3; "}  # until it is gone


@pytest.mark.parametrize("stdout", STDOUTS)
def test_the_version_is_told_as_the_whole_program_would(stdout: str, tmp_path: Path) -> None:
    def outcome(main: str) -> tuple[int, str, str]:
        program = f'{sys.executable} -c "from {main} import main; main()" --version'
        command = STDOUTS[stdout].format(program=f"{{ {LATER.get(stdout, '')}{program}; }}")
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, capture_output=True, timeout=PATIENCE, check=False
        )
        return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode()

    assert outcome("chatllm_cli.__main__") == outcome("chatllm_cli.cli.app")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_announced_in_the_words_that_it_has_for_itself(name: str) -> None:
    assert build_command(name).help.partition("\n\n")[0].replace("\n", " ") == COMMANDS[name]
    assert build_command(name).name == name


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_the_commands(run: Run, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = run(option)
    assert (result.exit_code, result.stdout, result.stderr) == (0, HELP, "")


def test_no_command_is_a_usage_error_that_shows_the_help(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = run()
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", HELP)


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("ask", "chatllm ask [OPTIONS] [PROMPT]..."),
        ("chat", "chatllm chat [OPTIONS]"),
        ("history", "chatllm history [OPTIONS] COMMAND [ARGS]..."),
        ("history list", "chatllm history list [OPTIONS]"),
        ("history show", "chatllm history show [OPTIONS] [CONVERSATION]"),
        ("history export", "chatllm history export [OPTIONS] [CONVERSATION]..."),
        ("models", "chatllm models [OPTIONS] COMMAND [ARGS]..."),
        ("models list", "chatllm models list [OPTIONS]"),
        ("config", "chatllm config [OPTIONS] COMMAND [ARGS]..."),
        ("config init", "chatllm config init [OPTIONS]"),
        ("config show", "chatllm config show [OPTIONS] [KEY]..."),
        ("config set", "chatllm config set [OPTIONS] {KEY} {VALUE}"),
        ("config unset", "chatllm config unset [OPTIONS] {KEY}"),
        ("config check", "chatllm config check [OPTIONS] [FILE]"),
        ("config edit", "chatllm config edit [OPTIONS]"),
        ("config profiles", "chatllm config profiles [OPTIONS]"),
        ("config path", "chatllm config path [OPTIONS]"),
        ("cache stats", "chatllm cache stats [OPTIONS]"),
        ("cache clear", "chatllm cache clear [OPTIONS]"),
        ("cache path", "chatllm cache path [OPTIONS]"),
    ],
)
def test_every_command_has_help_and_needs_no_settings_for_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str, usage: str
) -> None:
    monkeypatch.setenv("CHATLLM_MODLE", "x")
    result = run(*command.split(), "-h")
    assert (result.exit_code, result.stdout.splitlines()[0], result.stderr) == (0, f"Usage: {usage}", "")


@pytest.mark.parametrize(
    ("arguments", "usage", "message"),
    [
        (["nope"], "chatllm [OPTIONS] COMMAND [ARGS]...", "No such command 'nope'."),
        (["--nope"], "chatllm [OPTIONS] COMMAND [ARGS]...", "No such option: --nope"),
        (["--debug", "nope"], "chatllm [OPTIONS] COMMAND [ARGS]...", "No such command 'nope'."),
        (["history", "nope"], "chatllm history [OPTIONS] COMMAND [ARGS]...", "No such command 'nope'."),
        (["models", "list", "-x"], "chatllm models list [OPTIONS]", "No such option: -x"),
        (["config", "path", "x"], "chatllm config path [OPTIONS]", "Got unexpected extra argument(s) (x)"),
    ],
)
def test_what_does_not_exist_is_a_usage_error(run: Run, arguments: list[str], usage: str, message: str) -> None:
    result = run(*arguments)
    command = usage.partition(" [")[0]
    expected = f"Usage: {usage}\nTry '{command} -h' for help.\n\nError: {message}\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)


NO_CONVERSATION = 'chatllm: there is no conversation yet\n  hint: `chatllm ask "…"` begins one\n'
INTERNAL = """\
chatllm: internal error: RuntimeError: first line second line
  hint: `chatllm --debug …` shows where; please report it
"""


def fail(*_: object) -> None:
    raise RuntimeError("first line\nsecond line")


def test_a_failure_that_was_not_foreseen_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatllm_cli.cli.history.run", fail)
    result = run("history", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", INTERNAL)


@pytest.mark.parametrize("kind", [OSError, KeyError, RecursionError, AssertionError, MemoryError])
def test_a_failure_of_any_kind_is_named(run: Run, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]) -> None:
    def fail(*_: object) -> None:
        raise kind

    monkeypatch.setattr("chatllm_cli.cli.history.run", fail)
    result = run("history", "list")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (1, f"chatllm: internal error: {kind.__name__}:")


@pytest.mark.parametrize(("kind", "exit_code"), [(KeyboardInterrupt, 130), (BrokenPipeError, 141)])
def test_an_end_from_outside_says_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException], exit_code: int
) -> None:
    def end(*_: object) -> None:
        raise kind

    monkeypatch.setattr("chatllm_cli.cli.history.run", end)
    result = run("history", "list")
    assert (result.exit_code, result.output) == (exit_code, "")


def test_debug_shows_where_and_ends_as_without(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("--debug", "history", "show")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Traceback (most recent call last):\n")
    assert result.stderr.endswith(f"ConversationNotFoundError: there is no conversation yet\n{NO_CONVERSATION}")
    monkeypatch.setattr("chatllm_cli.cli.history.run", fail)
    result = run("--debug", "history", "show")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Traceback (most recent call last):\n")
    assert ", in fail\n" in result.stderr
    assert result.stderr.endswith(f"RuntimeError: first line\nsecond line\n{INTERNAL}")


def test_debug_says_nothing_when_all_goes_well(run: Run, provider: FakeOpenAI) -> None:
    result = run("--debug", "ask", "hi")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "hello there", "")


@pytest.mark.parametrize("command", [[CHATLLM], [sys.executable, "-m", "chatllm_cli"]])
def test_the_program_can_be_started(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*command, "--version"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"chatllm {__version__}\n", "")


def test_the_program_ends_with_the_code_of_its_failure() -> None:
    done = subprocess.run([CHATLLM, "history", "show"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", NO_CONVERSATION)


def last_reply(run: Run) -> tuple[str, str]:
    messages = json.loads(run("history", "export", "--format", "json").stdout)["messages"]
    return messages[-1]["status"], messages[-1]["content"]


def test_a_reader_that_had_enough_ends_it_without_a_word(run: Run, provider: FakeOpenAI) -> None:
    reading, writing = os.pipe()
    with (
        subprocess.Popen(["head", "-c", "3"], stdin=reading, stdout=subprocess.PIPE) as head,
        subprocess.Popen(
            [CHATLLM, "ask", "-m", "tokens-2000", "count"],
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.PIPE,
        ) as chatllm,
    ):
        os.close(reading)
        os.close(writing)
        _, stderr = chatllm.communicate(timeout=PATIENCE)
        stdout, _ = head.communicate(timeout=PATIENCE)
    assert (chatllm.returncode, stdout, stderr) == (-SIGPIPE, b"wor", b"")
    status, content = last_reply(run)
    assert status == "interrupted"
    assert content.startswith("word0 ")


@pytest.mark.parametrize("signal", [SIGTERM, SIGINT, SIGHUP])
def test_a_signal_ends_it_and_what_came_is_kept(run: Run, provider: FakeOpenAI, signal: Signals) -> None:
    with subprocess.Popen(
        [CHATLLM, "ask", "-m", "tokens-500-20", "count"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as chatllm:
        assert chatllm.stdout is not None
        begun = chatllm.stdout.read(6)
        chatllm.send_signal(signal)
        rest, stderr = chatllm.communicate(timeout=PATIENCE)
    assert (chatllm.returncode, begun, stderr) == (
        -signal,
        b"word0 ",
        b"stopped; what came is kept; `chatllm ask -c` goes on\n",
    )
    assert last_reply(run) == ("interrupted", (begun + rest).decode())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["--version", "--help", "config show", "ask hi"])
def test_a_full_disk_behind_stdout_is_one_line(command: str, provider: FakeOpenAI) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [CHATLLM, *command.split()],
            stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        1,
        "chatllm: the output could not be written: No space left on device\n",
    )


@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-"])
def test_a_stream_that_the_shell_closed_costs_nothing(closing: str, provider: FakeOpenAI, run: Run) -> None:
    command = f"{CHATLLM} ask hi {closing} </dev/null"
    assert subprocess.run(["bash", "-c", command], timeout=30, check=False).returncode == 0
    assert "hello there" in run("history", "show").stdout


def test_debug_shows_no_key_and_no_escape(run: Run, provider: FakeOpenAI) -> None:
    result = run("--debug", "ask", "-m", "leak", "hi")
    assert result.exit_code == 3
    assert "Traceback" in result.stderr
    assert "canary" not in result.stderr


@pytest.mark.parametrize("name", ["FORCE_COLOR", "TTY_COMPATIBLE", "CLICOLOR_FORCE"])
def test_nothing_makes_a_pipe_a_terminal(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert run("ask", "-m", "markdown", "hi").stdout == MARKDOWN


def test_a_stderr_that_is_full_does_not_cost_the_answer(provider: FakeOpenAI) -> None:
    command = f"{CHATLLM} ask -m length hi </dev/null 2>/dev/full"
    done = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (6, b"cut short")


def test_a_hangup_that_is_to_be_ignored_is(provider: FakeOpenAI) -> None:
    script = f"trap '' HUP; exec {CHATLLM} ask -m tokens-30-20 count </dev/null"
    process = subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, bufsize=0)
    assert process.stdout
    process.stdout.read(1)
    process.send_signal(SIGHUP)
    rest = process.stdout.read(10_000)
    while piece := process.stdout.read(10_000):
        rest += piece
    process.stdout.close()
    assert (process.wait(PATIENCE), rest.endswith(b"word29 ")) == (0, True)


@pytest.mark.parametrize("seconds", [0.02, 0.05, 0.1, 0.15, 0.2, 0.3])
def test_ctrl_c_at_any_moment_of_the_start_shows_no_traceback(provider: FakeOpenAI, seconds: float) -> None:
    process = subprocess.Popen(
        [CHATLLM, "ask", "-m", "hang", "hi"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    time.sleep(seconds)
    process.send_signal(SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE)
    if seconds > LAUNCH:  # before that it may be Python itself that is interrupted
        assert (process.returncode, b"Traceback" in stderr) == (-SIGINT, False)


@pytest.mark.parametrize(("model", "code"), [("flaky-500-1", 0), ("length", 6), ("cut-3", 6), ("fault-401", 3)])
def test_a_stderr_that_nobody_reads_costs_neither_the_answer_nor_its_exit_code(
    provider: FakeOpenAI, model: str, code: int
) -> None:
    command = f"{CHATLLM} ask -m {model} hi </dev/null 2> >(exec true); echo $?"
    done = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=False)
    assert done.stdout.splitlines()[-1].endswith(str(code))
    assert len(done.stdout) > 2 or code == 3


def test_an_output_that_nobody_takes_does_not_keep_a_signal_from_ending_it(provider: FakeOpenAI) -> None:
    with subprocess.Popen(
        [CHATLLM, "ask", "-m", "endless", "hi"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as chatllm:
        while not provider.chats:
            time.sleep(0.01)
        time.sleep(1)  # until the pipe is full
        chatllm.send_signal(SIGTERM)
        assert chatllm.wait(10) == -SIGTERM
