"""A provider that costs next to nothing: `instant_server()` runs it in a process of its own.

Whatever it says was computed before it is measured, and one thread serves all connections: `tests/fake_openai.py`,
with a thread for each, takes longer than those that are measured. It answers by model name:

`tokens-N` streams N words · `markdown-N` a document in N pieces · `…-N-MS` with MS milliseconds before each of them,
N times as many in all · `…@MS` after MS milliseconds · `endless-ROW-KIND` streams markdown of that kind (see
`replies.py`) for as long as there is somebody who reads it, 2,000 pieces a second, ROW of them at once.
"""

import asyncio
import json
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from typing import Any

from bench import ROOT
from bench.replies import KINDS, reply

CHUNKS_PER_SECOND = 2000  # of an endless reply
SHAPE = re.compile(r"(tokens|markdown)-(\d+)(?:-(\d+))?(?:@(\d+))?")
ENDLESS = re.compile(r"endless-(\d+)-(.+)")
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


@contextmanager
def instant_server() -> Iterator[str]:
    """Run it, and yield its base URL."""
    command = [sys.executable, "-m", "bench.instant_server"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        process.stdin.close()  # which is its sign to end: so it does when we are killed, too


def times_asked(base_url: str) -> int:
    """Return how many chats there were."""
    with urllib.request.urlopen(f"{base_url}/asked", timeout=10) as answer:  # noqa: S310  (it is ours, on loopback)
        return int(json.load(answer))


@dataclass(frozen=True)
class Reply:
    """What a model says, as it goes over the wire."""

    opening: bytes
    words: tuple[bytes, ...]
    ending: bytes
    pause: float  # seconds before each of the words
    first: float  # seconds before all of it

    def all_of_it(self) -> bytes:
        """Return it as it is without a pause."""
        return b"".join([self.opening, *self.words, self.ending])


@cache
def reply_of(model: str) -> Reply:
    """Return what the model of that name says. Raises `ValueError` if it is none."""
    if not (match := SHAPE.fullmatch(model)):
        raise ValueError(model)
    kind, number = match[1], int(match[2])
    words = reply("mixed", number) if kind == "markdown" else [f"w{place} " for place in range(number)]
    usage = {"prompt_tokens": 7, "completion_tokens": number, "total_tokens": number + 7}
    return Reply(
        _event({"role": "assistant", "content": ""}),
        tuple(_event({"content": word}) for word in words),
        _event({}, "stop") + _event(None, usage=usage) + _framed(b"data: [DONE]\n\n") + END,
        int(match[3] or 0) / 1000,
        int(match[4] or 0) / 1000,
    )


def _event(delta: dict[str, str] | None, reason: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}
    return _framed(f"data: {json.dumps(event)}\n\n".encode())


def _framed(data: bytes) -> bytes:
    """Return it as one chunk of HTTP, as servers send each event."""
    return b"%x\r\n%s\r\n" % (len(data), data)


class _Server:
    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer whatever comes on one connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1])) if length else b""
                if head.startswith(b"POST"):
                    await self._chat(json.loads(body)["model"], writer)
                else:
                    _send(writer, 200, self._asked.total() if b"/asked " in head else {"object": "list", "data": []})
                await writer.drain()
        writer.close()

    async def _chat(self, model: str, writer: asyncio.StreamWriter) -> None:
        self._asked[model] += 1
        if match := ENDLESS.fullmatch(model):
            await _talk(writer, match[2], int(match[1]))
            return
        try:
            said = reply_of(model)
        except ValueError:
            _send(writer, 404, {"error": {"message": f"there is no model {model}"}})
            return
        writer.write(STREAM)
        loop = asyncio.get_running_loop()
        due = loop.time() + said.first
        await asyncio.sleep(said.first)
        if not said.pause:
            writer.write(said.all_of_it())
            return
        writer.write(said.opening)
        for word in said.words:
            due += said.pause
            await asyncio.sleep(due - loop.time())
            writer.write(word)
        writer.write(said.ending)


def _send(writer: asyncio.StreamWriter, status: int, body: Any) -> None:
    data = json.dumps(body).encode()
    writer.write(
        b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(data))
    )
    writer.write(data)


async def _talk(writer: asyncio.StreamWriter, kind: str, in_a_row: int) -> None:
    begin, unit, _ = KINDS[kind]
    writer.write(STREAM + _event({"content": begin}))
    text, loop = unit * 200, asyncio.get_running_loop()
    pieces = cycle([_event({"content": text[at : at + 4]}) for at in range(0, len(text), 4)])
    due = loop.time()
    while not writer.is_closing():
        writer.write(b"".join(next(pieces) for _ in range(in_a_row)))
        await writer.drain()
        due = max(due + in_a_row / CHUNKS_PER_SECOND, loop.time())
        await asyncio.sleep(due - loop.time())


async def main() -> None:
    """Serve on a free port, which is printed, until stdin ends."""
    server = await asyncio.start_server(_Server().serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
