import asyncio
import importlib
import json
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import httpcore2
import httpx2
import langchain_core
import langchain_openai
import openai
import pytest
from langchain_core.exceptions import ContextOverflowError, ModelError
from langchain_openai import ChatOpenAI
from langchain_openai.chat_models import base as langchain_openai_base

from chatllm_cli.errors import (
    AuthenticationError,
    ContextLengthError,
    ExitCode,
    InvalidReplyError,
    ModelNotFoundError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    QuotaError,
    RateLimitError,
)
from chatllm_cli.models import Endpoint
from chatllm_cli.services.llm.error_map import FOREIGN_ERRORS, retry_after, translate

QUOTE = 300  # characters that the server is quoted with at most
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
KEY = "sk-canary-1234567890"
ENDPOINT = Endpoint("work", "m", "http://work.example/v1", api_key=KEY)
REQUEST = httpx2.Request("POST", f"{ENDPOINT.base_url}/chat/completions")

Headers = dict[str, str]
NONE: Headers = {}


def after(value: str) -> Headers:
    return {"retry-after": value}


def both(milliseconds: str, value: str) -> Headers:
    return {"retry-after-ms": milliseconds, "retry-after": value}


RETRY_AFTER: list[tuple[Headers, float | None]] = [
    (NONE, None),
    (after(""), None),
    (after(" "), None),
    # seconds
    (after("1"), 1),
    (after("120"), 120),
    (after("0.25"), 0.25),
    (after(".5"), 0.5),
    (after(" 7 "), 7),
    (after("+7"), 7),
    (after("1e9"), 1e9),
    (after("86400"), 86400),
    # no time at all
    (after("0"), None),
    (after("0.0"), None),
    (after("-0"), None),
    (after("-1"), None),
    (after("nan"), None),
    (after("inf"), None),
    (after("-inf"), None),
    (after("1e999"), None),
    # milliseconds
    ({"retry-after-ms": "1500"}, 1.5),
    ({"retry-after-ms": "0.5"}, 0.0005),
    ({"retry-after-ms": "0"}, None),
    ({"retry-after-ms": "-1"}, None),
    ({"retry-after-ms": "nan"}, None),
    ({"retry-after-ms": "soon"}, None),
    # both: the finer one counts, if it says anything
    (both("1500", "9"), 1.5),
    (both("soon", "9"), 9),
    (both("0", "9"), 9),
    (both("inf", "9"), 9),
    (both("", "Mon, 23 Nov 2026 12:00:09 GMT"), 9),
    (both("1500", "soon"), 1.5),
    (both("soon", "later"), None),
    # dates, as RFC 9110 has them in three ways, and as others have them
    (after("Mon, 23 Nov 2026 12:00:10 GMT"), 10),
    (after("Monday, 23-Nov-26 12:00:10 GMT"), 10),
    (after("Mon Nov 23 12:00:10 2026"), 10),
    (after("Mon, 23 Nov 2026 12:00:10"), 10),
    (after("23 Nov 2026 12:00:10 -0000"), 10),
    (after("Mon, 23 Nov 2026 13:00:10 +0100"), 10),
    (after("Mon, 23 Nov 2026 07:00:10 EST"), 10),
    (after("Tue, 24 Nov 2026 12:00:00 GMT"), 86400),
    (after("Mon, 23 Nov 2026 12:00:00 GMT"), None),
    (after("Mon, 23 Nov 2026 11:59:59 GMT"), None),
    (after("Thu, 01 Jan 1970 00:00:00 GMT"), None),
    (after("Mon, 23 Nov 2026 12:30:00 +0100"), None),
    # neither
    (after("soon"), None),
    (after("5s"), None),
    (after("5 seconds"), None),
    (after("5, 10"), None),
    (after("0x10"), None),
    (after("2026-11-23T12:00:10Z"), None),
    (after("Mon, 99 Nov 2026 12:00:10 GMT"), None),
    (after("Mon, 23 Nov 2026 99:00:10 GMT"), None),
    (after("Mon, 23 Nov 99999 12:00:10 GMT"), None),
    (after("Mon, 23 Nov 2026 12:00:10 +9999"), None),
    (after("9" * 5000), None),
    (after("\0"), None),
    ({"x-ratelimit-reset": "5"}, None),
]


def test_the_table_of_headers_is_as_long_as_it_was() -> None:
    assert len(RETRY_AFTER) == 57


