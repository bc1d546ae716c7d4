import pytest

from chatllm_cli.amounts import dollars, file_size


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "$0.00"),
        (0.0041, "$0.0041"),
        (0.031, "$0.031"),
        (1.24, "$1.24"),
        (0.000082, "$0.000082"),
        (0.00408, "$0.0041"),
        (0.1, "$0.10"),
        (0.0999, "$0.10"),
        (0.125, "$0.12"),
        (5.02, "$5.02"),
        (1234.5, "$1,234.50"),
        (1e-9, "$0.0000000010"),
    ],
)
def test_an_amount_has_two_decimals_or_two_digits_that_say_something(amount: float, shown: str) -> None:
    assert dollars(amount) == shown


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1234, "1.2 kB"),
        (34_000, "34 kB"),
        (1_250_000, "1.2 MB"),
        (2_000_000_000, "2,000 MB"),
    ],
)
def test_a_files_size_is_told_in_the_unit_that_fits(size: int, told: str) -> None:
    assert file_size(size) == told
