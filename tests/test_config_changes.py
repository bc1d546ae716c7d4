import stat
import subprocess
from pathlib import Path

import pytest

from chatllm_cli.config.places import Places
from tests.conftest import Run
from tests.terminal import CHATLLM
from tests.test_config import CANARY, write_config

MINE = """\
# My settings.

# Warm.
temperature = 1.0  # for now
"""


def test_a_file_that_does_not_exist_is_begun_with_just_what_is_set(run: Run, places: Places) -> None:
    result = run("config", "set", "temperature", "0.2")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "temperature = 0.2\n", "")
    assert places.config_file.read_text() == "temperature = 0.2\n"
    assert stat.S_IMODE(places.config_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(places.config_file.parent.stat().st_mode) == 0o700
    assert list(places.config_file.parent.iterdir()) == [places.config_file]


def test_set_and_unset_leave_comments_and_looks_alone(run: Run, places: Places) -> None:
    write_config(places, MINE)
    run("config", "set", "temperature", "0.2")
    run("config", "set", "timeouts.idle", "5")
    changed = MINE.replace("1.0", "0.2")
    assert places.config_file.read_text() == f"{changed}\n[timeouts]\nidle = 5\n"
    result = run("config", "unset", "timeouts.idle")
    assert (result.exit_code, result.output) == (0, "")
    assert places.config_file.read_text() == changed


@pytest.mark.parametrize(
    ("key", "value", "written", "shown"),
    [
        ("temperature", "1", "temperature = 1", "temperature = 1.0"),
        ("max_tokens", "1e3", "max_tokens = 1000", "max_tokens = 1000"),
        ("model", "4o", 'model = "4o"', 'model = "4o"'),
        ("model", '"a/b"', 'model = "a/b"', 'model = "a/b"'),
        ("system_prompt", "5", 'system_prompt = "5"', 'system_prompt = "5"'),
        ("system_prompt", "true", 'system_prompt = "true"', 'system_prompt = "true"'),
        ("system_prompt", "", 'system_prompt = ""', 'system_prompt = ""'),
        ("system_prompt", "--brief", 'system_prompt = "--brief"', 'system_prompt = "--brief"'),
        ("fallback", "a/b, c/d", 'fallback = ["a/b", "c/d"]', 'fallback = ["a/b", "c/d"]'),
        ("fallback", '["a/b"]', 'fallback = ["a/b"]', 'fallback = ["a/b"]'),
        ("system_prompt", '"a" # b', 'system_prompt = "\\"a\\" # b"', 'system_prompt = "\\"a\\" # b"'),
        ("system_prompt", '"a"\n# b\n', 'system_prompt = "\\"a\\"\\n# b\\n"', 'system_prompt = "\\"a\\"\\n# b\\n"'),
        ("fallback", '["a/b", # c\n"d/e"]', 'fallback = ["a/b", "d/e"]', 'fallback = ["a/b", "d/e"]'),
        ("history.enabled", "no", "[history]\nenabled = false", "history.enabled = false"),
        ("history.enabled", "true", "[history]\nenabled = true", "history.enabled = true"),
        ("cache.mode", "never", '[cache]\nmode = "never"', 'cache.mode = "never"'),
        (
            "providers.groq.base_url",
            "http://h/v1/",
            '[providers.groq]\nbase_url = "http://h/v1/"',
            'providers.groq.base_url = "http://h/v1"',
        ),
        ("profile.work.model", "x", '[profile.work]\nmodel = "x"', 'profile.work.model = "x"'),
        (
            "profile.work.providers.acme.base_url",
            "http://h",
            '[profile.work.providers.acme]\nbase_url = "http://h"',
            'profile.work.providers.acme.base_url = "http://h"',
        ),
    ],
)
def test_a_value_is_read_as_its_setting_wants_it(
    run: Run, places: Places, key: str, value: str, written: str, shown: str
) -> None:
    result = run("config", "set", key, value)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{shown}\n", "")
    assert places.config_file.read_text() == f"{written}\n"


@pytest.mark.parametrize(
    ("key", "value", "message", "hint"),
    [
        ("temperature", "9", "temperature: expected a number less than or equal to 2", None),
        ("temperature", "-1", "temperature: expected a number greater than or equal to 0", None),
        ("temperature", "warm", "temperature: expected a valid number", None),
        ("temperature", "true", "temperature: expected a valid number", None),
        ("max_tokens", "true", "max_tokens: expected a valid integer", None),
        ("profile.a.max_tokens", "true", "profile.a.max_tokens: expected a valid integer", None),
        ("temperature", '1\nmodel = "x"', "temperature: expected a valid number", None),
        ("cache.mode", "often", "cache.mode: expected 'auto', 'always', 'refresh' or 'never'", None),
        ("temprature", "1", "temprature is not a setting", "did you mean temperature?"),
        ("providers.a.base_ulr", "x", "providers.a.base_ulr is not a setting", "did you mean providers.a.base_url?"),
        ("profile.a.modle", "x", "profile.a.modle is not a setting", "did you mean profile.a.model?"),
        ("temperature.x", "1", "temperature.x is not a setting", "did you mean temperature?"),
        ("timeouts", "5", "timeouts is a section", "its settings are connect, first_token, idle, total"),
        ("providers", "5", "providers is a section", "a name follows: providers.NAME"),
        ("privacy", "5", "privacy is a section", "its settings are tracing"),
        ("profile", "work", "profile is a section", "a name follows: profile.NAME"),
        ("profile.a.profile.b.model", "x", "profile.a.profile: a profile cannot hold profiles", None),
        (
            "profile.a b.model", "x", "'profile.a b.model' is not the key of a setting",
            'keys are such as temperature or providers."my.name".base_url',
        ),
        ('profile."a b".model', "x", 'profile."a b": expected a name of letters, digits, _ and -', None),
        (
            "providers.local.base_url", "http://h",
            "providers.local: expected a name of letters, digits, _ and -, other than local and default", None,
        ),
        (
            "base_url", "https://me:sk-canary@host/v1",
            "base_url: expected an address without a user name or password in it", None,
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_set_is_one_line_and_nothing_is_written(
    run: Run, places: Places, key: str, value: str, message: str, hint: str | None
) -> None:
    write_config(places, MINE)
    result = run("config", "set", key, value)
    expected = f"chatllm: {message}\n" + (f"  hint: {hint}\n" if hint else "")
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)
    assert places.config_file.read_text() == MINE


@pytest.mark.parametrize("key", ["api_key", "providers.groq.api_key", "profile.work.api_key"])
def test_a_key_is_taken_from_stdin_and_not_as_an_argument(run: Run, places: Places, key: str) -> None:
    result = run("config", "set", key, CANARY)
    assert (result.exit_code, result.stdout, CANARY in result.stderr) == (2, "", False)
    assert result.stderr.startswith(f"chatllm: {key} is not taken as an argument: others see those")
    assert not places.config_file.exists()
    result = run("config", "set", key, "-", stdin=f"{CANARY}\n")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f'{key} = "********"\n', "")
    assert f'api_key = "{CANARY}"\n' in places.config_file.read_text()
    assert stat.S_IMODE(places.config_file.stat().st_mode) == 0o600


@pytest.mark.parametrize("key", ["options.api_key", 'models."a/b".options.api_key', "profile.work.options.api_key"])
def test_an_option_that_is_a_key_is_no_more_seen_than_the_settings(run: Run, places: Places, key: str) -> None:
    result = run("config", "set", key, "-", stdin=f"{CANARY}\n")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f'{key} = "********"\n', "")
    assert CANARY in places.config_file.read_text()
    for arguments in (["config", "show"], ["config", "show", "--json"]):
        assert CANARY not in run("--profile", "work" if "work" in key else "", *arguments).output


def test_a_key_in_a_table_of_options_is_not_seen(run: Run, places: Places) -> None:
    write_config(places, f"options.tools = [{{ api_key = '{CANARY}', name = 'x' }}]\n")
    assert run("config", "show", "options").stdout == 'options.tools = [{ api_key = "********", name = "x" }]\n'
    result = run("config", "show", "options", "--json")
    assert '"********"' in result.stdout
    assert CANARY not in result.stdout


@pytest.mark.parametrize("table", ["", "profile.work."])
def test_several_settings_of_one_entry_are_set_at_once_and_the_others_stay(
    run: Run, places: Places, table: str
) -> None:
    write_config(places, f'[{table}prices."a/b"]\ncontext = 9  # small\n')
    entry = f'{table}prices."a/b"'
    result = run("config", "set", entry, "{ input = 2.5, output = 10 }")
    shown = f"{entry}.input = 2.5\n{entry}.output = 10.0\n".replace("10.0", "10" if table else "10.0")
    assert (result.exit_code, result.stdout, result.stderr) == (0, shown, "")
    assert places.config_file.read_text() == f"[{entry}]\ncontext = 9  # small\ninput = 2.5\noutput = 10\n"
    assert run("config", "unset", entry).exit_code == 0
    assert places.config_file.read_text() == ""


@pytest.mark.parametrize("value", ["nosuch", '"nosuch"'])
def test_a_style_for_code_that_does_not_exist_is_not_set(run: Run, places: Places, value: str) -> None:
    result = run("config", "set", "output.code_theme", value)
    what, hint = result.stderr.splitlines()
    assert (result.exit_code, what) == (2, "chatllm: output.code_theme: there is no Pygments style 'nosuch'")
    assert hint.startswith("  hint: one of abap, ")
    assert not places.config_file.exists()
    assert run("config", "set", "output.code_theme", "monokai").exit_code == 0
    assert run("config", "set", "output.code_theme", "").exit_code == 0


def test_a_half_of_a_price_says_how_both_are_set(run: Run, places: Places) -> None:
    result = run("config", "set", 'prices."a/b".input', "2.5")
    expected = 'chatllm: prices."a/b": expected input and output, one with the other: { input = 2.5, output = 10 }\n'
    assert (result.exit_code, result.stderr) == (2, expected)
    assert not places.config_file.exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ('prices."a/b"', "{}", 'prices."a/b" is a section'),
        ('prices."a/b"', "5", 'prices."a/b" is a section'),
        ('prices."a/b"', "{ input = true, output = 1 }", 'prices."a/b".input: expected a valid number'),
        ('prices."a/b"', "{ inptu = 1 }", 'prices."a/b".inptu is not a setting'),
        (
            "providers.x",
            f"{{ api_key = '{CANARY}' }}",
            "providers.x is not taken as an argument: others see those in",
        ),
        ("options.x", f"[{{ api_key = '{CANARY}' }}]", "options.x is not taken as an argument: others see those in"),
        ("timeouts", "{ idle = 1 }", "timeouts is a section"),
    ],
)
def test_what_is_no_entry_is_one_line(run: Run, places: Places, key: str, value: str, message: str) -> None:
    result = run("config", "set", key, value)
    assert (result.exit_code, result.stdout, CANARY in result.stderr) == (2, "", False)
    assert result.stderr.startswith(f"chatllm: {message}")
    assert not places.config_file.exists()


