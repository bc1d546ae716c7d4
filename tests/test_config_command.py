import json
import stat

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.settings_text import example_config
from tests.conftest import Run

DEFAULTS = """\
model = ""
base_url = ""
api_key = ""
api_key_cmd = ""
insecure_http = false
system_prompt = ""
fallback = []
redact = "warn"
trim = "never"
temperature = (not set)
top_p = (not set)
max_tokens = (not set)
seed = (not set)
stop = []
reasoning_effort = ""
options = {}
timeouts.connect = 10.0
timeouts.first_token = 120.0
timeouts.idle = 60.0
timeouts.total = (not set)
retries.max_retries = 5
retries.max_wait = 60.0
retries.first_delay = 0.5
retries.longest_delay = 20.0
limits.reply_mb = 8.0
limits.attachment_mb = 10.0
limits.attachments = 200
local.model_path = ""
local.context_size = 8192
local.threads = 0
local.hub_url = "https://huggingface.co"
cache.mode = "auto"
cache.url = ""
cache.ttl_days = 30.0
cache.size_mb = 256
history.enabled = true
history.titles = "prompt"
budget.month = (not set)
budget.day = (not set)
budget.over = false
output.plain = false
output.clean = "auto"
output.theme = "auto"
output.code_theme = ""
output.reasoning = true
output.usage = "auto"
repl.editing = "emacs"
repl.toolbar = true
repl.replay = 2
privacy.tracing = false
providers = {}
models = {}
prices = {}
aliases = {}
"""

CHANGED = """\
model = "work/m"                            # environment variable CHATLLM_MODEL
base_url = "http://host/v1"                 # {file}
api_key = "********"                        # {file}
api_key_cmd = ""                            # default
insecure_http = false                       # default
system_prompt = ""                          # default
fallback = []                               # default
redact = "warn"                             # default
trim = "never"                              # default
temperature = 0.5                           # {file}
top_p = (not set)                           # default
max_tokens = (not set)                      # default
seed = (not set)                            # default
stop = []                                   # default
reasoning_effort = ""                       # default
options = {}                                # default
timeouts.connect = 10.0                     # default
timeouts.first_token = 120.0                # default
timeouts.idle = 7.0                         # environment variable CHATLLM_TIMEOUTS__IDLE
timeouts.total = (not set)                  # default
retries.max_retries = 5                     # default
retries.max_wait = 60.0                     # default
retries.first_delay = 0.5                   # default
retries.longest_delay = 20.0                # default
limits.reply_mb = 8.0                       # default
limits.attachment_mb = 10.0                 # default
limits.attachments = 200                    # default
local.model_path = ""                       # default
local.context_size = 8192                   # default
local.threads = 0                           # default
local.hub_url = "https://huggingface.co"    # default
cache.mode = "auto"                         # default
cache.url = ""                              # default
cache.ttl_days = 30.0                       # default
cache.size_mb = 256                         # default
history.enabled = true                      # default
history.titles = "prompt"                   # default
budget.month = (not set)                    # default
budget.day = (not set)                      # default
budget.over = false                         # default
output.plain = false                        # default
output.clean = "auto"                       # default
output.theme = "auto"                       # default
output.code_theme = ""                      # default
output.reasoning = true                     # default
output.usage = "auto"                       # default
repl.editing = "emacs"                      # default
repl.toolbar = true                         # default
repl.replay = 2                             # default
privacy.tracing = false                     # default
providers.work.base_url = "http://work/v1"  # {file}
providers.work.api_key = ""                 # default
providers.work.api_key_cmd = ""             # default
providers.work.max_tokens_field = ""        # default
providers.work.end_marker = ""              # default
providers.openai.base_url = ""              # default
providers.openai.api_key = "********"       # environment variable OPENAI_API_KEY
providers.openai.api_key_cmd = ""           # default
providers.openai.max_tokens_field = ""      # default
providers.openai.end_marker = ""            # default
models = {}                                 # default
prices = {}                                 # default
aliases = {}                                # default
"""


def write_config(places: Places, content: str) -> None:
    places.config_file.parent.mkdir(parents=True)
    places.config_file.write_text(content)
    places.config_file.chmod(0o600)


