"""The fake server itself: each of its faults is on the wire what its name says."""

import http.client
import json
import socket
import threading
import time
from contextlib import closing
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import pytest

from tests.fake_openai import FakeOpenAI
from tests.fault_modes import ELSEWHERE, FAULT_MODES, WORDS

pytestmark = pytest.mark.slow

STOP, DONE, END = b'"finish_reason": "stop"', b"data: [DONE]", b"\r\n0\r\n\r\n"
EMPTY = b'"delta": {}, "finish_reason": null'
STATUS_200, LAST_WORD = b"HTTP/1.1 200 OK", b'"content": "word4 "'

# How the connection ends (left open, closed, reset), what arrives, and what does not.
ON_THE_WIRE: dict[str, tuple[str, list[bytes], list[bytes]]] = {
    "quota": ("closed", [b" 429 ", b"insufficient_quota"], []),
    "leak": ("closed", [b" 401 ", b"Bad key: Bearer sk-canary"], []),
    "too-long": ("closed", [b" 400 ", b"context_length_exceeded"], []),
    "long-error": ("closed", [b" 400 ", b"x" * 5_000_000], []),
    "payloads-error": ("closed", [b" 400 ", rb"\u001b]0;owned\u0007"], []),
    "escape-error": ("closed", [b" 400 ", rb"\u001b]0;title\u0007", rb"\u202e"], []),
    "html-502": ("closed", [b" 502 ", b"text/html", b"<html>"], []),
    "redirect": ("closed", [b" 307 ", f"Location: {ELSEWHERE}".encode()], []),
    "reset": ("reset", [], [b"H"]),
    "close": ("closed", [], [b"H"]),
    "half-header": ("closed", [b"HTTP/1.1 200 OK\r\nContent-Ty"], [b"\r\n\r\n"]),
    "not-http": ("closed", [b"SSH-2.0-OpenSSH_9.2\r\n"], [b"HTTP"]),
    "html": ("closed", [STATUS_200, b"text/html", b"<html>"], []),
    "empty-body": ("closed", [STATUS_200, b"text/event-stream", b"Content-Length: 0"], [b"data"]),
    "json-reply": ("closed", [STATUS_200, b"application/json", b'"content": "cut short"', STOP], [b"data:"]),
    "json-error": ("closed", [STATUS_200, b"application/json", b'{"error": {'], [b"data:"]),
    "mid-error-first": ("closed", [b'\ndata: {"error": {', b'"code": "server_error"', END], [b"choices"]),
    "rate-first": ("closed", [b'\ndata: {"error": {', b'"code": "rate_limit_exceeded"', END], [b"choices"]),
    "quota-first": ("closed", [b'\ndata: {"error": {', b'"code": "insufficient_quota"', END], [b"choices"]),
    "hang": ("open", [], [b"H"]),
    "stall": ("open", [LAST_WORD], [END, STOP]),
    "stall-headers": ("open", [STATUS_200, b"text/event-stream", b"\r\n\r\n"], [b"data:"]),
    "keepalive": ("open", [LAST_WORD, b": keepalive\n\n"], [END, STOP]),
    "keepalive-first": ("open", [b": keepalive\n\n"], [b"data:", END]),
    "empty-deltas": ("open", [LAST_WORD, EMPTY], [END, STOP]),
    "empty-first": ("open", [EMPTY], [b'content"', END, STOP]),
    "no-choices": ("open", [LAST_WORD, b'"choices": []'], [END, STOP]),
    "endless": ("open", [LAST_WORD, b"word1000 "], [END, STOP]),
    "endless-error": ("open", [b" 500 ", b"chunked", b"x" * 60_000], [END]),
    "giant-line": ("open", [LAST_WORD, b"data: \r\n", b"x" * 1_000_000], [END, STOP]),
    "many-data-lines": ("open", [LAST_WORD, b"data: x\n" * 1000], [b"x\n\n", END, STOP]),
    "fin": ("closed", [LAST_WORD], [END, STOP]),
    "eof": ("closed", [b"short", END], [STOP, DONE]),
    "done-only": ("closed", [LAST_WORD, DONE, END], [STOP]),
    "reason-only": ("closed", [LAST_WORD, STOP, END], [DONE]),
    "length": ("closed", [b"short", b'"finish_reason": "length"', DONE, END], [STOP]),
    "filter": ("closed", [b"short", b'"finish_reason": "content_filter"', DONE, END], [STOP]),
    "reason": ("closed", [b"short", b'"finish_reason": 42', DONE, END], [STOP]),
    "hold": ("open", [b"short", STOP], [DONE, END]),
    "done-held": ("open", [LAST_WORD, STOP, DONE], [END]),
    "silent": ("closed", [STOP, DONE, END], [b'"content"']),
    "no-text-eof": ("closed", [b'"role": "assistant"', END], [b'"content"', STOP, DONE]),
    "length-no-text": ("closed", [b'"finish_reason": "length"', DONE, END], [b'"content"', STOP]),
    "refusal": ("closed", [b'"refusal": "word4 "', STOP, END], [b'"content"']),
    "reasoning": ("closed", [b'"reasoning_content": "thought19 "', LAST_WORD, STOP, END], []),
    "garbage": ("closed", [LAST_WORD, b"data: {not json\n\n", STOP, END], []),
    "bad-utf8": ("closed", [LAST_WORD, b"\xff\xfe", STOP, END], []),
    "list-event": ("closed", [LAST_WORD, b"data: [1, 2]\n\n", STOP, END], []),
    "number-event": ("closed", [LAST_WORD, b"data: 42\n\n", STOP, END], []),
    "number-content": ("closed", [LAST_WORD, b'"content": 42', STOP, END], []),
    "deep-json": ("closed", [LAST_WORD, b"[" * 100_000 + b"]" * 100_000 + b"\n\n", STOP, END], []),
    "mid-error": ("closed", [LAST_WORD, b'\ndata: {"error": {', STOP, END], [b"event: error"]),
    "event-error": ("closed", [LAST_WORD, b'event: error\ndata: {"error": {', STOP, END], []),
    "error-text": ("closed", [LAST_WORD, b'data: {"error": "a plain string"}\n\n', STOP, END], []),
    "mid-too-long": ("closed", [LAST_WORD, b"exceeds the context window", b"context_length_exceeded", STOP], []),
    "no-choices-key": ("closed", [b'data: {"object": "chat.completion.chunk"}\n\n', LAST_WORD, STOP, END], []),
    "null-choices": ("closed", [b'"choices": null', LAST_WORD, STOP, END], []),
    "odd-role": ("closed", [b'"role": "wizard"', LAST_WORD, STOP, END], []),
    "parts": ("closed", [b'"content": [{"type": "text", "text": "cut "}', STOP, END], []),
    "nul": ("closed", [rb'"content": "a\u0000b"', STOP, END], []),
    "escape": ("closed", [rb"a\u001b]", rb"\u202e", STOP, END], []),
    "halves": ("closed", [rb'"a \ud83d"', rb'"\ude00 b"', STOP, END], []),
    "lone": ("closed", [rb'"a \ud83d"', b'" b"', STOP, END], []),
}
NEVER_ENDING = [mode for mode, (end, _, _) in ON_THE_WIRE.items() if end == "open"]