def test_a_provider_comes_on_stdin_with_its_key(run: Run, places: Places) -> None:
    result = run("config", "set", "providers.x", "-", stdin=f"{{ base_url = 'http://h', api_key = '{CANARY}' }}\n")
    expected = 'providers.x.base_url = "http://h"\nproviders.x.api_key = "********"\n'
    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")
    assert f'api_key = "{CANARY}"' in places.config_file.read_text()


def test_a_long_text_comes_on_stdin_as_it_is(run: Run, places: Places) -> None:
    result = run("config", "set", "system_prompt", "-", stdin='"Be brief."\nBe kind.\n')
    assert (result.exit_code, result.stdout) == (0, 'system_prompt = "\\"Be brief.\\"\\nBe kind."\n')
    assert run("config", "set", "temperature", "-", stdin="0.5\n").stdout == "temperature = 0.5\n"


def test_stdin_that_is_no_text_is_one_line(run: Run) -> None:
    result = run("config", "set", "model", "-", stdin=b"caf\xe9")
    assert (result.exit_code, result.stderr) == (2, "chatllm: the value on stdin is not UTF-8 (byte 4)\n")


def test_what_outweighs_the_new_value_is_told(run: Run, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(places, "[profile.work]\nmax_tokens = 5\n")
    monkeypatch.setenv("CHATLLM_TEMPERATURE", "0.5")
    monkeypatch.setenv("CHATLLM_PROFILE", "work")
    result = run("config", "set", "temperature", "1")
    expected = "environment variable CHATLLM_TEMPERATURE outweighs what was set\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, "temperature = 0.5\n", expected)
    result = run("config", "set", "max_tokens", "7")
    expected = f"{places.config_file} [profile.work] outweighs what was set\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, "max_tokens = 5\n", expected)


def test_with_the_flag_the_setting_is_the_profiles(run: Run, places: Places) -> None:
    result = run("--profile", "work", "config", "set", "temperature", "0.2")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "temperature = 0.2\n", "")
    assert places.config_file.read_text() == "[profile.work]\ntemperature = 0.2\n"
    assert run("--profile", "work", "config", "unset", "temperature").exit_code == 0
    assert places.config_file.read_text() == ""


