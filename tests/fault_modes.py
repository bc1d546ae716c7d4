"""Whatever can go wrong with a provider, by the model name that asks the fake server for it."""

import itertools
import json
import math
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from tests import payloads

if TYPE_CHECKING:  # it imports this module
    from tests.fake_openai import Handler

Fault = Callable[["Handler"], None]
Step = str | bytes | Fault  # a piece of text, a piece of the body as it is, or whatever else is to be done

WORDS = ("word0 ", "word1 ", "word2 ", "word3 ", "word4 ")
SHORT = ("cut ", "short")
COMMENT = b": keepalive\n\n"
DONE = b"data: [DONE]\n\n"
END = b""  # the chunk that ends the body
MEGABYTE = b"x" * 1_000_000
DRIP = 0.02  # seconds
ELSEWHERE = "/elsewhere/v1/chat/completions"
STATUS_ERRORS = {
    401: {"message": "Incorrect API key provided", "code": "invalid_api_key"},
    404: {"message": "The model does not exist", "code": "model_not_found"},
    429: {"message": "Rate limit reached", "code": "rate_limit_exceeded"},
}


def stream(*steps: Step) -> Fault:
    """Start a chat stream and take these steps."""

    def play(handler: "Handler") -> None:
        handler.start_stream()
        for step in steps:
            _take(handler, step)

    return play


def _take(handler: "Handler", step: Step) -> None:
    if isinstance(step, str):
        handler.say(step)
    elif isinstance(step, bytes):
        handler.write(step)
    else:
        step(handler)


def over_and_over(step: Step, seconds: float = DRIP) -> Fault:
    """Take one step until the client goes away or the server stops."""

    def play(handler: "Handler") -> None:
        while True:
            _take(handler, step)
            handler.pause(seconds)

    return play


def delta(fields: dict[str, Any], reason: str | None = None, **changes: Any) -> Fault:
    """Send one event of a chat stream."""
    return lambda handler: handler.delta(fields, reason, **changes)


def conclude(reason: str = "stop") -> Fault:
    """End a chat stream as it should be."""
    return lambda handler: handler.conclude(reason)


def event(data: object) -> bytes:
    """Return an event that holds some JSON."""
    return f"data: {json.dumps(data)}\n\n".encode()


def error(message: str, code: str) -> dict[str, Any]:
    """Return an error as OpenAI writes one."""
    return {"error": {"message": message, "type": code, "code": code}}


def refuse(status: int, message: str, code: str | None = None) -> Fault:
    """Answer with a status and a complaint."""
    complaint = {"error": {"message": message} | ({"code": code} if code else {})}
    return lambda handler: handler.send(status, complaint)


def whole(status: int, body: bytes, kind: str) -> Fault:
    """Answer with a body that is not a stream."""
    return lambda handler: handler.send_bytes(status, body, kind)


def raw(data: bytes) -> Fault:
    """Send these bytes and close the connection."""
    return lambda handler: handler.hang_up(data)


def plain(handler: "Handler") -> None:
    handler.answer(stream=bool(handler.body.get("stream")))


def plain_but_whole(handler: "Handler") -> None:
    handler.answer(stream=False)


def silence(handler: "Handler") -> None:
    handler.silence()


def close(handler: "Handler") -> None:
    handler.hang_up()


def reset(handler: "Handler") -> None:
    handler.reset()


def pause(handler: "Handler") -> None:
    handler.pause(0.05)


def leak(handler: "Handler") -> None:
    refuse(401, f"Bad key: {handler.headers['Authorization']}")(handler)


def redirect(handler: "Handler") -> None:
    if handler.path == ELSEWHERE:
        stream("elsewhere", conclude())(handler)
    else:
        handler.send_bytes(307, b"", "text/plain", {"Location": ELSEWHERE})


def endless(handler: "Handler") -> None:
    for number in itertools.count():
        handler.say(f"word{number} ")


def endless_error(handler: "Handler") -> None:
    handler.start_stream(500, "application/json")
    handler.write(b'{"error": {"message": "')
    over_and_over(MEGABYTE[:60_000])(handler)


BROKE = error("The server had an error", "server_error")
TOO_LONG = error("This exceeds the context window", "context_length_exceeded")
NESTED = b"data: " + b"[" * 100_000 + b"]" * 100_000 + b"\n\n"
REASONING = [step for n in range(20) for step in (delta({"reasoning_content": f"thought{n} "}), pause)]
PARTS = [{"type": "text", "text": text} for text in SHORT]

