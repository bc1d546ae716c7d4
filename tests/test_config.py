import re
import sys
import tomllib
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.config.loading import load_settings, setting_origins
from chatllm_cli.config.places import Places, find_places
from chatllm_cli.config.sections import BudgetSettings, ModelSettings, PriceSettings, ProviderSettings
from chatllm_cli.config.settings import Settings
from chatllm_cli.errors import ConfigError
from chatllm_cli.settings_text import example_config, shown_settings

DEFAULTS = Settings.model_construct()
TOTAL = {"timeouts": DEFAULTS.timeouts.model_copy(update={"total": 600.0})}
CANARY = "sk-canary"
LISTED = f"the settings and sections are {', '.join(Settings.model_fields)}"
PROVIDER_NAME = "expected a name of letters, digits, _ and -, other than local and default"


def write_config(places: Places, content: str | bytes, mode: int = 0o600) -> None:
    places.config_file.parent.mkdir(parents=True, exist_ok=True)
    places.config_file.write_bytes(content.encode() if isinstance(content, str) else content)
    places.config_file.chmod(mode)


def set_variables(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def value_of(key: str) -> object:
    value: Any = load_settings().model_dump()
    for part in key.split("."):
        value = value[part]
    return value


def fault(flags: Mapping[str, Any] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_settings(flags)
    return caught.value


@pytest.mark.parametrize(
    ("key", "default", "file", "in_file", "variable", "in_environment", "flag"),
    [
        ("model", "", 'model = "a/b"', "a/b", "c/d", "c/d", "e/f"),
        ("base_url", "", 'base_url = "http://a/v1/"', "http://a/v1", "https://b:81/", "https://b:81", "http://c"),
        ("system_prompt", "", 'system_prompt = "grüße"', "grüße", "1", "1", "日本"),
        ("temperature", None, "temperature = 1", 1.0, "0.25", 0.25, 0.0),
        ("max_tokens", None, "max_tokens = 5", 5, "6", 6, 7),
        ("timeouts.idle", 60.0, "[timeouts]\nidle = 1.5", 1.5, "2", 2.0, 3.5),
        ("local.threads", 0, "[local]\nthreads = 2", 2, "3", 3, 0),
        ("cache.mode", "auto", '[cache]\nmode = "always"', "always", "never", "never", "auto"),
        ("history.enabled", True, "[history]\nenabled = false", False, "yes", True, False),
        ("output.plain", False, "[output]\nplain = true", True, "0", False, True),
    ],
)
def test_a_flag_outweighs_the_environment_and_that_the_file_and_that_the_default(
    places: Places,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    default: object,
    file: str,
    in_file: object,
    variable: str,
    in_environment: object,
    flag: object,
) -> None:
    seen = [value_of(key)]
    write_config(places, file)
    seen.append(value_of(key))
    monkeypatch.setenv(f"CHATLLM_{key.upper().replace('.', '__')}", variable)
    seen.append(value_of(key))
    section, _, name = key.rpartition(".")
    settings = load_settings({key: flag})
    seen.append(getattr(getattr(settings, section) if section else settings, name))
    assert seen == [default, in_file, in_environment, flag]


def test_the_settings_of_one_section_may_come_from_everywhere(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(places, "[timeouts]\nidle = 1\nconnect = 1\n")
    monkeypatch.setenv("CHATLLM_TIMEOUTS__CONNECT", "2")
    assert load_settings({"timeouts.first_token": 3.0}).timeouts.model_dump() == {
        "connect": 2.0,
        "first_token": 3.0,
        "idle": 1.0,
        "total": None,
    }


def test_a_flag_that_is_not_given_changes_nothing(places: Places) -> None:
    write_config(places, "temperature = 1\n[output]\nplain = true\n")
    assert load_settings({"temperature": None, "output.plain": None}) == load_settings()


def test_an_empty_variable_is_not_set(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(places, 'model = "a/b"\n[timeouts]\nidle = 5\n')
    set_variables(monkeypatch, {"CHATLLM_MODEL": "", "CHATLLM_TIMEOUTS__IDLE": "", "OPENAI_API_KEY": ""})
    settings = load_settings()
    assert (settings.model, settings.timeouts.idle, settings.providers) == ("a/b", 5.0, {})


def test_a_section_variable_holds_json_and_outweighs_what_it_names_only(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(places, "[timeouts]\nidle = 1\nconnect = 1\n")
    monkeypatch.setenv("CHATLLM_TIMEOUTS", '{"idle": 7}')
    assert (load_settings().timeouts.idle, load_settings().timeouts.connect) == (7.0, 1.0)


def test_providers_can_be_described_in_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_PROVIDERS__WORK__BASE_URL", "http://work/v1/")
    monkeypatch.setenv("CHATLLM_PROVIDERS__WORK__API_KEY", CANARY)
    (name, work), *others = load_settings().providers.items()
    assert (name, work.base_url, work.api_key.get_secret_value(), others) == ("work", "http://work/v1", CANARY, [])


def openai_settings() -> tuple[str, str]:
    openai = load_settings().providers["openai"]
    return openai.base_url, openai.api_key.get_secret_value()


def test_openais_own_variables_stand_between_the_file_and_ours(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(places, '[providers.openai]\nbase_url = "http://file/v1"\napi_key = "of-file"\n')
    seen = [openai_settings()]
    monkeypatch.setenv("OPENAI_BASE_URL", "http://theirs/v1/")
    seen.append(openai_settings())
    monkeypatch.setenv("OPENAI_API_KEY", "of-theirs")
    seen.append(openai_settings())
    monkeypatch.setenv("CHATLLM_PROVIDERS__OPENAI__BASE_URL", "http://ours/v1")
    seen.append(openai_settings())
    monkeypatch.setenv("CHATLLM_PROVIDERS__OPENAI__API_KEY", "of-ours")
    seen.append(openai_settings())
    assert seen == [
        ("http://file/v1", "of-file"),
        ("http://theirs/v1", "of-file"),
        ("http://theirs/v1", "of-theirs"),
        ("http://ours/v1", "of-theirs"),
        ("http://ours/v1", "of-ours"),
    ]


def test_openais_own_variables_are_not_the_default_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, {"OPENAI_BASE_URL": "http://theirs/v1", "OPENAI_API_KEY": "of-theirs"})
    settings = load_settings()
    assert (settings.base_url, settings.api_key.get_secret_value()) == ("", "")


def test_everything_lives_under_chatllm_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_HOME", str(tmp_path / "here"))
    here = tmp_path / "here"
    assert find_places() == Places(here / "config.toml", here / "data", here / "cache", here / "state")
    assert find_places().conversations == here / "data" / "conversations"
    assert find_places().responses == here / "cache" / "responses"


@pytest.mark.parametrize(("value", "expected"), [("~/chat", "home/chat"), ("chat", "now/chat")])
def test_chatllm_home_may_be_under_home_or_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, expected: str
) -> None:
    (tmp_path / "now").mkdir()
    monkeypatch.chdir(tmp_path / "now")
    monkeypatch.setenv("CHATLLM_HOME", value)
    assert find_places().config_file == tmp_path / expected / "config.toml"


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms have other folders")
@pytest.mark.parametrize("chatllm_home", [None, ""])
def test_without_chatllm_home_the_platforms_folders_are_used(
    home: Path, monkeypatch: pytest.MonkeyPatch, chatllm_home: str | None
) -> None:
    monkeypatch.delenv("CHATLLM_HOME")
    if chatllm_home is not None:
        monkeypatch.setenv("CHATLLM_HOME", chatllm_home)
    assert find_places() == Places(
        config_file=home / ".config/chatllm/config.toml",
        data=home / ".local/share/chatllm",
        cache=home / ".cache/chatllm",
        state=home / ".local/state/chatllm",
    )
    assert list(home.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms have other folders")
def test_the_platforms_folders_follow_its_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHATLLM_HOME")
    for name in ("CONFIG", "DATA", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    assert find_places() == Places(
        config_file=tmp_path / "config/chatllm/config.toml",
        data=tmp_path / "data/chatllm",
        cache=tmp_path / "cache/chatllm",
        state=tmp_path / "state/chatllm",
    )


ADDRESS = "expected an address such as https://host/v1"
NO_USER = "expected an address without a user name or password in it"


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ('modle = "x"', "{file}: modle is not a setting", "did you mean model?"),
        ("[timeouts]\nconect = 1", "{file}: timeouts.conect is not a setting", "did you mean timeouts.connect?"),
        ("zzz = 1", "{file}: zzz is not a setting", LISTED),
        ("[zzz.yyy]\nxxx = 1", "{file}: zzz is not a setting", LISTED),
        ("model = 5", "{file}: model: expected a valid string", None),
        ("[model]\nname = 5", "{file}: model: expected a valid string", None),
        ('temperature = "warm"', "{file}: temperature: expected a valid number", None),
        (
            "max_tokens = 1.5",
            "{file}: max_tokens: expected a valid integer, got a number with a fractional part",
            None,
        ),
        ('[history]\nenabled = "maybe"', "{file}: history.enabled: expected a valid boolean", None),
        ("api_key = 5", "{file}: api_key: expected a valid string", None),
        ("cache = 5", "{file}: cache: expected a section", None),
        ("[[cache]]\nsize_mb = 5", "{file}: cache: expected a section", None),
        ("[providers]\nwork = 5", "{file}: providers.work: expected a section", None),
        ("temperature = 2.1", "{file}: temperature: expected a number less than or equal to 2", None),
        ("temperature = -1", "{file}: temperature: expected a number greater than or equal to 0", None),
        ("max_tokens = 0", "{file}: max_tokens: expected a number greater than or equal to 1", None),
        ("[timeouts]\nidle = 0", "{file}: timeouts.idle: expected a number greater than 0", None),
        ("[timeouts]\nidle = inf", "{file}: timeouts.idle: expected a number less than or equal to 86400", None),
        (
            "[local]\ncontext_size = 255",
            "{file}: local.context_size: expected a number greater than or equal to 256",
            None,
        ),
        ('[cache]\nmode = "often"', "{file}: cache.mode: expected 'auto', 'always', 'refresh' or 'never'", None),
        ('base_url = "host/v1"', f"{{file}}: base_url: {ADDRESS}", None),
        ('base_url = "ftp://host/v1"', f"{{file}}: base_url: {ADDRESS}", None),
        ('base_url = "https://"', f"{{file}}: base_url: {ADDRESS}", None),
        ('base_url = "https://host:99999/v1"', f"{{file}}: base_url: {ADDRESS}", None),
        ('base_url = "https://[::1/v1"', f"{{file}}: base_url: {ADDRESS}", None),
        ('[providers.work]\nbase_url = "host"', f"{{file}}: providers.work.base_url: {ADDRESS}", None),
        ('base_url = "https://me:sk-canary@host/v1"', f"{{file}}: base_url: {NO_USER}", None),
        ('base_url = "https://sk-canary@host/v1"', f"{{file}}: base_url: {NO_USER}", None),
        ('model = "x"\nmodel =', "{file} is not valid TOML: Invalid value (at end of document)", None),
        ("api_key = sk-canary", "{file} is not valid TOML: Invalid value (at line 1, column 11)", None),
    ],
)
def test_a_fault_in_the_file_is_one_line_that_names_place_key_and_expectation(
    places: Places, content: str, message: str, hint: str | None
) -> None:
    write_config(places, content)
    error = fault()
    assert (error.message, error.hint) == (message.format(file=places.config_file), hint)


def test_a_file_that_is_not_utf_8_is_refused(places: Places) -> None:
    write_config(places, b'model = "caf\xe9"')
    message = fault().message
    assert re.fullmatch(rf"{re.escape(str(places.config_file))} is not UTF-8 \(byte \d+\)", message), message


def test_a_folder_in_the_files_place_is_refused(places: Places) -> None:
    places.config_file.mkdir(parents=True)
    error = fault()
    assert (error.message, error.hint) == (f"{places.config_file} cannot be read: Is a directory", None)


def test_a_file_that_cannot_be_reached_is_refused(places: Places) -> None:
    places.config_file.parent.mkdir(parents=True)
    places.config_file.symlink_to(places.config_file.name)  # unlike a mode, this stops root too
    error = fault()
    assert error.message == f"{places.config_file} cannot be read: Too many levels of symbolic links"
    assert error.hint is None


def test_a_home_that_is_no_folder_is_refused(places: Places) -> None:
    places.config_file.parent.write_text("in the way")
    error = fault()
    assert (error.message, error.hint) == (f"{places.config_file} cannot be read: Not a directory", None)


@pytest.mark.parametrize("content", ['api_key = "sk-canary"', '[providers.work]\napi_key = "sk-canary"'])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o602, 0o777])
def test_a_key_in_a_file_that_others_can_open_is_refused(places: Places, content: str, mode: int) -> None:
    write_config(places, content, mode)
    error = fault()
    assert error.message == f"{places.config_file} holds a key and others can read it"
    assert error.hint == f"chmod 600 {places.config_file}"


@pytest.mark.parametrize(
    ("content", "mode"),
    [('api_key = "sk-canary"', 0o600), ('api_key = "sk-canary"', 0o400), ('model = "a/b"', 0o644)],
)
def test_a_key_in_a_file_of_ones_own_and_a_file_without_a_key_are_read(
    places: Places, content: str, mode: int
) -> None:
    write_config(places, content, mode)
    assert load_settings() != DEFAULTS


@pytest.mark.parametrize(
    ("name", "value", "message", "hint"),
    [
        ("CHATLLM_MODLE", "x", "environment variable CHATLLM_MODLE is not a setting", "did you mean CHATLLM_MODEL?"),
        ("CHATLLM_MODLE", "", "environment variable CHATLLM_MODLE is not a setting", "did you mean CHATLLM_MODEL?"),
        (
            "CHATLLM_TIMEOUTS_IDLE",
            "1",
            "environment variable CHATLLM_TIMEOUTS_IDLE is not a setting",
            "did you mean CHATLLM_TIMEOUTS__IDLE?",
        ),
        ("CHATLLM_ZZZ", CANARY, "environment variable CHATLLM_ZZZ is not a setting", LISTED),
        (
            "CHATLLM_TIMEOUTS__IDEL",
            "1",
            "environment variable CHATLLM_TIMEOUTS__IDEL is not a setting",
            "did you mean CHATLLM_TIMEOUTS__IDLE?",
        ),
        (
            "CHATLLM_TEMPERATURE",
            "warm",
            "environment variable CHATLLM_TEMPERATURE: temperature: expected a valid number",
            None,
        ),
        (
            "CHATLLM_MAX_TOKENS",
            "1e3",
            "environment variable CHATLLM_MAX_TOKENS: max_tokens: expected a valid integer",
            None,
        ),
        (
            "CHATLLM_HISTORY__ENABLED",
            "maybe",
            "environment variable CHATLLM_HISTORY__ENABLED: history.enabled: expected a valid boolean",
            None,
        ),
        (
            "CHATLLM_MAX_TOKENS",
            "0",
            "environment variable CHATLLM_MAX_TOKENS: max_tokens: expected a number greater than or equal to 1",
            None,
        ),
        (
            "CHATLLM_CACHE__MODE",
            "often",
            "environment variable CHATLLM_CACHE__MODE: cache.mode: expected 'auto', 'always', 'refresh' or 'never'",
            None,
        ),
        ("CHATLLM_BASE_URL", "host", f"environment variable CHATLLM_BASE_URL: base_url: {ADDRESS}", None),
        (
            "CHATLLM_BASE_URL",
            "https://me:sk-canary@host",
            f"environment variable CHATLLM_BASE_URL: base_url: {NO_USER}",
            None,
        ),
        (
            "CHATLLM_PROVIDERS__WORK__BASE_URL",
            "host",
            f"environment variable CHATLLM_PROVIDERS__WORK__BASE_URL: providers.work.base_url: {ADDRESS}",
            None,
        ),
        (
            "OPENAI_BASE_URL",
            "host",
            f"environment variable OPENAI_BASE_URL: providers.openai.base_url: {ADDRESS}",
            None,
        ),
        ("CHATLLM_TIMEOUTS", "5", "environment variable CHATLLM_TIMEOUTS: expected a section, as JSON", None),
        (
            "CHATLLM_TIMEOUTS",
            '{"idle": ',
            "environment variable CHATLLM_TIMEOUTS: expected a section, as JSON",
            None,
        ),
        (
            "CHATLLM_PROVIDERS",
            '{"work": {"api_key": "sk-canary"}',
            "environment variable CHATLLM_PROVIDERS: expected a section, as JSON",
            None,
        ),
        (
            "CHATLLM_TIMEOUTS",
            '{"idle": "x"}',
            "environment variable CHATLLM_TIMEOUTS: timeouts.idle: expected a valid number",
            None,
        ),
        (
            "CHATLLM_MODEL__X",
            "y",
            "environment variable CHATLLM_MODEL__X is not a setting",
            "did you mean CHATLLM_MODEL?",
        ),
        ("chatllm_modle", "y", "environment variable chatllm_modle is not a setting", "did you mean CHATLLM_MODEL?"),
        (
            "CHATLLM_PROVIDERS__LOCAL__BASE_URL",
            "http://h/v1",
            f"environment variable CHATLLM_PROVIDERS__LOCAL__BASE_URL: providers.local: {PROVIDER_NAME}",
            None,
        ),
    ],
)
def test_a_fault_in_the_environment_is_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str, hint: str | None
) -> None:
    monkeypatch.setenv(name, value)
    error = fault()
    assert (error.message, error.hint) == (message, hint)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"temperature": 9.0}, "command line: temperature: expected a number less than or equal to 2"),
        ({"temperature": float("nan")}, "command line: temperature: expected a number less than or equal to 2"),
        ({"max_tokens": 0}, "command line: max_tokens: expected a number greater than or equal to 1"),
        ({"cache.mode": "often"}, "command line: cache.mode: expected 'auto', 'always', 'refresh' or 'never'"),
    ],
)
def test_a_fault_in_a_flag_is_one_line(places: Places, flags: dict[str, object], message: str) -> None:
    write_config(places, 'model = "a/b"')
    error = fault(flags)
    assert (error.message, error.hint) == (message, None)


