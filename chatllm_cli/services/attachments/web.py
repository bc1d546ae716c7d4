"""One page, or file, from the web: what came, and what it is said to be. No cookie and no key goes out."""

import asyncio
import os
import re
import ssl
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from chatllm_cli import __version__
from chatllm_cli.config.addresses import shown_address
from chatllm_cli.errors import ProviderTimeoutError, ProviderUnavailableError, UsageError
from chatllm_cli.frozen import frozen
from chatllm_cli.services.attachments.files import too_large
from chatllm_cli.services.attachments.hosts import Address, Place, is_this_machine, look_up
from chatllm_cli.services.attachments.kinds import PDF

if TYPE_CHECKING:
    from chatllm_cli.config.sections import TimeoutSettings

MOST_REDIRECTS = 5
LONGEST = 60.0  # seconds for all of it
FAULT = 400  # the first status that is none of success or redirection
SERVER_FAULT = 500
NEEDED = frozenset({"host", "connection"})
ACCEPTED = f"text/html, text/*, application/json, application/xml, {PDF}, image/*;q=0.8, */*;q=0.1"
UNNAMED = {"", "application/octet-stream", "binary/octet-stream"}
READABLE = re.compile(
    r"text/.*|image/.*|application/(?:pdf|json|xml|javascript|ecmascript|yaml|x-yaml|toml|x-sh|x-ndjson|sql"
    r"|[\w.-]+\+(?:json|xml|yaml))"
)
HTML_BEGINS = re.compile(rb"\s{0,100}<(?:!doctype\s+html|html)", re.IGNORECASE)
HTML = {"text/html", "application/xhtml+xml"}


@frozen
class Page:
    """What an address brought."""

    data: bytes
    media_type: str  # as the server calls it; empty if it does not say
    charset: str

    @property
    def is_html(self) -> bool:
        """Whether it is a web page."""
        return self.media_type in HTML or (self.media_type in UNNAMED and bool(HTML_BEGINS.match(self.data)))


async def fetch(url: str, most: int, timeouts: "TimeoutSettings", *, longest: float = LONGEST) -> Page:
    """Return what lies at an address, of at most so many bytes.

    Raises `UsageError` for what cannot be attached, `ProviderUnavailableError` and `ProviderTimeoutError` for a
    server that does not answer.
    """
    shown = shown_address(url)
    try:
        async with asyncio.timeout(longest):
            return await _fetch(url, most, timeouts)
    except TimeoutError as error:
        raise ProviderTimeoutError(f"{shown} did not come in {longest:g} s") from error
    except (httpx2.InvalidURL, UnicodeError) as error:  # a host that no name server could be asked for
        raise UsageError(f"{shown} is no address") from error
    except httpx2.TimeoutException as error:
        raise ProviderTimeoutError(f"{shown} did not answer in time") from error
    except httpx2.RemoteProtocolError as error:
        raise ProviderUnavailableError(f"{shown} did not come: the connection was closed too early") from error
    except httpx2.HTTPError as error:
        raise ProviderUnavailableError(f"{shown} did not come: {_cause(error)}") from error


async def _fetch(url: str, most: int, timeouts: "TimeoutSettings") -> Page:
    first: Place | None = None
    for _ in range(MOST_REDIRECTS + 1):
        _check(url)
        place = await look_up(url, first)
        first = first or place
        async with _request(place, timeouts) as response:
            if not response.has_redirect_location:
                return await _page(response, first.url, most)
            url = _target(url, response)
    raise UsageError(f"{shown_address(first.url if first else url)} redirects more than {MOST_REDIRECTS} times")


class _There(httpx2.AsyncHTTPTransport):
    """Connects to where a name was found to lie when it was checked: a name server may say something else by now.

    What the server is called stays in the Host header, and is what its certificate has to be for.
    """

    def __init__(self, addresses: Sequence[Address], *, trust_env: bool) -> None:
        super().__init__(trust_env=trust_env)
        self._addresses = addresses

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        name = request.url.raw_host.decode("ascii")
        request.extensions = {**request.extensions, "sni_hostname": name}
        *others, last = [request.url.copy_with(host=str(address)) for address in self._addresses]
        for request.url in others:
            with suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                return await super().handle_async_request(request)
        request.url = last
        return await super().handle_async_request(request)


@asynccontextmanager
async def _request(place: Place, timeouts: "TimeoutSettings") -> AsyncIterator[httpx2.Response]:
    """Ask for an address: where it was found, or a proxy, which looks the name up itself."""
    try:
        client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(timeouts.idle, connect=timeouts.connect),
            follow_redirects=False,
            transport=None if _has_proxy(place.url) else _there(place),
            event_hooks={"request": [_only_what_is_needed]},
        )
    except (OSError, ValueError, ImportError) as error:  # certificates and proxies are read here
        raise ProviderUnavailableError(
            f"no connection to {shown_address(place.url)} can be set up: {error}",
            hint="check SSL_CERT_FILE and the proxy variables",
        ) from error
    async with client, client.stream("GET", place.url) as response:
        yield response


