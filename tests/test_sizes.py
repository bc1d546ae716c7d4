from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chatllm_cli.models import Attachment, Conversation, Message, Role, TokenUsage
from chatllm_cli.services.chat.sizes import (
    IMAGE_TOKENS,
    LEAST_IMAGE_TOKENS,
    LEAST_SHARE,
    MOST_SHARE,
    OVERHEAD,
    UNSEEN_IMAGE_TOKENS,
    Measure,
    Messages,
    Size,
    least,
    likely,
    measure,
    size_of,
)

AT = datetime(2026, 7, 1, tzinfo=UTC)
ROOT = Path(__file__).parent.parent


# As the embedded model's tokenizer counts them; larger vocabularies need fewer.
@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ((ROOT / "LICENSE").read_text(), 2215),
        ("the quick brown fox jumps over the lazy dog " * 300, 2701),
        ("international communication development information government organization " * 200, 1201),
        ("hi " * 4000, 4001),
        ("Die Verantwortung der Regierungen für die Entwicklung bleibt unverändert bestehen. " * 100, 2501),
        ("政府对社会发展的责任保持不变。人工智能正在改变世界。" * 100, 4600),
        (" " * 20000, 313),
        ("-" * 20000, 313),
        ("", 0),
    ],
)
def test_a_text_is_never_less_than_the_least_and_about_what_is_likely(text: str, tokens: int) -> None:
    assert least(text) <= tokens
    assert least(text) <= max(likely(text), least(text)) <= 3 * tokens


def test_english_is_told_to_a_tenth() -> None:
    assert likely((ROOT / "LICENSE").read_text()) == pytest.approx(2215, rel=0.1)


PROMPT = (Role.USER, "word " * 100)
ANSWER = (Role.ASSISTANT, "word " * 50)
NEXT = (Role.USER, "word " * 10)
SIZES = {text: max(likely(text), least(text)) + OVERHEAD for _, text in (PROMPT, ANSWER, NEXT)}


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (Measure(), Size(sum(SIZES.values()), 160)),
        (Measure(1.5, since=2), Size(round(1.5 * SIZES[PROMPT[1]]) + SIZES[ANSWER[1]] + SIZES[NEXT[1]], 160)),
        (Measure(1.5, since=3), Size(sum(SIZES.values()), 160)),
        (Measure(1.5, since=4), Size(sum(SIZES.values()), 160)),
        (Measure(0.8), Size(max(round(0.8 * sum(SIZES.values())), 160), 160)),
    ],
)
def test_what_the_provider_counted_says_what_is_likely_and_nothing_of_what_is_sure(
    known: Measure, expected: Size
) -> None:
    assert size_of((PROMPT, ANSWER, NEXT), known) == expected


REPLY = Message("a1", Role.ASSISTANT, "one", AT, "u1", model="hub/m", usage=TokenUsage(126, 3))
THREAD = (
    Message("u1", Role.USER, PROMPT[1], AT),
    REPLY,
    Message("u2", Role.USER, PROMPT[1], AT, "a1"),
    replace(REPLY, id="a2", content="two", parent="u2", usage=TokenUsage(320, 3)),
    Message("u3", Role.USER, "third", AT, "a2"),
)
MESSAGES = tuple((message.role, message.content) for message in THREAD)
FIRST, BOTH = SIZES[PROMPT[1]], 2 * SIZES[PROMPT[1]] + 1 + OVERHEAD


@pytest.mark.parametrize(
    ("changes", "address", "found"),
    [
        ({}, "hub/m", Measure(320 / BOTH, since=2)),
        ({}, "hub/other", Measure()),  # each model counts otherwise
        ({"usage": None}, "hub/m", Measure(126 / FIRST, since=4)),
        ({"model": "hub/other"}, "hub/m", Measure(126 / FIRST, since=4)),
        ({"content": "not in the request"}, "hub/m", Measure()),
        # A count that cannot be of what stands there is of a request that had been cut, or had another system prompt.
        ({"usage": TokenUsage(3, 3)}, "hub/m", Measure(LEAST_SHARE, since=2)),
        ({"usage": TokenUsage(10_000, 3)}, "hub/m", Measure(MOST_SHARE, since=2)),
    ],
)
def test_the_measure_is_that_of_the_last_answer_of_the_same_model(
    changes: dict[str, object], address: str, found: Measure
) -> None:
    thread = (*THREAD[:3], replace(THREAD[3], **changes), THREAD[4])  # type: ignore[arg-type]
    conversation = Conversation("c1", "t", AT, messages=thread, head="u3")
    assert measure(MESSAGES, conversation, address) == found


def test_a_measure_of_a_request_is_that_of_its_beginning_too() -> None:
    assert [Measure(1.2, since=2).before(later) for later in (0, 1, 2, 3)] == [
        Measure(1.2, since=2),
        Measure(1.2, since=1),
        Measure(1.2),
        Measure(1.2),
    ]


def test_an_image_counts_about_as_much_as_models_take_for_one() -> None:
    image = Attachment("a.png", "image/png", 70, sha256="a" * 64)
    alone, seen = size_of(((Role.USER, "word"),)), size_of(((Role.USER, (image, "word", image)),))
    assert (seen.likely - alone.likely, seen.least - alone.least) == (2 * IMAGE_TOKENS, 2 * LEAST_IMAGE_TOKENS)


def test_an_image_counts_as_a_line_of_text_for_a_model_that_gets_one_instead() -> None:
    image = Attachment("a.png", "image/png", 70, sha256="a" * 64)
    messages: Messages = ((Role.USER, (image, "word", image)),)
    alone, unseen = size_of(((Role.USER, "word"),)), size_of(messages, sees=False)
    line = "[an image that you cannot see]"
    assert (unseen.likely - alone.likely, unseen.least - alone.least) == (2 * UNSEEN_IMAGE_TOKENS,) * 2
    assert least(line) <= UNSEEN_IMAGE_TOKENS <= max(likely(line), least(line)) + 1
