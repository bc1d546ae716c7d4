"""Prices are those of the installed table: its figures for models that are long retired do not change any more."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chatllm_cli.config.sections import PriceSettings
from chatllm_cli.models import Endpoint, TokenUsage
from chatllm_cli.services.prices import Prices

AT = datetime(2026, 7, 1, tzinfo=UTC)
USAGE = TokenUsage(1000, 100)
GPT = Endpoint("openai", "gpt-4o-mini", "https://api.openai.com/v1")  # $0.15 in, $0.075 cached, $0.60 out
ROUTER = Endpoint("openrouter", "m", "https://openrouter.ai/api/v1")
EMBEDDED = Endpoint("local", "smollm2", "", weights="sha256:1")
HERE = Endpoint("default", "gpt-4o-mini", "http://127.0.0.1:8080/v1")
OWN = {
    "openai/gpt-4o-mini": PriceSettings(input=2, output=10, cached_input=1, context=5000),
    "openai/gpt-4": PriceSettings(context=5000),
    "default/gpt-4o-mini": PriceSettings(input=3, output=0),
    "local/smollm2": PriceSettings(input=1, output=1, context=99),
    "hub/free": PriceSettings(input=0, output=0),
}


def prices(own: dict[str, PriceSettings] | None = None) -> Prices:
    return Prices(own or {}, local_window=8192)


@pytest.mark.parametrize(
    ("endpoint", "usage", "cost"),
    [
        (GPT, USAGE, 0.00021),
        (GPT, TokenUsage(1000, 100, cached_tokens=500), 0.0001725),
        (GPT, TokenUsage(1000, 100, cached_tokens=5000), 0.000135),  # a provider may say anything
        (GPT, TokenUsage(0, 0), 0.0),
        (GPT, None, None),
        (replace(GPT, model="no-such-model"), USAGE, None),
        (replace(GPT, model=""), USAGE, None),
        (replace(GPT, provider="hub"), USAGE, 0.00021),  # the address says who it is
        (replace(GPT, base_url="https://proxy.example/v1"), USAGE, 0.00021),  # and else the name
        (replace(GPT, provider="hub", base_url="https://proxy.example/v1"), USAGE, None),
        (replace(GPT, provider="my-openai-proxy", base_url="https://proxy.example/v1"), USAGE, None),
        (replace(GPT, model="whisper-1"), USAGE, None),  # by the hour, which nobody counts here
        (replace(ROUTER, model="no/such-model:free"), USAGE, 0.0),
        (replace(ROUTER, model="openai/gpt-4o-mini:free"), USAGE, 0.0),
        (replace(ROUTER, model="openai/gpt-4o-mini"), USAGE, 0.00021),
        (replace(ROUTER, provider="hub", model="no/such-model:free"), None, 0.0),  # the address says who it is
        (replace(ROUTER, base_url="https://proxy.example/v1", model="no/such-model:free"), None, 0.0),
        (replace(GPT, model="no/such-model:free"), USAGE, None),
        (EMBEDDED, USAGE, 0.0),
        (EMBEDDED, None, 0.0),
        (HERE, USAGE, 0.0),
        (replace(HERE, base_url="http://localhost:1/v1"), USAGE, 0.0),
        (replace(HERE, base_url="http://[::1]:1/v1"), USAGE, 0.0),
    ],
)
async def test_a_cost_is_that_of_the_model_at_its_address(
    endpoint: Endpoint, usage: TokenUsage | None, cost: float | None
) -> None:
    found = await prices().cost(endpoint, usage, AT)
    assert found == (None if cost is None else pytest.approx(cost))


@pytest.mark.parametrize(
    ("endpoint", "usage", "cost"),
    [
        (GPT, USAGE, 0.003),
        (GPT, TokenUsage(1000, 100, cached_tokens=400), 0.0026),
        (GPT, TokenUsage(1000, 100, cached_tokens=4000), 0.002),
        (GPT, None, None),
        (replace(GPT, model="gpt-4"), USAGE, 0.036),  # only its context is set: the table has its price
        (HERE, USAGE, 0.003),
        (HERE, TokenUsage(1000, 100, cached_tokens=400), 0.003),
        (EMBEDDED, USAGE, 0.0011),
        (replace(GPT, provider="hub", model="free"), None, 0.0),
    ],
)
async def test_prices_of_ones_own_outweigh_all(
    endpoint: Endpoint, usage: TokenUsage | None, cost: float | None
) -> None:
    found = await prices(OWN).cost(endpoint, usage, AT)
    assert found == (None if cost is None else pytest.approx(cost))


@pytest.mark.parametrize(
    ("own", "endpoint", "window"),
    [
        ({}, GPT, 128000),
        ({}, replace(GPT, model="gpt-4"), 8192),
        ({}, replace(GPT, model="no-such-model"), None),
        ({}, EMBEDDED, 8192),
        ({}, replace(EMBEDDED, context_length=32768), 8192),
        ({}, replace(EMBEDDED, context_length=2048), 2048),  # it was made for no more, whatever is set
        ({}, HERE, None),
        (OWN, GPT, 5000),
        (OWN, EMBEDDED, 99),
        (OWN, HERE, None),
    ],
)
async def test_a_window_is_the_users_word_or_the_settings_or_the_tables(
    own: dict[str, PriceSettings], endpoint: Endpoint, window: int | None
) -> None:
    assert await prices(own).window(endpoint) == window


@pytest.mark.parametrize(
    ("provider", "model", "base_url"),
    [
        ("openrouter", "openai/gpt-4o-mini", "https://openrouter.ai/api/v1"),
        ("groq", "llama-3.3-70b-versatile", "https://api.groq.com/openai/v1"),
        ("mistral", "mistral-large-latest", "https://api.mistral.ai/v1"),
        ("deepseek", "deepseek-chat", "https://api.deepseek.com/v1"),
        ("gemini", "models/gemini-2.5-flash", "https://generativelanguage.googleapis.com/v1beta/openai"),
        ("gemini", "gemini-2.5-flash", "https://generativelanguage.googleapis.com/v1beta/openai"),
        ("anthropic", "claude-haiku-4-5", "https://api.anthropic.com/v1"),
        ("xai", "grok-4", "https://api.x.ai/v1"),
        ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "https://api.together.xyz/v1"),
    ],
)
async def test_well_known_providers_have_prices_by_address_and_by_name(
    provider: str, model: str, base_url: str
) -> None:
    for endpoint in (Endpoint("hub", model, base_url), Endpoint(provider, model, "https://proxy.example/v1")):
        assert (await prices().cost(endpoint, USAGE, AT) or 0) > 0
        assert await prices().is_known(endpoint)
        assert not await prices().costs_nothing(endpoint)


@pytest.mark.parametrize(
    ("own", "endpoint", "is_known", "costs_nothing"),
    [
        ({}, EMBEDDED, True, True),
        ({}, HERE, True, True),
        ({}, replace(GPT, model="no-such-model"), False, False),
        (OWN, EMBEDDED, True, False),
        (OWN, replace(GPT, provider="hub", model="free"), True, True),
    ],
)
async def test_what_is_free_and_what_is_unknown_are_two_things(
    own: dict[str, PriceSettings], endpoint: Endpoint, is_known: bool, costs_nothing: bool
) -> None:
    table = prices(own)
    assert (await table.is_known(endpoint), await table.costs_nothing(endpoint)) == (is_known, costs_nothing)


WITHOUT_TABLE = """
import asyncio, sys
from datetime import UTC, datetime
from tests.test_prices import EMBEDDED, GPT, HERE, OWN, USAGE, prices

async def main():
    for own, endpoint in ((OWN, GPT), ({}, EMBEDDED), ({}, HERE)):
        table = prices(own)
        table.prepare(endpoint)
        await table.cost(endpoint, USAGE, datetime.now(UTC))
        await table.window(endpoint)
    print("genai_prices" in sys.modules)
    table = prices()
    table.prepare(GPT)
    await table.window(GPT)
    print("genai_prices" in sys.modules)

asyncio.run(main())
"""


def test_the_table_is_loaded_only_for_models_that_it_could_know() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TABLE], capture_output=True, text=True, check=True, timeout=50
    )
    assert done.stdout == "False\nTrue\n"


async def test_a_table_that_cannot_be_loaded_leaves_prices_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", None)
    table = prices()
    assert (await table.cost(GPT, USAGE, AT), await table.window(GPT)) == (None, None)
