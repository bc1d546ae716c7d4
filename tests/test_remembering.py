import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.config.loading import load_settings
from chatllm_cli.config.places import Places
from chatllm_cli.config.remembering import Secret, _digest, key_origins, load_remembered
from chatllm_cli.config.secrets import secrets_of
from chatllm_cli.errors import ConfigError
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI

RICH = """
model = "work/gpt"
temperature = 0.5
stop = ["a", "b"]
fallback = ["openai/gpt-4o-mini", "local/smollm2"]
options = { top_k = 40, bias = { a = 1, b = [1, 2], c = true } }
[cache]
mode = "always"
url = "redis://host:6379/0"
[budget]
month = 5
[providers.work]
base_url = "https://example.org/v1"
[models."work/gpt"]
stop = "c"
options = { top_k = 1 }
[prices."work/gpt"]
input = 2.5
output = 10
[aliases]
fast = "work/gpt"
[profile.home]
model = "local/smollm2"
"""
KEYS = {
    "OPENAI_API_KEY": "sk-canary-one",
    "CHATLLM_API_KEY": " sk-canary-two ",
    "CHATLLM_PROVIDERS__WORK__API_KEY": "sk-canary-three",
}
ONE_KEY = dict.fromkeys(KEYS, "sk-canary-one")
SERVER = {"CHATLLM_BASE_URL": "http://127.0.0.1:1/v1", "CHATLLM_API_KEY": "sk-canary-four"}
FLAGS = {"temperature": 0.25, "stop": ["x"], "options": {"seed_2": [1, {"a": None}]}, "trim": "oldest", "top_p": None}


def values_of(settings: Any) -> Any:
    """Everything that settings hold, secrets as they are."""
    if hasattr(type(settings), "get_secret_value"):
        return ("secret", settings.get_secret_value())
    if isinstance(settings, dict):
        return {name: values_of(each) for name, each in settings.items()}
    if isinstance(settings, tuple | list):
        return type(settings)(values_of(each) for each in settings)
    if hasattr(settings, "__dict__"):
        return {name: values_of(each) for name, each in vars(settings).items() if name != "_load"}
    return settings


@pytest.fixture
def record(places: Places) -> Path:
    return places.remembered_settings


@pytest.fixture
def config_file(places: Places) -> Path:
    places.config_file.parent.mkdir(parents=True, exist_ok=True)
    places.config_file.write_text(RICH)
    places.config_file.chmod(0o600)
    return places.config_file


class NotLoadedError(Exception):
    """The settings were not remembered."""


