import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from chatllm_cli.config.sections import TimeoutSettings
from chatllm_cli.models import Endpoint
from chatllm_cli.services.llm.http_client import build_client
from chatllm_cli.services.llm.joining_transport import JoiningTransport
from tests.page_server import certificate_for

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
TEN = b"".join(b"1\r\n%d\r\n" % number for number in range(10))
needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl to make a certificate")

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


@asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve each connection to the port that this gives, and hang up."""
    tasks: list[asyncio.Task[None] | None] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        with suppress(asyncio.CancelledError):
            await serve(reader, writer)
        writer.close()
        with suppress(asyncio.CancelledError, OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]
        for task in filter(None, tasks):
            task.cancel()
            await asyncio.wait([task])


class Answers:
    """Answers each request with the next of these, piece by piece, and hangs up after one that has no end."""

    def __init__(self, *answers: list[bytes], pause: float | None = None) -> None:
        self.requests: list[int] = []  # of each connection
        self._answers = iter(answers)
        self._pause = pause  # seconds between pieces

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(0)
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                self.requests[-1] += 1
                answer = next(self._answers)
                for piece in answer:
                    writer.write(piece)
                    if self._pause:
                        await asyncio.sleep(self._pause)
                if not answer[-1].endswith(LAST):
                    return


async def pieces_of(transport: httpx2.AsyncBaseTransport, url: str) -> list[bytes]:
    response = await transport.handle_async_request(httpx2.Request("GET", url))
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    try:
        return [piece async for piece in response.stream]
    finally:
        await response.aclose()


async def fault_of(transport: httpx2.AsyncBaseTransport, url: str) -> str:
    with pytest.raises((httpx2.TransportError, ssl.SSLError)) as caught:
        await pieces_of(transport, url)
    return f"{caught.type}: {caught.value}"


def contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server of localhost and its client need."""
    certificate, key = certificate_for("localhost", folder)
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=certificate)
    theirs.load_cert_chain(certificate, key)
    return theirs, ours


@pytest.fixture
async def transport() -> AsyncIterator[JoiningTransport]:
    async with JoiningTransport(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), httpx2.Limits()) as transport:
        yield transport


async def test_chunks_of_one_write_arrive_as_one_on_a_connection_that_is_used_again(
    transport: JoiningTransport,
) -> None:
    answers = Answers(*[[CHUNKED + TEN + TEN + LAST]] * 3)
    async with listening(answers) as port:
        for _ in range(3):
            assert await pieces_of(transport, f"http://127.0.0.1:{port}/") == [b"01234567890123456789"]
    assert answers.requests == [3]


async def test_chunks_that_come_one_by_one_are_handed_on_one_by_one(transport: JoiningTransport) -> None:
    pieces = [CHUNKED, b"1\r\na\r\n", b"1", b"\r\nb\r\n1", b"\r\nc\r\n", LAST]
    async with listening(Answers(pieces, pause=0.02)) as port:
        assert await pieces_of(transport, f"http://127.0.0.1:{port}/") == [b"a", b"b", b"c"]


@pytest.mark.parametrize("cut", ["", "5", "5\r\nabc", "5\r\nabcde\r", "x\r\n"])
async def test_an_answer_that_was_cut_is_not_taken_for_whole(transport: JoiningTransport, cut: str) -> None:
    answer = [CHUNKED + TEN + cut.encode()]
    async with listening(Answers(answer, answer)) as port, httpx2.AsyncHTTPTransport() as plain:
        faults = [await fault_of(each, f"http://127.0.0.1:{port}/") for each in (transport, plain)]
    assert faults[0] == faults[1]
    assert "RemoteProtocolError" in faults[0]


@pytest.mark.parametrize(("scheme", "kind"), [("http", "read"), ("https", "connect")])
async def test_a_server_that_says_nothing_is_waited_for_as_long_as_was_asked(
    transport: JoiningTransport, scheme: str, kind: str
) -> None:
    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with listening(serve) as port:
        url, limits = f"{scheme}://127.0.0.1:{port}/", {"timeout": {kind: 0.05}}
        with pytest.raises(httpx2.TimeoutException) as caught:
            async with asyncio.timeout(5):
                await transport.handle_async_request(httpx2.Request("GET", url, extensions=limits))
    assert caught.typename == f"{kind.title()}Timeout"


@needs_openssl
async def test_chunks_are_joined_beneath_tls_too(tmp_path: Path) -> None:
    theirs, ours = contexts(tmp_path)
    answers = Answers(*[[CHUNKED + TEN + LAST]] * 2)
    async with listening(answers, theirs) as port, JoiningTransport(ours, httpx2.Limits()) as transport:
        for _ in range(2):
            assert await pieces_of(transport, f"https://localhost:{port}/") == [b"0123456789"]
    assert answers.requests == [2]


@needs_openssl
async def test_those_that_were_sealed_each_by_itself_are_joined_and_end_as_ever(tmp_path: Path) -> None:
    theirs, ours = contexts(tmp_path)
    cut = [CHUNKED, *(TEN[at : at + 6] for at in range(0, len(TEN), 6))]
    whole = [*cut, LAST]
    async with (
        listening(Answers(whole, whole, cut, cut), theirs) as port,
        JoiningTransport(ours, httpx2.Limits()) as transport,
        httpx2.AsyncHTTPTransport(ours) as plain,
    ):
        url = f"https://localhost:{port}/"
        assert await pieces_of(plain, url) == [b"%d" % number for number in range(10)]
        pieces = await pieces_of(transport, url)
        assert b"".join(pieces) == b"0123456789"
        assert len(pieces) < 5  # the system may have brought them in several
        assert await fault_of(transport, url) == await fault_of(plain, url)


@needs_openssl
async def test_a_record_that_somebody_meddled_with_is_no_mere_end(tmp_path: Path) -> None:
    theirs, ours = contexts(tmp_path)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = theirs.wrap_bio(inward, outward, server_side=True)
        request = b""
        while not request:
            inward.write(await reader.read(65_536))
            with suppress(ssl.SSLWantReadError):
                request = tls.read()
            writer.write(outward.read())
        for text in (CHUNKED, TEN, TEN, TEN):
            tls.write(text)
        sealed = outward.read()
        writer.write(sealed[:-1] + bytes([sealed[-1] ^ 1]))
        await reader.read()

    async with (
        listening(serve) as port,
        JoiningTransport(ours, httpx2.Limits()) as transport,
        httpx2.AsyncHTTPTransport(ours) as plain,
    ):
        faults = [await fault_of(each, f"https://localhost:{port}/") for each in (transport, plain)]
    assert faults[0] == faults[1]
    assert "MAC" in faults[0]


async def test_the_client_joins_them() -> None:
    client = build_client(Endpoint("work", "m", "http://127.0.0.1:1/v1"), TimeoutSettings(), 1)
    transport = client._client._transport  # noqa: SLF001  (it is told nowhere)
    async with client, listening(Answers([CHUNKED + TEN + LAST])) as port:
        assert await pieces_of(transport, f"http://127.0.0.1:{port}/") == [b"0123456789"]


async def test_its_pool_is_what_httpx2_makes_of_the_same_limits() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    limits = httpx2.Limits(max_connections=8, max_keepalive_connections=7, keepalive_expiry=6)
    transports = JoiningTransport(tls, limits), httpx2.AsyncHTTPTransport(tls, limits=limits)
    ours, theirs = (vars(transport._pool) for transport in transports)  # noqa: SLF001  (it is what is compared)
    assert {name for name in ours | theirs if ours.get(name) != theirs.get(name)} == {
        "_network_backend",
        "_optional_thread_lock",
    }
