"""The HTTP client beneath: only what a request needs goes out, and no more comes in than memory is meant to hold."""

import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import openai
from httpx2._utils import URLPattern, get_environment_proxies

from chatllm_cli import __version__
from chatllm_cli.config.addresses import is_encrypted, is_loopback
from chatllm_cli.errors import ConfigError, InvalidReplyError
from chatllm_cli.models import Endpoint
from chatllm_cli.services.llm.arriving import ArrivedStream
from chatllm_cli.services.llm.connections import Pools
from chatllm_cli.services.llm.joining_transport import JoiningTransport

if TYPE_CHECKING:
    from chatllm_cli.config.sections import TimeoutSettings

UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:ms|[hms]))+")  # as Go writes it: 6m0s
DURATION_PART = re.compile(r"([0-9.]+)(ms|[hms])")
LONGEST_PACE = 60.0  # seconds
NO_KEY = "none"  # the client insists on one; it never leaves (see `_Headers`)
PROXY_SCHEMES = {"http", "https", "socks5", "socks5h"}
EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")  # as server-sent events have it
LONGEST_END = 4
MEGABYTE = 1_000_000
MOST_CONNECTIONS = 256  # as many as `batch` asks at once, at most: one that is closed in between costs a new one
LONGEST_COMPLAINT = 65_536  # bytes that are read of what comes with an error status; it is cut short, not refused


def build_client(
    endpoint: Endpoint,
    timeouts: "TimeoutSettings",
    event_mb: float,
    on_pace: Callable[[float], object] = lambda _: None,
    *,
    lag: float = 0.0,
    new_tls: Callable[..., ssl.SSLContext] = httpx2.create_ssl_context,
) -> openai.AsyncOpenAI:
    """Return a client for one endpoint; `on_pace` is told with each answer what `pace_of` makes of its headers.

    Text may wait `lag` seconds for more of it.

    Raises OSError, ValueError or ImportError if it cannot be set up, `ConfigError` for a proxy that is none.

    It neither retries, nor follows, nor waits on its own: the turn does, and shows it. Only a connection has a
    limit of its own, which is not in the turn's sight.
    """
    proxy = proxy_to(endpoint.base_url)  # the client would quote its password
    timeout = openai.Timeout(None, connect=timeouts.connect)
    trusts_env = not is_loopback(endpoint.base_url)  # no proxy between us and this machine
    # To read the certificates that a machine trusts takes longer than all else here.
    tls = (
        new_tls(trust_env=trusts_env) if is_encrypted(endpoint.base_url) else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    responses: list[Callable[..., Any]] = [_Cap(int(event_mb * MEGABYTE), lag), _refuse_json, _Pace(on_pace)]
    http_client = openai.DefaultAsyncHttpxClient(
        timeout=timeout,
        verify=tls,
        limits=httpx2.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS),
        transport=None if proxy else Pools(partial(JoiningTransport, tls), MOST_CONNECTIONS),
        follow_redirects=False,  # a redirect would take the prompt to a host nobody named
        trust_env=trusts_env,
        event_hooks={"request": [_Headers(endpoint)], "response": responses},
    )
    return openai.AsyncOpenAI(
        base_url=endpoint.base_url,
        api_key=endpoint.api_key or NO_KEY,
        http_client=http_client,
        timeout=timeout,
        max_retries=0,
    )


def pace_of(headers: Mapping[str, str]) -> float:
    """Return how many seconds apart requests may be sent, as OpenAI and others tell it; 0 while some are left.

    They tell when all of the limit is there again, of which one request is a part.
    """
    names = (f"x-ratelimit-{name}-requests" for name in ("limit", "remaining", "reset"))
    limit, remaining, reset = (headers.get(name, "") for name in names)
    if remaining != "0" or not limit.isdecimal() or not int(limit) or not DURATION.fullmatch(reset):
        return 0.0
    seconds = sum(float(number) * UNITS[unit] for number, unit in DURATION_PART.findall(reset))
    return min(seconds / int(limit), LONGEST_PACE)


def proxy_to(base_url: str) -> str | None:
    """Return the host, and port, of the proxy that requests to `base_url` go through, without its user; None if none.

    It is what the client itself makes of the proxy variables: NO_PROXY means something else to each program. Raises
    `ConfigError`, which does not quote it, if any of them has no address: the client takes them all, or none.
    """
    if is_loopback(base_url):
        return None
    proxies = {URLPattern(key): _proxy(key, value) for key, value in get_environment_proxies().items()}
    url = httpx2.URL(base_url)
    return next((proxies[pattern] for pattern in sorted(proxies) if pattern.matches(url)), None)


