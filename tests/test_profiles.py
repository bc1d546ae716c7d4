from collections.abc import Callable

import pytest

from chatllm_cli.config.loading import load_settings, setting_origins
from chatllm_cli.config.places import Places
from chatllm_cli.config.profiles import choose_profile, chosen_profile
from chatllm_cli.errors import ConfigError
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI
from tests.terminal import CTRL_D, Terminal
from tests.test_config import write_config

FILE = """\
model = "rest"
temperature = 0.1
max_tokens = 1
[timeouts]
idle = 1
connect = 1
[providers.acme]
base_url = "http://rest/v1"
end_marker = "required"
[profile.work]
model = "work"
temperature = 0.2
[profile.work.timeouts]
idle = 2
[profile.work.providers.acme]
base_url = "http://work/v1"
[profile.home]
"""


def test_a_profile_outweighs_the_rest_of_the_file_and_is_outweighed_by_environment_and_flags(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(places, FILE)
    seen = [load_settings().temperature]
    choose_profile("work")
    seen.append(load_settings().temperature)
    monkeypatch.setenv("CHATLLM_TEMPERATURE", "0.3")
    seen += [load_settings().temperature, load_settings({"temperature": 0.4}).temperature]
    assert seen == [0.1, 0.2, 0.3, 0.4]


def test_what_a_profile_does_not_say_the_rest_of_the_file_does(places: Places) -> None:
    write_config(places, FILE)
    choose_profile("work")
    settings = load_settings()
    acme = settings.providers["acme"]
    assert (settings.model, settings.max_tokens) == ("work", 1)
    assert (settings.timeouts.idle, settings.timeouts.connect) == (2.0, 1.0)
    assert (acme.base_url, acme.end_marker) == ("http://work/v1", "required")


def test_the_flag_outweighs_the_variable_and_an_empty_one_is_no_profile(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(places, FILE)
    monkeypatch.setenv("CHATLLM_PROFILE", "work")
    seen = [(load_settings().model, chosen_profile())]
    for name in ("home", None, ""):
        choose_profile(name)
        seen.append((load_settings().model, chosen_profile()))
    assert seen == [("work", "work"), ("rest", "home"), ("rest", "home"), ("rest", "")]


def test_an_empty_variable_is_no_profile(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(places, FILE)
    monkeypatch.setenv("CHATLLM_PROFILE", "")
    assert load_settings().model == "rest"


def test_origins_name_the_profile(places: Places) -> None:
    write_config(places, FILE)
    choose_profile("work")
    work = f"{places.config_file} [profile.work]"
    assert setting_origins() == {
        "model": work,
        "temperature": work,
        "max_tokens": str(places.config_file),
        "timeouts.idle": work,
        "timeouts.connect": str(places.config_file),
        "providers.acme.base_url": work,
        "providers.acme.end_marker": str(places.config_file),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "there is no profile work; there are none in {file}"),
        ("[profile.home]\n[profile.play]", "there is no profile work; there are home, play"),
        ("profile = 5", "{file}: profile: expected profiles, such as [profile.work]"),
        ("[profile]\nwork = 5", "{file}: profile.work: expected a section"),
        ("[profile.work.profile.x]", "{file}: profile.work.profile: a profile cannot hold profiles"),
        (
            "[profile.work]\ntemperature = 9",
            "{file} [profile.work]: temperature: expected a number less than or equal to 2",
        ),
        ("[profile.work]\nmodle = 9", "{file} [profile.work]: modle is not a setting"),
        ("temperature = 9\n[profile.work]", "{file}: temperature: expected a number less than or equal to 2"),
    ],
)
def test_a_profile_that_cannot_be_used_is_one_line(places: Places, content: str, message: str) -> None:
    write_config(places, content)
    choose_profile("work")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert caught.value.message == message.format(file=places.config_file)


def test_a_profile_that_is_not_in_force_is_in_nobodys_way(places: Places) -> None:
    write_config(places, 'model = "x"\n[profile.bad]\nmodle = 5')
    assert load_settings().model == "x"


@pytest.mark.parametrize(
    ("arguments", "variable", "model"),
    [
        (["--profile", "work", "ask", "hi"], "", "says-work"),
        (["ask", "--profile", "work", "hi"], "", "says-work"),
        (["--profile", "home", "ask", "--profile", "work", "hi"], "home", "says-work"),
        (["ask", "hi"], "work", "says-work"),
        (["--profile", "home", "ask", "hi"], "work", "says-home"),
        (["--profile", "", "ask", "hi"], "work", "says-rest"),
        (["--profile", "work", "ask", "-m", "says-flag", "hi"], "", "says-flag"),
    ],
)
def test_ask_takes_its_settings_from_the_profile(
    run: Run, places: Places, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], variable: str, model: str,
) -> None:  # fmt: skip
    write_config(
        places,
        f'base_url = "{fake_openai.base_url}"\nmodel = "says-rest"\n'
        '[profile.work]\nmodel = "says-work"\n[profile.home]\nmodel = "says-home"\n',
    )
    monkeypatch.setenv("CHATLLM_PROFILE", variable)
    result = run(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (0, model.removeprefix("says-"), "")


def test_a_profile_of_one_run_is_not_that_of_the_next(run: Run, places: Places) -> None:
    write_config(places, FILE)
    shown = [run(*given, "config", "show", "model").stdout for given in (["--profile", "work"], [])]
    assert shown == ['model = "work"\n', 'model = "rest"\n']


@pytest.mark.parametrize("arguments", [["--profile", "wrok", "ask", "hi"], ["ask", "--profile", "wrok", "hi"]])
def test_an_unknown_profile_names_those_there_are(run: Run, places: Places, arguments: list[str]) -> None:
    write_config(places, FILE)
    result = run(*arguments)
    expected = "chatllm: there is no profile wrok; there are work, home\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)


def test_the_chat_takes_a_profile_too(
    places: Places, fake_openai: FakeOpenAI, terminal: Callable[..., Terminal]
) -> None:
    write_config(places, f'base_url = "{fake_openai.base_url}"\n[profile.work]\nmodel = "says-at-work"\n')
    shown = terminal("chat", "--profile", "work")
    shown.wait_for("says-at-work")
    shown.type(CTRL_D)
    assert shown.wait() == 0
