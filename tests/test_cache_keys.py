import json
import random
from dataclasses import replace
from typing import Any

import pytest

from chatllm_cli.models import Attachment, ChatRequest, Role
from chatllm_cli.services.cache.keys import request_key
from tests.caches import ENDPOINT, MESSAGES, REQUEST


def with_options(**changes: Any) -> ChatRequest:
    return replace(REQUEST, options=replace(REQUEST.options, **changes))


def on(**changes: Any) -> ChatRequest:
    return replace(REQUEST, endpoint=replace(ENDPOINT, **changes))


def saying(*messages: tuple[Role, str]) -> ChatRequest:
    return replace(REQUEST, messages=messages)


OTHERS = {  # requests that differ from `REQUEST` in one thing that shapes the answer
    "temperature": with_options(temperature=0.5),
    "temperature left open": with_options(temperature=None),
    "max_tokens": with_options(max_tokens=101),
    "max_tokens left open": with_options(max_tokens=None),
    "schema": with_options(schema='{"type": "object"}'),
    "top_p": with_options(top_p=0.9),
    "another top_p": with_options(top_p=0.8),
    "seed": with_options(seed=0),
    "another seed": with_options(seed=1),
    "stop": with_options(stop=(".",)),
    "two stops": with_options(stop=(".", "!")),
    "reasoning_effort": with_options(reasoning_effort="low"),
    "another field": with_options(extra=(("top_k", "40"),)),
    "another value of it": with_options(extra=(("top_k", '"40"'),)),
    "another name of it": with_options(extra=(("top_l", "40"),)),
    "provider": on(provider="other"),
    "model": on(model="other"),
    "model in another case": on(model="GPT"),
    "host": on(base_url="https://example.org/v1"),
    "scheme": on(base_url="http://api.openai.com/v1"),
    "port": on(base_url="https://api.openai.com:8443/v1"),
    "path": on(base_url="https://api.openai.com/v2"),
    "what the limit is called": on(max_tokens_field="max_completion_tokens"),
    "what the seed is called": on(seed_field="random_seed"),
    "whether it takes a schema": on(takes_schema=True),
    "trim": replace(REQUEST, trim="oldest"),
    "another trim": replace(REQUEST, trim="summarise"),
    "system prompt": saying((Role.SYSTEM, "Be brief."), MESSAGES[1]),
    "no system prompt": saying(MESSAGES[1]),
    "prompt": saying(MESSAGES[0], (Role.USER, "Hi!")),
    "white space": saying(MESSAGES[0], (Role.USER, "Hi ")),
    "role": saying(MESSAGES[0], (Role.ASSISTANT, "Hi")),
    "order": saying(*MESSAGES[::-1]),
    "one more": saying(*MESSAGES, (Role.USER, "")),
    "one instead of two": saying((Role.SYSTEM, 'Be kind."], ["user", "Hi')),
}


def test_everything_that_shapes_the_answer_is_in_the_key() -> None:
    keys = {name: request_key(request) for name, request in {"": REQUEST, **OTHERS}.items()}
    keys |= {"weights": request_key(REQUEST, weights="a"), "other weights": request_key(REQUEST, weights="b")}
    assert len(OTHERS) == 35
    assert len(set(keys.values())) == len(keys)


@pytest.mark.parametrize(
    "request_",
    [
        on(api_key=None),
        on(api_key="sk-other"),
        on(headers=(("x-title", "chatllm"),)),
        on(has_key_command=True),
        on(base_url="https://API.OpenAI.com/v1"),
        on(base_url="https://api.openai.com:443/v1/"),
    ],
    ids=["no key", "another key", "headers", "a key command", "upper case", "its usual port"],
)
def test_what_does_not_shape_the_answer_is_not_in_the_key(request_: ChatRequest) -> None:
    assert request_key(request_) == request_key(REQUEST)


def test_the_order_of_further_fields_and_of_what_is_in_them_does_not_matter() -> None:
    fields: dict[str, Any] = {f"f{number}": {f"g{inner}": inner for inner in range(4)} for number in range(6)}
    keys = set()
    chance = random.Random(1)  # noqa: S311
    for _ in range(1_000):
        shuffled = [
            (name, json.dumps(dict(chance.sample(list(value.items()), len(value)))))
            for name, value in chance.sample(list(fields.items()), len(fields))
        ]
        keys.add(request_key(with_options(extra=tuple(shuffled))))
    assert len(keys) == 1
    assert keys != {request_key(REQUEST)}


def test_a_key_tells_nothing_of_the_request() -> None:
    key = request_key(REQUEST)
    assert (len(key), set(key) <= set("0123456789abcdef")) == (64, True)


def test_a_request_with_another_image_is_another_one_whatever_it_is_called() -> None:
    image = Attachment("a.png", "image/png", 70, sha256="a" * 64)
    images = [image, replace(image, sha256="b" * 64), replace(image, media_type="image/gif")]
    keys = {request_key(replace(REQUEST, messages=((Role.USER, (each, "Hi")),))) for each in images}
    assert len(keys | {request_key(saying((Role.USER, "Hi")))}) == 4
    same = [replace(image, name="b.png"), replace(image, size=71)]
    assert {request_key(replace(REQUEST, messages=((Role.USER, (each, "Hi")),))) for each in same} < keys


def test_an_image_that_is_missing_is_in_the_key() -> None:
    image = Attachment("a.png", "image/png", 70, sha256="a" * 64)
    request = replace(REQUEST, messages=((Role.USER, (image, "What is it?")),))
    keys = {request_key(request), request_key(request, missing={image.sha256}), request_key(REQUEST)}
    assert len(keys) == 3
    assert request_key(request, missing={"b" * 64}) == request_key(request)
