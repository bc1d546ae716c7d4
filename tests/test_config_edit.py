import resource
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.settings_text import example_config
from tests.conftest import Editor, Run
from tests.terminal import CHATLLM, CTRL_C, CTRL_D, Terminal
from tests.test_config import write_config

MINE = "# Mine.\ntemperature = 1\n"
EXPECTED = "temperature: expected a number less than or equal to 2"


def drafts(places: Places) -> list[Path]:
    return [path for path in places.config_file.parent.rglob("*") if path.is_file() and path != places.config_file]


def test_what_is_right_takes_the_place_of_the_file(run: Run, places: Places, editor: Editor) -> None:
    write_config(places, MINE)
    editor("sed -i 's/= 1/= 0.5/' \"$1\"")
    result = run("config", "edit")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"{places.config_file} is changed\n")
    assert (places.config_file.read_text(), drafts(places)) == ("# Mine.\ntemperature = 0.5\n", [])


def test_the_editor_has_a_private_copy_in_a_private_folder_next_to_the_file(
    run: Run, places: Places, editor: Editor, tmp_path: Path
) -> None:
    write_config(places, MINE)
    editor(
        f'stat -c %a:%n "$1" "$(dirname "$1")" > \'{tmp_path}/seen\'; chmod 644 "$1"; cp "$1" "$1~"\n'
        'echo \'api_key = "sk-canary"\' >> "$1"'
    )
    result = run("config", "edit")
    (mode, name), (folder_mode, folder) = (line.split(":") for line in (tmp_path / "seen").read_text().splitlines())
    assert (result.exit_code, mode, folder_mode, Path(name).name) == (0, "600", "700", "config.toml")
    assert (Path(name).parent, Path(folder).parent) == (Path(folder), places.config_file.parent)
    assert stat.S_IMODE(places.config_file.stat().st_mode) == 0o600
    assert list(places.config_file.parent.iterdir()) == [places.config_file]  # and no copy that the editor made


def test_a_file_that_is_not_utf8_can_be_mended(run: Run, places: Places, editor: Editor) -> None:
    write_config(places, b'model = "caf\xe9"\n')
    editor("LC_ALL=C sed -i 's/caf./cafe/' \"$1\"")
    assert (run("config", "edit").exit_code, places.config_file.read_text()) == (0, 'model = "cafe"\n')


def test_what_was_emptied_is_not_taken_unasked(run: Run, places: Places, editor: Editor) -> None:
    write_config(places, MINE)
    editor(': > "$1"')
    result = run("config", "edit")
    expected = f"chatllm: what was edited is empty; {places.config_file} is left as it was\n"
    assert (result.exit_code, result.stderr) == (2, expected)
    assert (places.config_file.read_text(), drafts(places)) == (MINE, [])


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, ""), ("\n", 2, MINE)])
def test_on_a_terminal_it_is_asked_whether_to_empty_the_file(
    places: Places, editor: Editor, terminal: Callable[..., Terminal], answer: str, code: int, left: str
) -> None:
    write_config(places, MINE)
    editor(': > "$1"')
    shown = terminal("config", "edit", columns=200)
    shown.wait_for("[y/N]")
    shown.type(answer)
    assert (shown.wait(), places.config_file.read_text(), drafts(places)) == (code, left, [])


def test_without_a_file_the_example_is_edited(run: Run, places: Places, editor: Editor) -> None:
    editor("sed -i '0,/^#temperature.*/s//temperature = 0.5/' \"$1\"")
    assert run("config", "edit").exit_code == 0
    assert places.config_file.read_text() == example_config().replace("#temperature = 0.7", "temperature = 0.5", 1)


def test_what_is_left_as_it_was_changes_nothing(run: Run, places: Places, editor: Editor) -> None:
    editor(":")
    result = run("config", "edit")
    assert (result.exit_code, result.stderr) == (0, f"nothing is changed in {places.config_file}\n")
    assert list(places.config_file.parent.iterdir()) == []


def test_what_is_at_fault_never_replaces_the_file_and_is_kept(run: Run, places: Places, editor: Editor) -> None:
    write_config(places, MINE)
    editor("sed -i 's/= 1/= 9/' \"$1\"")
    result = run("config", "edit")
    (draft,) = drafts(places)
    told = f"chatllm: {places.config_file} is left as it was\n  hint: your text is kept in {draft}\n"
    expected = f"{draft}:2: {EXPECTED}\n{told}"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)
    assert (places.config_file.read_text(), draft.read_text()) == (MINE, "# Mine.\ntemperature = 9\n")


def test_on_a_terminal_it_can_be_edited_again(
    places: Places, editor: Editor, terminal: Callable[..., Terminal]
) -> None:
    write_config(places, MINE)
    editor("grep -q '= 9' \"$1\" && sed -i 's/= 9/= 0.5/' \"$1\" || sed -i 's/= 1/= 9/' \"$1\"")
    shown = terminal("config", "edit", columns=200)
    assert EXPECTED in shown.wait_for("edit it again? [Y/n]")
    shown.type("\n")
    assert shown.wait() == 0
    assert (places.config_file.read_text(), drafts(places)) == ("# Mine.\ntemperature = 0.5\n", [])


