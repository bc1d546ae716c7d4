import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import openai
import pytest
from langchain_core.exceptions import ModelError
from langchain_openai.chat_models import base as langchain_openai_base

from chatllm_cli.config.sections import LimitSettings, LocalSettings, TimeoutSettings
from chatllm_cli.errors import AuthenticationError, InvalidReplyError, ProviderUnavailableError
from chatllm_cli.models import Attachment, ChatOptions, ChatRequest, Chunk, Endpoint, Role, TokenUsage
from chatllm_cli.services.llm import LLMService
from chatllm_cli.services.llm.error_map import FOREIGN_ERRORS, translate
from chatllm_cli.services.local.engine import LocalModel
from tests.fake_openai import USAGE, FakeOpenAI


@pytest.fixture
async def llm() -> AsyncIterator[LLMService]:
    service = LLMService(LocalModel(LocalSettings()), TimeoutSettings(), LimitSettings())
    yield service
    await service.aclose()


def request_to(fake: FakeOpenAI, model: str, options: ChatOptions | None = None) -> ChatRequest:
    endpoint = Endpoint("default", model, fake.base_url, api_key="sk-canary")
    return ChatRequest(endpoint, ((Role.SYSTEM, "s"), (Role.USER, "hi")), options or ChatOptions())


async def collect(llm: LLMService, request: ChatRequest) -> list[Chunk]:
    return [chunk async for chunk in llm.stream(request)]


async def test_chunks_carry_text_then_how_it_ended_and_what_it_cost(llm: LLMService, fake_openai: FakeOpenAI) -> None:
    chunks = await collect(llm, request_to(fake_openai, "tokens-3"))
    assert "".join(chunk.text for chunk in chunks) == "word0 word1 word2 "
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
    assert [chunk.usage for chunk in chunks if chunk.usage] == [TokenUsage(7, 3)]


async def test_tokens_that_the_provider_still_had_are_told_apart(llm: LLMService, fake_openai: FakeOpenAI) -> None:
    fake_openai.usage = USAGE | {"prompt_tokens_details": {"cached_tokens": 5}}
    chunks = await collect(llm, request_to(fake_openai, "tokens-3"))
    assert [chunk.usage for chunk in chunks if chunk.usage] == [TokenUsage(7, 3, cached_tokens=5)]


@pytest.mark.parametrize(
    ("counted", "usage"),
    [
        ({"prompt_tokens": 14, "completion_tokens": 2, "total_tokens": 333}, TokenUsage(14, 319)),
        ({"prompt_tokens": 14, "completion_tokens": 2, "total_tokens": 16}, TokenUsage(14, 2)),
        ({"prompt_tokens": 14, "completion_tokens": 2, "total_tokens": 3}, TokenUsage(14, 2)),
        ({"prompt_tokens": 14, "completion_tokens": 2}, TokenUsage(14, 2)),
        (
            {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 8},
            TokenUsage(9, 1, cached_tokens=8),
        ),
        ({"prompt_tokens": -5, "completion_tokens": 3, "total_tokens": -2}, None),
        ({"prompt_tokens": 2**40, "completion_tokens": 3}, None),
        ({"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": -1}}, None),
    ],
)
async def test_what_was_thought_is_counted_too_and_what_is_no_count_is_not(
    llm: LLMService, fake_openai: FakeOpenAI, counted: dict[str, Any], usage: TokenUsage | None
) -> None:
    fake_openai.usage = counted
    chunks = await collect(llm, request_to(fake_openai, "tokens-1"))
    assert [chunk.usage for chunk in chunks if chunk.usage] == ([usage] if usage else [])
    assert "".join(chunk.text for chunk in chunks) == "word0 "


async def test_the_limit_on_the_answer_goes_out_as_the_provider_calls_it(
    llm: LLMService, fake_openai: FakeOpenAI
) -> None:
    endpoint = Endpoint("openai", "tokens-1", fake_openai.base_url, "k", max_tokens_field="max_completion_tokens")
    await collect(llm, ChatRequest(endpoint, ((Role.USER, "hi"),), ChatOptions(max_tokens=5)))
    body = fake_openai.chats[0].body
    assert (body["max_completion_tokens"], "max_tokens" in body) == (5, False)


