"""The cache on a real Redis server: what is kept there, how it goes, and what a server that is down costs."""

import asyncio
import hashlib
import json
import socket
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.errors import ChatllmError
from chatllm_cli.models import Completion, Role
from chatllm_cli.services.cache import ResponseCache
from chatllm_cli.services.cache.redis_store import RedisStore
from chatllm_cli.services.cache.stores import StoreError
from tests.caches import ANSWER, OTHER, REQUEST, answer, cache_on
from tests.conftest import Run
from tests.fake_openai import FakeOpenAI
from tests.redis_server import RedisServer, needs_redis
from tests.terminal import Terminal

NEXT = replace(REQUEST, messages=((Role.USER, "And then?"),))


def keys_of(server: RedisServer) -> list[str]:
    return [str(key, "ascii") for key in server.client().scan_iter() if isinstance(key, bytes)]


@asynccontextmanager
async def shared(url: str, **settings: object) -> AsyncIterator[ResponseCache]:
    cache = cache_on(RedisStore(url), **settings)
    yield cache
    await cache.aclose()


async def test_an_answer_is_there_for_another_machine(redis_server: RedisServer) -> None:
    async with shared(redis_server.url) as one, shared(redis_server.url) as other:
        assert await answer(other) is None
        await one.put(REQUEST, ANSWER)
        assert await answer(other) == ANSWER
        assert await answer(other, NEXT) is None


async def test_the_server_learns_the_answer_but_neither_prompt_nor_key(redis_server: RedisServer) -> None:
    async with shared(redis_server.url) as cache:
        await cache.put(REQUEST, Completion("word " * 1_000, "stop"), conversation="c1")
    client = redis_server.client()
    values = [str(client.dump(key)) for key in keys_of(redis_server)]
    everything = "\n".join([*keys_of(redis_server), *values])
    assert [word for word in ("sk-canary", "Be kind.", "Hi", "word word") if word in everything] == []
    assert len(everything) < 2_000  # five thousand bytes, compressed


async def test_the_server_drops_an_answer_when_its_days_are_over(redis_server: RedisServer) -> None:
    async with shared(redis_server.url, ttl_days=2) as cache:
        await cache.put(REQUEST, ANSWER, conversation="c1")
    client = redis_server.client()
    days = {key.split(":")[1]: client.ttl(key) / 86_400 for key in keys_of(redis_server)}
    assert days == {"answer": pytest.approx(2, abs=0.001)}


async def test_shorter_days_hold_for_what_was_kept_for_longer(redis_server: RedisServer) -> None:
    async with shared(redis_server.url, ttl_days=30) as cache, shared(redis_server.url, ttl_days=1e-9) as strict:
        await cache.put(REQUEST, ANSWER)
        assert await answer(strict) is None
        assert await answer(cache) == ANSWER


async def test_what_a_conversation_brought_goes_with_it(redis_server: RedisServer) -> None:
    async with shared(redis_server.url) as cache:
        await cache.put(REQUEST, ANSWER, conversation="c1")
        await cache.put(NEXT, OTHER, conversation="c2")
        await cache.forget(["c1", "c3"])
        assert (await answer(cache), await answer(cache, NEXT)) == (None, OTHER)


async def test_clearing_takes_what_is_meant_and_counts_it(redis_server: RedisServer) -> None:
    redis_server.client().set("another program's", "value")
    many = [replace(REQUEST, messages=((Role.USER, f"{number}"),)) for number in range(1_200)]
    async with shared(redis_server.url) as cache:
        for request in many:
            await cache.put(request, ANSWER)
        await cache.put(replace(NEXT, endpoint=replace(NEXT.endpoint, model="large")), ANSWER)
        assert await cache.clear(model="LARGE") == 1
        assert await cache.clear(older_than=datetime.now(UTC) - timedelta(hours=1)) == 0
        assert (await cache.stats()).entries == 1_200
        assert await cache.clear() == 1_200
        assert (await cache.stats()).entries == 0
    assert redis_server.client().get("another program's") == b"value"