def test_init_writes_the_example_for_its_owner_alone_and_says_where(run: Run, places: Places) -> None:
    result = run("config", "init")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{places.config_file}\n", "")
    assert places.config_file.read_text() == example_config()
    assert stat.S_IMODE(places.config_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(places.config_file.parent.stat().st_mode) == 0o700
    assert list(places.config_file.parent.iterdir()) == [places.config_file]


def test_init_leaves_a_file_that_exists_alone(run: Run, places: Places) -> None:
    run("config", "init")
    places.config_file.write_text("# mine\n")
    result = run("config", "init")
    expected = f"chatllm: {places.config_file} exists already\n  hint: edit it, or move it away first\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)
    assert places.config_file.read_text() == "# mine\n"


def test_init_in_a_folder_that_cannot_be_made_is_one_line(run: Run, places: Places) -> None:
    places.config_file.parent.write_text("in the way")
    result = run("config", "init")
    expected = f"chatllm: {places.config_file} cannot be written: File exists\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)


def test_show_lists_every_setting(run: Run, places: Places) -> None:
    result = run("config", "show")
    assert (result.exit_code, result.stdout, result.stderr) == (0, DEFAULTS, "")
    assert not places.config_file.parent.exists()


def test_show_after_init_is_unchanged(run: Run) -> None:
    run("config", "init")
    assert run("config", "show").stdout == DEFAULTS


def test_show_origin_says_where_each_value_came_from(
    run: Run, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(
        places,
        'model = "x"\nbase_url = "http://host/v1"\napi_key = "sk-canary"\ntemperature = 0.5\n'
        '[timeouts]\nidle = 5\n[providers.work]\nbase_url = "http://work/v1"\n',
    )
    monkeypatch.setenv("CHATLLM_MODEL", "work/m")
    monkeypatch.setenv("CHATLLM_TIMEOUTS__IDLE", "7")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-2")
    result = run("config", "show", "--origin")
    expected = CHANGED.replace("{file}", str(places.config_file))
    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")


def test_path_says_where_the_file_is_or_would_be(run: Run, places: Places) -> None:
    result = run("config", "path")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{places.config_file}\n", "")
    assert not places.config_file.parent.exists()


def test_path_and_init_work_where_the_settings_do_not(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_MODLE", "x")
    assert [run("config", command).exit_code for command in ("path", "init")] == [0, 0]


def test_show_of_settings_that_cannot_be_used_is_one_line(run: Run, places: Places) -> None:
    write_config(places, 'modle = "x"\n')
    result = run("config", "show")
    expected = f"chatllm: {places.config_file}: modle is not a setting\n  hint: did you mean model?\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)


def test_show_of_some_keys_and_sections_shows_those(run: Run, places: Places) -> None:
    write_config(places, 'model = "x"\n[providers."my-own"]\nbase_url = "http://h"\napi_key = "sk-canary"\n')
    result = run("config", "show", "model", "cache", "providers.my-own.api_key")
    expected = (
        'model = "x"\ncache.mode = "auto"\ncache.url = ""\ncache.ttl_days = 30.0\ncache.size_mb = 256\n'
        'providers.my-own.api_key = "********"\n'
    )
    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("modle", "chatllm: modle is not a setting\n  hint: did you mean model?\n"),
        ("providers.groq.base_url", "chatllm: providers.groq.base_url is not set\n"),
    ],
)
def test_show_of_what_is_not_there_is_one_line(run: Run, key: str, expected: str) -> None:
    result = run("config", "show", key)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)


def test_show_as_json(run: Run, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(places, 'fallback = ["a/b"]\napi_key = "sk-canary"\n')
    monkeypatch.setenv("CHATLLM_TEMPERATURE", "0.5")
    keys = ["temperature", "max_tokens", "fallback", "api_key"]
    values = {"temperature": 0.5, "max_tokens": None, "fallback": ["a/b"], "api_key": "********"}
    assert json.loads(run("config", "show", "--json", *keys).stdout) == values
    assert len(json.loads(run("config", "show", "--json").stdout)) == len(DEFAULTS.splitlines())
    assert json.loads(run("config", "show", "--json", "--origin", *keys[:3]).stdout) == {
        "temperature": {"value": 0.5, "origin": "environment variable CHATLLM_TEMPERATURE"},
        "max_tokens": {"value": None, "origin": "default"},
        "fallback": {"value": ["a/b"], "origin": str(places.config_file)},
    }


def test_profiles_are_listed_with_what_they_set(run: Run, places: Places) -> None:
    result = run("config", "profiles")
    expected = "there are no profiles; `chatllm config set profile.NAME.model MODEL` begins one\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", expected)
    write_config(places, "[profile.work]\ntemperature = 1\n[profile.work.timeouts]\nidle = 1\n[profile.home]\n")
    result = run("--profile", "work", "config", "profiles")
    expected = "work\tyes\ttemperature, timeouts.idle\nhome\t\t\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")
    assert json.loads(run("config", "profiles", "--json").stdout) == [
        {"name": "work", "in_force": False, "settings": ["temperature", "timeouts.idle"]},
        {"name": "home", "in_force": False, "settings": []},
    ]


def test_the_list_of_profiles_is_there_where_the_settings_cannot_be_used(
    run: Run, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(places, "modle = 5\n[profile.work]\n")
    monkeypatch.setenv("CHATLLM_PROFILE", "wrok")
    assert run("config", "profiles").stdout == "work\t\t\n"