@pytest.mark.parametrize(("answer", "code"), [("n\n", 2), (CTRL_D, 2), (CTRL_C, 130)])
def test_on_a_terminal_it_can_be_left(
    places: Places, editor: Editor, terminal: Callable[..., Terminal], answer: str, code: int
) -> None:
    write_config(places, MINE)
    editor("sed -i 's/= 1/= 9/' \"$1\"")
    shown = terminal("config", "edit", columns=200)
    shown.wait_for("edit it again? [Y/n]")
    shown.type(answer)
    assert shown.wait() == code
    (draft,) = drafts(places)
    assert f"your text is kept in {draft}" in shown.text
    assert places.config_file.read_text() == MINE


def test_ctrl_c_is_left_to_the_editor(places: Places, editor: Editor, terminal: Callable[..., Terminal]) -> None:
    write_config(places, MINE)
    editor("trap 'echo interrupted' INT; echo ready; sleep 30; sed -i 's/= 1/= 0.5/' \"$1\"")
    shown = terminal("config", "edit")
    shown.wait_for("ready")
    shown.type(CTRL_C)
    assert (shown.wait(), "interrupted" in shown.text) == (0, True)
    assert places.config_file.read_text() == "# Mine.\ntemperature = 0.5\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_was_typed_is_told_of_by_what_is_ended_meanwhile(
    places: Places, editor: Editor, number: signal.Signals, tmp_path: Path
) -> None:
    write_config(places, MINE)
    editor(
        "trap 'kill $!; exit 0' TERM HUP; echo '# more' >> \"$1\"\n"
        f"sleep 20 > /dev/null 2>&1 & echo > '{tmp_path}/ready'; wait"
    )
    process = subprocess.Popen([CHATLLM, "config", "edit"], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "ready").exists():
        time.sleep(0.02)
    process.send_signal(number)
    _, told = process.communicate(timeout=15)
    (draft,) = drafts(places)
    assert (process.returncode, told) == (-number, f"your text is kept in {draft}\n")
    assert (places.config_file.read_text(), draft.read_text()) == (MINE, f"{MINE}# more\n")


def test_a_disk_that_is_full_leaves_no_draft(run: Run, places: Places, editor: Editor) -> None:
    write_config(places, MINE + "#" * 5000)
    editor("exit 9")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        result = run("config", "edit")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    expected = f"chatllm: {places.config_file} cannot be edited: File too large\n"
    assert (result.exit_code, result.stderr) == (2, expected)
    assert list(places.config_file.parent.iterdir()) == [places.config_file]


def test_an_editor_that_fails_changes_nothing(run: Run, places: Places, editor: Editor) -> None:
    write_config(places, MINE)
    editor("exit 3")
    result = run("config", "edit")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith("my editor failed with exit code 3; nothing is changed\n")
    assert (places.config_file.read_text(), drafts(places)) == (MINE, [])


def test_what_was_typed_before_the_editor_died_is_kept(run: Run, places: Places, editor: Editor) -> None:
    write_config(places, MINE)
    editor("echo '# more' >> \"$1\"; kill -9 $$")
    result = run("config", "edit")
    (draft,) = drafts(places)
    assert (result.exit_code, places.config_file.read_text(), draft.read_text()) == (1, MINE, f"{MINE}# more\n")
    assert result.stderr.endswith(
        f"my editor was stopped by signal 9; nothing is changed\n  hint: your text is kept in {draft}\n"
    )


def test_a_change_that_somebody_else_made_meanwhile_is_not_undone(run: Run, places: Places, editor: Editor) -> None:
    write_config(places, MINE)
    editor(f"echo '# theirs' >> '{places.config_file}'; sed -i 's/= 1/= 0.5/' \"$1\"")
    result = run("config", "edit")
    (draft,) = drafts(places)
    what, hint = result.stderr.splitlines()
    assert (result.exit_code, hint) == (2, f"  hint: your text is kept in {draft}")
    assert what == f"chatllm: {places.config_file} was changed by somebody else meanwhile"
    assert (places.config_file.read_text(), draft.read_text()) == (
        f"{MINE}# theirs\n",
        "# Mine.\ntemperature = 0.5\n",
    )


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("/nowhere/editor -x", "the editor /nowhere/editor cannot be started: No such file or directory"),
        ("vi 'x", "environment variable EDITOR is no command: vi 'x"),
        ("rm", "what was edited cannot be read: No such file or directory"),
    ],
)
def test_an_editor_that_is_none_is_one_line(
    run: Run, places: Places, monkeypatch: pytest.MonkeyPatch, command: str, message: str
) -> None:
    write_config(places, MINE)
    monkeypatch.setenv("EDITOR", command)
    result = run("config", "edit")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, f"chatllm: {message}")
    assert (places.config_file.read_text(), drafts(places)) == (MINE, [])


def test_visual_outweighs_editor(run: Run, places: Places, editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    editor("exit 3")
    monkeypatch.setenv("VISUAL", "true")
    assert run("config", "edit").exit_code == 0


def test_an_editor_that_is_there_is_found_and_none_is_one_line(
    run: Run, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("config", "edit")
    expected = f"chatllm: there is no editor\n  hint: set EDITOR, or edit {places.config_file} by other means\n"
    assert (result.exit_code, result.stderr) == (2, expected)
    (tmp_path / "nano").write_text('#!/bin/sh\necho \'model = "x"\' > "$1"\n')
    (tmp_path / "nano").chmod(0o700)
    assert (run("config", "edit").exit_code, places.config_file.read_text()) == (0, 'model = "x"\n')
