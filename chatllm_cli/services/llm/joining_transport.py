"""Connections on which chunks that arrived together are one."""

import ssl
from typing import Any

import httpcore2
import httpx2

from chatllm_cli.services.llm.joined_chunks import ChunkJoiner


class _JoinedStream(httpcore2.AsyncNetworkStream):
    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self._joiner = ChunkJoiner()
        self._tls: ssl.SSLObject | None = stream.get_extra_info("ssl_object")
        self._fault: ssl.SSLError | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  (its signature)
        while data := await self._read(max_bytes, timeout):
            if joined := self._joiner.feed(data):
                return joined
        return self._joiner.end()

    async def _read(self, most: int, timeout: float | None) -> bytes:  # noqa: ASYNC109  (as above)
        if self._fault:
            raise self._fault
        data = await self._stream.read(most, timeout)
        if data and self._tls:
            return data + self._further_records(self._tls, most - len(data))
        return data

    def _further_records(self, tls: ssl.SSLObject, most: int) -> bytes:
        """Return what else has come: a read gives one TLS record, and a provider may seal each event by itself."""
        pieces = []
        try:
            while piece := tls.read(most):
                pieces.append(piece)
                most -= len(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:  # of which the next read would make an end
            self._fault = error
        return b"".join(pieces)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  (its signature)
        self._joiner.request_sent()
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  (its signature)
    ) -> httpcore2.AsyncNetworkStream:
        return _JoinedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _JoiningBackend(httpcore2.AnyIOBackend):
    async def connect_tcp(self, *address: Any, **options: Any) -> httpcore2.AsyncNetworkStream:
        return _JoinedStream(await super().connect_tcp(*address, **options))


class JoiningTransport(httpx2.AsyncHTTPTransport):
    """httpx2's own, without a proxy, whose connections join chunks: it takes no backend, but its pool does."""

    def __init__(self, tls: ssl.SSLContext, limits: httpx2.Limits) -> None:
        super().__init__(tls, limits=limits)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_JoiningBackend(),
        )