@pytest.fixture
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let whatever loads settings fail from then on."""

    def fail(*_: object) -> None:
        raise NotLoadedError

    return lambda: monkeypatch.setattr("chatllm_cli.config.loading.load_settings", fail)


def keep(record: Path, flags: Mapping[str, Any]) -> Any:
    settings, keep_them = load_remembered(flags, record)
    keep_them()
    return settings


@pytest.mark.parametrize("flags", [{}, FLAGS], ids=["no flags", "flags"])
@pytest.mark.parametrize(
    "variables", [{}, KEYS, ONE_KEY, SERVER], ids=["no keys", "keys", "one key for all", "a server"]
)
@pytest.mark.parametrize("is_rich", [False, True], ids=["no file", "file"])
def test_remembered_settings_are_what_was_loaded(
    record: Path,
    config_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    nothing_is_loaded: Callable[[], None],
    flags: dict[str, Any],
    variables: dict[str, str],
    *,
    is_rich: bool,
) -> None:
    if not is_rich:
        config_file.unlink()
        variables = {name: value for name, value in variables.items() if "WORK" not in name}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    loaded = keep(record, flags)
    assert values_of(loaded) == values_of(load_settings(flags))
    nothing_is_loaded()
    remembered, _ = load_remembered(flags, record)
    assert values_of(remembered) == values_of(loaded)
    assert sorted(secrets_of(remembered)) == sorted(secrets_of(loaded))
    assert key_origins(remembered) == key_origins(loaded)
    assert "sk-canary" not in record.read_text()
    assert (record.stat().st_mode & 0o777, record.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_what_stands_in_for_a_key_is_in_nobodys_way_though_its_letters_are_in_every_word(
    record: Path, monkeypatch: pytest.MonkeyPatch, nothing_is_loaded: Callable[[], None]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    keep(record, {})
    nothing_is_loaded()
    remembered, _ = load_remembered({}, record)
    assert secrets_of(remembered) == ["x"]


def test_a_change_of_any_source_is_noticed(
    record: Path, config_file: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    def rewrite(text: str) -> Callable[[], object]:
        return lambda: config_file.write_text(text)

    keep(record, {})
    changes: dict[str, Callable[[], object]] = {
        "file": rewrite(RICH.replace("0.5", "0.6")),
        "file, its size the same": rewrite(RICH.replace("0.5", "0.7")),
        "variable": lambda: monkeypatch.setenv("CHATLLM_TEMPERATURE", "0.8"),
        "another program's variable": lambda: monkeypatch.setenv("HF_ENDPOINT", "https://example.org"),
        "a key comes": lambda: monkeypatch.setenv("GROQ_API_KEY", "sk-canary"),
        "a key goes": lambda: monkeypatch.delenv("GROQ_API_KEY"),
        "profile": lambda: monkeypatch.setenv("CHATLLM_PROFILE", "home"),
        "no file": config_file.unlink,
    }
    monkeypatch.setenv("CHATLLM_PROFILE", "")
    for name, change in changes.items():
        if name == "no file":
            monkeypatch.setenv("CHATLLM_PROFILE", "")
        change()
        settings, _ = load_remembered({}, record)
        assert values_of(settings) == values_of(load_settings()), name
        keep(record, {})


def test_a_file_that_changes_while_settings_are_loaded_is_not_remembered_as_what_it_was(
    record: Path, config_file: Path
) -> None:
    _, keep_them = load_remembered({}, record)
    config_file.write_text(RICH.replace("0.5", "0.6"))
    keep_them()
    assert not record.exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"OPENAI_API_KEY": "sk-old"}, {"OPENAI_API_KEY": "sk-new"}),
        ({"OPENAI_API_KEY": "sk-old"}, {"OPENAI_API_KEY": ""}),
        ({"OPENAI_API_KEY": "", "CHATLLM_API_KEY": "sk-old"}, {"OPENAI_API_KEY": "sk-new", "CHATLLM_API_KEY": ""}),
        ({"CHATLLM_API_KEY": "", "OPENAI_API_KEY": "sk-other"}, {"CHATLLM_API_KEY": "sk-own"}),
        ({"CHATLLM_API_KEY": "sk-env"}, {"CHATLLM_API_KEY": " "}),
        (
            {"CHATLLM_PROVIDERS": '{"openai": {"api_key": "sk-one"}}', "OPENAI_API_KEY": "sk-one"},
            {"OPENAI_API_KEY": "sk-two"},
        ),
        ({"CHATLLM_ALIASES__MY_API_KEY": "openai/a"}, {"CHATLLM_ALIASES__MY_API_KEY": "openai/b"}),
        ({"CHATLLM_OPTIONS__API_KEY": ""}, {"CHATLLM_OPTIONS__API_KEY": "1"}),
        ({"CHATLLM_MODEL": "a", "chatllm_model": "b"}, {"CHATLLM_MODEL": None, "chatllm_model": "a"}),
    ],
)
def test_a_variable_that_changed_is_noticed_be_it_a_keys(
    record: Path, monkeypatch: pytest.MonkeyPatch, before: dict[str, str], after: dict[str, str | None]
) -> None:
    for variables in (before, after):
        for name, value in variables.items():
            if value is None:
                monkeypatch.delenv(name)
            else:
                monkeypatch.setenv(name, value)
        try:
            loaded = load_settings()
        except ConfigError:
            with pytest.raises(ConfigError):
                keep(record, {})
        else:
            assert values_of(keep(record, {})) == values_of(loaded)
            assert values_of(load_remembered({}, record)[0]) == values_of(loaded)


@pytest.mark.parametrize(
    ("text", "variables", "flags"),
    [
        ('api_key = "sk-canary"', {}, {}),
        ('[providers.work]\nbase_url = "https://host/v1"\napi_key = "sk-canary"', {}, {}),
        (
            '[providers.work]\nbase_url = "https://host/v1"\napi_key = "sk-canary"',
            {"OPENAI_API_KEY": "sk-canary"},  # which may go elsewhere
            {},
        ),
        ('[cache]\nurl = "redis://:sk-canary@host"', {}, {}),
        ('[cache]\nurl = "redis://host?password=sk-canary"', {}, {}),
        ("", {"CHATLLM_CACHE__URL": "redis://:sk-canary@host"}, {}),
        ("", {"CHATLLM_PROVIDERS": '{"work": {"base_url": "https://host/v1", "api_key": "sk-canary"}}'}, {}),
        ('[cache]\nurl = "redis://sk-canary@host"', {}, {}),
        ('[cache]\nurl = "rediss://host?ssl_password=sk-canary"', {}, {}),
        ('api_key_cmd = "echo sk-canary"', {}, {}),
        ('system_prompt = "sk-canary"', {}, {}),
        ("", {"HF_ENDPOINT": "https://user:sk-canary@mirror.example.org"}, {}),
        ("", {"OPENAI_API_KEY": "sk-canary", "CHATLLM_ALIASES__X": "openai/sk-canary"}, {}),
        ('[providers.openai]\napi_key_cmd = "echo sk-canary"', {}, {}),
        ('[models."openai/x"]\noptions = { auth = { token = "sk-canary" } }', {}, {}),
        ("", {}, {"options": {"api_key": "sk-canary"}}),
        ("", {}, {"options": {"extra_headers": {"Authorization": ["sk-canary"]}}}),
    ],
)
def test_settings_with_a_secret_that_lies_elsewhere_are_not_written_down(
    record: Path,
    config_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    variables: dict[str, str],
    flags: dict[str, Any],
) -> None:
    config_file.write_text(text)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    keep(record, flags)
    assert not record.exists()


def change_model(record: Path) -> Path:
    record.write_text(record.read_text().replace('"model": "work/gpt"', '"model": "trap"'))
    return record


def put(record: Path, values: object) -> None:
    record.write_text(json.dumps({name: values for name in json.loads(record.read_text())}))  # noqa: C420


def signed(record: Path, values: object) -> object:
    """Values with a digest that is right."""
    (origin,) = json.loads(record.read_text())
    return [_digest(origin, values), values]


def with_command(record: Path) -> object:
    """What is remembered, with a command in it."""
    ((_, values),) = json.loads(record.read_text()).values()
    values[1]["api_key_cmd"] = "touch trap"
    return signed(record, values)


def in_place_of(record: Path, make: Callable[[Path], None]) -> None:
    record.unlink()
    make(record)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "empty": lambda record: record.write_bytes(b""),
    "garbage": lambda record: record.write_bytes(b"\xff" * 100),
    "a list": lambda record: record.write_text("[]"),
    "too deep": lambda record: record.write_text("[" * 100_000),
    "another shape": lambda record: put(record, ["section", {"model": ["trap"]}]),
    "no shape": lambda record: put(record, ["no", 1]),
    "a number": lambda record: put(record, 7),
    "an empty section": lambda record: put(record, signed(record, ["section", []])),
    "a command": lambda record: put(record, with_command(record)),
    "a byte has changed": lambda record: record.write_text(record.read_text().replace("work/gpt", "work/gpu", 1)),
    "others can write it": lambda record: change_model(record).chmod(0o602),
    "its group can write it": lambda record: change_model(record).chmod(0o620),
    "others can write the folder": lambda record: change_model(record).parent.chmod(0o777),
    "a link": lambda record: record.symlink_to(change_model(record).rename(record.with_name("elsewhere"))),
    "a pipe": lambda record: in_place_of(record, os.mkfifo),
    "a folder": lambda record: in_place_of(record, Path.mkdir),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_record_that_is_damaged_or_that_others_can_write_counts_for_nothing(
    record: Path, config_file: Path, damage: Callable[[Path], object]
) -> None:
    keep(record, {})
    damage(record)
    settings = keep(record, {})
    assert values_of(settings) == values_of(load_settings())


def test_what_remembered_settings_cannot_do_the_loaded_ones_do(record: Path, config_file: Path) -> None:
    loaded = keep(record, {})
    remembered, _ = load_remembered({}, record)
    assert type(remembered) is not type(loaded)
    assert remembered.model_dump() == loaded.model_dump()


def test_twenty_are_remembered(record: Path) -> None:
    for number in range(25):
        keep(record, {"temperature": number / 100})
    assert len(json.loads(record.read_text())) == 20


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    assert repr(Secret("OPENAI_API_KEY")) == "Secret('**********')"


def test_faults_are_told_each_time(record: Path) -> None:
    for _ in range(2):
        with pytest.raises(ConfigError, match="temperature"):
            load_remembered({"temperature": 7}, record)


def test_only_a_run_that_did_well_and_is_not_private_writes_anything_down(
    run: Run, provider: FakeOpenAI, record: Path
) -> None:
    run("ask", "--private", "hi")
    run("ask", "-m", "leak", "hi")
    run("config", "show")
    assert not record.exists()
    run("ask", "hi")
    assert len(json.loads(record.read_text())) == 1


def test_the_second_cached_answer_needs_no_pydantic(provider: FakeOpenAI) -> None:
    script = (
        "import sys\nfrom chatllm_cli.cli.app import app\ntry:\n    app(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print('pydantic' in sys.modules, file=sys.stderr)"
    )
    told = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", script, "ask", "--temperature", "0", "hi"],
            capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.stdout == "hello there"
        told.append(done.stderr.splitlines()[-1])
    assert told == ["True", "False", "False"]