def test_faults_can_be_mended_one_after_the_other(run: Run, places: Places) -> None:
    write_config(places, "temperature = 9\nmax_tokens = 0\nmodle = 5\n")
    result = run("config", "set", "temperature", "1")
    assert (result.exit_code, result.stdout) == (0, "temperature = 1\n")
    assert result.stderr.startswith("the settings cannot be used yet: ")
    assert run("config", "set", "max_tokens", "0").exit_code == 2
    assert run("config", "set", "max_tokens", "5").exit_code == 0
    assert run("config", "unset", "modle").exit_code == 0
    assert run("config", "check").exit_code == 0
    assert places.config_file.read_text() == "temperature = 1\nmax_tokens = 5\n"


@pytest.mark.parametrize("key", ["temperature", "timeouts", "timeouts.idle", "providers.groq", "nonsense"])
def test_what_is_not_set_cannot_be_unset(run: Run, places: Places, key: str) -> None:
    result = run("config", "unset", key)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"chatllm: {key} is not set\n")
    assert not places.config_file.exists()


@pytest.mark.parametrize("command", [["set", "model", "x"], ["unset", "model"]])
def test_a_file_that_cannot_be_read_is_left_as_it_is(run: Run, places: Places, command: list[str]) -> None:
    write_config(places, 'model = "a\nb"\n')
    result = run("config", *command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"chatllm: {places.config_file} is not valid TOML: ")
    assert places.config_file.read_text() == 'model = "a\nb"\n'


