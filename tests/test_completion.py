"""What the shell offers: the functions, and what `chatllm` answers a shell that asks."""

import asyncio
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.completion import (
    complete_address,
    complete_catalogue,
    complete_model,
    complete_own_prompt,
    complete_profile,
    complete_prompt,
    complete_provider,
    complete_pulled,
    complete_setting,
    complete_setting_in_force,
)
from chatllm_cli.cli.shells import BASH, SCRIPTS, Line, install, split_line
from chatllm_cli.config.known_providers import KNOWN
from chatllm_cli.config.loading import load_settings
from chatllm_cli.config.places import Places
from chatllm_cli.config.profiles import PROFILE_VARIABLE
from chatllm_cli.errors import UsageError
from chatllm_cli.ids import new_id
from chatllm_cli.models import Endpoint, Message, Role
from chatllm_cli.services.model_lists import ModelLists
from tests.conftest import Run
from tests.terminal import CHATLLM
from tests.test_config import write_config
from tests.test_profiles import FILE

NASTY = 'It\'s a "quoted" $HOME `x` title: [b] a*b | \\$(touch x)'


def converse(places: Places, *titles: str) -> dict[str, str]:
    """Store conversations with these titles, and return the address of each."""

    async def work() -> dict[str, str]:
        history = Services(load_settings(), places).history
        for title in titles:
            log = history.start(title, model="fake/model")
            await log.add(Message(new_id(), Role.USER, title, datetime.now(UTC)))
        return {each.title: each.address for each in (await history.list()).conversations}

    return asyncio.run(work())


async def remember(places: Places, provider: str, base_url: str, models: list[str]) -> None:
    async def ask(_: Endpoint) -> list[str]:
        return models

    await ModelLists(places.model_lists, ask).models_of(Endpoint(provider, "", base_url))


def test_profiles_and_settings_are_those_of_the_file(places: Places) -> None:
    assert (complete_profile(""), complete_setting("profile.")) == ([], [])
    write_config(places, FILE)
    assert complete_profile("") == ["work", "home"]
    assert complete_profile("w") == ["work"]
    assert complete_setting("timeouts.i") == ["timeouts.idle"]
    assert complete_setting("providers.a") == ["providers.acme.base_url", "providers.acme.end_marker"]
    assert complete_setting("profile.home.timeouts.i") == ["profile.home.timeouts.idle"]
    assert complete_setting_in_force("profile.") == []
    assert complete_setting_in_force("providers.a") == ["providers.acme.base_url", "providers.acme.end_marker"]
    write_config(places, "no TOML")
    assert (complete_profile(""), complete_setting("tempe")) == ([], ["temperature"])


def test_addresses_are_offered_with_their_titles_and_titles_once_they_are_begun(places: Places) -> None:
    address = converse(places, "Same", NASTY, "Same", "Other")[NASTY]
    assert complete_address(address) == [(address, NASTY)]
    assert [each for each, _ in complete_address("@")] == ["@1", "@2", "@3", "@4"]
    assert complete_address("It's") == [(NASTY, "fake/model")]
    assert complete_address("Same") == []  # which would not say which one
    assert sorted(title for _, title in complete_address("")) == sorted(["Same", NASTY, "Same", "Other"])


def test_where_there_is_no_history_no_address_is_offered_and_nothing_is_made(home: Path) -> None:
    assert complete_address("") == []
    assert list(home.rglob("*")) == []