async def test_options_go_out_as_the_provider_calls_them(llm: LLMService, fake_openai: FakeOpenAI) -> None:
    options = ChatOptions(
        temperature=0.5,
        top_p=0.9,
        seed=0,
        stop=("END", "STOP"),
        reasoning_effort="low",
        extra=(("top_k", "40"), ("provider", '{"order": ["a"]}')),
    )
    await collect(llm, request_to(fake_openai, "tokens-1", options))
    mistral = Endpoint("mistral", "tokens-1", fake_openai.base_url, seed_field="random_seed", takes_usage_wish=False)
    await collect(llm, ChatRequest(mistral, ((Role.USER, "hi"),), ChatOptions(seed=7)))
    first, second = (chat.body for chat in fake_openai.chats)
    assert {key: value for key, value in first.items() if key not in {"messages", "stream", "model"}} == {
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 0,
        "stop": ["END", "STOP"],
        "reasoning_effort": "low",
        "top_k": 40,
        "provider": {"order": ["a"]},
        "stream_options": {"include_usage": True},
    }
    assert {key: value for key, value in second.items() if key not in {"messages", "stream", "model"}} == {
        "random_seed": 7
    }


@pytest.mark.parametrize("model", ["thinks", "thinks-twice"])
async def test_what_a_model_thinks_aloud_comes_apart_from_its_answer(
    llm: LLMService, fake_openai: FakeOpenAI, model: str
) -> None:
    chunks = await collect(llm, request_to(fake_openai, model))
    assert [chunk.reasoning for chunk in chunks if chunk.reasoning] == ["First, ", "a thought.\x1b[31m"]
    assert "".join(chunk.text for chunk in chunks) == "an answer"


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # whoever runs the program does not see them
@pytest.mark.parametrize(
    ("delta", "reasoning", "text"),
    [
        ({"reasoning": {"text": "hm"}, "content": "a"}, "hm", "a"),
        ({"reasoning": [{"text": "h"}, {"content": "m"}], "content": "a"}, "hm", "a"),
        ({"reasoning_content": True, "reasoning": None, "content": "a"}, "", "a"),
        ({"refusal": {"a": 1}, "content": "a"}, "", "a"),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}, "hm", ""),
        ({"content": [{"type": "text", "text": "a"}]}, "", "a"),
    ],
)
async def test_reasoning_is_taken_however_it_is_wrapped_and_nothing_else_is(
    llm: LLMService, fake_openai: FakeOpenAI, delta: dict[str, Any], reasoning: str, text: str
) -> None:
    fake_openai.deltas = [delta]
    chunks = await collect(llm, request_to(fake_openai, "deltas"))
    assert "".join(chunk.reasoning for chunk in chunks) == reasoning
    assert "".join(chunk.text for chunk in chunks) == text


async def test_an_endpoint_of_its_own_kind_gets_its_key_as_it_wants_it(
    llm: LLMService, fake_openai: FakeOpenAI
) -> None:
    endpoint = Endpoint(
        "anthropic",
        "",
        fake_openai.base_url,
        "sk-canary",
        headers=(("anthropic-version", "2023-06-01"),),
        key_header="x-api-key",
    )
    await llm.list_models(endpoint)
    headers = {name.lower(): value for name, value in fake_openai.seen[0].headers.items()}
    assert (headers.get("x-api-key"), headers["anthropic-version"]) == ("sk-canary", "2023-06-01")
    assert "authorization" not in headers


async def test_an_answer_that_ended_is_whole_even_if_the_connection_then_breaks(llm: LLMService) -> None:
    class EndsThenBreaks(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Content-Length", "100000")  # more than will come
            self.end_headers()
            for delta, reason in (({"content": "whole"}, None), ({}, "stop")):
                choice = {"index": 0, "delta": delta, "finish_reason": reason}
                event = {
                    "id": "1",
                    "object": "chat.completion.chunk",
                    "created": 0,
                    "model": "m",
                    "choices": [choice],
                }
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), EndsThenBreaks) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        endpoint = Endpoint("default", "m", f"http://127.0.0.1:{server.server_port}/v1")
        chunks = await collect(llm, ChatRequest(endpoint, ((Role.USER, "hi"),)))
        server.shutdown()
    assert "".join(chunk.text for chunk in chunks) == "whole"


async def test_cancelling_works_at_any_moment_of_a_fast_stream(llm: LLMService, fake_openai: FakeOpenAI) -> None:
    for attempt in range(25):
        task = asyncio.ensure_future(collect(llm, request_to(fake_openai, "tokens-1000000")))
        await asyncio.sleep(0.03 + attempt / 1000)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=2)
        assert done, f"attempt {attempt} went on"


async def test_models_are_listed(llm: LLMService, fake_openai: FakeOpenAI) -> None:
    assert await llm.list_models(Endpoint("default", "", fake_openai.base_url)) == ["says-hello", "tokens-5"]


