import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.config.sections import LocalSettings
from chatllm_cli.services.local.catalogue import CATALOGUE
from chatllm_cli.services.local.weights import find_weights
from tests.conftest import Run
from tests.model_server import ModelServer, a_model
from tests.terminal import CTRL_C, Terminal


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_RETRIES__FIRST_DELAY", "0.01")
    monkeypatch.setenv("CHATLLM_RETRIES__MAX_RETRIES", "1")


def names(places: Places) -> list[str]:
    return sorted(path.name for path in places.models.iterdir()) if places.models.exists() else []


HINT = '`chatllm ask -m local/tiny "…"` asks it\n'


def test_pull_prints_the_address_and_says_the_rest_on_stderr(run: Run, server: ModelServer, places: Places) -> None:
    result = run("models", "pull", f"{server.url}/whole/Tiny.gguf")
    assert (result.exit_code, result.stdout) == (0, "local/tiny\n")
    assert result.stderr == (
        f"fetching tiny, 0.1 MB, from {server.url.partition('//')[2]}\n"
        f"local/tiny is there: 0.1 MB, its SHA-256 is written down\n{HINT}"
    )
    assert names(places) == ["tiny.gguf", "tiny.gguf.json"]
    again = run("models", "pull", f"{server.url}/whole/Tiny.gguf")
    assert (again.exit_code, again.stdout, again.stderr) == (
        0,
        "local/tiny\n",
        f"local/tiny is there already\n{HINT}",
    )
    assert len(server.asked) == 1