async def test_models_are_offered_in_two_steps(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(
        places,
        '[aliases]\nfast = "groq/llama"\n[providers.acme]\nbase_url = "https://acme.example/v1/"\n'
        '[models."acme/set"]\nseed = 1\n[profile.work.aliases]\nfar = "acme/x"\n',
    )
    await remember(places, "acme", "https://acme.example/v1", ["qwen3:8b", "set"])
    await remember(places, "groq", KNOWN["groq"].base_url, ["llama"])
    await remember(places, "default", "https://mine.example/v1", ["m"])
    (places.models / "tiny.gguf").parent.mkdir(parents=True)
    (places.models / "tiny.gguf").touch()
    assert complete_model("f") == [("fast", "groq/llama")]
    assert complete_model("a") == [
        ("anthropic/", KNOWN["anthropic"].base_url),
        ("acme/", "https://acme.example/v1"),
    ]
    assert complete_model("loc") == [("local/", "on this machine")]
    assert complete_model("acme/") == [("acme/set", ""), ("acme/qwen3:8b", "")]
    assert complete_model("groq/l") == [("groq/llama", "")]
    assert complete_model("local/") == [("local/tiny", "")]
    assert complete_model("nobody/") == complete_model("default/") == []
    monkeypatch.setenv("CHATLLM_BASE_URL", "https://mine.example/v1")
    assert complete_model("default/") == [("default/m", "")]
    monkeypatch.setenv(PROFILE_VARIABLE, "work")
    assert complete_model("fa") == [("fast", "groq/llama"), ("far", "acme/x")]


@pytest.mark.parametrize("text", ["aliases = 1\nproviders = 2\nmodels = []", "[providers]\nacme = 1\n", "no TOML"])
def test_settings_that_make_no_sense_are_passed_over(places: Places, text: str) -> None:
    write_config(places, text)
    assert complete_model("groq") == [("groq/", KNOWN["groq"].base_url)]
    assert complete_provider("groq") == [("groq", KNOWN["groq"].base_url)]
    assert complete_model("groq/") == []


def test_prompts_are_offered_with_what_they_are_for(places: Places) -> None:
    places.prompts.mkdir(parents=True)
    (places.prompts / "shelf.md").write_text("---\ndescription: 'Mine'\n---\n")
    (places.prompts / "shell.md").write_text("\x00 no front matter")
    assert complete_prompt("she") == [("shelf", "Mine"), ("shell", "")]
    assert complete_own_prompt("") == ["shelf", "shell"]


def test_what_can_be_pulled_and_removed_is_offered(places: Places) -> None:
    assert complete_catalogue("qwen2.5-0") == [("qwen2.5-0.5b", "many languages, little memory")]
    assert complete_pulled("") == []


Asked = Callable[..., list[str]]


@pytest.fixture
def asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What `chatllm` answers a shell for a line, up to the cursor."""

    def asked(line: str, shell: str = "zsh", **more: str) -> list[str]:
        for name, value in {"_CHATLLM_COMPLETE": f"complete_{shell}", "_CHATLLM_LINE": line, **more}.items():
            monkeypatch.setenv(name, value)
        result = run()
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout.splitlines()

    return asked


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_zsh_and_fish_read_a_value_and_what_is_said_of_it(asked: Asked, shell: str) -> None:
    assert asked("chatllm pro", shell) == ["prompts\tSee, make and remove the prompts of -p."]
    assert asked("chatllm ask --refr", shell) == [
        "--refresh\tAsk again what is in the cache, and keep the new answer there."
    ]
    assert asked("chatllm ask --prompt=tr", shell) == ["--prompt=translate\tTranslate a text (-v language=French)"]
    assert asked("chatllm history stats --by ", shell) == ["model", "provider", "day", "month"]


BREAKS = " \t\n\"'@><=;|&(:"


ESCAPED = NASTY.replace("\\", "\\\\").translate({ord(each): f"\\{each}" for each in "'\"$` []*|()"})
IN_QUOTES = NASTY.replace("\\", "\\\\").translate({ord(each): f"\\{each}" for each in '"$`'})


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("It", ESCAPED),
        ("It\\'s\\ a\\ \\", ESCAPED),
        ('"It', IN_QUOTES),
        ("'It'\\''s", NASTY.removeprefix("It'")),
        ('It\\\'s\\ a\\ \\"quoted\\"\\ \\$HOME\\ \\`x\\`\\ title:', ESCAPED.partition(":")[2]),
    ],
)
def test_bash_gets_what_it_is_to_put_in_the_place_of_what_it_takes_for_the_word(
    asked: Asked, places: Places, typed: str, expected: str
) -> None:
    converse(places, NASTY)
    assert asked(f"chatllm history show {typed}", "bash", _CHATLLM_BREAKS=BREAKS) == [expected]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("Fix", r"Fix\ \!false\ it\'s\ \$1\!"),
        ('"Fix', r'''Fix "\!"false it's \$1"\!"'''),
        ("'Fix", r"Fix '\!'false it'\''s $1'\!'"),
        ('"Fix "\\!"fa', r'''false it's \$1"\!"'''),
    ],
)
def test_bash_recalls_no_earlier_line_for_an_exclamation_mark(
    asked: Asked, places: Places, typed: str, expected: str
) -> None:
    converse(places, "Fix !false it's $1!")
    assert asked(f"chatllm history show {typed}", "bash", _CHATLLM_BREAKS=BREAKS) == [expected]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("history show @", ["@1"]),
        ("ask --model=fa", ["fast"]),
        ("ask -m acme/qwen3:", ["8b", "14b"]),
        ("ask -m 'acme/qwen3:", ["acme/qwen3:8b", "acme/qwen3:14b"]),
    ],
)
def test_what_bash_takes_for_the_end_of_a_word_is_left_where_it_is(
    asked: Asked, places: Places, line: str, expected: list[str]
) -> None:
    converse(places, "one")
    write_config(places, '[aliases]\nfast = "x/y"\n[providers.acme]\nbase_url = "https://acme.example/v1"\n')
    asyncio.run(remember(places, "acme", "https://acme.example/v1", ["qwen3:8b", "qwen3:14b"]))
    assert asked(f"chatllm {line}", "bash", _CHATLLM_BREAKS=BREAKS) == expected


def test_what_no_line_can_have_is_not_offered(asked: Asked, places: Places) -> None:
    write_config(places, '[aliases]\n"red\\u001b[31m" = "x/y"\n"red\\nblue" = "x/y"\n"redder" = "x/\\u001b[31my"\n')
    assert asked("chatllm ask -m red") == ["redder\tx/^[[31my"]


@pytest.mark.parametrize("line", ["chatllm ask -o ", "chatllm ask words", "chatllm ask -m nobody/", "chatllm xyz"])
def test_where_nothing_is_known_the_shell_is_left_to_offer_files(asked: Asked, line: str) -> None:
    assert asked(line) == []


@pytest.mark.parametrize("line", ["", "chatllm", "'", "chatllm --version ", "chatllm no-command x ", "chatllm \\"])
def test_a_line_that_makes_no_sense_is_answered_without_a_complaint(asked: Asked, line: str) -> None:
    assert not [each for each in asked(line) if "rror" in each]


def test_a_profile_that_is_named_before_counts(asked: Asked, places: Places) -> None:
    write_config(places, '[profile.work.aliases]\nfar = "acme/x"\n')
    assert asked("chatllm ask -m fa") == []
    assert asked("chatllm --profile work ask -m fa") == ["far\tacme/x"]


def test_scripts_that_an_earlier_version_installed_are_answered(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_WORDS", "chatllm\nask\n-p\ntra")
    monkeypatch.setenv("_CHATLLM_COMPLETE", "complete_bash")
    assert run().stdout == "translate\n"
    monkeypatch.delenv("COMP_WORDS")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "chatllm ask -p tra")
    monkeypatch.setenv("_CHATLLM_COMPLETE", "complete_fish")
    assert run().stdout == "translate\tTranslate a text (-v language=French)\n"
    monkeypatch.setenv("_CHATLLM_COMPLETE", "complete_zsh")  # which evaluates what it is given
    assert run().stdout == "_message 'run chatllm --install-completion to complete with this version'"


@pytest.mark.parametrize("shell", ["powershell", "", "sh"])
def test_other_shells_get_nothing(monkeypatch: pytest.MonkeyPatch, run: Run, shell: str) -> None:
    monkeypatch.setenv("_CHATLLM_COMPLETE", f"source_{shell}")
    assert (run().exit_code, run().stdout) == (0, "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a b", Line(["a"], "b", "b")),
        ("a b ", Line(["a", "b"], "", "")),
        ("a 'b c' \"d e", Line(["a", "b c"], "d e", '"d e', '"')),
        ("a ''", Line(["a"], "", "''")),
        ("a '' b", Line(["a", ""], "b", "b")),
        ("a b\\ c\\", Line(["a"], "b c", "b\\ c\\")),
        ("a \"\\x\\$\"'\\'", Line(["a"], "\\x$\\", "\"\\x\\$\"'\\'")),
    ],
)
def test_a_line_is_taken_apart_as_a_shell_does(line: str, expected: Line) -> None:
    assert split_line(line) == expected


@pytest.mark.parametrize(
    ("shell", "script", "rc", "line"),
    [
        ("bash", ".bash_completions/chatllm.sh", ".bashrc", "source '{}'"),
        ("zsh", ".zfunc/_chatllm", ".zshrc", "fpath+=~/.zfunc; autoload -Uz compinit; compinit"),
        ("fish", ".config/fish/completions/chatllm.fish", None, ""),
    ],
)
def test_what_is_installed_is_added_once_and_takes_nothing_away(
    home: Path, shell: str, script: str, rc: str | None, line: str
) -> None:
    if rc:
        (home / rc).write_bytes(b"alias x=y\xe9")
    for _ in range(2):
        assert install(shell) == home / script
    assert (home / script).read_text() == SCRIPTS[shell]
    if rc:
        assert (home / rc).read_bytes() == b"alias x=y\xe9\n" + line.format(home / script).encode() + b"\n"


def test_what_cannot_be_installed_is_told(home: Path) -> None:
    (home / ".bash_completions").touch()
    with pytest.raises(UsageError, match=r"\.bash_completions cannot be written: File exists"):
        install("bash")


def test_the_shell_that_it_is_called_from_gets_its_script(home: Path) -> None:
    bash = ["bash", "-c", f"{CHATLLM} --show-completion; {CHATLLM} --install-completion; true"]
    done = subprocess.run(bash, capture_output=True, text=True, check=True, timeout=30)
    installed = home / ".bash_completions/chatllm.sh"
    told = f"bash completes what is typed after chatllm, once it is started again: {installed}\n"
    assert (done.stdout, done.stderr, installed.read_text()) == (f"{BASH}{told}", "", BASH)
