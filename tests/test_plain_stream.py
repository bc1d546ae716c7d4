import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import BaseMessageChunk
from langchain_openai import ChatOpenAI
from openai._streaming import ServerSentEvent, SSEDecoder

from chatllm_cli.config.sections import TimeoutSettings
from chatllm_cli.models import Endpoint
from chatllm_cli.services.llm.http_client import build_client
from chatllm_cli.services.llm.plain_stream import MergingDecoder, PlainCompletions
from tests.fake_openai import TEXTS, FakeOpenAI
from tests.fault_modes import FAULT_MODES

Client = Callable[[openai.AsyncOpenAI], Any]
FRAME = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
ENDLESS = {
    *("endless", "endless-error", "hang", "stall", "stall-headers", "hold", "many-data-lines"),
    *("keepalive", "keepalive-first", "empty-deltas", "empty-first", "no-choices"),
}
MODELS = [
    *("says-hello-there", "tokens-0", "tokens-1", "tokens-500", "silent", "json:{}", "thinks", "thinks-twice"),
    *("fault-401", "fault-404", "fault-429", "fault-500", "flaky-503-1", *TEXTS, *FAULT_MODES),
]


def piece(delta: dict[str, Any], choice: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    return FRAME | {"choices": [{"index": 0, "delta": delta, "finish_reason": None} | (choice or {})]} | others


def event(value: object) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def text(content: str) -> bytes:
    return event(piece({"content": content}))


async def given_as(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for each in pieces:
        yield each


async def read(decoder: SSEDecoder, pieces: list[bytes]) -> list[ServerSentEvent]:
    return [each async for each in decoder.aiter_bytes(given_as(pieces))]


async def outcome(decoder: SSEDecoder, pieces: list[bytes]) -> list[Any]:
    """What the client makes of bytes: what the events hold, texts that stand together as one, and any error."""
    found: list[Any] = []
    try:
        async for each in decoder.aiter_bytes(given_as(pieces)):
            value: Any = "DONE" if each.data.startswith("[DONE]") else each.json()
            match value:
                case {"choices": [{"delta": {"content": str(said), **more}, "finish_reason": None}]} if not more:
                    value.pop("obfuscation", None)
                    value["choices"][0]["delta"] = None
                    if found and found[-1][:2] == (value, each.event):
                        said = found.pop()[2] + said
                    found.append((value, each.event, said))
                case _:
                    found.append((value, each.event))
    except (ValueError, RecursionError) as error:
        found.append(type(error))
    return found


BLOCKS = [
    *(text("a"), text("b "), text("ü\u2028"), text("\ud83d"), text("")),
    event(piece({"content": "x"}, created=1)),
    event(piece({"content": "x"}, obfuscation="zzz")),
    event(piece({"content": "x"}, {"index": 1})),
    event(piece({"content": None})),
    event(piece({}, {"finish_reason": "stop"})),
    event(piece({}, choices=[], usage={"prompt_tokens": 1})),
    event({"error": {"message": "broke"}}),
    *(event([1]), event(42), event(None), event("content")),
    *(b"data: {not json\n\n", b'data: {"a": "\xff"}\n\n', b"data: {} {}\n\n", b"data: {}  \n\n", b"data:   {}\n\n"),
    *(
        b"data: [DONE]\n\n",
        b": comment\n\n",
        b"\n",
        b"\n\n",
        b"event: ping\n",
        b"id: 7\n",
        b"retry: 3\n",
        b"data\n\n",
    ),
    *(b"data:{}\n\n", b'data: {"a":\ndata: 1}\n\n', b"data: {}\r\n\r\n", b"data: {}\r\r", b"data: {}\n"),
    b"data: " + b"[" * 100_000 + b"\n\n",
]


@given(st.lists(st.sampled_from(BLOCKS), max_size=12), st.data())
async def test_events_are_those_that_the_client_itself_finds_however_the_bytes_are_split(
    blocks: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(blocks)
    cuts = sorted({0, *data.draw(st.lists(st.integers(0, min(len(whole), 2000)), max_size=8))})
    pieces = [whole[begin:end] for begin, end in zip(cuts, [*cuts[1:], len(whole)], strict=True)]
    assert await outcome(MergingDecoder(), pieces) == await outcome(SSEDecoder(), [whole])


async def test_texts_that_came_together_are_one_event_and_others_are_not() -> None:
    events = await read(MergingDecoder(), [text("a") + text("b"), text("c") + text("d")[:20], text("d")[20:]])
    assert [each.json() for each in events] == [
        piece({"content": "ab"}),
        piece({"content": "c"}),
        piece({"content": "d"}),
    ]


@pytest.mark.parametrize(
    "other",
    [
        piece({"content": "b"}, {"index": 1}),
        piece({"content": "b"}, {"finish_reason": "stop"}),
        piece({"content": "b"}, {"logprobs": {"content": []}}),
        piece({"content": "b"}, usage={"prompt_tokens": 1}),
        piece({"content": "b", "reasoning_content": "hm"}),
        piece({"content": "b", "tool_calls": [{"index": 0}]}),
        piece({"content": "b"}, choices=piece({"content": "b"})["choices"] * 2),
        piece({"content": ["b"]}),
        piece({"reasoning_content": "b"}),
    ],
)
async def test_a_piece_that_says_anything_else_stands_by_itself(other: dict[str, Any]) -> None:
    sent = [piece({"content": "a"}), other, other, piece({"content": "c"})]
    events = await read(MergingDecoder(), [b"".join(map(event, sent))])
    assert [each.json() for each in events] == sent


async def test_what_is_not_plain_takes_nothing_that_the_oldest_client_does_not_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(SSEDecoder, "_decode_lines", raising=False)  # which OpenAI's 3.0 has not
    events = aiter(MergingDecoder().aiter_bytes(given_as([b": comment\n\ndata: [DONE]\n\n"])))
    assert (await anext(events)).data == "[DONE]"


async def test_pieces_of_different_answers_are_not_one() -> None:
    sent = [piece({"content": "a"}), piece({"content": "b"}, id="2"), piece({"content": "c"}, model="another")]
    events = await read(MergingDecoder(), [b"".join(map(event, sent))])
    assert [each.json() for each in events] == sent


async def test_what_is_said_each_time_is_said_once() -> None:
    delta = {"role": "assistant", "content": "a", "reasoning_content": None}
    events = await read(MergingDecoder(), [event(piece(delta)) * 3])
    assert [each.json() for each in events] == [piece(delta | {"content": "aaa"})]


async def answer(client: Client, fake: FakeOpenAI, model: str) -> Any:
    """All that ChatOpenAI makes of an answer, or how it fails."""
    endpoint = Endpoint("default", model, fake.base_url, api_key="sk-canary")
    root = build_client(endpoint, TimeoutSettings(), 16)
    chat = ChatOpenAI(
        model=model, api_key=lambda: "x", base_url=endpoint.base_url, stream_usage=True, stream_chunk_timeout=None,
        client=root.chat.completions, async_client=client(root), root_async_client=root,
    )  # fmt: skip
    whole: BaseMessageChunk | None = None
    said: list[object] = []
    try:
        async for each in chat.astream("hi", extra_body={"seed": 1}, temperature=0.5, stop=["x"]):
            said.append(each.additional_kwargs)
            whole = each if whole is None else whole + each
    except Exception as error:  # noqa: BLE001  (whichever)
        said.append((type(error), str(error), getattr(error, "body", None)))
    finally:
        await root.close()
    return whole and whole.model_dump(exclude={"id"}), [each for each in said if each], fake.chats[-1].body


@pytest.mark.filterwarnings("ignore:Pydantic serializer")  # of the plain client, at what is no text
@pytest.mark.parametrize("model", [model for model in MODELS if model not in ENDLESS])
async def test_an_answer_is_what_the_plain_client_makes_of_it(model: str) -> None:
    with FakeOpenAI() as one, FakeOpenAI() as other:
        plain = await answer(lambda root: root.chat.completions, one, model)
        assert await answer(PlainCompletions, other, model) == plain


DELTAS = [
    [{"role": "assistant", "content": ""}, {"content": "a"}, {"content": "b", "refusal": None}],
    [{"tool_calls": [{"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": "{"}}]}],
    [{"tool_calls": [{"index": 0, "function": {"arguments": "}"}}], "content": None}],
    [{"content": "a"}, {"content": [{"type": "text", "text": "b"}]}],
    [{"function_call": {"name": "f", "arguments": "{}"}, "content": ""}],
    [{"content": 4.5}, {"content": {"a": 1}}, {"content": True}],
    [{"role": 7, "content": "a"}, {"role": "user", "content": "b"}, {"role": "tool", "content": "c"}],
    [{"role": "assistant", "content": "a", "audio": {"id": "x"}, "name": "n", "id": "i"}],
]


@pytest.mark.filterwarnings("ignore:Pydantic serializer")
@pytest.mark.parametrize("deltas", DELTAS)
async def test_odd_pieces_are_what_the_plain_client_makes_of_them(deltas: list[dict[str, Any]]) -> None:
    with FakeOpenAI(deltas=deltas) as fake:
        plain = await answer(lambda root: root.chat.completions, fake, "deltas")
        assert await answer(PlainCompletions, fake, "deltas") == plain


async def test_at_the_pace_of_a_model_pieces_come_by_themselves() -> None:
    with FakeOpenAI() as fake:
        root = build_client(Endpoint("default", "m", fake.base_url), TimeoutSettings(), 16)
        stream = await PlainCompletions(root).create(model="tokens-8-100", messages=[], stream=True)
        said = [each["choices"][0]["delta"].get("content") async for each in stream if each["choices"]]
        await root.close()
    pieces = [each for each in said if each]
    assert "".join(pieces) == "".join(f"word{number} " for number in range(8))
    assert len(pieces) >= 6  # a machine with other work may hold us up for as long as two take