FAULT_MODES: dict[str, Fault] = {
    # a status instead of an answer
    "quota": refuse(429, "You exceeded your quota", "insufficient_quota"),
    "leak": leak,  # the complaint repeats the key
    "too-long": refuse(400, "This model's maximum context length is 8 tokens", "context_length_exceeded"),
    "long-error": refuse(400, "x" * 5_000_000),
    "payloads-error": refuse(400, payloads.ON_A_LINE),
    "escape-error": refuse(400, "bad \x1b]0;title\x07 \u202e name"),
    "html-502": whole(502, b"<html><h1>502 Bad Gateway</h1></html>", "text/html"),
    "redirect": redirect,
    # not even headers
    "reset": reset,
    "close": close,
    "half-header": raw(b"HTTP/1.1 200 OK\r\nContent-Ty"),
    "not-http": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    # status 200, and no stream or no answer in it
    "html": whole(200, b"<html>Log in to the hotel's network</html>", "text/html"),
    "empty-body": whole(200, b"", "text/event-stream"),
    "json-reply": plain_but_whole,
    "json-error": whole(200, json.dumps(BROKE).encode(), "application/json"),
    "mid-error-first": stream(event(BROKE), END),
    "rate-first": stream(event(error("Rate limit reached", "rate_limit_exceeded")), END),
    "quota-first": stream(event(error("You exceeded your quota", "insufficient_quota")), END),
    # silence, or what amounts to it
    "hang": silence,
    "stall": stream(*WORDS, silence),
    "stall-headers": stream(silence),
    "keepalive": stream(*WORDS, over_and_over(COMMENT)),
    "keepalive-first": stream(over_and_over(COMMENT)),
    "empty-deltas": stream(*WORDS, over_and_over(delta({}))),
    "empty-first": stream(over_and_over(delta({}))),
    "no-choices": stream(*WORDS, over_and_over(delta({}, choices=[]))),
    # too much
    "endless": stream(endless),
    "endless-error": endless_error,
    "giant-line": stream(*WORDS, b"data: ", *[MEGABYTE] * 128, END),
    "many-data-lines": stream(*WORDS, over_and_over(b"data: x\n" * 1000, 0)),
    # odd ends
    "fin": stream(*WORDS, close),
    "eof": stream(*SHORT, END),
    "done-only": stream(*WORDS, DONE, END),
    "reason-only": stream(*WORDS, delta({}, "stop"), END),
    "length": plain,
    "filter": plain,
    "reason": plain,
    "hold": stream(*SHORT, delta({}, "stop"), silence),
    "done-held": stream(*WORDS, delta({}, "stop"), DONE, silence),
    "silent": plain,
    "no-text-eof": stream(delta({"role": "assistant"}), END),
    "length-no-text": stream(conclude("length")),
    "refusal": stream(*[delta({"refusal": word}) for word in WORDS], conclude()),
    "reasoning": stream(*REASONING, *WORDS, conclude()),
    # not a chat stream; each goes on to a proper end, so that who skips the fault takes the answer for whole
    "garbage": stream(*WORDS, b"data: {not json\n\n", conclude()),
    "bad-utf8": stream(*WORDS, b'data: {"a": "\xff\xfe"}\n\n', conclude()),
    "list-event": stream(*WORDS, event([1, 2]), conclude()),
    "number-event": stream(*WORDS, event(42), conclude()),
    "number-content": stream(*WORDS, delta({"content": 42}), conclude()),
    "deep-json": stream(*WORDS, NESTED, conclude()),
    "mid-error": stream(*WORDS, event(BROKE), conclude()),
    "event-error": stream(*WORDS, b"event: error\n" + event(BROKE), conclude()),
    "error-text": stream(*WORDS, event({"error": "a plain string"}), conclude()),
    "mid-too-long": stream(*WORDS, event(TOO_LONG), conclude()),
    # odd, and yet a whole answer
    "no-choices-key": stream(*WORDS[:2], event({"object": "chat.completion.chunk"}), *WORDS[2:], conclude()),
    "null-choices": stream(*WORDS[:2], delta({}, choices=None), *WORDS[2:], conclude()),
    "odd-role": stream(delta({"role": "wizard"}), *WORDS, conclude()),
    "parts": stream(delta({"content": PARTS}), conclude()),
    "nul": stream("a\0b", "\0", "c", conclude()),
    "escape": plain,
    "halves": plain,
    "lone": plain,
}


def fault(handler: "Handler", rest: str) -> None:
    """`fault-STATUS` answers with that status.

    What follows after colons are headers: `fault-429:retry-after=1`; `date+2` as a value is a date in two seconds.
    """
    status, *options = rest.split(":")
    headers = dict(option.split("=", 1) for option in options)
    for name, value in headers.items():
        if value.startswith("date+"):  # rounded up: dates have no fractions
            headers[name] = formatdate(math.ceil(time.time() + int(value.removeprefix("date+"))), usegmt=True)
    handler.send(int(status), {"error": STATUS_ERRORS.get(int(status), {"message": "It broke"})}, headers)


def flaky(handler: "Handler", rest: str) -> None:
    """`flaky-STATUS-N` answers N times with that status, then with a word. It takes headers as `fault` does."""
    numbers, *options = rest.split(":")
    status, times = numbers.split("-")
    if handler.times_asked() <= int(times):
        fault(handler, ":".join([status, *options]))
    else:
        stream("fine", conclude())(handler)


def cut(handler: "Handler", rest: str) -> None:
    """`cut-N` resets the connection after N words."""
    words = (f"word{number} " for number in range(int(rest)))
    stream(*words, pause, reset)(handler)  # a reset overtakes what is still on its way, hence the pause


FAULT_FAMILIES: dict[str, Callable[["Handler", str], None]] = {"fault": fault, "flaky": flaky, "cut": cut}


def find_fault(model: str) -> Fault | None:
    """Return what goes wrong with a model, if anything does."""
    family, _, rest = model.partition("-")
    if model in FAULT_MODES:
        return FAULT_MODES[model]
    if family in FAULT_FAMILIES:
        return lambda handler: FAULT_FAMILIES[family](handler, rest)
    return None
