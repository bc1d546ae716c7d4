"""How fast conversations come in and go out: whole processes, all of it on the disk before the command ends."""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.figures import Figure
from bench.history import make_history
from bench.processes import CHATLLM, timed

WANTED = 5_000  # messages a second
WORDS = 75  # in a message
BEGIN = 1_700_000_000  # seconds since 1970


def run(messages: int) -> list[Figure]:
    """Measure, and return the figures: the wanted speed, divided by the one that was reached."""
    with tempfile.TemporaryDirectory(prefix="chatllm-bench-") as name:
        root = Path(name)
        make_history(root / "here" / "data" / "conversations", messages // 10)
        exported = root / "all.jsonl"
        export = ["history", "export", "--all", "--no-redact", "--format", "jsonl", "-o", str(exported)]
        _call(root / "here", "history", "list")  # the index
        figures = [_figure(f"export of {messages} messages", messages, root / "here", export)]
        elsewhere = root / "chatgpt.json"
        elsewhere.write_text(json.dumps([_tree(number, 100) for number in range(messages // 100)]))
        for what, arguments in (
            ("import of chatllm's jsonl, 10 messages each", ["history", "import", str(exported)]),
            ("import of ChatGPT's export, 100 messages each", ["history", "import", str(elsewhere)]),
            ("merge of another machine's folder, 10 each", ["history", "merge", str(root / "here")]),
        ):
            figures.append(_figure(what, messages, root / "there", arguments))
            figures.append(_figure(f"{what}, again", messages, root / "there", arguments))
            shutil.rmtree(root / "there")
        return figures


def _figure(what: str, messages: int, home: Path, arguments: Sequence[str]) -> Figure:
    seconds = timed(lambda: _call(home, *arguments))
    return Figure(f"{WANTED}/s / {what}", WANTED * seconds / messages, 1.0, f"{messages / seconds:.0f} messages/s")


def _call(home: Path, *arguments: str) -> None:
    environment = {**os.environ, "CHATLLM_HOME": str(home)}
    subprocess.run([CHATLLM, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL, stderr=sys.stderr)


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
