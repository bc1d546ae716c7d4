"""Every example of the CommonMark specification, streamed in pieces, ends up as if it had been printed at once."""

import re

import pytest

from chatllm_cli.render.clean import clean
from tests.markdown_screens import (
    DATA,
    Seen,
    a_frame_for_every_piece,
    in_random_pieces,
    printed,
    printed_by_rich,
    seen,
    streamed,
)

WIDTHS = (20, 80, 200)
SPLITS = 20  # of each example at each width
PARTS = 16  # that the examples are tried in

EXAMPLE = re.compile(r"^`{32} example\n(.*?)^\.\n.*?^`{32}$", re.MULTILINE | re.DOTALL)
SPECIFICATION = (DATA / "commonmark" / "spec.txt").read_text("utf-8")
EXAMPLES = [clean(found[1].replace("→", "\t")) for found in EXAMPLE.finditer(SPECIFICATION)]

# A link that is used before it is defined is printed by then, as the text it is.
DEFINED_AFTER_USE = {
    *(23, 33, 203, 204, 214, 218),
    *range(527, 536),
    *(539, 540, 542, 543, 549),
    *range(553, 563),
    *(565, 566, 568, 569, 570, 571, 573, 576, 577),
    *range(582, 590),
    *(591, 593),
}
# What our rendering shows and rich's does not, or otherwise: HTML, pictures, and (of 12) what looks like mathematics.
SHOWN_BY_US = {
    *(12, 21, 31),
    *range(148, 192),
    *(201, 308, 309, 344, 475, 476, 477, 491, 494, 517, 520, 524, 531, 536),
    *range(572, 590),
    591,
    *range(613, 618),
    623,
    *range(625, 632),
    *(642, 643),
}


def test_the_specification_has_all_its_examples() -> None:
    assert len(EXAMPLES) == 652


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_example_ends_up_as_if_it_had_been_printed_at_once(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    differing: set[int] = set()
    cases = 0
    with a_frame_for_every_piece(monkeypatch):
        for number in range(part + 1, len(EXAMPLES) + 1, PARTS):
            document = EXAMPLES[number - 1]
            for width in WIDTHS:
                expected, known = seen(printed(document, width)), dict[tuple[str, ...], Seen]()
                for split in range(SPLITS):
                    pieces = tuple(in_random_pieces(document, number * SPLITS + split))
                    found = known[pieces] = known.get(pieces) or seen(streamed(pieces, width))
                    cases += 1
                    if found != expected:
                        differing.add(number)
    assert differing == {number for number in DEFINED_AFTER_USE if number % PARTS == (part + 1) % PARTS}
    assert cases >= len(EXAMPLES) // PARTS * len(WIDTHS) * SPLITS


def test_our_rendering_is_rich_s_but_for_what_rich_does_not_show() -> None:
    differing = {
        number
        for number, document in enumerate(EXAMPLES, 1)
        if printed(document, 80).text.strip() != printed(document, 80, printed_by_rich).text.strip()
    }
    assert differing == SHOWN_BY_US