@pytest.mark.parametrize(("headers", "seconds"), RETRY_AFTER)
def test_the_time_that_a_provider_names_is_read(headers: Headers, seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds
    assert retry_after(httpx2.Headers({name.title(): value for name, value in headers.items()}), NOW) == seconds


PIECES_OF_DATES = "Mon, 23 Nov 2026 12:00:10 GMT +0100 -0000 99:99 9999999999 1.5 12.00.10 x EST pm - : +"


def test_no_header_out_of_ten_thousand_random_ones_is_more_than_a_time_or_none() -> None:
    random = Random(9)  # noqa: S311  (it keeps no secrets)
    words = PIECES_OF_DATES.split()
    times = 0
    for _ in range(10_000):
        text = random.choice([" ", "", ","]).join(random.choices(words, k=random.randint(1, 7)))
        seconds = retry_after(both(random.choice(words), text), NOW)
        assert seconds is None or seconds > 0
        times += seconds is not None
    assert times > 100


Answer = Callable[[httpx2.Request], httpx2.Response]


async def ask_openai(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    async for _ in stream:
        pass


async def ask_langchain(client: openai.AsyncOpenAI) -> None:
    chat = client.chat.completions
    model = ChatOpenAI(
        model="m",
        base_url=ENDPOINT.base_url,
        api_key=lambda: KEY,
        client=chat,
        async_client=chat,
        root_async_client=client,
        stream_chunk_timeout=None,
        use_responses_api=False,
    )
    async for _ in model.astream("hi"):
        pass


async def failure(answer: Answer, ask: Callable[[openai.AsyncOpenAI], Any] = ask_langchain) -> Exception:
    """Return what is raised where the server gives this answer."""
    http_client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer), follow_redirects=False)
    async with openai.AsyncOpenAI(
        base_url=ENDPOINT.base_url, api_key=KEY, http_client=http_client, max_retries=0
    ) as client:
        try:
            await ask(client)
        except Exception as error:  # noqa: BLE001  (whatever it is)
            return error
    pytest.fail("nothing was raised")


