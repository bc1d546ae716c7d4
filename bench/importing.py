"""How fast conversations come in and go out: whole processes, all of it on the disk before the command ends."""

import json
import random
import shutil
import uuid
from typing import Any

from bench.figures import Figure
from bench.processes import Command
from bench.stand import Stand

WANTED = 5_000  # messages a second
WORDS = 75  # in a message
BEGIN = 1_700_000_000  # seconds since 1970


def run(stand: Stand) -> list[Figure]:
    """Measure, and return the figures: the wanted speed, divided by the one that was reached."""
    messages = stand.most_conversations  # a tenth of the conversations of the largest history
    here, there = stand.history(messages // 10), stand.folder / "there"
    exported, elsewhere = stand.folder / "all.jsonl", stand.folder / "chatgpt.json"
    export = ("history", "export", "--all", "--no-redact", "--format", "jsonl", "-o", exported)
    figures = [_figure(f"export of {messages:,} messages", messages, stand.ours(*export, home=here))]
    elsewhere.write_text(json.dumps([_tree(number, 100) for number in range(messages // 100)]))
    for what, arguments in (
        ("import of chatllm's jsonl, 10 messages each", ("import", exported)),
        ("import of ChatGPT's export, 100 messages each", ("import", elsewhere)),
        ("merge of another machine's folder, 10 each", ("merge", here)),
    ):
        command = stand.ours("history", *arguments, home=there)
        figures += [_figure(what, messages, command), _figure(f"{what}, again", messages, command)]
        shutil.rmtree(there)
    return figures


def _figure(what: str, messages: int, command: Command) -> Figure:
    seconds = command.run().seconds
    return Figure(
        f"{WANTED:,}/s / {what}", [WANTED * seconds / messages], 1.0, f"{messages / seconds:.0f} messages/s"
    )


def _tree(number: int, messages: int) -> dict[str, Any]:
    """Return a conversation as ChatGPT exports it."""
    chance = random.Random(number)  # noqa: S311
    ids = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(messages + 1)]
    mapping: dict[str, Any] = {ids[0]: {"id": ids[0], "message": None, "parent": None, "children": ids[1:2]}}
    for place, node in enumerate(ids[1:], start=1):
        mapping[node] = {
            "id": node,
            "parent": ids[place - 1],
            "children": ids[place + 1 : place + 2],
            "message": {
                "id": node,
                "author": {"role": "user" if place % 2 else "assistant", "name": None, "metadata": {}},
                "create_time": BEGIN + number * 1000 + place + 0.5,
                "content": {"content_type": "text", "parts": [_text(chance)]},
                "status": "finished_successfully",
                "end_turn": True,
                "weight": 1.0,
                "metadata": {} if place % 2 else {"model_slug": "gpt-4o"},
                "recipient": "all",
            },
        }
    return {
        "title": f"Conversation {number}",
        "create_time": BEGIN + number * 1000,
        "mapping": mapping,
        "current_node": ids[-1],
        "conversation_id": str(uuid.UUID(int=chance.getrandbits(128))),
        "default_model_slug": "gpt-4o",
    }


def _text(chance: random.Random) -> str:
    return " ".join(f"w{chance.randrange(30_000)}" for _ in range(WORDS))
