import json
import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from chatllm_cli import __version__
from chatllm_cli.config.places import Places
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI
from tests.terminal import Terminal

SYSTEM = f"{__version__} on {platform.system()} {platform.machine()}, Python {platform.python_version()}"
FOLDERS = """\
ok       data      ~/chatllm/data is made when it is needed
ok       cache     ~/chatllm/cache is made when it is needed
ok       state     ~/chatllm/state is made when it is needed
"""
NEW = f"ok       chatllm   {SYSTEM}\n{FOLDERS}"


def lines(text: str) -> str:
    """Return the output without the line on the file system, which differs from machine to machine."""
    return "".join(line for line in text.splitlines(keepends=True) if "  storage   " not in line)


@pytest.mark.embedded
def test_a_fresh_machine_is_well_and_nothing_is_written(run: Run, home: Path) -> None:
    result = run("doctor")
    expected = (
        f"{NEW}ok       settings  ~/chatllm/config.toml is not there: everything is as it comes\n"
        "ok       embedded  local/smollm2 runs\n"
    )
    assert (result.exit_code, lines(result.stdout), result.stderr) == (0, expected, "")
    assert list(home.iterdir()) == []


def test_a_provider_that_answers_is_well(run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_LOCAL__MODEL_PATH", "none.gguf")
    result = run("doctor")
    host = provider.base_url.removeprefix("http://").removesuffix("/v1")
    told = lines(result.stdout).splitlines()[5:]
    assert result.exit_code == 0
    assert told[:4] == [
        f"ok       proxy     none on the way to {host}, which is this machine",
        f"ok       provider  default answers at {provider.base_url}",
        "ok       key       taken, or not needed",
        "hint     model     default/says-hello-there is not in the list of its models",
    ]
    assert told[5].startswith("hint     embedded  local.model_path: ")


def test_a_key_that_is_rejected_is_a_problem_and_not_shown(run: Run, provider: FakeOpenAI) -> None:
    provider.lists_status = 401
    result = run("doctor", "--json")
    findings = {each["about"]: each for each in json.loads(result.stdout)}
    assert (result.exit_code, findings["key"]["verdict"]) == (1, "problem")
    assert "rejected the key" in findings["key"]["detail"]
    assert "sk-canary" not in result.output


def test_settings_that_cannot_be_used_are_a_problem(run: Run, places: Places) -> None:
    places.config_file.parent.mkdir(parents=True, mode=0o700)
    places.config_file.write_text("temperature = 9\nmodle = 1\n")
    result = run("doctor")
    expected = (
        f"{NEW}problem  settings  ~/chatllm/config.toml:1: temperature: expected a number less than or equal to 2\n"
        "problem  settings  ~/chatllm/config.toml:2: modle is not a setting\n"
        "                   did you mean model?\n"
    )
    assert (result.exit_code, lines(result.stdout), result.stderr) == (1, expected, "")


def test_a_model_that_nobody_has_is_a_problem(run: Run) -> None:
    result = run("doctor", "-m", "nope/model")
    assert result.exit_code == 1
    assert "problem  model     there is no provider 'nope'\n" in result.stdout


def test_a_person_sees_what_is_wrong_beside_the_margin(
    terminal: Callable[..., Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("CHATLLM_MODEL", "m")
    screen = terminal("doctor", columns=60)
    assert screen.wait() == 1
    assert (
        "problem  provider  no connection to 127.0.0.1:9: connection\n"
        "                   refused\n"
        "                   is the server running? its address is\n"
        "                   http://127.0.0.1:9/v1\n"
    ) in screen.text
    assert "\x1b[1;31mproblem\x1b[0m" in screen.raw
