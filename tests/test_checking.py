import json
import time
from pathlib import Path

import pytest

from chatllm_cli.config.places import Places
from tests.conftest import Run
from tests.test_config import CANARY, write_config

FILE = """\
modle = "x"
temperature = 9
system_prompt = '''
[timeouts]
'''
[timeouts]
idle = 0
conect = 1
[providers.local]
[providers.acme]
base_url = "host"
[profile.work]
max_tokens = 0
[profile.work.profile.x]
[profile."a b"]
[profile.home]
temperature = 5
[profile.home.output]
theme = "pink"
"""
FAULTS = """\
{file}:1: modle is not a setting; did you mean model?
{file}:2: temperature: expected a number less than or equal to 2
{file}:7: timeouts.idle: expected a number greater than 0
{file}:8: timeouts.conect is not a setting; did you mean timeouts.connect?
{file}:9: providers.local: expected a name of letters, digits, _ and -, other than local and default
{file}:11: providers.acme.base_url: expected an address such as https://host/v1
{file}:12: profile.work.profile: a profile cannot hold profiles
{file}:13: profile.work.max_tokens: expected a number greater than or equal to 1
{file}:15: profile."a b": expected a name of letters, digits, _ and -
{file}:17: profile.home.temperature: expected a number less than or equal to 2
{file}:19: profile.home.output.theme: expected 'auto', 'dark', 'light' or 'none'
"""
VARIABLES = {
    "CHATLLM_MODLE": "x",
    "CHATLLM_TIMEOUTS": "{",
    "CHATLLM_TIMEOUTS__IDLE": "x",
    "CHATLLM_TEMPERATURE": "9",
    "OPENAI_BASE_URL": "host",
    "CHATLLM_PROFILE": "wrok",
}
OF_VARIABLES = """\
environment variable CHATLLM_MODLE: it is not a setting; did you mean CHATLLM_MODEL?
environment variable CHATLLM_TIMEOUTS: expected a section, as JSON
environment variable CHATLLM_TEMPERATURE: temperature: expected a number less than or equal to 2
environment variable CHATLLM_TIMEOUTS__IDLE: timeouts.idle: expected a valid number
environment variable OPENAI_BASE_URL: providers.openai.base_url: expected an address such as https://host/v1
environment variable CHATLLM_PROFILE: there is no profile wrok; there are work
"""


def test_every_fault_of_the_file_is_told_at_once_with_its_line(run: Run, places: Places) -> None:
    write_config(places, FILE)
    result = run("config", "check")
    assert (result.exit_code, result.stdout, result.stderr) == (2, FAULTS.format(file=places.config_file), "")


def test_every_fault_of_the_environment_is_told_at_once(
    run: Run, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(places, 'temperature = 1\n[profile.work]\nmodel = "x"\n')
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    result = run("config", "check")
    assert (result.exit_code, result.stdout, result.stderr) == (2, OF_VARIABLES, "")


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        (
            "CHATLLM_PROVIDERS__GW",
            '{"base_url": "ftp://x"}',
            "CHATLLM_PROVIDERS__GW: providers.gw.base_url: expected an address such as https://host/v1",
        ),
        (
            "CHATLLM_MODELS__openai/gpt-4.1__TEMPERATURE",
            "9",
            'CHATLLM_MODELS__openai/gpt-4.1__TEMPERATURE: models."openai/gpt-4.1".temperature: expected a number',
        ),
        ("CHATLLM_FOO BAR", "3", "CHATLLM_FOO BAR: it is not a setting; the settings and sections are "),
        ("CHATLLM_MODEL.X", "3", "CHATLLM_MODEL.X: it is not a setting; did you mean CHATLLM_MODEL?"),
    ],
)
def test_a_variable_is_named_that_holds_json_or_has_odd_characters(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str
) -> None:
    monkeypatch.setenv(name, value)
    result = run("config", "check")
    assert (result.exit_code, result.stderr) == (2, "")
    assert result.stdout.startswith(f"environment variable {line}")
    assert run("config", "show", "model").stderr.startswith(f"chatllm: environment variable {name}")


def test_the_environment_lies_on_the_profile_in_force(
    run: Run, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    price = 'prices."a/b"'
    write_config(places, f"[profile.work.{price}]\ninput = 1\noutput = 2\n")
    monkeypatch.setenv("CHATLLM_PRICES__a/b__INPUT", "3")
    monkeypatch.setenv("CHATLLM_PROFILE", "work")
    assert (run("config", "check").exit_code, run("config", "show", price).exit_code) == (0, 0)
    monkeypatch.setenv("CHATLLM_PROFILE", "")
    assert (run("config", "check").exit_code, run("config", "show", price).exit_code) == (2, 2)


def test_nothing_wrong_is_said_on_stderr(run: Run, places: Places) -> None:
    result = run("config", "check")
    expected = f"nothing is wrong: there is no {places.config_file}, and nothing in the environment\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", expected)
    run("config", "init")
    result = run("config", "check")
    expected = f"nothing is wrong with {places.config_file}, and with the environment\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", expected)