def refuse(status: int, code: str | None = None, message: str = "It broke", **headers: str) -> Answer:
    """Answer with a status; of header names `_` stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    error = {"message": message, "type": "odd", "code": code}
    return lambda _: httpx2.Response(status, headers=named, json={"error": error})


def report(code: object = None, **fields: object) -> Answer:
    """Answer with status 200 and a stream that holds an error."""
    return send({"message": "It broke", "code": code} | fields)


def send(error: object) -> Answer:
    event = f"data: {json.dumps({'error': error})}\n\n".encode()
    return lambda _: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=event)


def fail(error: Exception, cause: BaseException | None = None) -> Answer:
    """Fail as the HTTP client does, which hides what began it."""

    error.__context__ = cause

    def answer(_: httpx2.Request) -> httpx2.Response:
        raise error from None

    return answer


def no_connection(cause: BaseException) -> Answer:
    return fail(httpx2.ConnectError("All connection attempts failed"), cause)


def hook_error(code: str) -> openai.APIError:
    """Return what a hook of our HTTP client raises where an error came instead of a stream."""
    return openai.APIError("It broke", REQUEST, body={"message": "It broke", "code": code})


NO_NAME_YET = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
NO_TRUST = ssl.SSLCertVerificationError(1, "self-signed certificate")
NO_WAY = OSError(101, "Network is unreachable")
HUNG_UP = httpcore2.RemoteProtocolError("Server disconnected without sending a response.")

EXIT_CODES: dict[type[ProviderError], int] = {
    ProviderError: 5,
    AuthenticationError: 3,
    RateLimitError: 4,
    QuotaError: 4,
    ModelNotFoundError: 5,
    ContextLengthError: 5,
    ProviderTimeoutError: 5,
    ProviderUnavailableError: 5,
    InvalidReplyError: 5,
}
NOT_ALLOWED = "the key may not be allowed to, or nobody is"
CHECK_KEY = "`chatllm keys set work` stores one; `keys list` has those there are"
LIST_MODELS = "`chatllm models list` shows what there is; the address is http://work.example/v1"
SHORTEN = "shorten the prompt, begin a new conversation, or take a model with a longer context"
PAY = "check the plan and billing there"
SET_ADDRESS = "set its base_url to the address that answers"
IS_IT = "is http://work.example/v1 the address of an OpenAI-compatible API?"
FIRST_TOKEN = "timeouts.first_token says how long to wait"
BROKE = "the connection to work broke:"
ADDRESS = "its address is http://work.example/v1"
LATER = "try again in a while"
TOO_LONG_FOR = "the prompt and what was said before are too long for work/m: It broke"
NO_CHAT = "work sent something that is not a chat completion"

TABLE: list[tuple[Answer, type[ProviderError], bool, str, str | None]] = [
    # a status
    (refuse(300, location="/v2"), ProviderError, False, "work redirects to /v2, and redirects are not", SET_ADDRESS),
    (refuse(301, location="/v2"), ProviderError, False, "work redirects to /v2, and redirects are not", SET_ADDRESS),
    (refuse(301), ProviderError, False, "work redirects to another address, and", SET_ADDRESS),
    (refuse(302, location="https://a/"), ProviderError, False, "work redirects to https://a/, and", SET_ADDRESS),
    (refuse(307, location="/v2"), ProviderError, False, "work redirects to /v2, and", SET_ADDRESS),
    (refuse(308, location="/v2"), ProviderError, False, "work redirects to /v2, and", SET_ADDRESS),
    (refuse(400), ProviderError, False, "work refused the request with status 400: It broke", None),
    (refuse(401), AuthenticationError, False, "work rejected the key: It broke", CHECK_KEY),
    (refuse(402), QuotaError, False, "the quota at work is used up: It broke", PAY),
    (refuse(403), AuthenticationError, False, "work does not allow this: It broke", NOT_ALLOWED),
    (refuse(404), ModelNotFoundError, False, "work has no model 'm': It broke", LIST_MODELS),
    (refuse(405), ProviderError, False, "work refused the request with status 405: It broke", None),
    (refuse(408), ProviderUnavailableError, True, "work failed with status 408: It broke", None),
    (refuse(409), ProviderUnavailableError, True, "work failed with status 409: It broke", None),
    (refuse(413), ProviderError, False, "work refused the request with status 413: It broke", None),
    (refuse(418), ProviderError, False, "work refused the request with status 418: It broke", None),
    (refuse(422), ProviderError, False, "work refused the request with status 422: It broke", None),
    (refuse(429), RateLimitError, True, "rate limited by work: It broke", LATER),
    (refuse(500), ProviderUnavailableError, True, "work failed with status 500: It broke", None),
    (refuse(502), ProviderUnavailableError, True, "work failed with status 502: It broke", None),
    (refuse(503), ProviderUnavailableError, True, "work failed with status 503: It broke", None),
    (refuse(504), ProviderUnavailableError, True, "work failed with status 504: It broke", None),
    (refuse(529), ProviderUnavailableError, True, "work failed with status 529: It broke", None),
    (refuse(599), ProviderUnavailableError, True, "work failed with status 599: It broke", None),
    # a status, and a code that says more
    (refuse(400, "context_length_exceeded"), ContextLengthError, False, TOO_LONG_FOR, SHORTEN),
    (refuse(413, "context_length_exceeded"), ContextLengthError, False, TOO_LONG_FOR, SHORTEN),
    (refuse(500, "exceed_context_size_error"), ContextLengthError, False, TOO_LONG_FOR, SHORTEN),
    (refuse(400, "rate_limit_exceeded"), RateLimitError, True, "rate limited by work: It broke", LATER),
    (refuse(400, "billing_hard_limit_reached"), QuotaError, False, "the quota at work is used up: It broke", PAY),
    (refuse(403, "billing_not_active"), QuotaError, False, "the quota at work is used up: It broke", PAY),
    (refuse(429, "insufficient_quota"), QuotaError, False, "the quota at work is used up: It broke", PAY),
    (refuse(500, "insufficient_balance"), QuotaError, False, "the quota at work is used up: It broke", PAY),
    (refuse(429, "rate_limit_exceeded"), RateLimitError, True, "rate limited by work: It broke", LATER),
    (refuse(400, "server_error"), ProviderUnavailableError, True, "work failed with status 400: It broke", None),
    (refuse(503, "429"), ProviderUnavailableError, True, "work failed with status 503: It broke", None),
    # the provider's own word on whether to try again
    (refuse(429, x_should_retry="false"), RateLimitError, False, "rate limited by work: It broke", LATER),
    (refuse(429, x_should_retry="true"), RateLimitError, True, "rate limited by work: It broke", LATER),
    (refuse(429, x_should_retry="perhaps"), RateLimitError, True, "rate limited by work: It broke", LATER),
    (refuse(429, "insufficient_quota", x_should_retry="true"), QuotaError, False, "the quota at work is", PAY),
    (refuse(503, x_should_retry="false"), ProviderUnavailableError, False, "work failed with status 503", None),
    (refuse(503, x_should_retry="true"), ProviderUnavailableError, True, "work failed with status 503", None),
    (refuse(503, x_should_retry="perhaps"), ProviderUnavailableError, True, "work failed with status 503", None),
    (refuse(503, x_should_retry=""), ProviderUnavailableError, True, "work failed with status 503", None),
    (refuse(401, x_should_retry="true"), AuthenticationError, True, "work rejected the key", CHECK_KEY),
    (refuse(408, x_should_retry="false"), ProviderUnavailableError, False, "work failed with status 408", None),
    (refuse(400, x_should_retry="true"), ProviderError, True, "work refused the request with status 400", None),
    (refuse(400, x_should_retry="false"), ProviderError, False, "work refused the request with status 400", None),
    (refuse(400, x_should_retry="perhaps"), ProviderError, False, "work refused the request with status 400", None),
    # an error in a stream, which has a code at most
    (report("server_error"), ProviderUnavailableError, True, "work failed: It broke", None),
    (report(type="overloaded_error"), ProviderUnavailableError, True, "work failed: It broke", None),
    (report("internal_server_error"), ProviderUnavailableError, True, "work failed: It broke", None),
    (report("rate_limit_exceeded"), RateLimitError, True, "rate limited by work: It broke", LATER),
    (report("internal_error"), ProviderUnavailableError, True, "work failed: It broke", None),
    (report(type="api_error"), ProviderUnavailableError, True, "work failed: It broke", None),
    (report("rate_limit_reached"), RateLimitError, True, "rate limited by work: It broke", LATER),
    (report(type="rate_limit_error"), RateLimitError, True, "rate limited by work: It broke", LATER),
    (report("insufficient_quota"), QuotaError, False, "the quota at work is used up: It broke", PAY),
    (report("context_length_exceeded"), ContextLengthError, False, TOO_LONG_FOR, SHORTEN),
    (report(type="exceed_context_size_error"), ContextLengthError, False, TOO_LONG_FOR, SHORTEN),
    (report(400), ProviderError, False, "work refused the request with status 400: It broke", None),
    (report(401), AuthenticationError, False, "work rejected the key: It broke", CHECK_KEY),
    (report(402), QuotaError, False, "the quota at work is used up: It broke", PAY),
    (report("403"), AuthenticationError, False, "work does not allow this: It broke", NOT_ALLOWED),
    (report(404), ModelNotFoundError, False, "work has no model 'm': It broke", LIST_MODELS),
    (report("408"), ProviderUnavailableError, True, "work failed with status 408: It broke", None),
    (report(429), RateLimitError, True, "rate limited by work: It broke", LATER),
    (report("429"), RateLimitError, True, "rate limited by work: It broke", LATER),
    (report(502), ProviderUnavailableError, True, "work failed with status 502: It broke", None),
    (report("502"), ProviderUnavailableError, True, "work failed with status 502: It broke", None),
    (report(-32603), ProviderError, False, "work reported an error: It broke", None),
    (report(5020), ProviderError, False, "work reported an error: It broke", None),
    (report("odd"), ProviderError, False, "work reported an error: It broke", None),
    (report(["odd"]), ProviderError, False, "work reported an error: It broke", None),
    (report(), ProviderError, False, "work reported an error: It broke", None),
    (report(message=["odd"]), ProviderError, False, "work reported an error", None),
    (send("It broke"), ProviderError, False, "work reported an error: It broke", None),
    # an error instead of a stream, which a hook of our HTTP client finds
    (fail(hook_error("rate_limit_exceeded")), RateLimitError, True, "rate limited by work: It broke", LATER),
    (fail(hook_error("server_error")), ProviderUnavailableError, True, "work failed: It broke", None),
    # no answer at all
    (fail(httpx2.ReadTimeout("t")), ProviderTimeoutError, False, "work did not answer in time", FIRST_TOKEN),
    (no_connection(NO_NAME_YET), ProviderUnavailableError, True, "no connection to work: the host's name", ADDRESS),
    (no_connection(NO_TRUST), ProviderUnavailableError, False, "no connection to work: self-signed", ADDRESS),
    (no_connection(NO_WAY), ProviderUnavailableError, True, "no connection to work: [Errno 101] Network", ADDRESS),
    (fail(httpx2.RemoteProtocolError("x"), HUNG_UP), ProviderUnavailableError, True, f"{BROKE} it hung up", None),
    (
        fail(httpx2.ConnectTimeout("t")),
        ProviderTimeoutError,
        True,
        "no connection to work in time",
        "timeouts.connect says how long to wait",
    ),
    (
        fail(httpx2.ConnectError("All attempts failed"), ConnectionRefusedError(111, "multiple exceptions")),
        ProviderUnavailableError,
        True,
        "no connection to work: connection refused",
        ADDRESS,
    ),
    (
        fail(httpx2.ConnectError(""), socket.gaierror(-2, "Name or service not known")),
        ProviderUnavailableError,
        False,
        "no connection to work: the host's name is not known here",
        ADDRESS,
    ),
    (
        fail(httpx2.ConnectError(""), ExceptionGroup("", [OSError(101, "Network is unreachable"), OSError("b")])),
        ProviderUnavailableError,
        True,
        "no connection to work: [Errno 101] Network is unreachable",
        ADDRESS,
    ),
    (
        fail(httpx2.ReadError(""), ConnectionResetError(104, "Connection reset by peer")),
        ProviderUnavailableError,
        True,
        "the connection to work broke: the connection was reset",
        None,
    ),
    (
        fail(httpx2.RemoteProtocolError("illegal status line")),
        ProviderUnavailableError,
        True,
        "the connection to work broke: illegal status line",
        None,
    ),
    (fail(httpx2.ReadError("")), ProviderUnavailableError, True, "the connection to work broke: ReadError", None),
    (fail(httpx2.InvalidURL("x")), InvalidReplyError, False, NO_CHAT, IS_IT),
]


def test_the_table_of_errors_is_as_long_as_it_was_and_has_every_kind() -> None:
    assert len(TABLE) == 91
    assert {kind for _, kind, *_ in TABLE} == set(EXIT_CODES)
    assert set(every_kind_of(ProviderError)) == set(EXIT_CODES)


@pytest.mark.parametrize("ask", [ask_openai, ask_langchain], ids=["openai", "langchain"])
@pytest.mark.parametrize(
    ("answer", "kind", "is_passing", "beginning", "hint"), TABLE, ids=[beginning for _, _, _, beginning, _ in TABLE]
)
async def test_an_error_of_theirs_becomes_one_of_ours(
    answer: Answer,
    kind: type[ProviderError],
    is_passing: bool,
    beginning: str,
    hint: str | None,
    ask: Callable[[openai.AsyncOpenAI], Any],
) -> None:
    error = await failure(answer, ask)
    assert isinstance(error, FOREIGN_ERRORS)
    ours = translate(error, ENDPOINT)
    assert type(ours) is kind
    assert ours.is_passing is is_passing
    assert ours.exit_code == ExitCode(EXIT_CODES[kind])
    assert str(ours).startswith(beginning)
    assert ours.hint == hint
    assert ours.retry_after is None


WAITS: list[tuple[int, Headers, float | None, str]] = [
    (429, {"retry_after": "7"}, 7, LATER),
    (429, {"retry_after": "600"}, 600, LATER),
    (429, {"retry_after_ms": "1500", "retry_after": "9"}, 1.5, LATER),
    (429, {"retry_after": "0"}, None, LATER),
    (429, {"retry_after": "-1"}, None, LATER),
    (429, {"retry_after": "1e9"}, 1e9, LATER),
    (429, {"retry_after": "soon"}, None, LATER),
    (429, {"retry_after": "7", "x_should_retry": "false"}, 7, LATER),
    (503, {"retry_after": "7"}, 7, ""),
    (529, {"retry_after": "0.5"}, 0.5, ""),
    (408, {"retry_after": "7"}, 7, ""),
    (409, {"retry_after_ms": "7"}, 0.007, ""),
    (401, {"retry_after": "7"}, 7, CHECK_KEY),
    (404, {"retry_after": "7"}, 7, LIST_MODELS),
    (402, {"retry_after": "7"}, 7, PAY),
]


@pytest.mark.parametrize(("status", "headers", "seconds", "hint"), WAITS)
async def test_the_time_that_a_provider_names_comes_along(
    status: int, headers: Headers, seconds: float | None, hint: str
) -> None:
    error = translate(await failure(refuse(status, **headers)), ENDPOINT)
    assert (error.retry_after, error.hint or "") == (seconds, hint)


async def test_a_date_counts_from_now() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    error = translate(await failure(refuse(503, retry_after=date)), ENDPOINT)
    assert error.retry_after is not None
    assert 90 < error.retry_after <= 100


async def test_a_refusal_that_is_to_be_tried_again_keeps_the_time_that_the_provider_names() -> None:
    error = translate(await failure(refuse(425, retry_after="7", x_should_retry="true")), ENDPOINT)
    assert (error.is_passing, error.retry_after) == (True, 7)


def test_every_status_says_whether_it_passes() -> None:
    statuses = range(300, 600)
    passing = set()
    for status in statuses:
        response = httpx2.Response(status, request=REQUEST)
        error = translate(openai.APIStatusError("m", response=response, body=None), ENDPOINT)
        assert type(error) is not InvalidReplyError
        if error.is_passing:
            passing.add(status)
    assert len(statuses) == 300
    assert passing == {408, 409, 429, *range(500, 600)}


@pytest.mark.parametrize(
    ("status", "changes", "beginning", "hint"),
    [
        (401, {"api_key": None}, "work wants a key", CHECK_KEY),
        (401, {"provider": "default"}, "work.example rejected the key", "check CHATLLM_API_KEY"),
        (401, {"provider": "openai"}, "openai rejected the key", "check OPENAI_API_KEY"),
        (403, {"provider": "openai", "api_key": None}, "openai does not allow this", NOT_ALLOWED),
        (404, {"model": "meta/llama"}, "work has no model 'meta/llama'", LIST_MODELS),
        (500, {"provider": "default", "base_url": "http://host:8/v1"}, "host:8 failed with status 500", None),
    ],
)
async def test_the_words_are_those_for_the_endpoint(
    status: int, changes: dict[str, Any], beginning: str, hint: str | None
) -> None:
    error = translate(await failure(refuse(status)), replace(ENDPOINT, **changes))
    assert (error.reason, error.hint) == (beginning, hint)


async def test_the_embedded_model_can_be_given_a_longer_context() -> None:
    embedded = replace(ENDPOINT, provider="local", model="smollm2", weights="sha256:…")
    error = translate(await failure(refuse(400, "exceed_context_size_error")), embedded)
    assert error.reason == "the prompt and what was said before are too long for local/smollm2"
    assert error.hint == "shorten the prompt, begin a new conversation, or raise local.context_size"


FORGOTTEN = "translate() goes by the openai.APIError below, of which LangChain did not yet know that it is too long"


@pytest.mark.parametrize(
    "answer",
    [
        refuse(400, message="prompt is too long: 9 > 8"),
        refuse(400, message="Input tokens exceed the configured limit of 8"),
        refuse(400, message="litellm.ContextWindowExceededError"),
        report(message="Your input exceeds the context window of this model"),
    ],
)
async def test_what_langchain_knows_to_be_too_long_is(answer: Answer) -> None:
    error = await failure(answer)
    assert isinstance(error, ContextOverflowError)
    assert type(translate(error, ENDPOINT)) is ContextLengthError


@pytest.mark.parametrize(
    ("base_url", "is_final"),
    [
        ("http://127.0.0.1:8080/v1", True),
        ("http://localhost:8080/v1", True),
        ("http://[::1]:8080/v1", True),
        ("http://10.0.0.1:8080/v1", False),
        ("https://api.openai.com/v1", False),
    ],
)
async def test_a_connection_that_this_machine_refuses_is_not_tried_again(base_url: str, is_final: bool) -> None:
    refused = fail(httpx2.ConnectError("All attempts failed"), ConnectionRefusedError(111, "refused"))
    error = translate(await failure(refused), replace(ENDPOINT, base_url=base_url))
    assert type(error) is ProviderUnavailableError
    assert error.is_passing is not is_final
    assert (error.hint or "").startswith("is the server running? its address is" if is_final else "its address is")


@pytest.mark.parametrize("error", [httpx2.ReadError("it broke"), httpx2.RemoteProtocolError("it broke")])
def test_what_the_client_beneath_raises_is_known_too(error: Exception) -> None:
    ours = translate(error, ENDPOINT)
    assert (type(ours), ours.is_passing, ours.message) == (
        ProviderUnavailableError,
        True,
        "the connection to work broke: it broke",
    )


@pytest.mark.parametrize(
    "answer",
    [
        refuse(401, message=f"Bad key {KEY}!"),
        refuse(400, message=f"{'x' * QUOTE * 3}{KEY}"),
        refuse(400, message=f"{' ' * (QUOTE * 4 - 10)}{KEY}"),
        refuse(307, location=f"https://a/?key={KEY}"),
        refuse(307, location=f"https://a/{'x' * (QUOTE - 20)}{KEY}{'x' * QUOTE}"),
        report(message=f"Bad key {KEY}!"),
        send(f"Bad key {KEY}!"),
        fail(httpx2.ConnectError(""), OSError(f"Bad key {KEY}!")),
    ],
)
async def test_the_key_is_never_quoted_and_no_quote_is_long(answer: Answer) -> None:
    error = translate(await failure(answer), ENDPOINT)
    text = f"{error} {error.hint} {error.reason}"
    assert "canary" not in text
    assert "\n" not in text
    assert len(str(error)) < QUOTE + 80


async def test_a_stand_in_for_a_key_is_no_secret() -> None:
    error = translate(await failure(refuse(401, message="the key none is wrong")), replace(ENDPOINT, api_key="none"))
    assert str(error) == "work rejected the key: the key none is wrong"


@pytest.mark.parametrize(
    ("message", "quote"),
    [
        ("two\nlines \t and  gaps", ": two lines and gaps"),
        ("", ""),
        (" \n ", ""),
        ("x" * QUOTE, f": {'x' * QUOTE}"),
        ("x" * (QUOTE + 1), f": {'x' * (QUOTE - 1)}…"),
    ],
)
async def test_the_server_is_quoted_in_one_short_line(message: str, quote: str) -> None:
    error = translate(await failure(refuse(400, message=message)), ENDPOINT)
    assert str(error) == f"work refused the request with status 400{quote}"


NOT_SAID = "where the server says nothing, OpenAI's client says 'Error code: 502', and that is quoted"


@pytest.mark.parametrize(
    ("content", "quote"),
    [
        (b"<h1>502 Bad\nGateway</h1>", ": <h1>502 Bad Gateway</h1>"),
        (b'"just a string"', ": just a string"),
        (b'{"detail": "odd"}', ""),
        (b"[1, 2]", ""),
        (b"\xff\xfe", ": \ufffd\ufffd"),
        (b"", ""),
    ],
)
async def test_a_status_counts_whatever_its_body_is(content: bytes, quote: str) -> None:
    error = translate(await failure(lambda _: httpx2.Response(502, content=content)), ENDPOINT)
    assert type(error) is ProviderUnavailableError
    assert str(error) == f"work failed with status 502{quote}"


# What they raise apart from a request, and so never to us.
NOT_ABOUT_A_REQUEST = {
    "OpenAIError": "the root: raised itself only for arguments that we do not give",
    "SubjectTokenProviderError": "workload identity, in the place of a key",
    "LengthFinishReasonError": "`parse`, for structured output",
    "ContentFilterFinishReasonError": "`parse`, for structured output",
    "OpenAIRefusalError": "structured output; a plain answer has the refusal in its text",
    "ModelRefusalError": "structured output; a plain answer has the refusal in its text",
    "AgentOutputParseError": "agents",
    "AgentTurnResultError": "agents",
    "AgentFilePreparationError": "agents",
    "AgentFileStagingError": "agents",
    "InvalidWebhookSignatureError": "webhooks",
    "WebSocketConnectionClosedError": "the realtime API",
    "WebSocketQueueFullError": "the realtime API",
    "StreamAlreadyConsumed": "a response that is read twice",
    "MutuallyExclusiveAuthError": "Azure's client, as it is made",
    "APIRemovedInV1": "functions of the module that are gone",
    "_AmbiguousModuleClientUsageError": "the client of the module, which we do not use",
    "MissingDependencyError": "extras that are not installed: numpy, pandas",
}
DEFINES_AN_ERROR = re.compile(r"^class \w+\([^)]*\w*(?:Error|Exception)\b", re.MULTILINE)


def every_kind_of(error: type[Exception]) -> list[type[Exception]]:
    return [error, *(kind for child in error.__subclasses__() for kind in every_kind_of(child))]


def sources(package: ModuleType) -> dict[str, str]:
    """Return the text of each module of a package, by its name."""
    folder = Path(str(package.__file__)).parent
    paths = [path for path in folder.rglob("*.py") if "types" not in path.parts]
    names = [".".join([package.__name__, *path.relative_to(folder).with_suffix("").parts]) for path in paths]
    return {name: path.read_text(encoding="utf-8") for name, path in zip(names, paths, strict=True)}


def their_kinds() -> list[type[Exception]]:
    """Return every class of error that OpenAI's client has, and those that LangChain has for models."""
    for name, text in sources(openai).items():
        if DEFINES_AN_ERROR.search(text) and "OpenAIError" in text:
            importlib.import_module(name.removesuffix(".__init__"))
    public = [
        value for value in dict(vars(openai)).values() if isinstance(value, type) and issubclass(value, Exception)
    ]
    return list(dict.fromkeys([*public, *every_kind_of(openai.OpenAIError), *every_kind_of(ModelError)]))


