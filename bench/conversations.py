"""Histories of any size, as they would be on somebody's disk after some years."""

import os
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from chatllm_cli.models import Conversation, Message, Role, TokenUsage
from chatllm_cli.services.history import records

MESSAGES, WORDS = 10, 75  # messages in a conversation, words in a message
BEGIN = datetime(2018, 1, 1, tzinfo=UTC)
DAYS = 8 * 365
RARE = "xylographical"  # a word that only one conversation has
VOCABULARY = 30_000


def make_history(folder: Path, size: int, *, seed: int = 1, messages: int = MESSAGES, words: int = WORDS) -> None:
    """Write `size` conversations, over eight years."""
    chance = random.Random(seed)  # noqa: S311
    vocabulary = [f"w{number}" for number in range(VOCABULARY)]
    weights = [1 / (number + 1) for number in range(VOCABULARY)]
    texts = [" ".join(chance.choices(vocabulary, weights, k=words)) for _ in range(2000)]
    for number in range(size):
        begin = BEGIN + timedelta(days=chance.random() * DAYS)
        conversation_id = "".join(chance.choices("0123456789abcdefghjkmnpqrstvwxyz", k=16))
        path = folder / f"{begin:%Y}" / f"{begin:%m}" / f"{conversation_id}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_journal(conversation_id, begin, chance.choices(texts, k=messages), number == size // 2))
    for month in folder.glob("*/*"):
        os.utime(month, (0, time.time() - 60))


def _journal(conversation_id: str, begin: datetime, texts: Sequence[str], is_special: bool) -> bytes:
    conversation = Conversation(conversation_id, texts[0][:50], begin, model="hub/model")
    lines = [records.conversation_record(conversation)]
    parent = None
    for place, text in enumerate(texts):
        is_reply = place % 2 == 1
        message = Message(
            f"{conversation_id[:12]}{place:04}",
            Role.ASSISTANT if is_reply else Role.USER,
            f"{text} {RARE}" if is_special and place == 1 else text,
            begin + timedelta(minutes=place),
            parent,
            model="hub/model" if is_reply else None,
            usage=TokenUsage(100, 50) if is_reply else None,
        )
        lines.append(records.message_record(message))
        parent = message.id
    return records.encode(*lines)
