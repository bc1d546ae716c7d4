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
ok       config    ~/chatllm is made when it is needed
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
    told = lines(result.stdout).splitlines()[6:]
    assert result.exit_code == 0
    assert told[:4] == [
        f"ok       proxy     none on the way to {host}, which is this machine",
        f"ok       provider  default answers at http://{host}",
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
    places.config_file.chmod(0o600)
    result = run("doctor")
    new = NEW.replace("~/chatllm is made when it is needed", "~/chatllm (0700)")
    expected = (
        f"{new}problem  settings  ~/chatllm/config.toml:1: temperature: expected a number less than or equal to 2\n"
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
        "                   http://127.0.0.1:9\n"
    ) in screen.text
    assert "\x1b[1;31mproblem\x1b[0m" in screen.raw


@pytest.fixture
def config(places: Places) -> Callable[[str], Path]:
    """Write the config file, for its owner alone."""

    def write(text: str) -> Path:
        places.config_file.parent.mkdir(parents=True, mode=0o700)
        places.config_file.write_text(text)
        places.config_file.chmod(0o600)
        return places.config_file

    return write


def findings(run: Run, *arguments: str) -> list[tuple[str, str, str]]:
    """Return what the doctor finds, but for what is well, and the embedded model."""
    told = json.loads(run("doctor", "--json", *arguments).stdout)
    found = [(each["verdict"], each["about"], each["detail"]) for each in told]
    return [each for each in found if each[0] != "ok" and each[1] != "embedded"]


NOT_LISTED = ("hint", "model", "default/says-hello-there is not in the list of its models")


def test_a_fault_in_a_profile_that_is_not_in_force_is_a_hint(
    run: Run, provider: FakeOpenAI, config: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config("[profile.work]\ntemperature = 9\n")
    fault = "~/chatllm/config.toml:2: profile.work.temperature: expected a number less than or equal to 2"
    assert findings(run) == [("hint", "settings", fault), NOT_LISTED]
    monkeypatch.setenv("CHATLLM_PROFILE", "work")
    assert findings(run) == [("problem", "settings", fault)]


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (0o644, [("hint", "settings", "~/chatllm/config.toml is open to others (0644)"), NOT_LISTED]),
        (0o640, [("hint", "settings", "~/chatllm/config.toml is open to others (0640)"), NOT_LISTED]),
        (0o620, [("problem", "settings", "~/chatllm/config.toml: it can be written by others")]),
        (0o602, [("problem", "settings", "~/chatllm/config.toml: it can be written by others")]),
    ],
)
def test_a_config_file_that_is_open_to_others_is_told(
    mode: int, told: list[tuple[str, str, str]], run: Run, provider: FakeOpenAI, config: Callable[[str], Path]
) -> None:
    config("temperature = 1\n").chmod(mode)
    assert findings(run) == told


def test_a_config_file_with_a_key_that_others_can_read_is_told_once(run: Run, config: Callable[[str], Path]) -> None:
    config("api_key = 'sk-canary'\n").chmod(0o666)
    told = "~/chatllm/config.toml: it holds a key and others can read it"
    assert findings(run) == [("problem", "settings", told)]


def test_a_key_file_that_others_can_read_is_a_problem(
    run: Run, places: Places, config: Callable[[str], Path]
) -> None:
    config("")
    places.keys.write_text("{}")
    places.keys.chmod(0o644)
    assert findings(run) == [("problem", "keys", "~/chatllm/keys.json holds keys and others can read it")]


def test_a_fallback_that_cannot_be_asked_is_a_problem(
    run: Run, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_PROVIDERS__GROQ__BASE_URL", fake_openai.base_url)
    monkeypatch.setenv("CHATLLM_FALLBACK", "anthropic/y")
    told = "the fallback anthropic/y cannot be asked: there is no key for anthropic"
    assert findings(run, "-m", "groq/says-hello") == [("problem", "fallback", told)]


def test_a_style_that_does_not_exist_is_a_problem(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_OUTPUT__CODE_THEME", "nope")
    assert findings(run) == [("problem", "settings", "output.code_theme: there is no Pygments style 'nope'")]


def test_a_proxy_variable_that_is_no_address_is_a_problem_and_not_quoted(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("HTTPS_PROXY", "http://alice:hunter2#x@proxy:3128")
    assert findings(run) == [("problem", "proxy", "the proxy variable HTTPS_PROXY is no address")]
    assert "hunter2" not in run("doctor").output


def test_a_server_that_does_not_list_its_models_is_well_otherwise(run: Run, provider: FakeOpenAI) -> None:
    provider.lists_status = 404
    host = provider.base_url.removesuffix("/v1")
    told = f"default answers at {host}, but does not list its models"
    assert findings(run) == [("hint", "provider", told)]


def test_the_list_is_asked_for_as_the_provider_wants_it(
    run: Run, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_openai.models = ["claude"]
    monkeypatch.setenv("CHATLLM_PROVIDERS__ANTHROPIC__BASE_URL", fake_openai.base_url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-canary")
    assert findings(run, "-m", "anthropic/claude") == []
    (seen,) = fake_openai.seen
    assert (seen.headers["x-api-key"], seen.headers["anthropic-version"]) == ("sk-canary", "2023-06-01")
    assert "Authorization" not in seen.headers


def test_what_a_server_says_is_not_shown(run: Run, provider: FakeOpenAI) -> None:
    provider.lists = {"error": {"message": "bad key of alice.smith@corp.example in org-ACME"}}
    provider.lists_status = 401
    host = provider.base_url.removeprefix("http://").removesuffix("/v1")
    assert findings(run) == [("problem", "key", f"{host} rejected the key")]
