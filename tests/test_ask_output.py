"""What `ask` puts out besides the answer as it streams: parts of it, files, JSON."""

import json
import stat
from pathlib import Path

import pytest

from chatllm_cli.config.places import Places
from tests.conftest import Run
from tests.fake_openai import MARKDOWN, FakeOpenAI
from tests.test_prompts_command import write

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("model", "flags", "stdout"),
    [
        ("markdown", ["-x"], "print(1)\n"),
        ("markdown", ["-x", "1"], "print(1)\n"),
        ("markdown", ["--extract"], "print(1)\n"),
        ("markdown", ["--extract-all"], "print(1)\n"),
        ("code", ["-x"], "print(1)\n"),
        ("code", ["-x", "2"], "ls\n"),
        ("code", ["-x2"], "ls\n"),
        ("code", ["--extract-all"], "print(1)\n\nls\n"),
    ],
)
def test_code_blocks_are_put_out_alone(
    run: Run, provider: FakeOpenAI, model: str, flags: list[str], stdout: str
) -> None:
    for arguments in (["ask", "-m", model, *flags, "hi"], ["ask", "-m", model, "hi", *flags]):
        result = run(*arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (0, stdout, "")


def test_a_prompt_behind_x_is_the_prompt(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "-m", "markdown", "-x", "two", "plus", "2")
    assert provider.last_messages() == [("user", "two plus 2")]
    run("ask", "-m", "markdown", "--", "-x", "is an option")
    assert provider.last_messages() == [("user", "-x is an option")]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["-m", "says-hello", "-x"], "there is no code block in the answer\n  hint: `chatllm history show` shows"),
        (["-m", "code", "-x", "3"], "there is no code block 3 in the answer: it has 2\n"),
    ],
)
def test_a_code_block_that_is_not_there_is_told_and_the_answer_kept(
    run: Run, provider: FakeOpenAI, flags: list[str], told: str
) -> None:
    result = run("ask", *flags, "hi")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"chatllm: {told}")
    assert run("history", "show").stdout


def test_an_answer_goes_into_a_file_whole(run: Run, provider: FakeOpenAI, tmp_path: Path) -> None:
    target = tmp_path / "answer.md"
    target.write_text("old")
    result = run("ask", "-m", "markdown", "-o", str(target), "hi")
    assert (result.exit_code, result.output, target.read_text()) == (0, "", MARKDOWN)
    assert run("ask", "-m", "markdown", "-x", "-o", str(target), "hi").exit_code == 0
    assert target.read_text() == "print(1)\n"
    assert run("ask", "-m", "markdown", "--json", "-o", str(target), "hi").stdout == ""
    assert json.loads(target.read_text())["text"] == MARKDOWN
    assert run("ask", "-m", "markdown", "-o", "-", "hi").stdout == MARKDOWN
    assert list(tmp_path.glob(".*")) == []


def test_a_file_keeps_its_mode_and_a_new_one_gets_that_of_any(run: Run, provider: FakeOpenAI, tmp_path: Path) -> None:
    script, new, plain = tmp_path / "run.sh", tmp_path / "new", tmp_path / "plain"
    script.touch(0o755)
    script.chmod(0o755)
    plain.touch()
    for target in (script, new):
        assert run("ask", "-o", str(target), "hi").exit_code == 0
    assert [stat.S_IMODE(path.stat().st_mode) for path in (script, new)] == [
        0o755,
        stat.S_IMODE(plain.stat().st_mode),
    ]


@pytest.mark.parametrize("flags", [[], ["--json"]])
@pytest.mark.parametrize("model", ["length", "filter", "cut-2"])
def test_an_answer_that_is_not_whole_replaces_no_file_and_that_is_told(
    run: Run, provider: FakeOpenAI, tmp_path: Path, model: str, flags: list[str]
) -> None:
    target = tmp_path / "answer.md"
    target.write_text("old")
    result = run("ask", "-m", model, "-o", str(target), *flags, "hi")
    assert (result.exit_code in {5, 6}, bool(result.stdout), target.read_text()) == (True, bool(flags), "old")
    assert f"{target} is not written" in result.stderr


