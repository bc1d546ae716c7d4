import pytest

from chatllm_cli.surrogates import ends_in_half, join_pairs, without_halves

HIGH, LOW = "\ud83d", "\ude00"


@pytest.mark.parametrize(
    ("text", "joined", "without"),
    [
        ("", "", ""),
        ("grüße 😀", "grüße 😀", "grüße 😀"),
        (f"a{HIGH}{LOW}b", "a😀b", "a😀b"),
        (f"a{HIGH}b", f"a{HIGH}b", "a\N{REPLACEMENT CHARACTER}b"),
        (LOW + HIGH, LOW + HIGH, "\N{REPLACEMENT CHARACTER}" * 2),
        (HIGH + HIGH + LOW, f"{HIGH}😀", "\N{REPLACEMENT CHARACTER}😀"),
    ],
)
def test_pairs_are_joined_and_lone_halves_stay_or_are_replaced(text: str, joined: str, without: str) -> None:
    assert (join_pairs(text), without_halves(text)) == (joined, without)


@pytest.mark.parametrize(
    ("text", "answer"), [("", False), ("a", False), (HIGH, True), (LOW, False), (f"{HIGH}a", False)]
)
def test_a_first_half_at_the_end_waits_for_the_second(text: str, answer: bool) -> None:
    assert ends_in_half(text) is answer
