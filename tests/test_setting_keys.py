import pytest

from chatllm_cli.config.setting_keys import Key, parse_key, spell_key
from chatllm_cli.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("temperature", ("temperature",)),
        ("timeouts.idle", ("timeouts", "idle")),
        (" timeouts . idle ", ("timeouts", "idle")),
        ('models."openai/gpt-4.1".temperature', ("models", "openai/gpt-4.1", "temperature")),
        ("models.'a.\"b\\'.c", ("models", 'a."b\\', "c")),
        (r'x."\"\u00e9\n"', ("x", '"é\n')),
        ("models.openai/gpt-4o.top_p", ("models", "openai/gpt-4o", "top_p")),
        ("aliases.grüße", ("aliases", "grüße")),
    ],
)
def test_a_key_is_read_as_its_parts(text: str, key: Key) -> None:
    assert parse_key(text) == key
    assert parse_key(spell_key(key)) == key


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a b", 'a."b', "a.'b", 'a"b"', "a=1", "[a]", "a#", "a\nb"]
)
def test_what_is_no_key_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match="is not the key of a setting") as caught:
        parse_key(text)
    assert caught.value.hint


def test_an_escape_that_toml_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is an odd character in its quotes"):
        parse_key(r'a."\q"')


def test_only_what_needs_quotes_is_spelled_with_them() -> None:
    assert spell_key(("models", "openai/gpt-4.1", "top_p")) == 'models."openai/gpt-4.1".top_p'
