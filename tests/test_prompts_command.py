import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from chatllm_cli.cli.prompts import SKELETON
from chatllm_cli.config.places import Places
from chatllm_cli.private_files import FILE_MODE, FOLDER_MODE
from chatllm_cli.services.prompts import Prompts
from tests.conftest import Editor, Run
from tests.fake_openai import FakeOpenAI
from tests.terminal import CTRL_D, Terminal
from tests.test_ask import journal_of
from tests.test_config import write_config

MINE = """---
description: Mine
model: default/says-mine
system: You are {{who}}.
options: {temperature: 0.5, top_k: 40, stop: [END]}
variables: {who: kind, tone: null}
---
In a {{tone}} tone:

{{input}}
"""


def write(places: Places, text: str, name: str = "mine") -> Path:
    places.prompts.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    path = places.prompts / f"{name}.md"
    path.write_text(text)
    path.chmod(FILE_MODE)
    return path


def test_on_a_pipe_the_list_has_tabs_and_says_what_is_damaged(run: Run, places: Places) -> None:
    write(places, MINE)
    path = write(places, "{{x}}", "explain")
    result = run("prompts", "list")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "commit-message\tchatllm\tWrite a commit message: git diff --staged | chatllm ask -p commit-message\n"
        f"explain\tyou\tdamaged: {path}:1: {{{{x}}}} is none of the variables\n"
        "mine\tyou\tMine\n"
        "review\tchatllm\tReview a change or a piece of code\n"
        "shell\tchatllm\tWrite a command for a task (-v shell=fish)\n"
        "summarise\tchatllm\tSum up a text\n"
        "translate\tchatllm\tTranslate a text (-v language=French)\n"
    )


def test_on_a_terminal_the_list_is_a_table_and_shows_nothing_dangerous(
    places: Places, terminal: Callable[..., Terminal]
) -> None:
    write(places, '---\ndescription: "red \\e[31m"\n---\n')
    shown = terminal("prompts", "list", columns=100)
    assert shown.wait() == 0
    assert [line.split(maxsplit=2) for line in shown.text.splitlines() if line.startswith(("prompt", "mine"))] == [
        ["prompt", "from", "what for"],
        ["mine", "you", "red ^[[31m"],
    ]
    assert "`chatllm ask -p NAME" in shown.text


def test_on_a_narrow_terminal_what_is_damaged_is_told_whole_beneath_the_table(
    places: Places, terminal: Callable[..., Terminal]
) -> None:
    path = write(places, "{{x}}")
    shown = terminal("prompts", "list", columns=40)
    assert shown.wait() == 0
    assert ["mine", "you", "damaged"] in [line.split() for line in shown.text.splitlines()]
    assert "".join(f"{path}:1: {{{{x}}}} is none of the variables".split()) in "".join(shown.text.split())


def test_as_json_the_list_has_everything_and_what_is_wrong(run: Run, places: Places) -> None:
    mine, broken = write(places, MINE), write(places, "{{x}}", "broken")
    found = {each["name"]: each for each in json.loads(run("prompts", "list", "--json").stdout)}
    assert found["mine"] == {
        "name": "mine",
        "from": "you",
        "path": str(mine),
        "description": "Mine",
        "variables": {"who": "kind", "tone": None},
        "fault": None,
    }
    assert found["broken"]["fault"] == f"{broken}:1: {{{{x}}}} is none of the variables"
    assert found["translate"]["from"] == "chatllm"


def test_listing_writes_nothing(run: Run, home: Path) -> None:
    assert run("prompts", "list").exit_code == 0
    assert list(home.rglob("*")) == []


def test_a_prompt_is_shown_as_its_file_has_it(run: Run, places: Places) -> None:
    write(places, "{{x}} \x1b[31m")
    assert run("prompts", "show", "mine").stdout == "{{x}} \x1b[31m\n"
    assert run("prompts", "show", "shell").stdout == Prompts(places.prompts).text("shell")
    result = run("prompts", "show", "nowhere")
    hint = "`chatllm prompts list` shows them, `prompts edit` begins one"
    assert (result.exit_code, result.stderr) == (2, f"chatllm: there is no prompt 'nowhere'\n  hint: {hint}\n")


def test_on_a_terminal_it_is_shown_clean(places: Places, terminal: Callable[..., Terminal]) -> None:
    write(places, "x \x1b[31m")
    shown = terminal("prompts", "show", "mine")
    assert (shown.wait(), shown.text) == (0, "x ^[[31m")


def test_a_new_prompt_begins_as_a_skeleton_for_its_owner_alone(run: Run, places: Places, editor: Editor) -> None:
    editor("echo 'Rhyme.' >> \"$1\"")
    result = run("prompts", "edit", "rhyme")
    path = places.prompts / "rhyme.md"
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"{path} is changed\n")
    assert path.read_text() == f"{SKELETON}Rhyme.\n"
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, places.prompts)] == [0o600, 0o700]
    assert Prompts(places.prompts).load("rhyme").body == "{{input}}\nRhyme."
    assert list(places.prompts.iterdir()) == [path]


