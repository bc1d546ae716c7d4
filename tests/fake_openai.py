"""A small OpenAI server on loopback: real HTTP, one behaviour per model name, and it remembers what it was asked."""

import json
import re
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NoReturn, Self

from tests import payloads
from tests.fault_modes import find_fault

Reply = dict[str, Any]
USAGE: Reply = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


@dataclass
class Seen:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class FakeOpenAI:
    """Answers by model name.

    `says-…` streams the words that follow · `tokens-N` streams N words, `tokens-N-MS` MS milliseconds apart ·
    `markdown` streams a document, `code` one with two blocks of code · `json:…` answers with what follows,
    `mended:…` at the second time · `length`, `filter` end so · `reason` ends for a reason that is no text ·
    `silent` answers with no text · `escape` sends what a terminal must not get · `halves` sends a smiley in two
    halves · `lone` sends half of one · `thinks` thinks aloud before it
    answers, `thinks-twice` in two fields at once. Whatever can go wrong is in `tests/fault_modes.py`.
    """

    models: list[str] = field(default_factory=lambda: ["tokens-5", "says-hello"])
    seen: list[Seen] = field(default_factory=list)
    usage: Reply = field(default_factory=lambda: USAGE)  # what it says that each answer took

    answers: dict[str, list[str]] = field(default_factory=dict)  # of the model of that name, by a prompt's end
    deltas: list[Reply] = field(default_factory=list)  # what the model of that name answers with
    lists: Any = None  # what its list of models is instead
    lists_status: int = 200

    def __post_init__(self) -> None:
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stop()

    @property
    def chats(self) -> list[Seen]:
        """The chat requests, in the order they came."""
        return [seen for seen in self.seen if seen.path == "/v1/chat/completions"]

    def last_messages(self) -> list[tuple[str, str]]:
        """The messages of the last chat request, as role and content."""
        return [(message["role"], message["content"]) for message in self.chats[-1].body["messages"]]