def is_a_mere_base(kind: type[Exception]) -> bool:
    """Tell whether LangChain raises this only as a class that is one of OpenAI's, too."""
    return not issubclass(kind, openai.OpenAIError) and any(
        issubclass(child, openai.OpenAIError) for child in every_kind_of(kind)
    )


def made(kind: type[Exception]) -> Exception:
    """Return an error of this kind, whatever its constructor wants."""
    make: Any = kind
    response = httpx2.Response(getattr(kind, "status_code", 500), request=REQUEST)
    if issubclass(kind, openai.OAuthError):
        error = make(response=response, body=None)
    elif issubclass(kind, openai.APIStatusError):
        error = make("m", response=response, body=None)
    elif issubclass(kind, openai.APIResponseValidationError):
        error = make(httpx2.Response(200, request=REQUEST), None)
    elif issubclass(kind, openai.APITimeoutError):
        error = make(REQUEST)
    elif issubclass(kind, openai.APIConnectionError):
        error = make(request=REQUEST)
    elif issubclass(kind, openai.APIError):
        error = make("m", REQUEST, body=None)
    else:
        error = make.__new__(make, "m")
    assert isinstance(error, Exception)
    return error


def test_every_error_of_theirs_is_caught_and_every_one_about_a_request_is_known() -> None:
    kinds = their_kinds()
    assert len(kinds) >= 40
    assert [kind for kind in kinds if not issubclass(kind, FOREIGN_ERRORS)] == []
    unknown = [kind for kind in kinds if type(translate(made(kind), ENDPOINT)) is InvalidReplyError]
    assert [
        kind.__qualname__ for kind in unknown if not is_a_mere_base(kind) and kind.__name__ not in NOT_ABOUT_A_REQUEST
    ] == []
    # The list has nothing in it that is gone, or known by now.
    assert set(NOT_ABOUT_A_REQUEST) <= {kind.__name__ for kind in unknown}


