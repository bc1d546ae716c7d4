"""One request for a file, or for the rest of one: what the server says of it, and its bytes as they come."""

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urljoin, urlsplit

import httpx2

from chatllm_cli import __version__
from chatllm_cli.config.addresses import is_loopback
from chatllm_cli.config.sections import TimeoutSettings
from chatllm_cli.errors import (
    AuthenticationError,
    ConfigError,
    InvalidReplyError,
    ModelNotFoundError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
)
from chatllm_cli.frozen import frozen
from chatllm_cli.services.local.sources import fault_of_url

MOST_REDIRECTS = 10
OK, PARTIAL, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, GONE, BAD_RANGE, TOO_MANY = 200, 206, 401, 403, 404, 410, 416, 429
NEEDED = frozenset({"host", "connection", "range", "if-range"})


@frozen
class Part:
    """What is there of a file already, and how the server is to know whether it still has the same one."""

    size: int
    validator: str


@frozen
class Arrival:
    """What a server says of a file before it sends it; the bytes begin at `start`."""

    start: int
    total: int
    validator: str
    sha256: str | None
    pieces: AsyncIterator[bytes]


class PartMismatchError(Exception):
    """The server cannot send the rest of the part that is there: it has another file now, or gets ranges wrong."""


@asynccontextmanager
async def request(url: str, part: Part | None, timeouts: TimeoutSettings) -> AsyncIterator[Arrival]:
    """Ask for a file, from where `part` ends if the server can do that.

    Raises `ProviderError` and its kinds, or `PartMismatchError`.
    """
    try:
        hash_of_hub: str | None = None
        for _ in range(MOST_REDIRECTS):
            async with _client(url, timeouts) as client, client.stream("GET", url, headers=_range(part)) as response:
                hash_of_hub = hash_of_hub or _linked_hash(response)
                if not response.has_redirect_location:
                    yield _arrival(response, part, hash_of_hub)
                    return
                url = _next(url, response)
        raise InvalidReplyError(f"{_host(url)} redirects without an end")
    except (httpx2.InvalidURL, UnicodeError) as error:  # a host that no name server could be asked for
        raise InvalidReplyError(f"{_host(url)} is no address") from error
    except httpx2.TimeoutException as error:
        raise ProviderTimeoutError(f"{_host(url)} did not answer in time", is_passing=True) from error
    except httpx2.RemoteProtocolError as error:
        raise ProviderUnavailableError(f"{_host(url)} closed the connection too early") from error
    except httpx2.HTTPError as error:
        lost = "no connection to" if isinstance(error, httpx2.ConnectError) else "lost the connection to"
        raise ProviderUnavailableError(f"{lost} {_host(url)}: {_cause(error)}") from error


def _client(url: str, timeouts: TimeoutSettings) -> httpx2.AsyncClient:
    """Return a client for one address: no proxy stands between us and this machine."""
    try:
        return httpx2.AsyncClient(
            timeout=httpx2.Timeout(timeouts.idle, connect=timeouts.connect),
            follow_redirects=False,
            trust_env=not is_loopback(url),
            event_hooks={"request": [_only_what_is_needed]},
        )
    except (OSError, ValueError, ImportError) as error:  # certificates and proxies are read here
        raise ConfigError(
            f"no connection to {_host(url)} can be set up: {error}",
            hint="check SSL_CERT_FILE and the proxy variables",
        ) from error


async def _only_what_is_needed(sent: httpx2.Request) -> None:
    """Let no header out that the request does not need: no cookie, and no password of a .netrc."""
    for name in list(sent.headers):
        if name.lower() not in NEEDED:
            del sent.headers[name]
    sent.headers["User-Agent"] = f"chatllm/{__version__}"
    sent.headers["Accept"] = "*/*"
    sent.headers["Accept-Encoding"] = "identity"  # what is counted, and taken up, are the bytes of the file


def _range(part: Part | None) -> dict[str, str]:
    return {"Range": f"bytes={part.size}-", "If-Range": part.validator} if part and part.size else {}


def _next(url: str, response: httpx2.Response) -> str:
    """Return where a redirect leads: to https, or from this machine to itself. Raises `InvalidReplyError`."""
    try:
        target = urljoin(url, response.headers["location"])
    except ValueError:
        target = ""
    fault = fault_of_url(target)
    if not fault and is_loopback(target) and not is_loopback(url):
        fault = "it is this machine"
    if fault:
        raise InvalidReplyError(f"{_host(url)} redirects to {_host(target)}, which is not followed: {fault}")
    return target


def _arrival(response: httpx2.Response, part: Part | None, hash_of_hub: str | None) -> Arrival:
    if response.status_code == BAD_RANGE and part:
        raise PartMismatchError
    if response.status_code not in {OK, PARTIAL}:
        raise _refusal(response)
    host = _host(str(response.request.url))
    if response.headers.get("content-encoding", "identity") != "identity":
        raise InvalidReplyError(f"{host} compressed the file, though it was asked not to")
    start, total = _extent(response)
    if total is None:
        raise InvalidReplyError(
            f"{host} does not say how large the file is",
            hint="fetch it with another program, and set local.model_path",
        )
    if start != (part.size if part and response.status_code == PARTIAL else 0):
        raise PartMismatchError
    return Arrival(start, total, _validator(response), hash_of_hub, response.aiter_raw())


def _refusal(response: httpx2.Response) -> ProviderError:
    status, host = response.status_code, _host(str(response.request.url))
    if status in {UNAUTHORIZED, FORBIDDEN}:
        return AuthenticationError(
            f"{host} does not give this file to everybody (HTTP {status})",
            hint="chatllm sends no key there; fetch it with another program, and set local.model_path",
        )
    if status in {NOT_FOUND, GONE}:
        return ModelNotFoundError(f"{host} has no such file (HTTP {status})", hint="check the address")
    if status == TOO_MANY:
        return RateLimitError(f"{host} is asked too often (HTTP {status})", hint="try again later")
    kind = ProviderUnavailableError if status >= 500 else InvalidReplyError  # noqa: PLR2004  (the server's own faults)
    return kind(f"{host} did not send the file (HTTP {status})")


def _extent(response: httpx2.Response) -> tuple[int, int | None]:
    """Return where the bytes begin in the file, and how many it has."""
    if response.status_code == PARTIAL:
        match = re.fullmatch(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15})", response.headers.get("content-range", ""))
        return (int(match[1]), int(match[2])) if match else (-1, 0)
    length = response.headers.get("content-length", "")
    return 0, int(length) if re.fullmatch(r"\d{1,15}", length) else None


def _validator(response: httpx2.Response) -> str:
    """Return what tells one state of the file from another; nothing if there is only a weak tag."""
    tag = str(response.headers.get("etag", ""))
    return tag if tag.startswith('"') else str(response.headers.get("last-modified", ""))


def _linked_hash(response: httpx2.Response) -> str | None:
    """Return the SHA-256 that a model hub knows of the file it points to."""
    tag = response.headers.get("x-linked-etag", "").strip('"').lower()
    return tag if re.fullmatch("[0-9a-f]{64}", tag) else None


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "this address"
    except ValueError:
        return "this address"


def _cause(error: BaseException) -> str:
    """Return the reason at the bottom of an error, in the system's own words if it has any."""
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    words = str(error)
    if isinstance(error, OSError):  # asyncio puts words of its own beside a number of the system's
        words = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or words
    return words[:1].lower() + words[1:] or "it was lost"
