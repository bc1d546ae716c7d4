"""Chat completions as plain dicts, and pieces of text that arrived together as one.

ChatOpenAI takes dicts where its client gives models, which cost most of the time there is. All that the client makes
of a stream stays as it is: errors in it, its end, the connection. Only events are taken out of bytes another way.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from json import JSONDecoder
from typing import Any

import openai
from openai._base_client import make_request_options
from openai._resource import AsyncAPIResource
from openai._streaming import ServerSentEvent, SSEDecoder

BEGIN, EMPTY_LINE = "data: ", "\n\n"  # of an event, and behind it
END = EMPTY_LINE.encode()
OTHER_LINE_END = b"\r"
CONTENT = "content"
SAID_EACH_TIME = {CONTENT, "role"}
NOISE = "obfuscation"  # another length of it in each piece, for nobody to read
parse = JSONDecoder().raw_decode


class PlainCompletions(AsyncAPIResource):
    """What ChatOpenAI needs of its client to stream; the client's own brings 60 modules of types."""

    async def create(
        self,
        *,
        extra_headers: dict[str, str] | None = None,
        extra_body: dict[str, Any] | None = None,
        **body: Any,
    ) -> openai.AsyncStream[Any]:
        """Ask, and return the stream of the answer's pieces. Raises as the client does."""
        options = make_request_options(extra_headers=extra_headers, extra_body=extra_body)
        return await self._post(
            "/chat/completions", body=body, options=options, cast_to=object, stream=True, stream_cls=_PlainStream
        )


class _PlainStream(openai.AsyncStream[Any]):
    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self._decoder = MergingDecoder()


class MergingDecoder(SSEDecoder):
    """Takes events out of bytes: those that are plain text by itself, all others as the client's own decoder does."""

    async def aiter_bytes(self, iterator: AsyncIterator[bytes]) -> AsyncIterator[ServerSentEvent]:
        """Yield each event, but those that differ in their text alone, and came together, as one."""
        rest = bytearray()
        async for piece in iterator:
            begin = max(0, len(rest) - 1)
            rest += piece
            if OTHER_LINE_END in piece:
                break
            end = rest.rfind(END, begin)
            if end < 0:
                continue
            try:
                blocks = rest[:end].decode().split(EMPTY_LINE)
            except UnicodeDecodeError:  # the client's own decoder raises it again, behind what came before it
                break
            del rest[: end + len(END)]
            for event in _merged(self._values(blocks)):
                yield event
        async for event in super().aiter_bytes(_chained(bytes(rest), iterator)):
            yield event

    def _values(self, blocks: Iterable[str]) -> Iterator[dict[str, Any] | ServerSentEvent]:
        """Yield what plain events hold, and others as they are."""
        for block in blocks:
            value = _value_in(block)
            found = map(self.decode, [*block.split("\n"), ""]) if value is None else [value]
            yield from (each for each in found if each is not None)


class _Parsed(ServerSentEvent):
    def __init__(self, value: dict[str, Any]) -> None:
        super().__init__()
        self._value = value

    def json(self) -> Any:
        return self._value


async def _chained(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in others:
        yield piece


def _value_in(event: str) -> dict[str, Any] | None:
    """Return the object that an event holds, unless it has anything besides."""
    if not event.startswith(BEGIN):
        return None
    try:
        value, end = parse(event, len(BEGIN))
    except (ValueError, RecursionError):
        return None
    return value if end == len(event) and isinstance(value, dict) else None


def _merged(values: Iterator[dict[str, Any] | ServerSentEvent]) -> Iterator[ServerSentEvent]:
    frame: Any = None
    texts: list[str] = []
    for value in values:
        text = None if isinstance(value, ServerSentEvent) else _take_text(value)
        if text is not None and value == frame:
            texts.append(text)
            continue
        if texts:
            yield _with_text(frame, texts)
            texts = []
        if text is None:
            yield value if isinstance(value, ServerSentEvent) else _Parsed(value)
        else:
            frame, texts = value, [text]
    if texts:
        yield _with_text(frame, texts)


def _take_text(value: dict[str, Any]) -> str | None:
    """Take the text out of a piece that says nothing else; None if it does."""
    try:
        (choice,) = value["choices"]
        delta = choice["delta"]
        text: str = delta[CONTENT]
        is_text = type(text) is str and choice["index"] == 0
    except (KeyError, TypeError, ValueError):
        return None
    if (
        not is_text
        or choice.get("finish_reason")
        or choice.get("logprobs")
        or value.get("usage")
        or value.get("error")
    ):
        return None
    if len(delta) > 1 and any(said is not None for name, said in delta.items() if name not in SAID_EACH_TIME):
        return None
    del delta[CONTENT]
    value.pop(NOISE, None)
    return text


def _with_text(frame: dict[str, Any], texts: list[str]) -> ServerSentEvent:
    frame["choices"][0]["delta"][CONTENT] = "".join(texts)
    return _Parsed(frame)