def test_a_fault_in_the_file_that_a_flag_outweighs_is_none(places: Places) -> None:
    write_config(places, "temperature = 9")
    assert load_settings({"temperature": 1.0}).temperature == 1.0


SECRET_PLACES = [
    ("", {"CHATLLM_API_KEY": CANARY}),
    ("", {"OPENAI_API_KEY": CANARY}),
    ("", {"CHATLLM_PROVIDERS__WORK__API_KEY": CANARY}),
    ("", {"CHATLLM_PROVIDERS": f'{{"work": {{"api_key": "{CANARY}"}}}}'}),
    (f'api_key = "{CANARY}"', {}),
    (f'[providers.work]\napi_key = "{CANARY}"', {}),
]


@pytest.mark.parametrize(("content", "variables"), SECRET_PLACES)
def test_a_secret_is_in_no_repr_and_no_shown_setting(
    places: Places, monkeypatch: pytest.MonkeyPatch, content: str, variables: dict[str, str]
) -> None:
    write_config(places, content)
    set_variables(monkeypatch, variables)
    settings = load_settings()
    shown = [repr(settings), str(settings), str(shown_settings(settings)), settings.model_dump_json()]
    assert CANARY not in "".join([*shown, str(setting_origins())])
    assert '"********"' in shown_settings(settings).values()