def ask(fake: FakeOpenAI, model: str) -> socket.socket:
    body = json.dumps({"model": model, "stream": True})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    client = socket.create_connection(("127.0.0.1", int(fake.base_url.split(":")[2].removesuffix("/v1"))), 20)
    client.sendall(f"{head}Authorization: Bearer sk-canary\r\n\r\n{body}".encode())
    return client


def read(client: socket.socket, seconds: float = 0.1) -> tuple[str, bytes]:
    """Return how the connection ended, if it did in so long, and what came."""
    data, deadline = bytearray(), time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0 and len(data) < 20_000_000:
        client.settimeout(left)
        try:
            piece = client.recv(1_000_000)
        except ConnectionResetError:
            return "reset", bytes(data)
        except TimeoutError:
            break
        if not piece:
            return "closed", bytes(data)
        data += piece
    return "open", bytes(data)


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes


def answer_to(fake: FakeOpenAI, model: str, path: str = "/v1/chat/completions") -> Answer:
    with closing(http.client.HTTPConnection(fake.base_url.split("/")[2], timeout=20)) as connection:
        connection.request("POST", path, json.dumps({"model": model, "stream": True}), {"Connection": "close"})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


def test_every_fault_is_looked_at() -> None:
    assert ON_THE_WIRE.keys() == FAULT_MODES.keys()