def test_a_skeleton_without_its_marks_is_a_prompt(places: Places) -> None:
    write(places, SKELETON.replace("\n#", "\n").replace("\n What", "\n# What").replace("\n All", "\n# All"))
    template = Prompts(places.prompts).load("mine")
    assert (template.model, template.options.max_tokens, template.variables) == (
        "provider/model", 500, (("language", "English"),)
    )  # fmt: skip


def test_one_that_comes_along_is_copied_first(run: Run, places: Places, editor: Editor) -> None:
    shipped = Prompts(places.prompts).text("shell")
    editor("sed -i 's/bash/fish/' \"$1\"")
    assert run("prompts", "edit", "shell").exit_code == 0
    assert (places.prompts / "shell.md").read_text() == shipped.replace("bash", "fish", 1)


def test_what_is_left_as_it_was_makes_no_copy(run: Run, places: Places, editor: Editor) -> None:
    editor(":")
    result = run("prompts", "edit", "shell")
    assert (result.exit_code, result.stderr) == (0, f"nothing is changed in {places.prompts / 'shell.md'}\n")
    assert list(places.prompts.iterdir()) == []


def test_what_is_at_fault_is_told_and_kept_apart(run: Run, places: Places, editor: Editor) -> None:
    path = write(places, MINE)
    editor("echo '{{nmae}}' >> \"$1\"")
    result = run("prompts", "edit", "mine")
    (draft,) = [each for each in places.prompts.rglob("*.md") if each != path]
    assert (result.exit_code, path.read_text(), draft.read_text()) == (2, MINE, f"{MINE}{{{{nmae}}}}\n")
    assert result.stderr == (
        f"{draft}:11: {{{{nmae}}}} is none of the variables\n"
        f"chatllm: {path} is left as it was\n  hint: your text is kept in {draft}\n"
    )
    assert [each.name for each in Prompts(places.prompts).list() if not each.is_shipped] == ["mine"]


def test_on_a_terminal_it_can_be_edited_again(
    places: Places, editor: Editor, terminal: Callable[..., Terminal]
) -> None:
    path = write(places, b"caf\xe9".decode("latin-1"))
    path.write_bytes(b"caf\xe9")  # which is damaged, and can be edited all the same
    editor('grep -q x "$1" && echo mended > "$1" || echo \'{{x}}\' > "$1"')
    shown = terminal("prompts", "edit", "mine", columns=200)
    shown.wait_for("edit it again? [Y/n]")
    shown.type("\n")
    assert (shown.wait(), path.read_text()) == (0, "mended\n")


@pytest.mark.parametrize("name", ["../config", "a/b", ".x"])
def test_a_name_cannot_be_a_path(run: Run, editor: Editor, name: str) -> None:
    editor('echo x >> "$1"')
    for command in (["edit"], ["show"], ["rm", "--yes"]):
        result = run("prompts", *command, name)
        assert (result.exit_code, result.stderr.splitlines()[0]) == (
            2, f"chatllm: '{name}' cannot be the name of a prompt"
        )  # fmt: skip


def test_what_is_removed_is_gone_and_what_came_along_is_back(run: Run, places: Places) -> None:
    paths = [write(places, MINE), write(places, MINE, "shell")]
    result = run("prompts", "rm", "mine", "shell", "mine", "--yes")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "removed: mine, shell\n")
    assert not any(path.exists() for path in paths)
    assert "shell\tchatllm" in run("prompts", "list").stdout


def test_nothing_is_removed_if_one_cannot_be(run: Run, places: Places) -> None:
    path = write(places, MINE)
    result = run("prompts", "rm", "mine", "shell", "--yes")
    assert (result.exit_code, path.exists()) == (2, True)
    assert result.stderr == (
        "chatllm: the prompt 'shell' comes along with chatllm and cannot be removed\n"
        "  hint: `chatllm prompts edit shell` puts one of your own in its place\n"
    )


def test_removing_is_asked_for(run: Run, places: Places) -> None:
    path = write(places, MINE)
    result = run("prompts", "rm", "mine")
    assert (result.exit_code, result.stderr) == (2, "chatllm: this needs --yes: remove 1 prompt?\n")
    assert path.exists()


def test_what_is_asked_is_put_into_the_prompt_and_sent_as_it_says(
    run: Run, places: Places, provider: FakeOpenAI
) -> None:
    write(places, MINE)
    result = run("ask", "-p", "mine", "-v", "tone=calm = {{who}}", "Why", "{{x}}?", stdin="a | b\n")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "mine", "")
    sent = "In a calm = {{who}} tone:\n\nWhy {{x}}?\n\na | b"
    assert provider.last_messages() == [("system", "You are kind."), ("user", sent)]
    body = provider.chats[0].body
    told = [body[name] for name in ("model", "temperature", "top_k", "stop")]
    assert told == ["says-mine", 0.5, 40, ["END"]]
    conversation, message = journal_of(places)[:2]
    assert (conversation["title"], message["content"]) == ("mine: Why {{x}}?", sent)


