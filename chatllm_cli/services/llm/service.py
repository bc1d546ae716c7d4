"""LLMService: messages in, chunks out. The only module that knows LangChain and OpenAI; it maps their errors.

Importing it takes most of a second, so `bootstrap` does that with the first request.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import openai
from langchain_core.exceptions import LangChainException
from langchain_core.messages import BaseMessageChunk
from langchain_openai import ChatOpenAI
from langsmith import run_trees

from chatllm_cli import __version__
from chatllm_cli.config import TimeoutSettings
from chatllm_cli.errors import (
    AuthenticationError,
    ConfigError,
    ModelNotFoundError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
)
from chatllm_cli.models import ChatRequest, Chunk, Endpoint, TokenUsage
from chatllm_cli.services.local_model import LocalModel
from chatllm_cli.surrogates import without_halves

# Left over from LangChain's first tracer: where one is set and tracing is off, every request would raise.
RETIRED_TRACING_VARIABLES = ("LANGCHAIN_TRACING", "LANGCHAIN_HANDLER")
TOO_LONG = {"context_length_exceeded", "exceed_context_size_error"}  # OpenAI's word, and llama.cpp's
NO_KEY = "none"  # the client insists on one; it never leaves (see `_Headers`)
SHORTEST_KEY = 6  # a shorter one is a stand-in, and its letters are in every word
LONGEST_QUOTE = 300  # characters of a server's error text: one came with 5 MB
# What these libraries raise while a stream is read, apart from their own errors: a reply that is no chat
# stream ends in any of the last four.
FOREIGN_ERRORS = (
    openai.OpenAIError,
    LangChainException,
    OSError,
    ValueError,
    AttributeError,
    TypeError,
    KeyError,
)


class LLMService:
    """Streams completions from any OpenAI-compatible server, the embedded one included."""

    def __init__(self, local_model: LocalModel, timeouts: TimeoutSettings, *, tracing: bool = False) -> None:
        # Said here and for good: LangSmith would otherwise follow whatever the environment says, and there
        # LANGCHAIN_TRACING_V2=true outweighs LANGSMITH_TRACING=false.
        run_trees.configure(enabled=tracing)
        for name in RETIRED_TRACING_VARIABLES:
            os.environ.pop(name, None)
        self._local_model = local_model
        self._timeouts = timeouts
        self._clients: dict[tuple[str, str | None], openai.AsyncOpenAI] = {}

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk]:
        """Yield the completion piece by piece. Raises `ProviderError` and its kinds, or `ConfigError`."""
        endpoint = await self._reach(request.endpoint)
        model, parameters = self._chat_model(endpoint), _parameters(request)
        messages = [(role.value, without_halves(content)) for role, content in request.messages]
        finished = False
        try:
            async with aclosing(_generator(model.astream(messages, **parameters))) as pieces:
                async for piece in pieces:
                    chunk = _chunk(piece)
                    finished = finished or chunk.finish_reason is not None
                    yield chunk
        except FOREIGN_ERRORS as error:
            if not finished:  # else the answer is whole, and the connection broke behind it
                raise translate(error, endpoint) from error

    async def list_models(self, endpoint: Endpoint) -> list[str]:
        """Return the ids of the models that the provider offers. Raises as `stream` does."""
        try:
            return sorted([model.id async for model in self._client(endpoint).models.list()])
        except FOREIGN_ERRORS as error:
            raise translate(error, endpoint) from error

    async def aclose(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    async def _reach(self, endpoint: Endpoint) -> Endpoint:
        """Return `endpoint` with an address; the embedded model has one once it runs."""
        if endpoint.base_url:
            return endpoint
        base_url, api_key = await self._local_model.start()
        return replace(endpoint, base_url=base_url, api_key=api_key)

    def _chat_model(self, endpoint: Endpoint) -> ChatOpenAI:
        client = self._client(endpoint)
        return ChatOpenAI(
            model=endpoint.model,
            base_url=endpoint.base_url,
            api_key=lambda: endpoint.api_key or NO_KEY,
            client=client.chat.completions,  # never used: it keeps a second client from being built
            async_client=client.chat.completions,
            root_async_client=client,
            stream_usage=True,
            # Its wait_for swallows every second Ctrl-C on Python 3.11; the turn has a watchdog of its own.
            stream_chunk_timeout=None,
            use_responses_api=False,
        )

    def _client(self, endpoint: Endpoint) -> openai.AsyncOpenAI:
        key = (endpoint.base_url, endpoint.api_key)
        if key not in self._clients:
            try:
                self._clients[key] = self._build_client(endpoint)
            except (OSError, ValueError, ImportError) as error:  # certificates and proxies are read here
                raise ConfigError(
                    f"no connection to {_name(endpoint)} can be set up: {_root_cause(error, endpoint)}",
                    hint="check SSL_CERT_FILE and the proxy variables",
                ) from error
        return self._clients[key]

    def _build_client(self, endpoint: Endpoint) -> openai.AsyncOpenAI:
        timeouts = self._timeouts
        limit = None if endpoint.is_embedded else max(timeouts.first_token, timeouts.idle)
        timeout = openai.Timeout(limit, connect=timeouts.connect)
        http_client = openai.DefaultAsyncHttpxClient(
            timeout=timeout,
            follow_redirects=False,  # a redirect would take the prompt to a host nobody named
            trust_env=not is_loopback(endpoint.base_url),  # no proxy between us and this machine
            event_hooks={"request": [_Headers(endpoint)]},
        )
        return openai.AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=endpoint.api_key or NO_KEY,
            http_client=http_client,
            timeout=timeout,
            max_retries=0,
        )


class _Headers:
    """Lets only what the request needs go out.

    The client adds headers of its own accord from OPENAI_ORG_ID, OPENAI_CUSTOM_HEADERS and others, and facts
    about this machine; none of that is meant for whoever runs the server at `base_url`.
    """

    NEEDED = frozenset({"host", "connection", "accept", "accept-encoding", "content-type", "content-length"})

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, request: Any) -> None:
        for name in list(request.headers):
            if name.lower() not in self.NEEDED:
                del request.headers[name]
        request.headers["User-Agent"] = f"chatllm/{__version__}"
        if self._endpoint.api_key:
            request.headers["Authorization"] = f"Bearer {self._endpoint.api_key}"
        if self._endpoint.is_embedded:
            # A new connection costs nothing here, and the server at times hangs up on one that is used again.
            request.headers["Connection"] = "close"


def is_loopback(base_url: str) -> bool:
    """Tell whether `base_url` stays on this machine."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _generator(stream: Any) -> AsyncGenerator[BaseMessageChunk]:
    """Give `astream` the type it has at run time, which its annotation hides: it can be closed."""
    generator: AsyncGenerator[BaseMessageChunk] = stream
    return generator


