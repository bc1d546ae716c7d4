"""The config file as a file: what it may be, who may touch it, and what a crash leaves of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chatllm_cli.config.places import Places, find_places
from chatllm_cli.config.sources import DEEPEST, read_config_file
from chatllm_cli.errors import ConfigError
from chatllm_cli.private_files import locked_folder
from tests.conftest import Run
from tests.terminal import CHATLLM
from tests.test_config import CANARY, write_config

KILLED_AT_FSYNC = """
import os, sys, pathlib
from chatllm_cli.config.editing import set_value
os.fsync = lambda _: os.kill(os.getpid(), 9)
set_value(pathlib.Path(sys.argv[1]), ("api_key",), ["sk-canary"])
"""


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused_and_told(run: Run, places: Places, mode: int) -> None:
    write_config(places, 'model = "x"\n', mode)
    result = run("config", "show", "model")
    expected = f"chatllm: {places.config_file} can be written by others\n  hint: chmod 600 {places.config_file}\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)
    result = run("config", "check")
    expected = f"{places.config_file}: it can be written by others; chmod 600 {places.config_file}\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, expected, "")


def test_a_change_takes_it_from_the_others(run: Run, places: Places) -> None:
    write_config(places, 'model = "x"\n', 0o666)
    assert run("config", "set", "model", "y").exit_code == 0
    assert places.config_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("command", [["show"], ["check"], ["set", "model", "x"], ["unset", "model"], ["edit"]])
def test_a_pipe_is_no_config_file_and_is_not_waited_for(
    run: Run, places: Places, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("EDITOR", "true")
    places.config_file.parent.mkdir()
    os.mkfifo(places.config_file)
    result = run("config", *command)
    assert (result.exit_code, "cannot be read: it is no file\n" in result.output) == (2, True)


def test_what_the_shell_pipes_in_can_be_checked() -> None:
    result = subprocess.run(
        [CHATLLM, "config", "check", "/dev/stdin"], input="modle = 5\n", capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (2, "/dev/stdin:1: modle is not a setting; did you mean model?\n")


@pytest.mark.parametrize("command", [["show"], ["set", "model", "x"], ["unset", "model"], ["init"], ["edit"]])
def test_a_link_to_itself_is_one_line(
    run: Run, places: Places, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("EDITOR", "true")
    places.config_file.parent.mkdir()
    places.config_file.symlink_to(places.config_file)
    result = run("config", *command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"chatllm: {places.config_file} cannot be ")
    assert result.stderr.endswith(": Too many levels of symbolic links\n")
    assert places.config_file.is_symlink()


def test_tables_in_tables_without_end_are_one_line(run: Run, places: Places) -> None:
    write_config(places, f"options.{'a.' * 600}b = 1\n")
    expected = f"chatllm: {places.config_file} holds more than {DEEPEST} tables in each other\n"
    for command in (["set", "temperature", "1"], ["show"], ["profiles"]):
        result = run("config", *command)
        assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)
    places.config_file.unlink()
    result = run("config", "set", f"options.{'a.' * 600}b", "1")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert not places.config_file.exists()
    assert run("config", "set", "temperature", "[" * 450 + "]" * 450).stderr == (
        "chatllm: temperature: expected a valid number\n"
    )


def test_without_a_home_folder_there_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "CHATLLM_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)  # whom the system does not know
    with pytest.raises(ConfigError, match=r"^there is no home folder$"):
        find_places()
    result = run("config", "path")
    expected = "chatllm: there is no home folder\n  hint: set HOME, or CHATLLM_HOME\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)


def test_a_key_that_a_killed_process_left_is_removed_by_the_next(run: Run, places: Places) -> None:
    write_config(places, "")
    killed = subprocess.run([sys.executable, "-c", KILLED_AT_FSYNC, places.config_file], check=False)
    (left,) = [path for path in places.config_file.parent.iterdir() if path != places.config_file]
    assert (killed.returncode, CANARY in left.read_text()) == (-signal.SIGKILL, True)
    swap = places.config_file.with_name(".config.toml.swp")  # an editor's own
    swap.touch()
    assert run("config", "set", "model", "x").exit_code == 0
    assert sorted(places.config_file.parent.iterdir()) == [swap, places.config_file]


def test_init_waits_for_who_changes_the_file_and_then_leaves_it_alone(places: Places) -> None:
    folder = places.config_file.parent
    folder.mkdir()
    with locked_folder(folder):
        process = subprocess.Popen([CHATLLM, "config", "init"], stderr=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        write_config(places, "temperature = 0.5\n")
    assert "exists already" in process.communicate(timeout=20)[1]
    assert places.config_file.read_text() == "temperature = 0.5\n"


@pytest.mark.parametrize("rest", [b"", b'model = "x"\n'])
def test_a_byte_order_mark_is_passed_over_and_kept(run: Run, places: Places, rest: bytes) -> None:
    write_config(places, b"\xef\xbb\xbf" + rest)
    assert run("config", "check").exit_code == 0
    assert run("config", "set", "model", "y").stdout == 'model = "y"\n'
    assert places.config_file.read_bytes() == b'\xef\xbb\xbfmodel = "y"\n'


def test_a_redirection_shows_no_mode_of_its_own(tmp_path: Path) -> None:
    assert read_config_file(tmp_path / "none") == {}
    assert read_config_file(Path(os.devnull)) == {}
