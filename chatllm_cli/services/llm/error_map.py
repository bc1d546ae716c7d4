"""What goes wrong in LangChain, OpenAI's client or at the provider, as errors of ours: one table.

OpenAI's client has a class per status, but an error that comes inside a stream has none of them, and some
providers put the status into its `code`. So the table goes by status and code.
"""

import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from math import isfinite
from urllib.parse import urlsplit

import httpcore2
import httpx2
import openai
from langchain_core.exceptions import ContextOverflowError, LangChainException

from chatllm_cli.config.addresses import is_loopback
from chatllm_cli.errors import (
    AuthenticationError,
    ContextLengthError,
    InvalidReplyError,
    ModelNotFoundError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    QuotaError,
    RateLimitError,
)
from chatllm_cli.models import Endpoint

# What these libraries raise while a stream is read, apart from their own errors: a reply that is no chat
# stream ends in any of those below OSError.
FOREIGN_ERRORS = (
    openai.OpenAIError,
    LangChainException,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    httpx2.StreamError,
    OSError,
    ValueError,
    AttributeError,
    TypeError,
    KeyError,
    RecursionError,
    OverflowError,
)
TOO_LONG = {"context_length_exceeded", "exceed_context_size_error"}  # OpenAI's word, and llama.cpp's
USED_UP = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance"}
TOO_MANY = {"rate_limit_exceeded", "rate_limit_error", "rate_limit_reached"}
BROKEN = {"server_error", "internal_error", "internal_server_error", "overloaded_error", "api_error"}
PASSING_STATUS = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT}
# What the libraries tell of it is for whoever writes them.
CAUSES: dict[type[BaseException], str] = {
    ConnectionRefusedError: "connection refused",
    ConnectionResetError: "the connection was reset",
    socket.gaierror: "the host's name is not known here",
    httpcore2.RemoteProtocolError: "it hung up without a whole answer",
}
SHORTEST_KEY = 6  # a shorter one is a stand-in, and its letters are in every word
LONGEST_QUOTE = 300  # characters of a server's error text: one came with 5 MB


def translate(error: Exception, endpoint: Endpoint) -> ProviderError:
    """Turn an error of these libraries into ours, the server's words quoted and the key masked."""
    match error:
        case openai.APITimeoutError():
            if any(isinstance(each, httpx2.ReadTimeout) for each in _chain(error)):
                hint = "timeouts.first_token says how long to wait"
                return ProviderTimeoutError(f"{name_of(endpoint)} did not answer in time", hint=hint)
            hint = "timeouts.connect says how long to wait"
            return ProviderTimeoutError(f"no connection to {name_of(endpoint)} in time", hint=hint, is_passing=True)
        case openai.APIConnectionError() | httpx2.TransportError():
            return _unreachable(error, endpoint)
        case openai.APIError():
            return _reported(error, endpoint)
    return InvalidReplyError(
        f"{name_of(endpoint)} sent something that is not a chat completion",
        hint=f"is {endpoint.base_url} the address of an OpenAI-compatible API?",
    )


def name_of(endpoint: Endpoint) -> str:
    """Return what a person calls the provider."""
    return endpoint.provider if endpoint.provider != "default" else urlsplit(endpoint.base_url).netloc


