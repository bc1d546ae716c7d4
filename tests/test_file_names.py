import pytest

from chatllm_cli.file_names import LONGEST_PART, safe_part


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("Why is the sky blue?", "why-is-the-sky-blue"),
        ("../../etc/passwd", "etc-passwd"),
        (".hidden", "hidden"),
        ("--force", "force"),
        ("a\0b\nc\x1b[31m", "a-b-c-31m"),
        ("$(rm -rf ~) `x` 'y'", "rm-rf-x-y"),
        ("Grüße, 日本!", "grüße-日本"),
        ("हिन्दी", "हिन्दी"),
        ("u\u0308ber", "über"),
        ("snake_case", "snake-case"),
        ("\u202etxt.exe", "txt-exe"),
        ("caf\udce9", "caf"),
        ("...", ""),
        ("", ""),
        ("x" * 500, "x" * LONGEST_PART),
        ("\U00020000" * 60, "\U00020000" * 37),  # of four bytes each
        ("日" * 60, "日" * 50),
        (f"{'y' * (LONGEST_PART - 1)} z", "y" * (LONGEST_PART - 1)),
    ],
)
def test_words_become_a_part_of_a_name_that_is_safe(words: str, part: str) -> None:
    assert safe_part(words) == part