def test_another_file_is_checked_without_the_environment(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_MODLE", "x")
    other = tmp_path / "other.toml"
    other.write_text('model = "x"\n')
    result = run("config", "check", str(other))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"nothing is wrong with {other}\n")


@pytest.mark.parametrize(
    ("content", "mode", "line"),
    [
        (
            b'model = "x"\nmodel = 5\n',
            0o600,
            ":2: is not valid TOML: Cannot overwrite a value (at line 2, column 10)",
        ),
        (b'model = "caf\xe9"', 0o600, ": is not UTF-8 (byte 13)"),
        (b"profile = 5\n", 0o600, ":1: profile: expected profiles, such as [profile.work]"),
        (
            b'[profile.x]\napi_key = "sk-canary"\n',
            0o640,
            ": it holds a key and others can read it; chmod 600 {file}",
        ),
    ],
)
def test_a_file_that_cannot_be_looked_into_is_one_fault(
    run: Run, places: Places, content: bytes, mode: int, line: str
) -> None:
    write_config(places, content, mode)
    result = run("config", "check")
    expected = f"{places.config_file}{line.format(file=places.config_file)}\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, expected, "")


def test_a_file_that_is_named_and_missing_is_a_fault(run: Run, tmp_path: Path) -> None:
    result = run("config", "check", str(tmp_path / "none"))
    assert (result.exit_code, result.stdout) == (2, f"{tmp_path / 'none'}: there is no such file\n")


def test_a_file_of_another_program_is_told_of_without_delay(run: Run, places: Places) -> None:
    write_config(places, "".join(f"tempera_{number} = {number}\n" for number in range(3000)))
    begun = time.perf_counter()
    lines = run("config", "check").stdout.splitlines()
    assert time.perf_counter() - begun < 20  # it was more than a minute
    assert (len(lines), lines[0]) == (
        3000,
        f"{places.config_file}:1: tempera_0 is not a setting; did you mean temperature?",
    )
    assert lines[-1] == f"{places.config_file}:3000: tempera_2999 is not a setting"


def test_a_style_for_code_that_does_not_exist_is_a_fault(
    run: Run, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(places, '[output]\ncode_theme = "a"\n[profile.work.output]\ncode_theme = "b"\n')
    monkeypatch.setenv("CHATLLM_OUTPUT__CODE_THEME", "c")
    result = run("config", "check")
    told = [line.partition("; ")[0] for line in result.stdout.splitlines()]
    assert (result.exit_code, told) == (
        2,
        [
            f"{places.config_file}:2: output.code_theme: there is no Pygments style 'a'",
            f"{places.config_file}:4: profile.work.output.code_theme: there is no Pygments style 'b'",
            "environment variable CHATLLM_OUTPUT__CODE_THEME: output.code_theme: there is no Pygments style 'c'",
        ],
    )


def test_faults_as_json(run: Run, places: Places) -> None:
    write_config(places, "\nmodle = 5\n")
    result = run("config", "check", "--json")
    fault = {
        "place": str(places.config_file),
        "message": "modle is not a setting",
        "key": "modle",
        "line": 2,
        "hint": "did you mean model?",
    }
    assert (result.exit_code, json.loads(result.stdout), result.stderr) == (2, [fault], "")
    write_config(places, "")
    result = run("config", "check", "--json")
    assert (result.exit_code, result.stdout) == (0, "[]\n")


@pytest.mark.parametrize(
    "content",
    [f'apikey = "{CANARY}"', f"api_key = {CANARY}", f'[profile.x]\ntemperature = "{CANARY}"', f'x = """{CANARY}'],
)
def test_no_fault_shows_a_value(run: Run, places: Places, content: str) -> None:
    write_config(places, content)
    result = run("config", "check")
    assert (result.exit_code, CANARY in result.output) == (2, False)


def test_a_fault_of_the_rest_of_the_file_is_not_told_again_of_each_profile(run: Run, places: Places) -> None:
    write_config(places, "temperature = 9\n[profile.a]\nmax_tokens = 5\n[profile.b]\n")
    assert len(run("config", "check").stdout.splitlines()) == 1
