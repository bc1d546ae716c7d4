import pytest

from chatllm_cli.errors import ConfigError
from chatllm_cli.render.themes import BY_BACKGROUND, STYLES, background, check_code_theme


@pytest.mark.parametrize(
    ("theme", "told", "expected"),
    [
        ("auto", "", "dark"),
        ("auto", "15;0", "dark"),
        ("auto", "0;15", "light"),
        ("auto", "0;default;15", "light"),
        ("auto", "0;7", "light"),
        ("auto", "15;8", "dark"),
        ("auto", "default;default", "dark"),
        ("light", "15;0", "light"),
        ("dark", "0;15", "dark"),
        ("none", "0;15", "none"),
    ],
)
def test_the_background_is_what_was_chosen_or_what_the_terminal_tells(theme: str, told: str, expected: str) -> None:
    assert background(theme, {"COLORFGBG": told}) == expected
    assert expected in STYLES


def test_every_colour_theme_for_code_is_one_of_pygments_or_rich() -> None:
    assert set(BY_BACKGROUND.values()) == {"ansi_dark", "ansi_light"}
    check_code_theme("monokai")
    with pytest.raises(ConfigError, match="there is no Pygments style 'nosuch'"):
        check_code_theme("nosuch")