@pytest.mark.parametrize("target", ["/proc/no/such/folder/x", "{tmp}/missing/x"])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_asked(
    run: Run, provider: FakeOpenAI, tmp_path: Path, target: str
) -> None:
    result = run("ask", "-o", target.format(tmp=tmp_path), "hi")
    assert (result.exit_code, provider.chats) == (2, [])
    assert "cannot be written" in result.stderr


def test_pieces_are_objects_a_line_each_and_the_whole_comes_last(run: Run, provider: FakeOpenAI) -> None:
    result = run("ask", "--json-stream", "-m", "tokens-5-50", "hi")
    *pieces, whole = map(json.loads, result.stdout.splitlines())
    assert len(pieces) >= 2
    assert "".join(piece["text"] for piece in pieces) == whole["text"] == "word0 word1 word2 word3 word4 "
    assert (whole["status"], result.stderr) == ("complete", "")
    error = run("ask", "--json-stream", "-m", "fault-401", "hi")
    assert (error.exit_code, json.loads(error.stderr)["error"]["kind"]) == (3, "authentication")


@pytest.mark.parametrize(
    "flags",
    [
        ["-x", "--json"],
        ["--extract-all", "--json-stream"],
        ["-x", "--schema", "a"],
        ["-x", "--extract-all"],
        ["--plain", "--markdown"],
        ["--json-stream", "-o", "x"],
    ],
)
def test_what_does_not_go_together_is_a_usage_error(run: Run, provider: FakeOpenAI, flags: list[str]) -> None:
    assert (run("ask", "hi", *flags).exit_code, provider.chats) == (2, [])


def test_a_schema_makes_the_answer_json_that_fits(run: Run, provider: FakeOpenAI, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    for spec in (json.dumps(SCHEMA), str(file), "name, age int", "name: full name, age integer: in years"):
        result = run("ask", "-m", 'json:{"name": "Ann", "age": 3}', "--schema", spec, "hi")
        assert (result.exit_code, json.loads(result.stdout), result.stderr) == (0, {"name": "Ann", "age": 3}, "")
        (role, instruction), prompt = provider.last_messages()
        assert (role, prompt, '"age"' in instruction) == ("system", ("user", "hi"), True)
    described = json.loads(run("ask", "-m", 'json:{"name": "Ann"}', "--schema", "name", "--json", "hi").stdout)
    assert described["value"] == {"name": "Ann"}


def test_an_answer_that_does_not_fit_is_asked_for_once_more(run: Run, provider: FakeOpenAI, places: Places) -> None:
    result = run("ask", "-m", 'mended:{"age": 3}', "--schema", "age int", "hi")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"age": 3})
    assert result.stderr == "the answer is not JSON; it is asked for once more\n"
    assert [role for role, _ in provider.last_messages()] == ["system", "user", "assistant", "user"]
    assert provider.last_messages()[-1][1].startswith("That cannot be used: the answer is not JSON. ")
    asked = len(provider.chats)
    result = run("ask", "-m", 'json:{"age": "three"}', "--schema", "age int", "hi")
    assert (result.exit_code, result.stdout, len(provider.chats)) == (6, "", asked + 2)
    assert result.stderr == (
        "the answer does not fit the schema: at $.age: 'three' is not of type 'integer'; it is asked for once more\n"
        "chatllm: the answer does not fit the schema: at $.age: 'three' is not of type 'integer'\n"
        "  hint: `chatllm history show` shows the answer\n"
    )
    described = run("ask", "--json", "-m", 'json:{"age": "three"}', "--schema", "age int", "hi")
    assert (described.exit_code, json.loads(described.stdout)["text"]) == (6, '{"age": "three"}')


@pytest.mark.parametrize("spec", ["", "a b c", "name, age years", "{", '{"type": 3}', "missing.json", "no/such"])
def test_a_schema_that_is_none_is_told_before_anything_is_asked(run: Run, provider: FakeOpenAI, spec: str) -> None:
    result = run("ask", "--schema", spec, "hi")
    assert (result.exit_code, result.stdout, provider.chats) == (2, "", [])