@pytest.mark.parametrize("mode", FAULT_MODES)
def test_a_fault_is_what_its_name_says(fake_openai: FakeOpenAI, mode: str) -> None:
    expected_end, there, not_there = ON_THE_WIRE[mode]
    with ask(fake_openai, mode) as client:
        end, data = read(client)
        while end == "open" and (expected_end != "open" or not all(part in data for part in there)):
            end, more = read(client)  # what stays away for ever ends with the test's time
            data += more
    assert end == expected_end
    assert [part for part in there if part not in data] == []
    assert [part for part in not_there if part in data] == []
    if LAST_WORD in there:
        assert [word for word in WORDS if data.count(f'"content": "{word}"'.encode()) != 1] == []


@pytest.mark.parametrize("how", ["the server stops", "the client goes"])
@pytest.mark.parametrize("mode", NEVER_ENDING)
def test_what_never_ends_does_when_either_side_goes_away(mode: str, how: str) -> None:
    others = set(threading.enumerate())
    with FakeOpenAI() as fake, ask(fake, mode) as client:
        while not fake.seen:
            time.sleep(0.01)
        answering = [each for each in threading.enumerate() if "process_request" in each.name and each not in others]
        began = time.monotonic()
        if how == "the server stops":
            fake.__exit__()
        else:
            client.close()
        for thread in answering:
            thread.join(1)
        assert [thread.is_alive() for thread in answering] == [False]
        assert time.monotonic() - began < 1


def test_a_giant_line_is_one_of_more_than_100_megabytes(fake_openai: FakeOpenAI) -> None:
    line = answer_to(fake_openai, "giant-line").body.splitlines()[-1]
    assert line.startswith(b"data: x")
    assert len(line) > 100_000_000


def test_a_status_comes_with_the_headers_that_its_name_holds(fake_openai: FakeOpenAI) -> None:
    answer = answer_to(fake_openai, "fault-429:retry-after=1:x-should-retry=false")
    assert (answer.status, answer.headers["Retry-After"], answer.headers["X-Should-Retry"]) == (429, "1", "false")
    until = parsedate_to_datetime(answer_to(fake_openai, "fault-503:retry-after=date+2").headers["Retry-After"])
    assert 1 < until.timestamp() - time.time() <= 3


@pytest.mark.parametrize(
    ("model", "statuses", "header"),
    [("flaky-503-2", [503, 503, 200], None), ("flaky-429-1:retry-after-ms=250", [429, 200, 200], "250")],
)
def test_a_flaky_model_answers_after_so_many_refusals(
    fake_openai: FakeOpenAI, model: str, statuses: list[int], header: str | None
) -> None:
    answer_to(fake_openai, "flaky-503-1")  # another model's requests do not count
    answers = [answer_to(fake_openai, model) for _ in statuses]
    assert [answer.status for answer in answers] == statuses
    assert answers[0].headers["Retry-After-Ms"] == header
    assert b'"content": "fine"' in answers[-1].body


def test_who_follows_a_redirect_is_seen(fake_openai: FakeOpenAI) -> None:
    location = answer_to(fake_openai, "redirect").headers["Location"]
    assert b'"content": "elsewhere"' in answer_to(fake_openai, "redirect", location).body
    assert [seen.path for seen in fake_openai.seen] == ["/v1/chat/completions", location]


def test_a_cut_answer_is_reset_after_so_many_words(fake_openai: FakeOpenAI) -> None:
    with ask(fake_openai, "cut-3") as client:
        end, data = read(client, 20)
    assert (end, data.count(b'"content"')) == ("reset", 3)
