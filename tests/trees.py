"""Conversations as nobody would lead them: trees of every shape, with texts of every kind."""

import hashlib
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from hypothesis import strategies as st

from chatllm_cli.ids import ALPHABET, LENGTH
from chatllm_cli.models import MOST_TOKENS, Attachment, Conversation, Message, Role, Status, TokenUsage
from tests.documents import GIF, PNG

FILES = {hashlib.sha256(data).hexdigest(): data for data in (PNG, GIF, b"", b"\0\xff" * 50)}
HALVES = "\ud800\udfff\ud83d\ude00"
PIECES = [
    "", " ", "\n", "\r", "\r\n", "\t", "\0", "\x1b[2J", "\x85", "\u2028", "\u2029", "\u202e", "\ufeff", "\ufffd",
    "hello", "日本", "👩‍👩‍👧", "é", "\U0010ffff", "```", "````", "~~~", "---", "---\n", "# ", "## User\n", "> ", "* ",
    "<!-- chatllm {", "\n<!-- chatllm {}", "<!-- chatllm2 ", "<!-- chatllm end -->", "-->", "--", "<b>", "&amp;",
    "\n\n\n", "\\", '"', "'", "{}", "[1]", "null", "a b",
]  # fmt: skip
BEGIN = datetime(1971, 1, 1, tzinfo=UTC)


def text(random: Random, *, halves: bool) -> str:
    """Return a text of a few pieces."""
    pieces = [*PIECES, *HALVES] if halves else PIECES
    return "".join(random.choices(pieces, k=random.choice((0, 1, 1, 2, 3, 6))))


def moment(random: Random) -> datetime:
    """Return a moment between 1971 and 2200, to the microsecond."""
    return BEGIN + timedelta(microseconds=random.randrange(229 * 365 * 86_400_000_000))


def identifier(random: Random) -> str:
    """Return an id."""
    return "".join(random.choices(ALPHABET, k=LENGTH))


def attachment(random: Random, *, halves: bool, images: bool) -> Attachment:
    """Return an image of which there are bytes, or a text."""
    name = text(random, halves=halves)
    if images and random.random() < 0.5:
        sha256 = random.choice(list(FILES))
        return Attachment(name, "image/png", len(FILES[sha256]), sha256=sha256)
    return Attachment(name, text(random, halves=halves), random.randrange(2**40), text(random, halves=halves))


def message(random: Random, parent: str | None, *, halves: bool, images: bool) -> Message:
    """Return a message below another."""

    def perhaps(value: Any, otherwise: Any = None) -> Any:
        return value if random.random() < 0.3 else otherwise

    count = MOST_TOKENS - 1
    usage = TokenUsage(random.randrange(count), random.choice((0, 1, count)), random.choice((0, 7)))
    attached = [attachment(random, halves=halves, images=images) for _ in range(random.choice((1, 1, 3)))]
    return Message(
        id=identifier(random),
        role=random.choice(list(Role)),
        content=text(random, halves=halves),
        at=moment(random),
        parent=parent,
        status=random.choice(list(Status)),
        model=perhaps(text(random, halves=halves)),
        usage=perhaps(usage),
        finish_reason=perhaps(text(random, halves=halves)),
        cached=random.random() < 0.2,
        error=perhaps(text(random, halves=halves)),
        instead_of=perhaps(text(random, halves=halves)),
        reasoning=perhaps(text(random, halves=halves), ""),
        continues=perhaps(identifier(random)),
        cost=perhaps(random.choice((0.0, 1e-9, 0.1 + 0.2, 12345.678, random.random()))),
        attachments=tuple(perhaps(attached, ())),
    )


def conversation(random: Random, *, halves: bool = True, images: bool = True) -> Conversation:
    """Return a tree, whose head is any of its messages, or none."""
    messages: list[Message] = []
    for _ in range(random.choice((0, 1, 2, 4, 9))):
        above = [None, *(each.id for each in messages), identifier(random)]
        parent = random.choice(above) if random.random() < 0.3 else above[-2]
        messages.append(message(random, parent, halves=halves, images=images))
    return Conversation(
        id=identifier(random),
        title=text(random, halves=halves),
        created_at=moment(random),
        model=text(random, halves=halves),
        system_prompt=text(random, halves=halves),
        messages=tuple(messages),
        head=random.choice([None, *(each.id for each in messages), *(each.id for each in messages[-1:])]),
        tags=tuple(text(random, halves=halves) for _ in range(random.choice((0, 0, 1, 3)))),
    )


# Of 25 trees an example: to set one up takes longer than to go through it. A seed is what is told of one that fails.
SEEDS = st.lists(st.integers(0, 2**64), min_size=25, max_size=25, unique=True)


def grown(seeds: list[int], *, halves: bool = True, images: bool = True) -> list[Conversation]:
    """Return a tree for each seed."""
    return [conversation(Random(seed), halves=halves, images=images) for seed in seeds]  # noqa: S311  (no secrets)


AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def minutes(count: int) -> datetime:
    """Return a moment in that talk."""
    return AT + timedelta(minutes=count)


# A talk that is whole: the first answer was asked for anew: what hangs on `a1` is another branch.
CONVERSATION = Conversation(
    "c1",
    "Grüße",
    AT,
    "openai/gpt",
    "Be kind.",
    (
        Message("u1", Role.USER, "Say *hello*\n\nin 日本", AT),
        Message("a1", Role.ASSISTANT, "left out", minutes(1), "u1", model="openai/gpt", cached=True),
        Message(
            "a2",
            Role.ASSISTANT,
            "こんにちは",
            minutes(2),
            "u1",
            Status.TRUNCATED,
            "hub/other",
            TokenUsage(3, 4),
            "length",
        ),
        Message("u2", Role.USER, "more", minutes(3), "a2"),
        Message("a3", Role.ASSISTANT, "", minutes(4), "u2", Status.ERROR, "hub/other", error="hub failed"),
        Message("u3", Role.USER, "again", minutes(5), "a3"),
        Message("a4", Role.ASSISTANT, "done", minutes(6), "u3"),
    ),
    "a4",
    damaged_lines=1,
)


def titled(title: str) -> Conversation:
    """Return a conversation of which there is only a title."""
    return Conversation("c1", title, AT)