def test_markdown_is_rendered_on_a_pipe_if_that_is_wished(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    shown = run("ask", "--markdown", "-m", "markdown", "hi").stdout
    assert shown == "       Title\n\nSome text here.\n\n • one\n • two\n\n\n print(1)\n\n\nThe end.\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1" in run("ask", "--markdown", "-m", "markdown", "hi").stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in run("ask", "--markdown", "-m", "markdown", "hi").stdout.replace("\x1b[3m", "")
    assert run("ask", "-m", "markdown", "hi").stdout == MARKDOWN


@pytest.mark.parametrize(
    ("clean", "stdout"),
    [("auto", "a\x1b]0;title\x07b"), ("always", "a^[]0;title^Gb"), ("never", "a\x1b]0;title\x07b")],
)
def test_pipes_are_cleaned_if_that_is_wished(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, clean: str, stdout: str
) -> None:
    monkeypatch.setenv("CHATLLM_OUTPUT__CLEAN", clean)
    assert run("ask", "-m", "escape", "hi").stdout.startswith(stdout)


def test_a_code_theme_that_there_is_not_is_told(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_OUTPUT__CODE_THEME", "nosuch")
    result = run("ask", "--markdown", "-m", "markdown", "hi")
    told, hint = result.stderr.split("\n  hint: ")
    assert (result.exit_code, told) == (2, "chatllm: output.code_theme: there is no Pygments style 'nosuch'")
    assert ("monokai" in hint, provider.chats) == (True, [])


@pytest.mark.parametrize("model", ["length", "filter"])
def test_code_blocks_of_an_answer_that_is_cut_end_as_that_does(run: Run, provider: FakeOpenAI, model: str) -> None:
    result = run("ask", "-x", "-m", model, "hi")
    assert (result.exit_code, "cut off" in result.stderr) == (6, True)


def test_an_object_that_is_not_for_the_file_comes_on_stdout(run: Run, provider: FakeOpenAI, tmp_path: Path) -> None:
    result = run("ask", "--json", "-o", str(tmp_path / "x"), "-m", "length", "hi")
    assert (result.exit_code, json.loads(result.stdout)["status"]) == (6, "truncated")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("columns", ["0", "²", "-1", "x"])
def test_a_size_that_is_none_costs_no_answer(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert "The end." in run("ask", "--markdown", "-m", "markdown", "hi").stdout
    assert run("history", "show").exit_code == 0


@pytest.mark.parametrize("target", [".", "", "{tmp}"])
def test_a_folder_is_no_file_to_write(run: Run, provider: FakeOpenAI, tmp_path: Path, target: str) -> None:
    assert (run("ask", "-o", target.format(tmp=tmp_path), "hi").exit_code, provider.chats) == (2, [])


def test_an_empty_answer_replaces_no_file(run: Run, provider: FakeOpenAI, tmp_path: Path) -> None:
    target = tmp_path / "answer"
    target.write_text("old")
    run("ask", "-o", str(target), "-m", "silent", "hi")
    assert target.read_text() == "old"


def test_short_options_may_be_joined(run: Run, provider: FakeOpenAI) -> None:
    run("ask", "-m", "code", "first")
    assert run("ask", "-cx", "-m", "code", "again").stdout == "print(1)\n"


@pytest.mark.parametrize("flag", ["-pfix", "-ffx", "-sfx", "-mfx"])
def test_an_x_that_a_value_ends_in_is_no_option(
    run: Run, provider: FakeOpenAI, places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flag: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fx").write_text("attached")
    write(places, "{{input}}", "fix")
    assert run("ask", flag, "hello").exit_code == 0
    said = provider.last_messages()[-1][1].splitlines()
    assert "hello" in (said[0], said[-1])


def test_an_answer_that_does_not_fit_because_it_is_cut_says_so_and_is_not_asked_for_again(
    run: Run, provider: FakeOpenAI
) -> None:
    result = run("ask", "-m", "length", "--schema", "a", "hi")
    told = "chatllm: the answer is not JSON\n  hint: it is not whole (truncated)\n"
    assert (result.exit_code, result.stdout, result.stderr, len(provider.chats)) == (6, "", told, 1)