def test_a_folder_that_cannot_be_written_is_one_line(run: Run, places: Places) -> None:
    places.config_file.parent.write_text("in the way")
    result = run("config", "set", "model", "x")
    expected = f"chatllm: {places.config_file} cannot be written: File exists\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)


def test_a_link_is_followed(run: Run, places: Places, tmp_path: Path) -> None:
    elsewhere = tmp_path / "dotfiles" / "chatllm.toml"
    elsewhere.parent.mkdir()
    elsewhere.write_text(MINE)
    places.config_file.parent.mkdir()
    places.config_file.symlink_to(elsewhere)
    assert run("config", "set", "temperature", "0.2").exit_code == 0
    assert (places.config_file.is_symlink(), elsewhere.read_text()) == (True, MINE.replace("1.0", "0.2"))


def test_two_at_the_same_time_lose_nothing(places: Places) -> None:
    keys = [f"providers.p{number}.base_url" for number in range(6)]
    processes = [
        subprocess.Popen([CHATLLM, "config", "set", key, "http://h"], stdout=subprocess.DEVNULL) for key in keys
    ]
    assert [process.wait(50) for process in processes] == [0] * len(keys)
    text = places.config_file.read_text()
    assert [key for key in keys if f"[{key.removesuffix('.base_url')}]\n" not in text] == []
