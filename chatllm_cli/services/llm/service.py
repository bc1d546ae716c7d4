"""LLMService: messages in, chunks out."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import astuple, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol

import httpx2
import openai
from langchain_core.messages import BaseMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI
from langsmith import run_trees

from chatllm_cli.errors import ConfigError, InvalidReplyError
from chatllm_cli.models import MOST_TOKENS, Attachment, ChatRequest, Chunk, Content, Endpoint, TokenUsage
from chatllm_cli.services.llm.error_map import FOREIGN_ERRORS, name_of, root_cause, translate
from chatllm_cli.services.llm.http_client import NO_KEY, build_client
from chatllm_cli.services.llm.plain_stream import PlainCompletions
from chatllm_cli.services.local.engine import LocalModel
from chatllm_cli.surrogates import without_halves

if TYPE_CHECKING:
    from chatllm_cli.config.sections import LimitSettings, TimeoutSettings

# Left over from LangChain's first tracer: where one is set and tracing is off, every request would raise.
RETIRED_TRACING_VARIABLES = ("LANGCHAIN_TRACING", "LANGCHAIN_HANDLER")
# What compatible servers put beside the content of a delta, and LangChain leaves out.
REASONING_FIELDS = ("reasoning_content", "reasoning")
REFUSAL = "refusal"


class KeySource(Protocol):
    """What it needs of `Keys`."""

    async def key_for(self, endpoint: Endpoint) -> str | None:
        """Return the key to send to `endpoint`."""


class LLMService:
    """Streams completions from any OpenAI-compatible server, the embedded one included."""

    def __init__(
        self,
        local_model: LocalModel,
        timeouts: "TimeoutSettings",
        limits: "LimitSettings",
        *,
        keys: KeySource | None = None,
        images: Callable[[str], bytes | None] = lambda _: None,
        tracing: bool = False,
        on_pace: Callable[[Endpoint, float], object] = lambda *_: None,
        lag: float = 0.0,
    ) -> None:
        # Said here and for good: LangSmith would otherwise follow whatever the environment says, and there
        # LANGCHAIN_TRACING_V2=true outweighs LANGSMITH_TRACING=false.
        run_trees.configure(enabled=tracing)
        for name in RETIRED_TRACING_VARIABLES:
            os.environ.pop(name, None)
        self._local_model = local_model
        self._timeouts = timeouts
        self._limits = limits
        self._keys = keys
        self._images = images  # by their SHA-256; blocking
        self._on_pace = on_pace  # told of each answer how many seconds apart requests may be sent
        self._lag = lag  # seconds that text may wait for more of it
        self._clients: dict[tuple[str, str | None, str], openai.AsyncOpenAI] = {}
        self._models: dict[Endpoint, ChatOpenAI] = {}
        self._new_tls = cache(httpx2.create_ssl_context)  # one for all of them

    async def ready(self, endpoint: Endpoint) -> None:
        """Get ready to ask: start the embedded model, if it is the one. Raises `ConfigError` if it cannot run."""
        await self._reach(endpoint)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk]:
        """Yield the completion piece by piece. Raises `ProviderError` and its kinds, or `ConfigError`."""
        endpoint = await self._reach(request.endpoint)
        model, parameters = self._chat_model(endpoint), _parameters(request)
        messages = [(role.value, await self._sendable(content, endpoint)) for role, content in request.messages]
        finished = refused = False
        try:
            async with aclosing(_generator(model.astream(messages, **parameters))) as pieces:
                async for piece in pieces:
                    chunk = _chunk(piece)
                    refused = refused or bool(piece.additional_kwargs.get(REFUSAL))
                    if refused and chunk.finish_reason:  # which is "stop" then, as of any answer
                        chunk = replace(chunk, finish_reason=REFUSAL)
                    finished = finished or chunk.finish_reason is not None
                    yield chunk
        except FOREIGN_ERRORS as error:
            if not finished:  # else the answer is whole, and the connection broke behind it
                raise translate(error, endpoint) from error

    async def list_models(self, endpoint: Endpoint) -> list[str]:
        """Return the ids of the models that the provider offers. Raises as `stream` does."""
        endpoint = await self._reach(endpoint)
        timeout = openai.Timeout(self._timeouts.first_token, connect=self._timeouts.connect)
        try:
            body: Any = await self._client(endpoint).get("/models", cast_to=object, options={"timeout": timeout})
        except FOREIGN_ERRORS as error:
            raise translate(error, endpoint) from error
        match body:
            case {"data": [*models]} | [*models] if all(isinstance(model, dict) for model in models):  # some: bare
                return sorted({model["id"] for model in models if isinstance(model.get("id"), str)})
        raise InvalidReplyError(
            f"{name_of(endpoint)} sent something that is no list of models",
            hint=f"its address is {endpoint.base_url}",
        )

    async def aclose(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.close()
        self._clients.clear()
        self._models.clear()

    async def _sendable(self, content: Content, endpoint: Endpoint) -> str | list[str | dict[str, Any]]:
        """Return what a message says in the parts that OpenAI's API has: the bytes of images are read only here."""
        if isinstance(content, str):
            return without_halves(content)
        return [
            await self._sendable_image(part, endpoint) if isinstance(part, Attachment) else _text_part(part)
            for part in content
        ]

    async def _sendable_image(self, image: Attachment, endpoint: Endpoint) -> dict[str, Any]:
        if endpoint.is_embedded:
            return _text_part("[an image that you cannot see]")
        data = await asyncio.to_thread(self._images, image.sha256)
        if data is None:
            return _text_part("[an image that is not there any more]")
        spelled = base64.b64encode(data).decode()
        return {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{spelled}"}}

    async def _reach(self, endpoint: Endpoint) -> Endpoint:
        """Return `endpoint` with its key, and the embedded model with an address: it has one once it runs."""
        if endpoint.base_url:
            return replace(endpoint, api_key=await self._keys.key_for(endpoint)) if self._keys else endpoint
        base_url, api_key = await self._local_model.start(endpoint.model)
        return replace(endpoint, base_url=base_url, api_key=api_key)

    def _chat_model(self, endpoint: Endpoint) -> ChatOpenAI:
        if endpoint not in self._models:  # one takes a millisecond
            self._models[endpoint] = self._new_chat_model(endpoint)
        return self._models[endpoint]

    def _new_chat_model(self, endpoint: Endpoint) -> ChatOpenAI:
        client = self._client(endpoint)
        completions = PlainCompletions(client)
        return _ChatModel(
            model=endpoint.model,
            base_url=endpoint.base_url,
            api_key=lambda: endpoint.api_key or NO_KEY,
            client=completions,  # never used: it keeps a second client from being built
            async_client=completions,
            root_async_client=client,
            stream_usage=endpoint.takes_usage_wish,
            # Its wait_for swallows every second Ctrl-C on Python 3.11; the turn has a watchdog of its own.
            stream_chunk_timeout=None,
            use_responses_api=False,
        )

    def _client(self, endpoint: Endpoint) -> openai.AsyncOpenAI:
        key = (endpoint.base_url, endpoint.api_key, endpoint.key_header)
        if key not in self._clients:
            try:
                self._clients[key] = build_client(
                    endpoint,
                    self._timeouts,
                    self._limits.reply_mb,
                    partial(self._on_pace, endpoint),
                    lag=self._lag,
                    new_tls=self._new_tls,
                )
            except httpx2.InvalidURL:  # which would quote it
                raise ConfigError(
                    f"no connection to {name_of(endpoint)} can be set up: its address is none",
                    hint="check its base_url",
                ) from None
            except (OSError, ValueError, ImportError) as error:  # certificates and proxies are read here
                raise ConfigError(
                    f"no connection to {name_of(endpoint)} can be set up: {root_cause(error, endpoint)}",
                    hint="check SSL_CERT_FILE and the proxy variables",
                ) from error
        return self._clients[key]


class _ChatModel(ChatOpenAI):
    """ChatOpenAI that keeps what a delta says beside its content, as LangChain's own provider packages do."""

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        if usage := chunk.get("usage"):
            _name_cached(usage)
        generation = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        choices = chunk.get("choices")
        if generation is not None and choices:
            delta = choices[0]["delta"]
            beside = {name: _text_of(delta.get(name)) for name in (*REASONING_FIELDS, REFUSAL)}
            beside[REASONING_FIELDS[0]] += "".join(_text_of(part.get("thinking")) for part in _parts(delta))
            generation.message.additional_kwargs.update({name: text for name, text in beside.items() if text})
        return generation


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": without_halves(text)}


def _parts(delta: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of a content that is a list, as Mistral sends what is thought: not as a field beside it."""
    content = delta.get("content")
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _text_of(value: object) -> str:
    """Return the text in what should be one; some send an object with it, or a list of those."""
    if isinstance(value, list):
        return "".join(_text_of(each) for each in value)
    if isinstance(value, dict):
        return _text_of(value.get("text") or value.get("content"))
    return value if isinstance(value, str) else ""


def _name_cached(usage: dict[str, Any]) -> None:
    """Give DeepSeek's word for the tokens that it still had the name that OpenAI's clients know."""
    if (cached := usage.get("prompt_cache_hit_tokens")) and not usage.get("prompt_tokens_details"):
        usage["prompt_tokens_details"] = {"cached_tokens": cached}


def _generator(stream: Any) -> AsyncGenerator[BaseMessageChunk]:
    """Give `astream` the type it has at run time, which its annotation hides: it can be closed."""
    generator: AsyncGenerator[BaseMessageChunk] = stream
    return generator


def _parameters(request: ChatRequest) -> dict[str, Any]:
    options = request.options
    beyond: dict[str, Any] = {}  # what LangChain would name otherwise, or treat in another way
    if options.schema and request.endpoint.takes_schema:
        wanted = {"name": "answer", "schema": json.loads(options.schema)}
        beyond["response_format"] = {"type": "json_schema", "json_schema": wanted}
    if options.max_tokens is not None:
        beyond[request.endpoint.max_tokens_field] = options.max_tokens
    if options.seed is not None:
        beyond[request.endpoint.seed_field] = options.seed
    if options.reasoning_effort:
        beyond["reasoning_effort"] = options.reasoning_effort
    beyond |= {name: json.loads(value) for name, value in options.extra}
    asked = {"temperature": options.temperature, "top_p": options.top_p, "stop": list(options.stop) or None}
    parameters = {name: value for name, value in asked.items() if value is not None}
    return parameters | ({"extra_body": beyond} if beyond else {})


def _chunk(piece: BaseMessageChunk) -> Chunk:
    usage, reason = getattr(piece, "usage_metadata", None), piece.response_metadata.get("finish_reason")
    beside = piece.additional_kwargs
    return Chunk(
        text=str(piece.text) or beside.get(REFUSAL) or "",
        reasoning=next((beside[name] for name in REASONING_FIELDS if beside.get(name)), ""),  # some say it twice
        finish_reason=None if reason is None else str(reason),
        usage=_usage(usage) if usage else None,
    )


def _usage(counts: Mapping[str, Any]) -> TokenUsage | None:
    """Return what a provider counted; None if those are no counts.

    Some leave what was thought out of the output, and have it in the total only.
    """
    cached = (counts.get("input_token_details") or {}).get("cache_read") or 0
    try:
        taken, brought, total = (int(counts[name]) for name in ("input_tokens", "output_tokens", "total_tokens"))
        usage = TokenUsage(taken, max(brought, total - taken), int(cached))
    except (ValueError, TypeError, OverflowError):
        return None
    return usage if all(0 <= number < MOST_TOKENS for number in astuple(usage)) else None