def _parameters(request: ChatRequest) -> dict[str, Any]:
    options = request.options
    parameters: dict[str, Any] = {}
    if options.temperature is not None:
        parameters["temperature"] = options.temperature
    if options.max_tokens is not None:
        parameters["extra_body"] = {request.endpoint.max_tokens_field: options.max_tokens}
    return parameters


def _chunk(piece: BaseMessageChunk) -> Chunk:
    usage, reason = getattr(piece, "usage_metadata", None), piece.response_metadata.get("finish_reason")
    return Chunk(
        text=str(piece.text),
        finish_reason=None if reason is None else str(reason),
        usage=TokenUsage(int(usage["input_tokens"]), int(usage["output_tokens"])) if usage else None,
    )


def translate(error: Exception, endpoint: Endpoint) -> ProviderError:
    """Turn an error of these libraries into ours: the most specific row that fits, the server's words quoted."""
    name, words = _name(endpoint), _words(error, endpoint)
    match error:
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            verb = "rejected the" if endpoint.api_key else "wants a"
            return AuthenticationError(f"{name} {verb} key{words}", hint=_key_hint(endpoint))
        case openai.NotFoundError():
            return ModelNotFoundError(
                f"{name} has no model '{endpoint.model}'{words}",
                hint=f"`chatllm models list` shows what there is; the address is {endpoint.base_url}",
            )
        case openai.RateLimitError() if error.code == "insufficient_quota":
            return RateLimitError(f"the quota at {name} is used up{words}", hint="check the plan and billing there")
        case openai.RateLimitError():
            return RateLimitError(f"rate limited by {name}{words}", hint="try again in a while")
        case openai.APITimeoutError() | TimeoutError():
            return ProviderTimeoutError(
                f"{name} did not answer in time",
                hint="the settings in [timeouts] say how long to wait",
            )
        case openai.APIConnectionError():
            return ProviderUnavailableError(
                f"no connection to {name} at {endpoint.base_url}: {_root_cause(error, endpoint)}"
            )
        case openai.InternalServerError():
            return ProviderUnavailableError(f"{name} failed with status {error.status_code}{words}")
        case openai.APIStatusError() if TOO_LONG & {error.code, error.type}:
            hint = "raise local.context_size" if endpoint.is_embedded else "take a model with a longer context"
            return ProviderError(
                f"the prompt and what was said before are too long for {endpoint.address}{words}",
                hint=f"shorten the prompt, begin a new conversation, or {hint}",
            )
        case openai.APIStatusError():
            return ProviderError(f"{name} refused the request with status {error.status_code}{words}")
        case openai.APIError():
            return ProviderError(f"{name} reported an error{words}")
    return ProviderError(
        f"{name} sent something that is not a chat completion",
        hint=f"is {endpoint.base_url} the address of an OpenAI-compatible API?",
    )


def _name(endpoint: Endpoint) -> str:
    return endpoint.provider if endpoint.provider != "default" else urlsplit(endpoint.base_url).netloc


def _key_hint(endpoint: Endpoint) -> str:
    named = {"default": "CHATLLM_API_KEY", "openai": "OPENAI_API_KEY"}
    return f"check {named.get(endpoint.provider, f'providers.{endpoint.provider}.api_key')}"


def _words(error: Exception, endpoint: Endpoint) -> str:
    """Return what the server said, as one short line without the key, which some servers repeat."""
    body = getattr(error, "body", None)
    text = body.get("message") if isinstance(body, dict) else getattr(error, "message", None)
    if not isinstance(text, str) or not text.strip():
        return ""
    line = " ".join(_masked(text, endpoint)[: 4 * LONGEST_QUOTE].split())
    return f": {line if len(line) <= LONGEST_QUOTE else line[: LONGEST_QUOTE - 1] + '…'}"


def _root_cause(error: BaseException, endpoint: Endpoint) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return _masked(str(error) or type(error).__name__, endpoint)


def _masked(text: str, endpoint: Endpoint) -> str:
    key = endpoint.api_key
    return text.replace(key, "********") if key and len(key) >= SHORTEST_KEY else text
