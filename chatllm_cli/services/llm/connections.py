"""Connections to one server in several small pools: a pool looks at each of its connections before every request."""

from collections.abc import AsyncIterator, Callable

import httpx2

POOL_SIZE = 8  # connections


class Pools(httpx2.AsyncBaseTransport):
    """Sends each request by the first pool that has a connection to spare, so that those in use are used again.

    The last one takes what goes beyond `most` connections, and lets it wait.
    """

    def __init__(self, new_pool: Callable[..., httpx2.AsyncBaseTransport], most: int) -> None:
        self._new_pool = new_pool
        self._most = most
        self._pools: list[_Pool] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it; its connection counts as used until the answer is closed."""
        pool = self._pool_to_spare()
        pool.used += 1
        try:
            response = await pool.transport.handle_async_request(request)
        except BaseException:
            pool.used -= 1
            raise
        assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101  (which the type leaves open)
        response.stream = _Using(response.stream, pool)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        for pool in self._pools:
            await pool.transport.aclose()

    def _pool_to_spare(self) -> "_Pool":
        for pool in self._pools:
            if pool.used < POOL_SIZE:
                return pool
        if len(self._pools) * POOL_SIZE < self._most:
            limits = httpx2.Limits(max_connections=POOL_SIZE, max_keepalive_connections=POOL_SIZE)
            self._pools.append(_Pool(self._new_pool(limits=limits)))
        return self._pools[-1]


class _Pool:
    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self.transport = transport
        self.used = 0


class _Using(httpx2.AsyncByteStream):
    """An answer that a connection is used for."""

    def __init__(self, stream: httpx2.AsyncByteStream, pool: _Pool) -> None:
        self._stream = stream
        self._pool: _Pool | None = pool

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        if self._pool:
            self._pool.used -= 1
            self._pool = None
        await self._stream.aclose()
