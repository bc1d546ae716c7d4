"""A small OpenAI server on loopback: real HTTP, one behaviour per model name, and it remembers what it was asked."""

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Reply = dict[str, Any]


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
    `markdown` streams a document · `length`, `filter` end so · `eof` ends without a reason · `cut-N` resets the
    connection after N words · `fault-STATUS` answers with that status · `quota` with the 429 of an empty account ·
    `leak` with a 401 that repeats the key · `hang` says nothing for a minute · `html` is no API at all ·
    `silent` answers with no text · `escape` sends what a terminal must not get · `halves` sends a smiley in two
    halves · `lone` sends half of one · `hold` ends its answer and keeps the connection · `reason` ends for a reason
    that is no text.
    """

    models: list[str] = field(default_factory=lambda: ["tokens-5", "says-hello"])
    seen: list[Seen] = field(default_factory=list)

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
        self._server.shutdown()
        self._server.server_close()

    @property
    def chats(self) -> list[Seen]:
        """The chat requests, in the order they came."""
        return [seen for seen in self.seen if seen.path == "/v1/chat/completions"]

    def last_messages(self) -> list[tuple[str, str]]:
        """The messages of the last chat request, as role and content."""
        return [(message["role"], message["content"]) for message in self.chats[-1].body["messages"]]


ESCAPES = "a\x1b]0;title\x07b\x1b[31mc\x9bd\u202ee"
MARKDOWN = "# Title\n\nSome *text* here.\n\n- one\n- two\n\n```python\nprint(1)\n```\n\nThe end.\n"
HALVES = {"halves": ("a \ud83d", "\ude00 b"), "lone": ("a \ud83d", " b")}
FAULTS = {
    401: {"message": "Incorrect API key provided", "code": "invalid_api_key"},
    404: {"message": "The model does not exist", "code": "model_not_found"},
    429: {"message": "Rate limit reached", "code": "rate_limit_exceeded"},
}


class _Reset(Exception):  # noqa: N818  (an event, not an error)
    """The connection is to be reset here."""


def _words(model: str) -> Iterator[str]:
    if model.startswith("says-"):
        yield from re.findall(r"\S+\s*", model.removeprefix("says-").replace("-", " "))
    elif match := re.fullmatch(r"tokens-(\d+)(?:-(\d+))?", model):
        for number in range(int(match[1])):
            yield f"word{number} "
            time.sleep(int(match[2] or 0) / 1000)
    elif match := re.fullmatch(r"cut-(\d+)", model):
        yield from (f"word{number} " for number in range(int(match[1])))
        raise _Reset
    elif model in {"markdown", "escape"}:
        text = MARKDOWN if model == "markdown" else ESCAPES
        yield from (text[at : at + 3] for at in range(0, len(text), 3))
    elif model in HALVES:
        yield from HALVES[model]
    elif model != "silent":
        yield from ("cut ", "short")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fake: "FakeOpenAI") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fake = fake


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.fake.seen.append(Seen(self.path, dict(self.headers), {}))
        data = [
            {"id": model, "object": "model", "created": 0, "owned_by": "fake"} for model in self.server.fake.models
        ]
        self._send(200, {"object": "list", "data": data})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.fake.seen.append(Seen(self.path, dict(self.headers), body))
        model = body["model"]
        if fault := self._fault(model):
            self._send(*fault)
        elif model == "hang":
            time.sleep(60)
        elif model == "html":
            self._send_bytes(200, b"<html>Log in to the hotel's network</html>", "text/html")
        elif body.get("stream"):
            self._stream(model)
        else:
            self._send(200, _whole("".join(_words(model)), _finish_reason(model)))

    def _fault(self, model: str) -> tuple[int, Reply] | None:
        if model == "quota":
            return 429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
        if model == "leak":
            return 401, {"error": {"message": f"Bad key: {self.headers['Authorization']}"}}
        if match := re.fullmatch(r"fault-(\d+)", model):
            status = int(match[1])
            return status, {"error": FAULTS.get(status, {"message": "It broke"})}
        return None

    def _send(self, status: int, body: Reply) -> None:
        self._send_bytes(status, json.dumps(body).encode(), "application/json")

    def _send_bytes(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, model: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for word in _words(model):
                self._event(_delta({"content": word}))
            if model != "eof":
                self._event(_delta({}, _finish_reason(model)))
                time.sleep(60 if model == "hold" else 0)
                self._event(_delta({}) | {"choices": [], "usage": USAGE})
                self._write(b"data: [DONE]\n\n")
            self._write(b"")
        except _Reset:  # an RST instead of a FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        except (BrokenPipeError, ConnectionResetError):  # the client had enough
            self.close_connection = True

    def _event(self, body: Reply) -> None:
        self._write(f"data: {json.dumps(body)}\n\n".encode())

    def _write(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def finish(self) -> None:
        with suppress(OSError, ValueError):  # the reset closed it already
            super().finish()


USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def _finish_reason(model: str) -> Any:
    return {"length": "length", "filter": "content_filter", "reason": 42}.get(model, "stop")


def _delta(delta: Reply, finish_reason: Any = None) -> Reply:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "fake",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


def _whole(text: str, finish_reason: str) -> Reply:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "fake",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}],
        "usage": USAGE,
    }