def test_a_name_of_the_catalogue_and_a_file_of_the_hub_come_from_the_hub(
    run: Run, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    assert run("models", "pull", "qwen2.5-0.5b").stdout == "local/qwen2.5-0.5b\n"
    assert run("models", "pull", "hf:a/b/C.gguf", "--name", "mine").stdout == "local/mine\n"
    assert [asked.path for asked in server.asked] == [
        "/Qwen/Qwen2.5-0.5B-Instruct-GGUF/resolve/main/qwen2.5-0.5b-instruct-q4_k_m.gguf",
        "/whole/qwen2.5-0.5b-instruct-q4_k_m.gguf",
        "/a/b/resolve/main/C.gguf",
        "/whole/C.gguf",
    ]


def test_a_setting_outweighs_the_variable_of_other_programs(
    run: Run, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("CHATLLM_LOCAL__HUB_URL", server.url)
    assert run("models", "pull", "hf:a/b/c.gguf").stdout == "local/c\n"


def test_a_hub_that_cannot_be_one_stands_in_the_way_of_nothing_else(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "nonsense")
    result = run("models", "pull", "qwen2.5-0.5b")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "chatllm: local.hub_url: nonsense cannot be used: it is no address\n"
        "  hint: expected an address such as https://huggingface.co\n"
    )
    assert run("models", "list").stdout == "local/smollm2\n"
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gpt-5"], "there is no model 'gpt-5' in the catalogue"),
        (["https://h/a.gguf", "--sha256", "abc"], "'abc' is no SHA-256"),
        (["https://h/a.gguf", "--name", "../../a"], "'../../a' cannot be the name of a model"),
        (["https://h/a.gguf", "--name", "smollm2"], "local/smollm2 is another model, which was not pulled"),
        (["http://h/a.gguf"], "'http://h/a.gguf' cannot be fetched: it is not https"),
    ],
)
def test_what_cannot_be_pulled_is_one_line_and_touches_nothing(
    run: Run, home: Path, arguments: list[str], message: str
) -> None:
    result = run("models", "pull", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[0] == f"chatllm: {message}"
    assert list(home.iterdir()) == []


def test_a_hash_may_be_given_as_others_write_it(run: Run, server: ModelServer) -> None:
    result = run("models", "pull", f"{server.url}/whole/tiny.gguf", "--sha256", f"sha256:{server.sha256.upper()}")
    assert (result.exit_code, result.stdout) == (0, "local/tiny\n")


def test_a_wrong_hash_ends_with_1_and_leaves_nothing(run: Run, server: ModelServer, places: Places) -> None:
    result = run("models", "pull", f"{server.url}/whole/tiny.gguf", "--sha256", "0" * 64)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is not what was expected, and is removed: its SHA-256 is " in result.stderr
    assert names(places) == []


@pytest.mark.usefixtures("quick")
def test_a_pull_that_breaks_off_says_how_to_go_on(run: Run, server: ModelServer, places: Places) -> None:
    result = run("models", "pull", f"{server.url}/cut-30000/tiny.gguf")
    host = server.url.partition("//")[2]
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr == (
        f"fetching tiny, 0.1 MB, from {host}\n"
        f"{host} closed the connection too early; going on in 0.0 s\n"
        f"chatllm: tiny broke off at 0.1 MB of 0.1 MB: {host} closed the connection too early\n"
        "  hint: run it again: it goes on where it stopped\n"
    )
    assert names(places) == ["tiny.gguf.part", "tiny.gguf.part.json"]
    again = run("models", "pull", f"{server.url}/cut-30000/tiny.gguf")
    assert (again.exit_code, again.stdout) == (0, "local/tiny\n")
    assert again.stderr.startswith(f"fetching tiny, 0.1 MB, of which 0.1 MB are there, from {host}\n")


def test_what_a_server_says_cannot_reach_the_terminal(run: Run, server: ModelServer) -> None:
    server.target = "https://h\x1b]0;x\x07/\x1b[31m"
    result = run("models", "pull", f"{server.url}/moved/tiny.gguf")
    assert result.exit_code == 5
    assert "\x1b" not in result.stderr


def test_the_catalogue_says_what_is_here(run: Run, server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    run("models", "pull", "qwen2.5-0.5b")
    result = run("models", "catalogue")
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert (result.exit_code, result.stderr) == (0, "")
    assert [row[0] for row in rows] == [entry.name for entry in CATALOGUE]
    assert [row[0] for row in rows if row[4]] == ["qwen2.5-0.5b"]
    assert rows[1] == ["qwen2.5-0.5b", "491 MB", "Apache-2.0", "many languages, little memory", "yes"]


def test_on_a_terminal_the_catalogue_fits_and_says_how_to_go_on(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("models", "catalogue")
    assert screen.wait() == 0
    assert [line.split()[0] for line in screen.text.splitlines()[1:-2]] == [entry.name for entry in CATALOGUE]
    assert "…" not in screen.text
    assert "`chatllm models pull NAME` fetches one" in screen.text


def test_pulled_models_are_listed_and_removed(run: Run, server: ModelServer, places: Places) -> None:
    for name in ("tiny", "other"):
        run("models", "pull", f"{server.url}/whole/{name}.gguf")
    assert run("models", "list").stdout == "local/smollm2\nlocal/other\nlocal/tiny\n"
    asked = run("models", "rm", "tiny")
    assert (asked.exit_code, asked.stderr) == (2, "chatllm: this needs --yes: remove 1 model?\n")
    removed = run("models", "rm", "local/tiny", "other", "other", "--yes")
    assert (removed.exit_code, removed.stdout) == (0, "")
    assert removed.stderr == "removed: local/tiny  0.1 MB; local/other  0.1 MB\n"
    assert names(places) == []
    assert run("models", "list").stdout == "local/smollm2\n"


def test_what_was_not_pulled_is_not_removed_and_nothing_else_either(run: Run, server: ModelServer) -> None:
    run("models", "pull", f"{server.url}/whole/tiny.gguf")
    for name, message in (
        ("smollm2", "local/smollm2 was not pulled"),
        ("../x", "'../x' cannot be the name of a model"),
    ):
        result = run("models", "rm", "tiny", name, "--yes")
        assert (result.exit_code, result.stderr.splitlines()[0]) == (2, f"chatllm: {message}")
    assert "local/tiny" in run("models", "list").stdout


def test_a_person_is_asked_before_a_model_is_removed(
    run: Run, terminal: Callable[..., Terminal], server: ModelServer, places: Places
) -> None:
    run("models", "pull", f"{server.url}/whole/tiny.gguf")
    for answer, left in (("n", ["tiny.gguf", "tiny.gguf.json"]), ("y", [])):
        screen = terminal("models", "rm", "tiny")
        screen.wait_for("local/tiny  0.1 MB\nremove 1 model? [y/N]")
        screen.type(f"{answer}\r")
        assert screen.wait() == 0
        assert names(places) == left


def test_a_pulled_model_is_asked_by_its_name(run: Run, server: ModelServer) -> None:
    run("models", "pull", f"{server.url}/whole/tiny.gguf")
    result = run("ask", "-m", "local/tiny", "--no-history", "hi")
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.match(r"chatllm: llama\.cpp cannot run .*/models/tiny\.gguf: ", result.stderr)
    unknown = run("ask", "-m", "local/nope", "hi")
    assert unknown.stderr == (
        "chatllm: there is no embedded model 'nope'\n  hint: the embedded models are local/smollm2, local/tiny\n"
    )


def test_a_damaged_model_is_never_loaded(run: Run, server: ModelServer, places: Places) -> None:
    run("models", "pull", f"{server.url}/whole/tiny.gguf")
    (places.models / "tiny.gguf").write_bytes(a_model(100_000, seed=1))
    result = run("ask", "-m", "local/tiny", "--no-history", "hi")
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.search(r"tiny\.gguf is damaged: its SHA-256 is .*\n  hint: `chatllm models rm tiny`", result.stderr)


@pytest.mark.embedded
def test_a_model_that_was_pulled_answers(run: Run, home: Path) -> None:
    bundled = find_weights(LocalSettings())
    with ModelServer(bundled.path.read_bytes()) as server:
        assert run("models", "pull", f"{server.url}/cut-once-50000000/Smol.gguf").stdout == "local/smol\n"
    answer = run("ask", "-m", "local/smol", "--no-history", "--temperature", "0", "--max-tokens", "200", "Say hello.")
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert answer.stdout.strip()


def test_a_terminal_shows_how_far_it_is_and_ctrl_c_keeps_what_came(
    terminal: Callable[..., Terminal], server: ModelServer, places: Places
) -> None:
    screen = terminal("models", "pull", f"{server.url}/slow-50000/tiny.gguf")
    screen.wait_for("tiny [")
    while (
        not (places.models / "tiny.gguf.part").exists() or (places.models / "tiny.gguf.part").stat().st_size < 50000
    ):
        screen.read()
    screen.type(CTRL_C)
    assert screen.wait() == 130
    assert screen.text.splitlines()[-1] == "stopped; what came is kept; running it again goes on"
    server.go_on.set()
    again = terminal("models", "pull", f"{server.url}/slow-50000/tiny.gguf")
    assert again.wait() == 0
    assert again.text == (f"local/tiny is there: 0.1 MB, its SHA-256 is written down\nlocal/tiny\n{HINT.strip()}")
    assert server.ranges == ["", "bytes=50000-"]
    assert re.search(r"tiny \[==========\.{10}\] 50 % · 0\.1 MB of 0\.1 MB", again.raw)
