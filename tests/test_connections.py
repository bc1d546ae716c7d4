import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from chatllm_cli.services.llm.connections import POOL_SIZE, Pools


class Pool(httpx2.AsyncBaseTransport):
    """A pool that answers, or fails."""

    def __init__(self, limits: httpx2.Limits) -> None:
        self.limits = limits
        self.asked = 0
        self.is_closed = False
        self.error: Exception | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        if self.error:
            raise self.error
        return httpx2.Response(200, content=said())

    async def aclose(self) -> None:
        self.is_closed = True


async def said() -> AsyncIterator[bytes]:
    yield b"a"
    yield b"b"


@pytest.fixture
def made() -> list[Pool]:
    return []


@pytest.fixture
def pools(made: list[Pool]) -> Pools:
    def new(limits: httpx2.Limits) -> Pool:
        made.append(Pool(limits))
        return made[-1]

    return Pools(new, 2 * POOL_SIZE)


async def ask(pools: Pools, times: int = 1) -> list[httpx2.Response]:
    request = httpx2.Request("GET", "http://host/")
    return [await pools.handle_async_request(request) for _ in range(times)]


async def test_requests_one_after_another_take_the_same_pool(pools: Pools, made: list[Pool]) -> None:
    for _ in range(3 * POOL_SIZE):
        (response,) = await ask(pools)
        assert await response.aread() == b"ab"
    assert [pool.asked for pool in made] == [3 * POOL_SIZE]


async def test_what_one_pool_has_no_connection_for_takes_the_next_and_the_last_takes_all_beyond(
    pools: Pools, made: list[Pool]
) -> None:
    await ask(pools, 3 * POOL_SIZE)
    assert [(pool.asked, pool.limits.max_connections) for pool in made] == [
        (POOL_SIZE, POOL_SIZE),
        (2 * POOL_SIZE, POOL_SIZE),
    ]


async def test_a_connection_is_free_once_its_answer_is_closed_however_often(pools: Pools, made: list[Pool]) -> None:
    first, *_ = await ask(pools, POOL_SIZE)
    await first.aclose()
    await first.aclose()
    await ask(pools, 2)
    assert [pool.asked for pool in made] == [POOL_SIZE + 1, 1]


@pytest.mark.parametrize("error", [httpx2.ConnectError("no"), asyncio.CancelledError()])
async def test_a_request_that_fails_takes_none(pools: Pools, made: list[Pool], error: Exception) -> None:
    await ask(pools)
    made[0].error = error
    for _ in range(POOL_SIZE):
        with pytest.raises(type(error)):
            await ask(pools)
    made[0].error = None
    await ask(pools, POOL_SIZE - 1)
    assert len(made) == 1


async def test_all_are_closed(pools: Pools, made: list[Pool]) -> None:
    await ask(pools, 2 * POOL_SIZE)
    await pools.aclose()
    assert [pool.is_closed for pool in made] == [True, True]