def test_langchain_raises_its_own_kinds_only_as_openais() -> None:
    bases = [kind for kind in every_kind_of(ModelError) if is_a_mere_base(kind)]
    assert len(bases) >= 9
    raised = re.compile(rf"raise (?:\w+\.)?(?:{'|'.join(kind.__name__ for kind in bases)})\b")
    texts = sources(langchain_core) | sources(langchain_openai)
    assert len(texts) > 100
    assert [name for name, text in texts.items() if raised.search(text)] == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("OpenAIContextOverflowError", ContextLengthError),
        ("OpenAIAPIContextOverflowError", ContextLengthError),
        ("OpenAIAuthenticationError", AuthenticationError),
        ("OpenAIPermissionDeniedError", AuthenticationError),
        ("OpenAIInvalidRequestError", ProviderError),
        ("OpenAIModelNotFoundError", ModelNotFoundError),
        ("OpenAIRateLimitError", RateLimitError),
        ("OpenAIAPIError", ProviderUnavailableError),
        ("OpenAIConnectionError", ProviderUnavailableError),
        ("OpenAITimeoutError", ProviderTimeoutError),
    ],
)
def test_a_kind_of_langchains_is_the_same_kind_of_ours(name: str, kind: type[ProviderError]) -> None:
    assert type(translate(made(getattr(langchain_openai_base, name)), ENDPOINT)) is kind


@pytest.mark.parametrize(
    "error",
    [
        ValueError("No generation chunks were returned"),
        json.JSONDecodeError("x", "x", 0),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"),
        AttributeError("model_dump"),
        TypeError("x"),
        KeyError("x"),
        RecursionError("x"),
        OverflowError("x"),
        OSError("x"),
        TimeoutError("x"),
        ssl.SSLError("x"),
        httpx2.StreamClosed(),
        httpx2.DecodingError("x"),
        httpx2.TooManyRedirects("x"),
        ModelError("x"),
        openai.OpenAIError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_breaks_them_is_no_chat_completion(error: Exception) -> None:
    assert isinstance(error, FOREIGN_ERRORS)
    ours = translate(error, ENDPOINT)
    assert (type(ours), ours.is_passing, ours.message, ours.hint) == (InvalidReplyError, False, NO_CHAT, IS_IT)


@pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_what_is_not_theirs_is_let_through(kind: type[BaseException]) -> None:
    assert not issubclass(kind, FOREIGN_ERRORS)