def test_flags_outweigh_the_prompt_which_outweighs_the_settings(
    run: Run, places: Places, provider: FakeOpenAI
) -> None:
    write_config(places, 'temperature = 1.5\nmax_tokens = 7\nsystem_prompt = "Be odd."\n')
    write(places, MINE)
    flags = ["-m", "says-x", "-s", "", "--temperature", "0", "--stop", "X", "--option", "top_k=1", "--option", "y=2"]
    assert run("ask", "-p", "mine", "-v", "tone=calm", *flags, "hi").exit_code == 0
    body = provider.chats[0].body
    assert [body[name] for name in ("model", "temperature", "stop", "top_k", "y", "max_tokens")] == [
        "says-x", 0, ["X"], 1, 2, 7
    ]  # fmt: skip
    assert [role for role, _ in provider.last_messages()] == ["user"]


def test_at_temperature_0_the_prompt_is_part_of_what_is_looked_up(
    run: Run, places: Places, provider: FakeOpenAI
) -> None:
    write(places, "---\noptions: {temperature: 0, seed: 1}\n---\n")
    for _ in range(2):
        run("ask", "-p", "mine", "hi")
    write(places, "---\noptions: {temperature: 0, seed: 2}\n---\n")
    run("ask", "-p", "mine", "hi")
    assert [chat.body["seed"] for chat in provider.chats] == [1, 2]


def test_a_prompt_that_needs_no_input_is_asked_by_itself(run: Run, places: Places, provider: FakeOpenAI) -> None:
    write(places, "Tell a joke.")
    assert run("ask", "-p", "mine").exit_code == 0
    assert run("ask", "-p", "mine", "About cats.").exit_code == 0
    assert run("ask", "-c", "-p", "mine").exit_code == 0
    assert [chat.body["messages"][-1]["content"] for chat in provider.chats] == [
        "Tell a joke.", "Tell a joke.\n\nAbout cats.", "Tell a joke."
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-p", "mine", "-v", "tone=x"], "the prompt 'mine' needs an input"),
        (["-p", "mine", "hi"], "the prompt 'mine' needs a value for 'tone'"),
        (["-p", "mine", "-v", "tune=x", "hi"], "the prompt 'mine' has no variable 'tune'"),
        (["-p", "mine", "-v", "tone", "hi"], "'tone' is no variable: write NAME=VALUE"),
        (["-p", "mien", "hi"], "there is no prompt 'mien'"),
        (["-p", "broken", "hi"], "{path}:2: options.temperature: expected a number less than or equal to 2"),
        (["-v", "tone=x", "hi"], "-v is for the variables of a prompt"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_sent(
    run: Run, places: Places, provider: FakeOpenAI, arguments: list[str], told: str
) -> None:
    write(places, MINE)
    path = write(places, "---\noptions: {temperature: 3}\n---\n", "broken")
    result = run("ask", *arguments)
    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, f"chatllm: {told.format(path=path)}")
    assert (provider.chats, places.conversations.exists()) == ([], False)


@pytest.mark.parametrize(("text", "said"), [("Look through this:\n\n{{input}}", ["Look through this:"]), ("", [])])
def test_a_file_is_input_without_a_word(
    run: Run, places: Places, provider: FakeOpenAI, tmp_path: Path, text: str, said: list[str]
) -> None:
    write(places, text)
    (tmp_path / "a.txt").write_text("what a says")
    result = run("ask", "-p", "mine", "-f", str(tmp_path / "a.txt"))
    assert (result.exit_code, result.stderr) == (0, "")
    sent = provider.last_messages()[-1][1]
    assert "what a says" in sent
    assert [line for line in sent.splitlines() if line.startswith("Look")] == said


def test_in_the_chat_the_body_is_put_around_the_first_prompt_alone(
    places: Places, provider: FakeOpenAI, terminal: Callable[..., Terminal]
) -> None:
    write(places, MINE)
    shown = terminal("chat", "-p", "mine", "--var", "tone=calm")
    shown.wait_for("default/says-mine")
    shown.type("one\r")
    shown.wait_for("> one\nmine\n")
    shown.type("two\r")
    shown.wait_for("> two\nmine\n")
    shown.type(CTRL_D)
    assert shown.wait() == 0
    assert [(role, text) for role, text in provider.last_messages() if role != "assistant"] == [
        ("system", "You are kind."), ("user", "In a calm tone:\n\none"), ("user", "two")
    ]  # fmt: skip
    assert [chat.body["temperature"] for chat in provider.chats] == [0.5, 0.5]