async def test_what_hits_saved_is_counted_for_all(redis_server: RedisServer) -> None:
    async with shared(redis_server.url) as one, shared(redis_server.url) as other:
        await answer(one)
        await one.put(REQUEST, ANSWER, cost=0.25)
        await one.put(NEXT, OTHER)
        for request in (REQUEST, REQUEST, NEXT):
            await answer(other, request)
        await other.aclose()
        await one.aclose()
        stats = await one.stats()
    told = (stats.hits, stats.misses, stats.input_tokens, stats.output_tokens, stats.cost, stats.unpriced)
    assert told == (3, 1, 6, 10, 0.5, 1)
    assert stats.where == redis_server.url


def packed(entry: object) -> bytes:
    body = zlib.compress(json.dumps(entry).encode())
    return hashlib.sha256(body).digest() + body


@pytest.mark.parametrize("value", [b"", b"x", b"\0" * 40, packed({}), packed(None), packed({"text": "a trap"})])
async def test_an_entry_of_another_kind_is_a_miss_and_is_replaced(redis_server: RedisServer, value: bytes) -> None:
    async with shared(redis_server.url) as cache:
        await cache.put(REQUEST, ANSWER)
        (key,) = redis_server.client().keys("chatllm:answer:*")
        redis_server.client().set(key, value)
        assert await answer(cache) is None
        await cache.put(REQUEST, OTHER)
        assert await answer(cache) == OTHER


async def test_a_list_in_an_entrys_place_is_a_miss_and_is_replaced(redis_server: RedisServer) -> None:
    client = redis_server.client()
    async with shared(redis_server.url) as cache:
        await cache.put(REQUEST, ANSWER)
        (key,) = client.keys("chatllm:answer:*")
        client.delete(key)
        client.rpush(key, "a", "b")
        assert await answer(cache) is None
        await cache.put(REQUEST, OTHER)
        assert await answer(cache) == OTHER
        client.delete("chatllm:counts")
        client.set("chatllm:counts", "none")
        assert await answer(cache) == OTHER
        assert await cache.clear() == 1


@needs_redis
async def test_a_server_with_a_password_is_asked_with_it_and_shown_without(tmp_path: Path) -> None:
    with RedisServer(tmp_path, password="hush") as server:
        async with shared(server.url) as cache:
            await cache.put(REQUEST, ANSWER)
            assert await answer(cache) == ANSWER
            assert cache.where == f"redis://127.0.0.1:{server.port}/0"
        async with shared(server.url.replace("hush", "wrong")) as cache:
            assert await answer(cache) is None
            told = "it does not take the user name and password"
            assert cache.take_fault() == f"the cache at redis://127.0.0.1:{server.port}/0 cannot be used: {told}"