def root_cause(error: BaseException, endpoint: Endpoint) -> str:
    """Return what the deepest error below `error` says."""
    chain = _chain(error)
    told = (text for kind, text in CAUSES.items() if any(isinstance(each, kind) for each in chain))
    return next(told, _masked(str(chain[-1]) or type(chain[-1]).__name__, endpoint))


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return how many seconds from `now` a provider asks to wait; None if it does not, or not in earnest.

    The headers are retry-after-ms, and retry-after in seconds or as a date (RFC 9110, 10.2.3).
    """
    for name, scale in (("retry-after-ms", 1000), ("retry-after", 1)):
        seconds = _number(headers.get(name, ""))
        if seconds is not None and seconds > 0:
            return seconds / scale
    try:
        moment = parsedate_to_datetime(headers.get("retry-after", ""))
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return seconds if seconds > 0 else None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _unreachable(error: Exception, endpoint: Endpoint) -> ProviderError:
    chain = _chain(error)
    if not any(isinstance(each, httpx2.ConnectError) for each in chain):
        reason = f"the connection to {name_of(endpoint)} broke"
        return ProviderUnavailableError(reason, words=root_cause(error, endpoint))
    is_final, is_refused = _is_final(chain[-1], endpoint), isinstance(chain[-1], ConnectionRefusedError)
    return ProviderUnavailableError(
        f"no connection to {name_of(endpoint)}",
        words=root_cause(error, endpoint),
        hint=f"{'is the server running? ' if is_final and is_refused else ''}its address is {endpoint.base_url}",
        is_passing=not is_final,
    )


def _is_final(cause: BaseException, endpoint: Endpoint) -> bool:
    """Tell whether asking again cannot help: nothing listens on this machine, no such host, a bad certificate."""
    match cause:
        case ConnectionRefusedError():
            return is_loopback(endpoint.base_url)
        case socket.gaierror(errno=socket.EAI_NONAME) | ssl.SSLCertVerificationError():
            return True
    return False


def _reported(error: openai.APIError, endpoint: Endpoint) -> ProviderError:
    """Return what a provider means that answered with an error, as a status or inside a stream."""
    kind, reason, hint = _meaning(error, endpoint)
    is_passing = {"true": True, "false": False}.get(_headers(error).get("x-should-retry", ""))
    return kind(
        reason,
        words=_words(error, endpoint),
        hint=hint,
        is_passing=False if kind is QuotaError else is_passing,
        retry_after=retry_after(_headers(error), datetime.now(UTC)),
    )


def _meaning(error: openai.APIError, endpoint: Endpoint) -> tuple[type[ProviderError], str, str | None]:
    name, status, codes = name_of(endpoint), _status(error), {str(error.code), str(error.type)}
    if status == HTTPStatus.PAYMENT_REQUIRED or codes & USED_UP:
        return QuotaError, f"the quota at {name} is used up", "check the plan and billing there"
    if status == HTTPStatus.TOO_MANY_REQUESTS or codes & TOO_MANY:
        return RateLimitError, f"rate limited by {name}", "try again in a while"
    if codes & TOO_LONG or isinstance(error, ContextOverflowError):
        more = "raise local.context_size" if endpoint.is_embedded else "take a model with a longer context"
        reason = f"the prompt and what was said before are too long for {endpoint.address}"
        return ContextLengthError, reason, f"shorten the prompt, begin a new conversation, or {more}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in PASSING_STATUS or codes & BROKEN:
        return ProviderUnavailableError, f"{name} failed" + (f" with status {status}" if status else ""), None
    return _refusal(error, endpoint, status)


def _refusal(error: openai.APIError, endpoint: Endpoint, status: int) -> tuple[type[ProviderError], str, str | None]:
    name, codes = name_of(endpoint), {error.code, error.type}
    if status == HTTPStatus.UNAUTHORIZED or "invalid_api_key" in codes:
        verb = "rejected the" if endpoint.api_key else "wants a"
        return AuthenticationError, f"{name} {verb} key", _key_hint(endpoint)
    if status == HTTPStatus.FORBIDDEN:
        return AuthenticationError, f"{name} does not allow this", "the key may not be allowed to, or nobody is"
    if status == HTTPStatus.NOT_FOUND or "model_not_found" in codes:
        hint = f"`chatllm models list` shows what there is; the address is {endpoint.base_url}"
        return ModelNotFoundError, f"{name} has no model '{endpoint.model}'", hint
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        target = _masked(_headers(error).get("location", "another address"), endpoint)[:LONGEST_QUOTE]
        reason = f"{name} redirects to {target}, and redirects are not followed"
        return ProviderError, reason, "set its base_url to the address that answers"
    reason = f"{name} refused the request with status {status}" if status else f"{name} reported an error"
    return ProviderError, reason, None


def _status(error: openai.APIError) -> int:
    """Return the HTTP status; one that stands in the body of an error in a stream counts; 0 if there is none."""
    status = str(getattr(error, "status_code", error.code))
    return int(status) if status.isdecimal() and len(status) == len("404") else 0


def _headers(error: openai.APIError) -> Mapping[str, str]:
    response = getattr(error, "response", None)
    return {} if response is None else response.headers


def _key_hint(endpoint: Endpoint) -> str:
    named = {"default": "CHATLLM_API_KEY", "openai": "OPENAI_API_KEY"}
    name = endpoint.provider
    return (
        f"check {named[name]}"
        if name in named
        else f"`chatllm keys set {name}` stores one; `keys list` has those there are"
    )


def _words(error: Exception, endpoint: Endpoint) -> str:
    """Return what the server said, as one short line without the key, which some servers repeat."""
    body = getattr(error, "body", None)
    text = body.get("message") if isinstance(body, dict) else body
    if body is None and not isinstance(error, openai.APIStatusError):  # whose message is the client's own
        text = getattr(error, "message", None)
    if not isinstance(text, str) or not text.strip():
        return ""
    line = " ".join(_masked(text, endpoint)[: 4 * LONGEST_QUOTE].split())
    return line if len(line) <= LONGEST_QUOTE else line[: LONGEST_QUOTE - 1] + "…"


def _chain(error: BaseException) -> list[BaseException]:
    """Return `error` and what lies below it, though the HTTP client hides that, and tries several addresses."""
    chain = [error]
    while below := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(below.exceptions[0] if isinstance(below, BaseExceptionGroup) else below)
    return chain


def _masked(text: str, endpoint: Endpoint) -> str:
    key = endpoint.api_key
    return text.replace(key, "********") if key and len(key) >= SHORTEST_KEY else text