def _there(place: Place) -> _There:
    if not place.addresses:
        raise httpx2.ConnectError("it was not found") from place.fault
    return _There(place.addresses, trust_env=not is_this_machine(place.url))


def _has_proxy(url: str) -> bool:
    """Tell whether a proxy is asked, as the environment says; none stands between us and this machine."""
    parts, proxies = urlsplit(url), getproxies()
    if is_this_machine(url) or not (proxies.get(parts.scheme) or proxies.get("all")):
        return False
    return not proxy_bypass(parts.hostname or "")


async def _only_what_is_needed(sent: httpx2.Request) -> None:
    """Let no header out that the request does not need: no cookie, and no password of a .netrc."""
    for name in list(sent.headers):
        if name.lower() not in NEEDED:
            del sent.headers[name]
    sent.headers["User-Agent"] = f"chatllm/{__version__}"
    sent.headers["Accept"] = ACCEPTED
    sent.headers["Accept-Encoding"] = "gzip"  # the only one whose size can be held while it is unpacked


def _check(url: str) -> None:
    """Raise `UsageError` for what is no address of a page, or one that has a password in it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in {"http", "https"} or not url.isprintable() or " " in url:
        raise UsageError(f"{shown_address(url)} is no address that can be read", hint="write https://host/path")
    if "@" in parts.netloc:
        raise UsageError(
            f"{shown_address(url)}: there is a user name or a password in the address",
            hint="the history would keep it; fetch the page with another program and attach the file",
        )


def _target(url: str, response: httpx2.Response) -> str:
    try:
        return urljoin(url, response.headers["location"])
    except ValueError:
        return ""


async def _page(response: httpx2.Response, url: str, most: int) -> Page:
    shown, status = shown_address(url), response.status_code
    if status >= FAULT:
        kind = ProviderUnavailableError if status >= SERVER_FAULT else UsageError
        raise kind(f"{shown} cannot be read: HTTP {status} {response.reason_phrase}".rstrip())
    media_type, _, parameters = response.headers.get("content-type", "").partition(";")
    media_type = media_type.strip().lower()
    if media_type not in UNNAMED and not READABLE.fullmatch(media_type):
        raise UsageError(
            f"{shown} cannot be attached: it is {media_type}", hint="text, web pages, PDFs and images can"
        )
    charset = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", parameters, re.IGNORECASE)
    size = response.headers.get("content-length", "")
    if re.fullmatch(r"\d{1,15}", size) and int(size) > most:
        raise too_large(shown, int(size), most)
    return Page(await _body(response, shown, most), media_type, charset[1] if charset else "")


async def _body(response: httpx2.Response, shown: str, most: int) -> bytes:
    """Return what comes, unpacked; never more is unpacked than may be."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip", "deflate", ""}:
        raise UsageError(f"{shown} came compressed in a way that was not asked for ({encoding})")
    packed = None if encoding in {"identity", ""} else _Packed()
    body = bytearray()
    try:
        async for piece in response.aiter_raw():
            body += packed.opened(piece, most + 1 - len(body)) if packed else piece
            if len(body) > most:
                raise too_large(shown, None, most)
    except zlib.error:
        raise UsageError(f"{shown} is damaged: it cannot be unpacked") from None
    if packed and not packed.is_whole:
        raise UsageError(f"{shown} is damaged: its end is missing")
    return bytes(body)


class _Packed:
    """Unpacks what comes in pieces: one stream after the other, as gzip may have several."""

    def __init__(self) -> None:
        self._stream: zlib._Decompress | None = None  # between two streams there is none

    @property
    def is_whole(self) -> bool:
        """Whether no stream was begun that has not come to its end."""
        return self._stream is None

    def opened(self, piece: bytes, most: int) -> bytes:
        """Return what a piece unpacks to, of which `most` bytes are wanted. Raises zlib.error."""
        unpacked = bytearray()
        while len(unpacked) < most:
            if self._stream is None:
                piece = piece.lstrip(b"\0")  # which may fill up what stands behind the last one
            if not piece:
                break
            stream = self._stream = self._stream or zlib.decompressobj(zlib.MAX_WBITS | 32)
            unpacked += stream.decompress(piece, most - len(unpacked))
            piece = stream.unused_data or stream.unconsumed_tail
            if stream.eof:
                self._stream = None
        return bytes(unpacked)


def _cause(error: BaseException) -> str:
    """Return the reason at the bottom of an error, in the system's own words if it has any."""
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    words = str(error)
    if isinstance(error, ssl.SSLCertVerificationError):  # which has a number that is none of the system's
        words = f"its certificate is not valid: {error.verify_message}"
    elif isinstance(error, OSError):  # asyncio puts words of its own beside a number of the system's
        words = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or words
    return words[:1].lower() + words[1:] or "the connection was lost"
