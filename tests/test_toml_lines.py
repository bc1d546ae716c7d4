import pytest

from chatllm_cli.config.setting_keys import Key
from chatllm_cli.config.toml_lines import Lines, statements

TEXT = """\
# About this file.
model = "x"  # [no heading]
system_prompt = '''
[timeouts]
idle = 5
'''
fallback = [
  "a/b",  # ]
  "c/d",
]
providers = { a = { base_url = "http://h" } }

[timeouts]  # in seconds
idle = \"\"\"\\\"\"\"= [\"\"\"
total = 7
[profile . "my work"]
timeouts.idle = 8
"""


def test_the_statements_of_a_file_are_the_file() -> None:
    assert "".join(each.text for each in statements(TEXT)) == TEXT
    assert [each.line for each in statements(TEXT) if each.is_header] == [13, 16]
    assert [each.line for each in statements(TEXT) if each.is_comment] == [1]
    assert [each.line for each in statements(TEXT) if each.is_blank] == [12]


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("model",), 2),
        (("system_prompt",), 3),
        (("fallback",), 7),
        (("providers",), 11),
        (("providers", "a", "base_url"), 11),
        (("timeouts",), 13),
        (("timeouts", "idle"), 14),
        (("timeouts", "total"), 15),
        (("profile", "my work", "timeouts", "idle"), 17),
        (("profile",), 16),
        (("nothing",), None),
    ],
)
def test_a_key_is_found_in_its_line_and_not_in_a_text_that_looks_like_it(key: Key, line: int | None) -> None:
    assert Lines(TEXT).line_of(key) == line


def test_a_line_that_is_no_toml_belongs_to_no_key() -> None:
    assert [each.key for each in statements("= 5\n. = 5\nmodel\n")] == [(), (), ()]