@pytest.mark.parametrize(("content", "variables"), SECRET_PLACES)
def test_a_secret_is_in_no_message_about_something_else(
    places: Places, monkeypatch: pytest.MonkeyPatch, content: str, variables: dict[str, str]
) -> None:
    write_config(places, content)
    set_variables(monkeypatch, variables)
    assert_no_secret(fault({"temperature": 9.0}))


@pytest.mark.parametrize(
    ("content", "variables"),
    [
        (f'api_key = ["{CANARY}"]', {}),
        (f'[api_key]\nvalue = "{CANARY}"', {}),
        (f"api_key = {CANARY}", {}),
        (f'api_key = "{CANARY}', {}),
        (f'api_key = "{CANARY}"\napi_key = "{CANARY}"', {}),
        (f'temperature = "{CANARY}"', {}),
        (f'base_url = "{CANARY}"', {}),
        (f'base_url = "https://{CANARY}@host/v1"', {}),
        (f'apikey = "{CANARY}"', {}),
        (f'providers = "{CANARY}"', {}),
        (f'[providers]\nwork = "{CANARY}"', {}),
        (f'[providers.work]\nkey = "{CANARY}"', {}),
        (f'[cache]\nmode = "{CANARY}"', {}),
        ("", {"CHATLLM_APIKEY": CANARY}),
        ("", {"CHATLLM_TEMPERATURE": CANARY}),
        ("", {"CHATLLM_BASE_URL": f"https://me:{CANARY}@host/v1"}),
        ("", {"OPENAI_BASE_URL": f"https://me:{CANARY}@host/v1"}),
        ("", {"CHATLLM_PROVIDERS": CANARY}),
        ("", {"CHATLLM_PROVIDERS": f'{{"work": {{"api_key": "{CANARY}"'}),
        ("", {"CHATLLM_PROVIDERS": f'{{"work": {{"api_key": ["{CANARY}"]}}}}'}),
        ("", {"CHATLLM_PROVIDERS__WORK": CANARY}),
        ("", {"CHATLLM_PROVIDERS__WORK__KEY": CANARY}),
    ],
)
def test_a_secret_in_the_wrong_place_is_in_no_message(
    places: Places, monkeypatch: pytest.MonkeyPatch, content: str, variables: dict[str, str]
) -> None:
    write_config(places, content)
    set_variables(monkeypatch, variables)
    assert_no_secret(fault())


