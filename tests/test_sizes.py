from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chatllm_cli.models import Conversation, Message, Role, TokenUsage
from chatllm_cli.services.chat.sizes import LEAST_SHARE, OVERHEAD, Size, least, likely, measure, size_of

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
        (None, Size(sum(SIZES.values()), 160)),
        ((1, 500), Size(500 + SIZES[ANSWER[1]] + SIZES[NEXT[1]], 560)),
        # A count that cannot be of all that stands there is of a request that had been cut.
        ((1, 3), Size(round(LEAST_SHARE * SIZES[PROMPT[1]]) + SIZES[ANSWER[1]] + SIZES[NEXT[1]], 160)),
    ],
)
def test_what_the_provider_counted_is_believed_and_the_rest_estimated(
    known: tuple[int, int] | None, expected: Size
) -> None:
    assert size_of((PROMPT, ANSWER, NEXT), known) == expected


REPLY = Message("a1", Role.ASSISTANT, "one", AT, "u1", model="hub/m", usage=TokenUsage(70, 3))
THREAD = (
    Message("u1", Role.USER, "first", AT),
    REPLY,
    Message("u2", Role.USER, "second", AT, "a1"),
    replace(REPLY, id="a2", content="two", parent="u2", usage=TokenUsage(90, 3)),
    Message("u3", Role.USER, "third", AT, "a2"),
)
MESSAGES = tuple((message.role, message.content) for message in THREAD)


@pytest.mark.parametrize(
    ("changes", "address", "found"),
    [
        ({}, "hub/m", (3, 90)),
        ({}, "hub/other", None),  # each model counts otherwise
        ({"usage": None}, "hub/m", (1, 70)),
        ({"model": "hub/other"}, "hub/m", (1, 70)),
        ({"content": "not in the request"}, "hub/m", None),
    ],
)
def test_the_measure_is_that_of_the_last_answer_of_the_same_model(
    changes: dict[str, object], address: str, found: tuple[int, int] | None
) -> None:
    thread = (*THREAD[:3], replace(THREAD[3], **changes), THREAD[4])  # type: ignore[arg-type]
    conversation = Conversation("c1", "t", AT, messages=thread, head="u3")
    assert measure(MESSAGES, conversation, address) == found