def _proxy(key: str, value: str | None) -> str | None:
    if value is None:  # of NO_PROXY
        return None
    try:
        url = httpx2.URL(value)
    except httpx2.InvalidURL:
        url = httpx2.URL()
    # Behind the host, an @ ends a password with a character that should have been escaped.
    if url.scheme in PROXY_SCHEMES and url.host and "@" not in f"{url.raw_path!r}{url.fragment}":
        return url.netloc.decode()
    name = f"{key.partition('://')[0]}_proxy".upper()
    hint = "it looks like http://host:3128; in a password, an @ is written %40, a # %23 and a / %2F"
    raise ConfigError(f"the proxy variable {name} is no address", hint=hint)


class _Headers:
    """Lets only what the request needs go out.

    The client adds headers of its own accord from OPENAI_ORG_ID, OPENAI_CUSTOM_HEADERS and others, and facts
    about this machine; none of that is meant for whoever runs the server at `base_url`.
    """

    NEEDED = frozenset({"host", "connection", "accept", "content-type", "content-length"})

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, request: Any) -> None:
        for name in list(request.headers):
            if name.lower() not in self.NEEDED:
                del request.headers[name]
        request.headers["User-Agent"] = f"chatllm/{__version__}"
        request.headers["Accept-Encoding"] = "identity"  # compressed, a few bytes could be any number of them
        if self._endpoint.api_key:
            name, key = self._endpoint.key_header, self._endpoint.api_key
            request.headers[name] = f"Bearer {key}" if name == "Authorization" else key
        request.headers.update(self._endpoint.headers)
        if self._endpoint.is_embedded:
            # A new connection costs nothing here, and the server at times hangs up on one that is used again.
            request.headers["Connection"] = "close"


class _Cap:
    """Lets nothing grow without a limit that the parser would hold whole: an event, or the body of an error."""

    def __init__(self, limit: int, lag: float) -> None:
        self._limit = limit
        self._lag = lag

    async def __call__(self, response: httpx2.Response) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise InvalidReplyError("the provider compressed its answer, though it was asked not to")
        if not isinstance(response.stream, httpx2.AsyncByteStream):
            return
        if not response.is_success:
            response.stream = _CutStream(response.stream, LONGEST_COMPLAINT)
        elif response.headers.get("content-type", "").startswith("text/event-stream"):
            response.stream = _CappedEvents(ArrivedStream(response.stream, self._lag), self._limit)
        else:
            response.stream = _CappedStream(response.stream, self._limit)


class _Pace:
    """Tells how far apart requests may be, if the provider does."""

    def __init__(self, tell: Callable[[float], object]) -> None:
        self._tell = tell

    async def __call__(self, response: httpx2.Response) -> None:
        self._tell(pace_of(response.headers))


async def _refuse_json(response: httpx2.Response) -> None:
    """Tell what a server means that answers with one JSON object where a stream was asked for.

    The client's parser would find no event in it, and lose what it says.
    """
    is_json = response.headers.get("content-type", "").startswith("application/json")
    if not (is_json and response.is_success and response.request.url.path.endswith("/chat/completions")):
        return
    try:
        body = json.loads(await response.aread())
    except (ValueError, RecursionError):
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    if error:
        message = str(error.get("message")) if isinstance(error, dict) else str(error)
        raise openai.APIError(message, response.request, body=error)
    raise InvalidReplyError("the provider answered with one JSON object instead of a stream")


class _LimitedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, limit: int) -> None:
        self._stream = stream
        self._limit = limit

    async def aclose(self) -> None:
        await self._stream.aclose()


class _CutStream(_LimitedStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._limit
        async for piece in self._stream:
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                return


class _CappedStream(_LimitedStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._stream:
            size += len(piece)
            self._check(size)
            yield piece

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise InvalidReplyError(f"the provider sent more than {self._limit / MEGABYTE:g} MB at once")


class _CappedEvents(_CappedStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        size, tail = 0, b""
        async for piece in self._stream:
            recent = tail + piece
            end = max(recent.rfind(mark) for mark in EVENT_ENDS)
            size = size + len(piece) if end < 0 else len(recent) - end
            self._check(size)
            tail = recent[1 - LONGEST_END :]
            yield piece