@needs_redis
async def test_a_full_server_is_a_miss(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--maxmemory", "1") as server:
        async with shared(server.url) as cache:
            await cache.put(REQUEST, ANSWER)
            assert "maxmemory" in (cache.take_fault() or "")
            assert await answer(cache) is None


@needs_redis
async def test_a_server_that_comes_back_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatllm_cli.services.cache.redis_store.REST", 0.2)
    with RedisServer(tmp_path) as server:
        async with shared(server.url) as cache:
            await cache.put(REQUEST, ANSWER)
            server.stop()
            assert await answer(cache) is None
            server.start()
            assert await answer(cache) is None  # it is left alone for a while
            await asyncio.sleep(0.3)
            await cache.put(REQUEST, OTHER)
            assert await answer(cache) == OTHER


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where somebody listens who never answers."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        yield silent.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port: int = closed.getsockname()[1]
    return port


Ports = Callable[[str], int]


@pytest.fixture
def port_that_is(silent_port: int, closed_port: int) -> Ports:
    return lambda how: {"silent": silent_port, "closed": closed_port}[how]


@pytest.mark.parametrize("how", ["silent", "closed"])
async def test_a_server_that_is_down_is_a_miss_that_is_told_once_and_never_waited_for(
    port_that_is: Ports, how: str
) -> None:
    address = f"redis://127.0.0.1:{port_that_is(how)}/0"
    cache = cache_on(RedisStore(address))
    begin = time.monotonic()
    for _ in range(5):
        assert await answer(cache) is None
        await cache.put(REQUEST, ANSWER)
    assert time.monotonic() - begin < 1
    assert (cache.take_fault() or "").startswith(f"the cache at {address} cannot be used: ")
    await cache.put(REQUEST, ANSWER)
    assert cache.take_fault() is None
    for chore in (cache.stats(), cache.clear(), cache.forget(["c1"])):
        with pytest.raises(ChatllmError, match=f"{address}"):
            await chore
    await cache.aclose()


async def test_options_that_redis_does_not_know_are_no_error(redis_server: RedisServer) -> None:
    store = RedisStore(f"{redis_server.url}?colour=blue")
    with pytest.raises(StoreError, match="colour"):
        await store.get("key")


def test_two_processes_share_one_server_and_the_second_pays_nothing(
    run: Run, provider: FakeOpenAI, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHATLLM_CACHE__URL", redis_server.url)
    monkeypatch.setenv("CHATLLM_PRICES", '{"default/says-hello-there": {"input": 1000, "output": 1000}}')
    for number, told in enumerate(["", '{"notice": "cached just now (--refresh asks again)"}\n']):
        monkeypatch.setenv("CHATLLM_HOME", str(tmp_path / f"machine{number}"))
        result = run("ask", "--temperature", "0", "--json", "hi")
        reply = json.loads(result.stdout)
        assert (reply["text"], reply["cached"], result.stderr) == ("hello there", bool(number), told)
        assert reply["cost"] == (0 if number else pytest.approx(0.01))
    assert len(provider.chats) == 1
    lines = run("cache", "stats").stdout.splitlines()
    assert lines.pop(2) in {"size\t0.1 kB", "size\t0.2 kB"}
    assert lines == [
        f"lies in\t{redis_server.url}", "answers\t1", "hits\t1", "misses\t1",
        "tokens saved\t7 in · 3 out", "money saved\t$0.010",
    ]  # fmt: skip
    run("history", "rm", "@1", "-y")
    assert run("cache", "stats").stdout.splitlines()[1] == "answers\t1"  # it was the other machine that asked
    monkeypatch.setenv("CHATLLM_HOME", str(tmp_path / "machine0"))
    run("history", "rm", "@1", "-y")
    assert run("cache", "stats").stdout.splitlines()[1] == "answers\t0"


def test_a_turn_says_once_that_its_server_is_down_and_goes_on(
    run: Run, provider: FakeOpenAI, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_CACHE__URL", f"redis://:hush@127.0.0.1:{closed_port}")
    result = run("ask", "--temperature", "0", "hi")
    assert (result.exit_code, result.stdout) == (0, "hello there")
    told = f"the cache at redis://127.0.0.1:{closed_port} cannot be used: "
    assert (result.stderr.startswith(told), result.stderr.endswith("; it goes on without\n")) == (True, True)
    assert (result.stderr.count("\n"), "hush" in result.stderr) == (1, False)


def test_a_turn_says_that_the_extra_is_missing_and_goes_on(
    run: Run, provider: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_CACHE__URL", "redis://:hush@host")
    monkeypatch.setitem(sys.modules, "chatllm_cli.services.cache.redis_store", None)
    fault = "the cache at redis://host cannot be used: the extra redis is missing: pip install 'chatllm-cli[redis]'"
    result = run("ask", "--temperature", "0", "hi")
    told = f"{fault}; it goes on without\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, "hello there", told)
    result = run("cache", "stats")
    assert (result.exit_code, result.stderr) == (1, f"chatllm: {fault}\n")


def test_a_terminal_shows_that_the_server_is_down_above_the_answer(
    provider: FakeOpenAI, closed_port: int, monkeypatch: pytest.MonkeyPatch, terminal: Callable[..., Terminal]
) -> None:
    monkeypatch.setenv("CHATLLM_CACHE__URL", f"redis://127.0.0.1:{closed_port}")
    on = terminal("ask", "--temperature", "0", "hi")
    assert on.wait() == 0
    shown = [line for line in on.text.splitlines() if line.strip()]
    assert shown[0].startswith("the cache at redis://127.0.0.1:")
    assert "hello there" in shown


def test_doctor_says_whether_the_server_answers(
    run: Run, provider: FakeOpenAI, redis_server: RedisServer, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_LOCAL__MODEL_PATH", "none.gguf")
    monkeypatch.setenv("CHATLLM_CACHE__URL", redis_server.url)
    run("ask", "--temperature", "0", "hi")
    well = f"ok       shared    the cache at {redis_server.url} can be used, and has 1 answer\n"
    assert well in run("doctor").stdout
    monkeypatch.setenv("CHATLLM_CACHE__URL", f"redis://me:hush@127.0.0.1:{closed_port}/0")
    (line,) = (line for line in run("doctor").stdout.splitlines() if "shared" in line)
    assert line.startswith(f"hint     shared    the cache at redis://127.0.0.1:{closed_port} cannot be used: ")
    assert "hush" not in line


async def test_many_conversations_are_forgotten_at_once(redis_server: RedisServer) -> None:
    async with shared(redis_server.url) as cache:
        for number in range(600):
            request = replace(REQUEST, messages=((Role.USER, f"{number}"),))
            await cache.put(request, ANSWER, conversation=f"c{number}")
        await cache.forget([f"c{number}" for number in range(1_500)])
    assert keys_of(redis_server) == []


@pytest.mark.parametrize("options", ["retry=3", "encoding=nope", "socket_timeout=x", "protocol=9", "colour=blue"])
async def test_strange_options_of_the_address_are_a_miss(redis_server: RedisServer, options: str) -> None:
    async with shared(f"{redis_server.url}?{options}") as cache:
        assert await answer(cache) in {None, ANSWER}
        await cache.put(REQUEST, ANSWER)
        with suppress(ChatllmError):
            await cache.stats()
            await cache.clear()


@pytest.mark.parametrize(
    "reply", [b"*1\r\n" * 200_000, b"$99999999999\r\n", b"?\r\n", b"-ERR no\r\n" * 9, b"\xff" * 99], ids=range(5)
)
async def test_a_server_that_answers_nonsense_is_a_miss(reply: bytes) -> None:
    async def answer_it(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            writer.write(reply)
        writer.close()

    server = await asyncio.start_server(answer_it, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    begin = time.monotonic()
    async with shared(f"redis://127.0.0.1:{port}") as cache:
        assert await answer(cache) is None
        await cache.put(REQUEST, ANSWER)
    assert time.monotonic() - begin < 1
    server.close()


async def test_counts_that_cannot_be_are_none(redis_server: RedisServer) -> None:
    strange: dict[Any, Any] = {
        "hits": "abc",
        "misses": "-1",
        "cost": "nan",
        "input_tokens": "1" * 300,
        "output_tokens": b"\xff",
    }
    redis_server.client().hset("chatllm:counts", mapping=strange)
    async with shared(redis_server.url) as cache:
        stats = await cache.stats()
    assert (stats.hits, stats.misses, stats.cost, stats.input_tokens, stats.output_tokens) == (0, 0, 0, 0, 0)


def test_a_shared_cache_is_not_cleared_unless_somebody_agrees(
    run: Run, provider: FakeOpenAI, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_CACHE__URL", redis_server.url)
    run("ask", "--temperature", "0", "hi")
    refused = run("cache", "clear")
    told = "chatllm: this needs --yes: remove answers that others use, too?\n"
    assert (refused.exit_code, refused.stderr) == (2, told)
    cleared = run("cache", "clear", "--yes")
    assert (cleared.exit_code, cleared.stderr) == (0, f"removed from {redis_server.url}: 1 answer\n")


def test_what_was_kept_on_this_machine_before_the_server_came_goes_too(
    run: Run, provider: FakeOpenAI, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("ask", "--temperature", "0", "hi")
    monkeypatch.setenv("CHATLLM_CACHE__URL", redis_server.url)
    run("history", "rm", "@1", "-y")
    monkeypatch.delenv("CHATLLM_CACHE__URL")
    assert run("cache", "stats").stdout.splitlines()[1] == "answers\t0"


def test_nothing_is_removed_while_the_server_cannot_be_reached(
    run: Run, provider: FakeOpenAI, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("ask", "hi")
    monkeypatch.setenv("CHATLLM_CACHE__URL", f"redis://127.0.0.1:{closed_port}")
    result = run("history", "rm", "@1", "-y")
    what = f"nothing was removed: what the cache at redis://127.0.0.1:{closed_port} has of it could not be"
    told = f"chatllm: {what}: connection refused\n  hint: try again when it can be used\n"
    assert (result.exit_code, result.stderr) == (1, told)
    assert len(run("history", "list").stdout.splitlines()) == 1
