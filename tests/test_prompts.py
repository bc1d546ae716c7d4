"""Prompt files: what they come to, and that nothing in one can do more than be refused in one line."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chatllm_cli.config.places import Places
from chatllm_cli.errors import ConfigError, UsageError
from chatllm_cli.models import ChatOptions
from chatllm_cli.private_files import FILE_MODE, FOLDER_MODE
from chatllm_cli.services.prompts import Prompts, PromptTemplate
from chatllm_cli.services.prompts.parsing import parse_prompt
from chatllm_cli.services.prompts.service import LONGEST, SHIPPED

WHOLE = """---
description: Rhyme a text
model: groq/llama
system: You are {{who}}.
options:
  temperature: 0.5
  stop: END
  top_k: 40
  extra: {deep: [1, true, null]}
variables:
  who: a poet
  when: 2026-01-01
  is_short: no
  needed:
---

Rhyme this, {{ who }}, {{needed}}:

{{input}}

"""


@pytest.fixture
def prompts(places: Places) -> Prompts:
    places.prompts.mkdir(FOLDER_MODE, parents=True)
    return Prompts(places.prompts)


def write(prompts: Prompts, text: str | bytes, name: str = "mine") -> Path:
    path = prompts.folder / f"{name}.md"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(FILE_MODE)
    return path


def body(text: str, **variables: str | None) -> PromptTemplate:
    return PromptTemplate("mine", Path("mine.md"), variables=tuple(variables.items()), body=text)


def test_a_file_has_front_matter_and_a_body(prompts: Prompts) -> None:
    path = write(prompts, WHOLE)
    assert prompts.load("mine") == PromptTemplate(
        "mine",
        path,
        "Rhyme a text",
        "groq/llama",
        "You are {{who}}.",
        ChatOptions(0.5, stop=("END",), extra=(("top_k", "40"), ("extra", '{"deep": [1, true, null]}'))),
        (("who", "a poet"), ("when", "2026-01-01"), ("is_short", "no"), ("needed", None)),
        "Rhyme this, {{ who }}, {{needed}}:\n\n{{input}}",
    )


@pytest.mark.parametrize("text", ["Be brief.", "\n\nBe brief.\n\n", "---\n---\nBe brief.", "\ufeffBe brief.\r\n"])
def test_front_matter_may_be_missing_or_empty(prompts: Prompts, text: str) -> None:
    path = write(prompts, text)
    assert prompts.load("mine") == PromptTemplate("mine", path, body="Be brief.")


def test_a_windows_editor_may_have_written_it(prompts: Prompts) -> None:
    write(prompts, b"\xef\xbb\xbf" + WHOLE.replace("\n", "\r\n").encode())
    assert prompts.load("mine").body == "Rhyme this, {{ who }}, {{needed}}:\n\n{{input}}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sum up:\n{{input}}\nEnd.", "Sum up:\n2 < 3\nEnd."),
        ("{{input}} and {{ input }}", "2 < 3 and 2 < 3"),
        ("Sum up:", "Sum up:\n\n2 < 3"),
        ("", "2 < 3"),
        ("In {{language}}: {{input}}", "In French: 2 < 3"),
        (r"A mustache: \{{input}}, {{input}}", "A mustache: {{input}}, 2 < 3"),
        ("{{#each}} {{ 1 }} {{}} {input}", "{{#each}} {{ 1 }} {{}} {input}\n\n2 < 3"),
    ],
)
def test_the_input_stands_where_the_body_says_or_after_it(text: str, expected: str) -> None:
    assert body(text, language="English").filled({"language": "French"}).wrapped("2 < 3") == expected


def test_what_is_put_in_is_not_looked_at_again() -> None:
    template = body("{{language}}: {{input}}", language="English", other="x")
    filled = template.filled({"language": "{{input}} {{other}}"})
    assert filled.wrapped(r"{{language}} \{{input}} {{nobody}}") == (
        r"{{input}} {{other}}: {{language}} \{{input}} {{nobody}}"
    )


@pytest.mark.parametrize("nothing", ["", " \n"])
def test_a_body_that_has_no_place_for_the_input_does_without(nothing: str) -> None:
    assert body("Tell a joke.").filled({}).wrapped(nothing) == "Tell a joke."
    for needy in ("", "{{input}}"):
        with pytest.raises(UsageError, match="the prompt 'mine' needs an input"):
            body(needy).filled({}).wrapped(nothing)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Review this:\n\n{{input}}", "Review this:"), ("{{input}}\n\nReview it.", "Review it."), ("", "")],
)
def test_what_is_attached_is_input_enough(text: str, expected: str) -> None:
    assert body(text).filled({}).wrapped(" \n", has_attachments=True) == expected


def test_variables_are_put_into_the_system_prompt_too(prompts: Prompts) -> None:
    write(prompts, WHOLE)
    assert prompts.load("mine").filled({"needed": "!", "who": "a cat"}).system == "You are a cat."


@pytest.mark.parametrize(
    ("given", "told", "hint"),
    [
        ({"needed": "x", "langauge": "x"}, "the prompt 'mine' has no variable 'langauge'", "it has who, needed"),
        ({"needed": "x", "input": "x"}, "the prompt 'mine' has no variable 'input'", "it has who, needed"),
        ({"who": "x"}, "the prompt 'mine' needs a value for 'needed'", "-v needed=VALUE gives it"),
    ],
)
def test_a_value_that_is_unknown_or_missing_is_named(given: dict[str, str], told: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        body("", who="a poet", needed=None).filled(given)
    assert (caught.value.message, caught.value.hint) == (told, hint)


def test_an_empty_value_is_a_value() -> None:
    assert body("<{{needed}}>", needed=None).filled({"needed": ""}).wrapped("") == "<>"


FAULTS = {
    "---\nmodel: x\n": ":1: the front matter has no end, which is a line ---",
    "---\nmodle: x\n---\n": (
        ":2: the front matter: 'modle' is not known; there is description, model, system, options, variables"
    ),
    "---\n- x\n---\n": ":2: the front matter: expected NAME: VALUE, a line each",
    "---\n? [a]\n: x\n---\n": (
        ":2: the front matter: what stands there is not known; "
        "there is description, model, system, options, variables"
    ),
    "---\nmodel: x\nmodel: y\n---\n": ":3: the front matter: 'model' stands there twice",
    "---\nmodel: [x]\n---\n": ":2: model: expected a text",
    "---\nmodel: a: b\n---\n": ":2: the front matter is not valid YAML: mapping values are not allowed here",
    "---\nmodel: 'x\n---\n": ":2: the front matter is not valid YAML: found unexpected end of stream",
    "---\nmodel: x\x07\n---\n": ":2: the front matter is not valid YAML: there is a control character",
    "---\nmodel: &a x\nsystem: *a\n---\n": ":3: the front matter is not valid YAML: aliases are not taken",
    "---\nx: {}\n---\n".replace("x: {}", "[" * 30000): ": the front matter is not valid YAML: it is too deep",
    "---\noptions: {top_k: !!timestamp x}\n---\n": (
        ": the front matter is not valid YAML: a value is not what it is said to be"
    ),
    f"---\noptions: {{top_k: {'9' * 5000}}}\n---\n": (
        ": the front matter is not valid YAML: a value is not what it is said to be"
    ),
    "---\noptions:\n  temperature: 9\n---\n": (":3: options.temperature: expected a number less than or equal to 2"),
    "---\noptions:\n  stop: x\n  temprature: 1\n---\n": (
        ":4: options: 'temprature' is not known; did you mean temperature?"
    ),
    "---\n\noptions:\n  stop: x\n  n: 2\n---\n": (
        ":3: options: 'n' cannot be set as an option: the request says it already, or a setting of that name does"
    ),
    "---\noptions: {x: .nan, y: !!binary aGk=}\n---\n": ":2: options: expected values that JSON has",
    "---\noptions: 3\n---\n": ":2: options: expected NAME: VALUE, a line each",
    "---\nvariables: [language]\n---\n": ":2: variables: expected NAME: VALUE, a line each",
    "---\nvariables:\n  input: x\n---\n": ":3: variables: 'input' is there by itself",
    "---\nvariables:\n  my name: x\n---\n": (":3: variables: 'my name': expected a name of letters, digits, _ and -"),
    "---\nvariables:\n  a: {b: c}\n---\n": ":3: variables: a: expected a text",
    "---\nsystem: x {{input}}\n---\n": ":2: {{input}} has no place in system",
    "---\nsystem: x {{who}}\n---\n": ":2: {{who}} is none of the variables",
    "---\nmodel: x\n---\n\nOne.\n{{nmae}}\n": ":6: {{nmae}} is none of the variables",
    "One.\n\n{{nmae}}\n": ":3: {{nmae}} is none of the variables",
}


@pytest.mark.parametrize("text", FAULTS)
def test_what_is_wrong_is_told_with_the_file_and_the_line(prompts: Prompts, text: str) -> None:
    path = write(prompts, text)
    with pytest.raises(ConfigError) as caught:
        prompts.load("mine")
    assert caught.value.message == f"{path}{FAULTS[text]}"


def test_what_is_no_text_or_too_long_is_refused(prompts: Prompts) -> None:
    path = write(prompts, b"one\ncaf\xe9")
    with pytest.raises(ConfigError, match=r"mine\.md:2: it is not UTF-8 \(byte 8\)$"):
        prompts.load("mine")
    write(prompts, "x" * LONGEST)
    assert len(prompts.load("mine").body) == LONGEST
    write(prompts, "x" * (LONGEST + 1))
    with pytest.raises(ConfigError, match=r"mine\.md is longer than a prompt may be, 64 kB"):
        prompts.load("mine")
    path.unlink()
    os.mkfifo(path, FILE_MODE)
    with pytest.raises(ConfigError, match=r"mine\.md cannot be read: it is no file"):
        prompts.load("mine")
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(ConfigError, match=r"mine\.md cannot be read: No such file or directory"):
        prompts.load("mine")


def test_a_bomb_is_refused_before_it_goes_off(prompts: Prompts) -> None:
    bomb = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))]
    write(prompts, "\n".join(["---", *bomb, "---"]))
    with pytest.raises(ConfigError, match=":3: the front matter is not valid YAML: aliases are not taken"):
        prompts.load("mine")


@pytest.mark.parametrize("name", ["", ".hidden", "../config", "a/b", "a b", "-x", "a\n", "é", "a" * 101])
def test_a_name_never_leads_elsewhere(prompts: Prompts, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a prompt"):
        prompts.load(name)


def test_a_name_that_nothing_has_is_told_with_the_nearest(prompts: Prompts) -> None:
    with pytest.raises(UsageError) as caught:
        prompts.load("sumarise")
    assert (caught.value.message, caught.value.hint) == (
        "there is no prompt 'sumarise'", "did you mean summarise?"
    )  # fmt: skip


def test_a_file_of_the_users_outweighs_one_that_comes_along(prompts: Prompts) -> None:
    assert prompts.load("explain").path.parent == SHIPPED
    path = write(prompts, "Explain {{input}}!", "explain")
    assert (prompts.load("explain").path, prompts.names().count("explain")) == (path, 1)
    prompts.remove("explain")
    assert prompts.load("explain").path.parent == SHIPPED
    with pytest.raises(UsageError, match="'explain' comes along with chatllm and cannot be removed"):
        prompts.remove("explain")


def test_the_list_has_all_of_them_and_what_is_wrong_with_one(prompts: Prompts) -> None:
    damaged = write(prompts, "{{x}}", "damaged")
    write(prompts, "no prompt", "a b")
    (prompts.folder / "folder.md").mkdir()
    (prompts.folder / "notes.txt").write_text("no prompt")
    listed = {each.name: each for each in prompts.list()}
    assert list(listed) == [
        "commit-message", "damaged", "explain", "review", "shell", "summarise", "translate"
    ]  # fmt: skip
    assert (listed["damaged"].template, listed["damaged"].fault) == (
        None, f"{damaged}:1: {{{{x}}}} is none of the variables"
    )  # fmt: skip
    assert [each.is_shipped for each in listed.values()] == [True, False, True, True, True, True, True]


def test_there_need_be_no_folder(places: Places) -> None:
    prompts = Prompts(places.prompts)
    assert prompts.names() == ["commit-message", "explain", "review", "shell", "summarise", "translate"]
    assert not places.prompts.exists()


@pytest.mark.parametrize("name", Prompts(Path("none")).names())
def test_those_that_come_along_need_an_input_and_nothing_else(name: str) -> None:
    template = Prompts(Path("none")).load(name)
    filled = template.filled({})
    assert (template.needs_input, template.options, template.model) == (True, ChatOptions(), "")
    assert filled.wrapped("x = {{x}}").endswith("x = {{x}}")
    assert filled.system
    assert "{{" not in filled.system + filled.wrapped("x")


def test_what_a_list_glimpses_of_those_that_come_along_is_their_description(places: Places) -> None:
    prompts = Prompts(places.prompts)
    described = [(each.name, each.template.description) for each in prompts.list() if each.template]
    assert prompts.glimpses() == described


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_a_file_that_others_can_write_is_refused_and_listed_so(prompts: Prompts, mode: int) -> None:
    path = write(prompts, "{{input}}")
    path.chmod(mode)
    with pytest.raises(ConfigError) as refused:
        prompts.load("mine")
    assert (refused.value.message, refused.value.hint) == (f"{path} can be written by others", f"chmod 600 {path}")
    listed = {each.name: each for each in prompts.list()}
    assert (listed["mine"].template, listed["mine"].fault) == (None, refused.value.message)
    path.chmod(0o644)
    assert prompts.load("mine").body == "{{input}}"


def test_so_is_every_one_in_a_folder_that_others_can_write_but_none_that_comes_along(prompts: Prompts) -> None:
    write(prompts, "{{input}}")
    prompts.folder.chmod(0o777)
    with pytest.raises(ConfigError) as refused:
        prompts.load("mine")
    told = (refused.value.message, refused.value.hint)
    assert told == (f"{prompts.folder} can be written by others", f"chmod 700 {prompts.folder}")
    assert prompts.load("explain").path.parent == SHIPPED


def test_the_mode_that_counts_is_that_of_the_file_that_a_link_leads_to(prompts: Prompts, tmp_path: Path) -> None:
    kept = write(Prompts(tmp_path), "{{input}}", "kept")
    (prompts.folder / "mine.md").symlink_to(kept)
    assert prompts.load("mine").body == "{{input}}"
    kept.chmod(0o666)
    with pytest.raises(ConfigError, match=r"mine\.md can be written by others"):
        prompts.load("mine")


def test_a_list_does_not_wait_for_a_pipe(prompts: Prompts) -> None:
    os.mkfifo(prompts.folder / "pipe.md")
    assert dict(prompts.glimpses())["pipe"] == ""


def test_the_example_of_the_document_is_a_prompt(prompts: Prompts) -> None:
    document = (Path(__file__).parent.parent / "docs/prompts.md").read_text()
    _, example = document.split("\n\n    ---\n")
    lines = [line.removeprefix("    ") for line in f"---\n{example}".split("\n") if line[:4] in {"    ", "---", ""}]
    write(prompts, "\n".join(lines[: lines.index("{{input}}") + 1]))
    template = prompts.load("mine")
    assert (template.variables, template.options.extra) == (
        (("language", "English"), ("mood", None)), (("top_k", "40"),)
    )  # fmt: skip


SCRAPS = [
    "---", "\n", "\n", " ", "  ", ": ", "- ", "description", "model", "system", "options", "variables", "stop",
    "temperature", "0.5", "1e999", ".inf", "[", "]", "{", "}", "{{", "}}", "{{input}}", "{{x}}", "\\", "&a ", "*a",
    "<<", "!!int ", "!!python/object:os.system ", "!!set ", "!!binary ", "? ", "| ", ">-", "'", '"', "#", "%YAML 9.9",
    "...", "~", "null", "\t", "\x00", "\x85", "\u2028", "\ufeff", "é", "x", "0x", "1:30", "2026-13-45", "=",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(SCRAPS) | st.text(max_size=4), max_size=30).map("".join)


FILES = st.builds("---\n{}\n---\n{}".format, TEXTS, TEXTS) | TEXTS


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FILES)
@example("---\noptions:\n  top_k: !!int ''\n---")
@example("---\noptions:\n  top_k: !!bool x\n---")
@example("---\noptions:\n  ~: 1\n---")
@example("---\noptions: {? {a: b} : 1}\n---")
@example("---\noptions:\n  x: &a [*a]\n---")
@example("---\noptions:\n  x: {[1]: 2}\n---")
@example("---\noptions:\n  x: {? !!timestamp 2026-01-01 : 2}\n---")
def test_whatever_a_file_holds_it_is_a_prompt_or_refused_in_one_line(text: str) -> None:
    try:
        template = parse_prompt(text.encode("utf-8", "replace").decode(), "mine", Path("mine.md"))
    except ConfigError as error:
        told = error.message
    else:
        filled = template.filled({name: "{{x}}" for name, _ in template.variables})
        told = f"mine.md:{filled.system}{filled.wrapped('{{x}} {{input}}')}"
    assert told.startswith("mine.md:")