async def test_tracing_stays_off_in_an_environment_that_wants_it(
    fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeOpenAI() as sink:
        for name in ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2", "LANGCHAIN_TRACING"):
            monkeypatch.setenv(name, "true")
        monkeypatch.setenv("LANGSMITH_ENDPOINT", sink.base_url)
        monkeypatch.setenv("LANGSMITH_API_KEY", "ls-key")
        llm = LLMService(LocalModel(LocalSettings()), TimeoutSettings(), LimitSettings())
        await collect(llm, request_to(fake_openai, "tokens-1"))
        await asyncio.sleep(0.5)
        await llm.aclose()
        assert sink.seen == []


def every_kind_of(error: type[BaseException]) -> list[type[BaseException]]:
    return [error, *(kind for child in error.__subclasses__() for kind in every_kind_of(child))]


def test_every_error_of_langchain_and_openai_is_caught() -> None:
    kinds = {*every_kind_of(ModelError), *every_kind_of(openai.OpenAIError)}
    assert langchain_openai_base.OpenAIRateLimitError in kinds
    assert [kind for kind in kinds if not issubclass(kind, FOREIGN_ERRORS)] == []


def test_an_unknown_error_of_theirs_is_a_provider_error() -> None:
    endpoint = Endpoint("default", "m", "http://127.0.0.1:9/v1")
    for error in (openai.OpenAIError("x"), ModelError("x"), ValueError("x"), KeyError("x"), AttributeError("x")):
        assert type(translate(error, endpoint)) is InvalidReplyError


def test_an_error_names_the_reason_below_it() -> None:
    error = OSError("deepest")
    outer = openai.APIConnectionError(request=None)  # type: ignore[arg-type]
    outer.__cause__ = httpx2.ConnectError("")
    outer.__cause__.__cause__ = error
    translated = translate(outer, Endpoint("default", "m", "http://h:1/v1"))
    assert isinstance(translated, ProviderUnavailableError)
    assert str(translated) == "no connection to h:1: deepest"


async def test_a_long_complaint_of_the_server_is_cut_to_one_line(llm: LLMService, fake_openai: FakeOpenAI) -> None:
    request = request_to(fake_openai, "fault-401")
    with pytest.raises(AuthenticationError) as raised:
        await collect(llm, request)
    assert "\n" not in str(raised.value)
    long = openai.APIError("x\n" * 1_000_000, request=None, body=None)  # type: ignore[arg-type]
    assert len(str(translate(long, request.endpoint))) < 400


def test_a_key_is_masked_before_a_complaint_is_cut() -> None:
    endpoint = Endpoint("default", "m", "http://127.0.0.1:9/v1", api_key="sk-canary-1234567890")
    for gap in range(1170, 1210):
        complaint = f"Bad key:{' ' * gap}{endpoint.api_key}"
        error = openai.APIError(complaint, request=None, body=None)  # type: ignore[arg-type]
        assert "canary" not in str(translate(error, endpoint))


async def test_the_embedded_model_is_asked_on_a_new_connection_each_time(
    llm: LLMService, fake_openai: FakeOpenAI
) -> None:
    endpoint = Endpoint("local", "tokens-1", fake_openai.base_url, weights="sha256:…")
    for _ in range(2):
        await collect(llm, ChatRequest(endpoint, ((Role.USER, "hi"),)))
    await collect(llm, request_to(fake_openai, "tokens-1"))
    assert [seen.headers["Connection"] for seen in fake_openai.chats] == ["close", "close", "keep-alive"]


IMAGE = Attachment("a.png", "image/png", 3, sha256="a" * 64)
SEEN = ((Role.USER, ('Image "a.png":', IMAGE, "half \ud83d of it")),)


async def sent(fake: FakeOpenAI, images: dict[str, bytes], **endpoint: Any) -> Any:
    """What arrives of a prompt with an image."""
    llm = LLMService(LocalModel(LocalSettings()), TimeoutSettings(), LimitSettings(), images=images.get)
    request = request_to(fake, "says-hi")
    await collect(llm, replace(request, messages=SEEN, endpoint=replace(request.endpoint, **endpoint)))
    await llm.aclose()
    (message,) = fake.chats[-1].body["messages"]
    return message["content"]


async def test_an_image_goes_out_as_a_part_of_its_own(fake_openai: FakeOpenAI) -> None:
    assert await sent(fake_openai, {IMAGE.sha256: b"abc"}) == [
        {"type": "text", "text": 'Image "a.png":'},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,YWJj"}},
        {"type": "text", "text": "half \N{REPLACEMENT CHARACTER} of it"},
    ]


async def test_an_image_that_is_gone_or_that_cannot_be_seen_is_a_line_that_says_so(fake_openai: FakeOpenAI) -> None:
    gone = await sent(fake_openai, {})
    unseen = await sent(fake_openai, {IMAGE.sha256: b"abc"}, weights="sha256:1")
    assert (gone[1], unseen[1]) == (
        {"type": "text", "text": "[an image that is not there any more]"},
        {"type": "text", "text": "[an image that you cannot see]"},
    )