def assert_no_secret(error: ConfigError) -> None:
    shown = f"{error!r} {error} {error.hint} {''.join(traceback.format_exception(error))}"
    assert CANARY not in shown


def test_nothing_is_read_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloned = tmp_path / "cloned"
    hostile = 'base_url = "http://evil/v1"\napi_key = "evil"\nmodel = "evil"\n'
    variables = "CHATLLM_BASE_URL=http://evil/v1\nCHATLLM_API_KEY=evil\nOPENAI_BASE_URL=http://evil/v1\n"
    for folder in (cloned, cloned / "chatllm", cloned / ".chatllm", cloned / ".config/chatllm"):
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("config.toml", "chatllm.toml", ".chatllm.toml"):
            (folder / name).write_text(hostile)
            (folder / name).chmod(0o600)
        (folder / ".env").write_text(variables)
        (folder / "pyproject.toml").write_text(f"[tool.chatllm]\n{hostile}")
    monkeypatch.chdir(cloned)
    assert load_settings() == DEFAULTS
    assert setting_origins() == {}


def test_origins_name_the_source_that_won(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(
        places,
        'model = "a/b"\ntemperature = 1\n[timeouts]\nidle = 5\nconnect = 5\n'
        '[providers.openai]\nbase_url = "http://file/v1"\n[providers.work]\nbase_url = "http://work/v1"\n',
    )
    set_variables(
        monkeypatch,
        {
            "CHATLLM_MODEL": "c/d",
            "CHATLLM_TEMPERATURE": "",
            "CHATLLM_TIMEOUTS__IDLE": "6",
            "OPENAI_BASE_URL": "http://theirs/v1",
            "OPENAI_API_KEY": "of-theirs",
            "CHATLLM_PROVIDERS__OPENAI__API_KEY": "of-ours",
        },
    )
    assert setting_origins() == {
        "model": "environment variable CHATLLM_MODEL",
        "temperature": str(places.config_file),
        "timeouts.idle": "environment variable CHATLLM_TIMEOUTS__IDLE",
        "timeouts.connect": str(places.config_file),
        "providers.openai.base_url": "environment variable OPENAI_BASE_URL",
        "providers.openai.api_key": "environment variable CHATLLM_PROVIDERS__OPENAI__API_KEY",
        "providers.work.base_url": str(places.config_file),
    }


def test_nothing_set_has_no_origins() -> None:
    assert setting_origins() == {}


def test_shown_settings_are_values_as_the_file_takes_them(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_SYSTEM_PROMPT", 'Say "grüße"\nand stop.')
    monkeypatch.setenv("CHATLLM_TEMPERATURE", "0.5")
    monkeypatch.setenv("CHATLLM_PROVIDERS__WORK__BASE_URL", "http://work/v1")
    settings = load_settings()
    lines = [f"{key} = {value}\n" for key, value in shown_settings(settings).items() if value != "(not set)"]
    write_config(places, "".join(lines))
    for name in ("CHATLLM_SYSTEM_PROMPT", "CHATLLM_TEMPERATURE", "CHATLLM_PROVIDERS__WORK__BASE_URL"):
        monkeypatch.delenv(name)
    assert load_settings() == settings


OPTIONS = {
    "temperature": 0.7,
    "top_p": 0.9,
    "max_tokens": 1000,
    "seed": 42,
}  # the example's, where none is the default
PRICE = PriceSettings(input=2.5, output=10.0, cached_input=1.25, context=128000)
ALIASES = {"aliases": {"fast": "openai/gpt-4o-mini"}}
IN_TABLES = {
    "providers": {"NAME": ProviderSettings()},
    "models": {"PROVIDER/MODEL": ModelSettings.model_validate(OPTIONS)},
    "prices": {"PROVIDER/MODEL": PRICE},
    **ALIASES,
}


def settings_in_example() -> list[tuple[str, str]]:
    """Every commented setting of the example with the heading it stands under."""
    settings, heading = [], ""
    for line in example_config().splitlines():
        if line.lstrip("#").startswith("["):
            heading = line.lstrip("#")
        elif line.startswith("#") and not line.startswith("# "):
            settings.append((heading, line.removeprefix("#")))
    return settings


def test_the_example_changes_nothing_as_it_is(places: Places) -> None:
    sections = ("timeouts", "retries", "limits", "local", "cache", "history", "budget", "output", "repl", "privacy")
    assert tomllib.loads(example_config()) == {name: {} for name in sections}
    write_config(places, example_config())
    assert load_settings() == DEFAULTS


# Prices stand together or not at all: the test after this one has them.
@pytest.mark.parametrize(
    ("heading", "line"), [each for each in settings_in_example() if not each[0].startswith("[prices")]
)
def test_each_setting_of_the_example_loads_and_is_the_default(places: Places, heading: str, line: str) -> None:
    write_config(places, f"{heading}\n{line}\n")
    name = line.partition(" = ")[0]
    expected = DEFAULTS
    if heading == '[models."PROVIDER/MODEL"]':
        model = ModelSettings.model_validate({name: OPTIONS[name]} if name in OPTIONS else {})
        expected = DEFAULTS.model_copy(update={"models": {"PROVIDER/MODEL": model}})
    elif name in OPTIONS:
        expected = DEFAULTS.model_copy(update={name: OPTIONS[name]})
    elif line.startswith("total = "):
        expected = DEFAULTS.model_copy(update=TOTAL)
    elif heading == "[budget]" and "over" not in line:
        expected = DEFAULTS.model_copy(update={"budget": BudgetSettings.model_validate(tomllib.loads(line))})
    elif heading == "[providers.NAME]":
        expected = DEFAULTS.model_copy(update={"providers": {"NAME": ProviderSettings()}})
    elif heading == "[aliases]":
        expected = DEFAULTS.model_copy(update=ALIASES)
    assert load_settings() == expected


def test_the_example_loads_with_every_setting_uncommented(places: Places) -> None:
    write_config(places, re.sub(r"^#(?! )", "", example_config(), flags=re.MULTILINE))
    changed = TOTAL | OPTIONS | IN_TABLES | {"budget": BudgetSettings(month=5, day=1)}
    assert load_settings() == DEFAULTS.model_copy(update=changed)


def test_the_example_lists_every_setting_once() -> None:
    with_tables = DEFAULTS.model_copy(update=IN_TABLES)
    listed = [
        f"{heading.strip('[]')}.{line.partition(' = ')[0]}".removeprefix(".")
        for heading, line in settings_in_example()
    ]
    assert listed == list(shown_settings(with_tables))


def test_the_example_says_of_every_setting_what_it_is_for() -> None:
    lines = example_config().splitlines()
    before = [lines[number - 1] for number, line in enumerate(lines) if re.match(r"#[a-z_]+ = ", line)]
    assert [line for line in before if not re.fullmatch(r"# [A-Z].*\.", line)] == []


def test_the_example_in_the_repository_is_this_one() -> None:
    assert (Path(__file__).parent.parent / "config.example.toml").read_text() == example_config()


def test_a_flag_at_fault_is_not_blamed_on_the_variable_it_outweighs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_TEMPERATURE", "1")
    with pytest.raises(ConfigError, match=r"^command line: temperature: expected a number less than or equal to 2$"):
        load_settings({"temperature": 9})


def test_origins_name_the_variable_that_holds_a_whole_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_TIMEOUTS", '{"idle": 7}')
    monkeypatch.setenv("chatllm_model", "m")
    assert setting_origins() == {
        "timeouts.idle": "environment variable CHATLLM_TIMEOUTS",
        "model": "environment variable chatllm_model",
    }


@pytest.mark.parametrize("table", ["[aliases]", "[profile.work.aliases]"])
def test_an_alias_that_is_called_api_key_is_no_key(places: Places, table: str) -> None:
    write_config(places, f'{table}\napi_key = "a/b"\n', 0o644)
    assert load_settings().aliases.get("api_key") in {"a/b", None}
