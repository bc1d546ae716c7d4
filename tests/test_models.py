from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta

import pytest

from chatllm_cli.models import Attachment, Conversation, Endpoint, Message, Role, TokenUsage, told_size

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def message(id_: str, parent: str | None = None, *, minutes: int = 0) -> Message:
    return Message(id_, Role.USER, f"text of {id_}", AT + timedelta(minutes=minutes), parent)


def conversation(*messages: Message, head: str | None) -> Conversation:
    return Conversation("c1", "A title", AT, messages=messages, head=head)


def ids(messages: tuple[Message, ...]) -> list[str]:
    return [each.id for each in messages]


BRANCHED = conversation(
    message("a"),
    message("b", "a"),
    message("c", "b"),
    message("d", "b"),
    message("e", "a"),
    message("f", "d"),
    head="f",
)


@pytest.mark.parametrize(
    ("head", "expected"),
    [("a", ["a"]), ("c", ["a", "b", "c"]), ("e", ["a", "e"]), ("f", ["a", "b", "d", "f"])],
)
def test_the_thread_leads_from_the_first_message_to_the_head_and_leaves_other_branches_out(
    head: str, expected: list[str]
) -> None:
    assert ids(replace(BRANCHED, head=head).thread()) == expected


@pytest.mark.parametrize("head", [None, "", "gone"])
def test_without_a_head_the_thread_is_empty(head: str | None) -> None:
    assert replace(BRANCHED, head=head).thread() == ()


def test_an_empty_conversation_has_an_empty_thread() -> None:
    assert conversation(head=None).thread() == ()


def test_the_thread_begins_below_a_message_that_is_missing() -> None:
    assert ids(conversation(message("b", "gone"), message("c", "b"), head="c").thread()) == ["b", "c"]


@pytest.mark.parametrize(
    ("messages", "head", "expected"),
    [
        ([message("a", "a")], "a", ["a"]),
        ([message("a", "b"), message("b", "a")], "b", ["a", "b"]),
        ([message("a", "c"), message("b", "a"), message("c", "b")], "b", ["c", "a", "b"]),
    ],
)
def test_the_thread_of_a_cycle_has_each_message_once(messages: list[Message], head: str, expected: list[str]) -> None:
    assert ids(conversation(*messages, head=head).thread()) == expected


def test_a_conversation_is_as_new_as_its_last_message_whatever_the_head() -> None:
    last = message("b", minutes=5)
    assert conversation(message("a"), last, head="a").updated_at == AT + timedelta(minutes=5)


def test_a_conversation_without_messages_is_as_new_as_its_beginning() -> None:
    assert conversation(head=None).updated_at == AT


def test_an_endpoint_does_not_show_its_key() -> None:
    endpoint = Endpoint("openai", "gpt", "https://api.openai.com/v1", "sk-canary")
    assert repr(endpoint) == (
        "Endpoint(provider='openai', model='gpt', base_url='https://api.openai.com/v1', "
        "max_tokens_field='max_tokens', seed_field='seed', marks_end=False, takes_schema=False, "
        "takes_usage_wish=True, headers=(), key_header='Authorization', has_key_command=False, weights='', "
        "context_length=None, options=ChatOptions(temperature=None, max_tokens=None, schema='', top_p=None, "
        "seed=None, stop=(), reasoning_effort='', extra=()))"
    )
    assert str(endpoint) == repr(endpoint)


@pytest.mark.parametrize(
    ("provider", "model", "address"),
    [("openai", "gpt-5", "openai/gpt-5"), ("hub", "meta/llama-3:8b", "hub/meta/llama-3:8b")],
)
def test_an_endpoints_address_is_its_provider_and_its_model(provider: str, model: str, address: str) -> None:
    assert Endpoint(provider, model, "http://localhost/v1").address == address


def test_an_endpoint_with_weights_is_embedded() -> None:
    assert Endpoint("local", "smol", "", weights="sha256:1").is_embedded
    assert not Endpoint("openai", "gpt", "https://api.openai.com/v1").is_embedded


def test_plain_data_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        BRANCHED.title = "Another"  # type: ignore[misc]


def test_a_cycle_beside_other_messages_is_walked_once() -> None:
    tangled = conversation(message("x"), message("a", "b"), message("b", "a"), head="b")
    assert ids(tangled.thread()) == ["a", "b"]


@pytest.mark.parametrize(
    ("size", "told"),
    [(0, "0.0 MB"), (49_999, "0.0 MB"), (1_250_000, "1.2 MB"), (491_400_032, "491 MB"), (2_497_281_120, "2.50 GB")],
)
def test_a_size_is_told_as_people_say_it(size: int, told: str) -> None:
    assert told_size(size) == told


@pytest.mark.parametrize(
    ("changes", "is_unpriced"),
    [
        ({"content": "yes"}, True),
        ({"reasoning": "hm"}, True),
        ({"usage": TokenUsage(1, 1)}, True),
        ({}, False),
        ({"content": "yes", "cost": 0.0}, False),
        ({"content": "yes", "role": Role.USER}, False),
    ],
)
def test_a_reply_of_which_something_came_for_an_unknown_price_is_unpriced(
    changes: dict[str, object], is_unpriced: bool
) -> None:
    reply = replace(message("r"), **{"role": Role.ASSISTANT, "content": "", **changes})  # type: ignore[arg-type]
    assert reply.is_unpriced is is_unpriced
    assert conversation(reply, head="r").unpriced == int(is_unpriced)


def test_the_topic_of_a_prompt_is_what_was_typed_or_the_first_name_that_was_attached() -> None:
    log = Attachment("error.log", "text/plain", 3, "no!")
    asked = Message("u1", Role.USER, "", BRANCHED.created_at, attachments=(log, replace(log, name="other.log")))
    assert [each.topic for each in (asked, replace(asked, content="Why?"), replace(asked, attachments=()))] == [
        "error.log",
        "Why?",
        "",
    ]


def test_an_attachment_tells_its_name_and_size_and_an_image_its_kind() -> None:
    assert Attachment("a.py", "text/plain", 1234, "text").told == "a.py (1.2 kB)"
    assert Attachment("a.png", "image/png", 34_000, sha256="a" * 64).told == "a.png (image/png, 34 kB)"


def test_a_message_is_found_by_its_id_though_others_begin_so_and_by_a_beginning_of_its_own() -> None:
    several = conversation(message("m1"), message("m10", "m1"), message("n10", "m10"), head="n10")
    assert [found and found.id for found in map(several.find, ("m1", "m10", "n", "m", ""))] == [
        "m1", "m10", "n10", None, None
    ]  # fmt: skip
