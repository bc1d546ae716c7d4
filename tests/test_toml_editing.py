import difflib
import tomllib
from typing import Any

import pytest

from chatllm_cli.config.setting_keys import Key
from chatllm_cli.config.toml_editing import with_value, without
from chatllm_cli.errors import ChatllmError, ConfigError
from chatllm_cli.settings_text import example_config


def added(before: str, after: str) -> list[str]:
    """The lines that differ, each with the one above it."""
    lines = [line for line in difflib.unified_diff(before.splitlines(), after.splitlines(), n=1) if line[0] in " +-"]
    return lines[2:]


@pytest.mark.parametrize(
    ("text", "key", "value", "expected"),
    [
        ("", ("temperature",), 0.2, "temperature = 0.2\n"),
        ("", ("providers", "a", "base_url"), "u", '[providers.a]\nbase_url = "u"\n'),
        ("", ("models", "a/b.c", "top_p"), 1, '[models."a/b.c"]\ntop_p = 1\n'),
        ("", ("fallback",), ["a/b", "c"], 'fallback = ["a/b", "c"]\n'),
        ("", ("history",), True, "history = true\n"),
        ("temperature=1   # warm\n", ("temperature",), 0.2, "temperature=0.2   # warm\n"),
        ("a = 1", ("b",), 2, "a = 1\nb = 2\n"),
        ("a = 1\r\n[x]\r\nb = 1\r\n", ("c",), 2, "a = 1\r\nc = 2\r\n[x]\r\nb = 1\r\n"),
        ("# Mine.\n\n# Colours.\n[output]\n", ("b",), 2, "# Mine.\n\nb = 2\n# Colours.\n[output]\n"),
        ("[x]\na = 1\n\n# Of y.\n[y]\n", ("x", "b"), 2, "[x]\na = 1\nb = 2\n\n# Of y.\n[y]\n"),
        ("[x]\n# a is one\n#a = 1\n# b\nb = 1\n", ("x", "a"), 2, "[x]\n# a is one\n#a = 1\na = 2\n# b\nb = 1\n"),
        ("[x]\na = 1\n#[x.NAME]\n#b = 1\n", ("x", "b"), 2, "[x]\na = 1\nb = 2\n#[x.NAME]\n#b = 1\n"),
        ("t.a = 1\r\nb = 2\r\n", ("t", "c"), 3, "t.a = 1\r\nt.c = 3\r\nb = 2\r\n"),
        ("t.a = 1\nb = 2\n", ("t", "c"), 3, "t.a = 1\nt.c = 3\nb = 2\n"),
        ("t = {a = 1} # t\n", ("t", "c"), 3, "t = {a = 1,c = 3} # t\n"),
        (
            "[p.a]\nu = 1\n[o]\nx = 1\n[p.b]\nu = 2\n",
            ("p", "c", "u"),
            3,
            "[p.a]\nu = 1\n[o]\nx = 1\n[p.b]\nu = 2\n\n[p.c]\nu = 3\n",
        ),
        ("s = '''\n[x]\n#a = 1\n'''\n[x]\n", ("x", "a"), 2, "s = '''\n[x]\n#a = 1\n'''\n[x]\na = 2\n"),
    ],
)
def test_a_value_is_put_where_a_person_would_and_taken_away_again(
    text: str, key: Key, value: Any, expected: str
) -> None:
    changed = with_value(text, key, value)
    assert changed == expected
    if key[-1] not in text.replace("#", " "):
        assert without(changed, key) == (text if text.endswith("\n") or not text else f"{text}\n")


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        (("temperature",), [" #temperature = 0.7", "+temperature = 1"]),
        (("timeouts", "idle"), [" #idle = 60.0", "+idle = 1"]),
        (("privacy", "tracing"), [" #tracing = false", "+tracing = 1"]),
        (("providers", "a", "base_url"), [" #[profile.NAME]", "+", "+[providers.a]", "+base_url = 1"]),
    ],
)
def test_in_the_example_a_value_stands_under_its_default(key: Key, lines: list[str]) -> None:
    example = example_config()
    changed = with_value(example, key, 1)
    assert [line for line in added(example, changed) if line in lines] == lines
    assert len(changed.splitlines()) == len(example.splitlines()) + sum(line[0] == "+" for line in lines)
    assert without(changed, key) == example


@pytest.mark.parametrize("value", ['"', "a\nb", "'''", '"""', "\\", "\t", "é", "日本", "\u2028", "\x7f", "\x00", ""])
def test_any_text_can_be_a_value(value: str) -> None:
    assert tomllib.loads(with_value("", ("x",), value)) == {"x": value}
    assert tomllib.loads(with_value("", ("x", value, "y"), 1)) == {"x": {value: {"y": 1}}}


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^x cannot be changed where it is$"):
        with_value("", ("x",), "\ud800")


def test_what_is_no_section_in_the_file_gets_no_setting() -> None:
    with pytest.raises(ConfigError, match=r"^x\.y is no section in the file$"):
        with_value("x.y = 1", ("x", "y", "z"), 1)


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("a = 1\nb = 2\n", ("a",), "b = 2\n"),
        ("[x]\na = 1\n[y]\nb = 1\n", ("x", "a"), "[y]\nb = 1\n"),
        ("[x] # mine\na = 1\n", ("x", "a"), "[x] # mine\n"),
        ("# mine\n[x]\na = 1\n", ("x", "a"), "# mine\n[x]\n"),
        ("[x]\na = 1\n# mine\n", ("x", "a"), "[x]\n# mine\n"),
        ("# mine\n[x]\na = 1\n\n# yours\n[y]\nb = 1\n", ("x",), "# yours\n[y]\nb = 1\n"),
        ("[x]\na = 1\n[x.y]\nb = 1\n[z]\nc = 1\n", ("x",), "[z]\nc = 1\n"),
        ("[x]\na = 1\n\n# Of something else.\n#[z]\n", ("x",), "# Of something else.\n#[z]\n"),
        ("t.a = 1\nt.b = 2\n", ("t", "a"), "t.b = 2\n"),
        ("t = {a = 1, b = 2}\n", ("t", "a"), "t = { b = 2}\n"),
        ("t = {a = 1}\nb = 1\n", ("t", "a"), "b = 1\n"),
        ("a = [\n1, # one\n]\nb = 1\n", ("a",), "b = 1\n"),
    ],
)
def test_what_is_taken_away_leaves_no_empty_table_but_every_comment_on_something_else(
    text: str, key: Key, expected: str
) -> None:
    assert without(text, key) == expected


@pytest.mark.parametrize("key", [("a",), ("x", "b"), ("x", "a", "b"), ("y", "z")])
def test_what_is_not_set_cannot_be_taken_away(key: Key) -> None:
    with pytest.raises(ChatllmError, match=r"is not set$"):
        without("[x]\na = 1\n", key)