ESCAPES = "a\x1b]0;title\x07b\x1b[31mc\x9bd\u202ee"
MARKDOWN = "# Title\n\nSome *text* here.\n\n- one\n- two\n\n```python\nprint(1)\n```\n\nThe end.\n"
CODE = "One:\n\n```python\nprint(1)\n```\n\n- two:\n\n  ```sh\n  ls\n  ```\n"
TEXTS = {
    "markdown": MARKDOWN,
    "escape": ESCAPES,
    "code": CODE,
    "payloads": payloads.ALL,
    "payloads-in-code": f"```python\n{payloads.ALL}\n```\n",
}
THINKING = {"thinks": [["reasoning_content"]], "thinks-twice": [["reasoning_content", "reasoning"]]}
HALVES = {"halves": ("a \ud83d", "\ude00 b"), "lone": ("a \ud83d", " b")}
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fake: FakeOpenAI) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fake = fake
        self.stopped = threading.Event()
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def stop(self) -> None:
        """Listen no more, and end whatever is still being answered."""
        self.stopped.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._connections):  # this wakes who waits in a read or a write
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    """One connection: the plain answers, and the pieces that the faults are made of."""

    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # each piece goes out at once

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client had enough, or the server stops
            super().handle()

    def finish(self) -> None:
        with suppress(OSError, ValueError):  # a reset closed it already
            super().finish()

    def do_GET(self) -> None:
        self.server.fake.seen.append(Seen(self.path, dict(self.headers), {}))
        data = [
            {"id": model, "object": "model", "created": 0, "owned_by": "fake"} for model in self.server.fake.models
        ]
        self.send(self.server.fake.lists_status, self.server.fake.lists or {"object": "list", "data": data})

    def do_POST(self) -> None:
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.fake.seen.append(Seen(self.path, dict(self.headers), self.body))
        if fault := find_fault(self.body["model"]):
            fault(self)
        else:
            self.answer(stream=bool(self.body.get("stream")))

    def times_asked(self) -> int:
        """How many chats with this model there were, this one included."""
        return sum(chat.body["model"] == self.body["model"] for chat in self.server.fake.chats)

    def answer(self, *, stream: bool) -> None:
        """Answer as the model's name says."""
        model = self.body["model"]
        reason = {"length": "length", "filter": "content_filter", "reason": 42}.get(model, "stop")
        if not stream:
            self.send(200, _whole("".join(self._words(model)), reason))
            return
        self.start_stream()
        for delta in self.server.fake.deltas if model == "deltas" else ():
            self.delta(delta)
        for names in THINKING.get(model, ()):
            self.delta(dict.fromkeys(names, "First, "))
            self.delta(dict.fromkeys(names, "a thought.\x1b[31m"))
        for word in self._words(model):
            self.say(word)
        self.conclude(reason)

    def _words(self, model: str) -> Iterator[str]:
        if model.startswith("says-"):
            yield from re.findall(r"\S+\s*", model.removeprefix("says-").replace("-", " "))
        elif match := re.fullmatch(r"tokens-(\d+)(?:-(\d+))?", model):
            for number in range(int(match[1])):
                yield f"word{number} "
                self.pause(int(match[2] or 0) / 1000)
        elif (text := self._text_of(model)) is not None:
            yield from (text[at : at + 3] for at in range(0, len(text), 3))
        elif model.startswith("json:"):
            yield model.removeprefix("json:")
        elif model.startswith("mended:"):
            yield "no JSON" if self.times_asked() == 1 else model.removeprefix("mended:")
        elif model in THINKING:
            yield "an answer"
        elif model in HALVES:
            yield from HALVES[model]
        elif model not in {"silent", "deltas"}:
            yield from ("cut ", "short")

    def _text_of(self, model: str) -> str | None:
        """Return what a model has to say at length; `answers` says what is next for the longest prompt that fits."""
        if model != "answers":
            return TEXTS.get(model)
        prompt = str(self.body["messages"][-1]["content"])
        known = sorted((each for each in self.server.fake.answers if prompt.endswith(each)), key=len)
        return self.server.fake.answers[known[-1]].pop(0)

    def send(self, status: int, body: Reply | list[Reply], headers: Mapping[str, str] = NO_HEADERS) -> None:
        """Send all of an answer, as JSON."""
        self.send_bytes(status, json.dumps(body).encode(), "application/json", headers)

    def send_bytes(self, status: int, body: bytes, kind: str, headers: Mapping[str, str] = NO_HEADERS) -> None:
        """Send all of an answer, whatever it is."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def start_stream(self, status: int = 200, kind: str = "text/event-stream") -> None:
        """Send the headers of an answer that comes in chunks."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def write(self, data: bytes) -> None:
        """Send one chunk of the body; one without data ends it."""
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def delta(self, delta: Reply, finish_reason: Any = None, **changes: Any) -> None:
        """Send one event of a chat stream, `changes` made to its outermost fields."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        self.write(f"data: {json.dumps(_reply('chat.completion.chunk', choice) | changes)}\n\n".encode())

    def say(self, word: str) -> None:
        """Send a piece of the answer's text."""
        self.delta({"content": word})

    def conclude(self, reason: Any = "stop") -> None:
        """End a chat stream as it should be."""
        self.delta({}, reason)
        self.delta({}, choices=[], usage=self.server.fake.usage)
        self.write(b"data: [DONE]\n\n")
        self.write(b"")

    def pause(self, seconds: float) -> None:
        """Wait, unless the server stops."""
        if self.server.stopped.wait(seconds):
            raise ConnectionAbortedError

    def silence(self) -> NoReturn:
        """Say nothing more, with the connection open, until the client goes away or the server stops."""
        self.rfile.read()  # nothing comes, so this returns when the connection ends
        raise ConnectionAbortedError

    def hang_up(self, data: bytes = b"") -> None:
        """Close the connection, after some last bytes as they are."""
        self.wfile.write(data)
        self.close_connection = True

    def reset(self) -> NoReturn:
        """Close the connection with an RST instead of a FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        raise ConnectionAbortedError


def _reply(kind: str, choice: Reply) -> Reply:
    return {"id": "chatcmpl-1", "object": kind, "created": 0, "model": "fake", "choices": [choice]}


def _whole(text: str, finish_reason: Any) -> Reply:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return _reply("chat.completion", choice) | {"usage": USAGE}
