"""What an answer costs, and how much a model reads. The only module that knows genai-prices.

Its table takes a quarter of a second to load. So that is done in a thread, for those models only that it could
know, and as a rule while one of them thinks. It comes with the package: nothing is asked of anybody.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chatllm_cli.config.addresses import host_of, is_loopback
from chatllm_cli.models import Endpoint, TokenUsage

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, Provider

    from chatllm_cli.config.sections import PriceSettings

MILLION = 1_000_000
# The names of well-known providers in the table. An address that it knows comes first: a name may be anybody's.
NAMES_IN_TABLE = {
    **{name: name for name in ("openai", "openrouter", "groq", "mistral", "deepseek", "anthropic", "together")},
    **{name: name for name in ("cerebras", "cohere", "fireworks", "perplexity")},
    "gemini": "google",
    "google": "google",
    "xai": "x-ai",
}


class Prices:
    """The prices in force: the user's own first, nothing for what runs on this machine, else those of the table."""

    def __init__(self, own: Mapping[str, "PriceSettings"], *, local_window: int) -> None:
        self._own = own
        self._local_window = local_window
        self._loading: asyncio.Future[DataSnapshot | None] | None = None

    def is_free(self, endpoint: Endpoint) -> bool:
        """Tell whether a model is known to cost nothing without a look at the table."""
        own = self._own.get(endpoint.address)
        if own and own.input is not None:
            return not (own.input or own.output or own.cached_input)
        return _is_here(endpoint) or _is_given_away(endpoint)

    def prepare(self, endpoint: Endpoint) -> None:
        """Begin to load the table, if this model will need it."""
        own = self._own.get(endpoint.address)
        has_price = own is not None and own.input is not None
        if not _is_here(endpoint) and not (own and own.context and has_price):
            self._table()

    async def cost(self, endpoint: Endpoint, usage: TokenUsage | None, at: datetime) -> float | None:
        """Return what an answer of `at` costs in US dollars; None if its size or its price is unknown."""
        if self.is_free(endpoint):
            return 0.0
        if usage is None:
            return None
        own = self._own.get(endpoint.address)
        if own and own.input is not None:
            return _own_cost(own, usage)
        return _cost(await self._table(), endpoint, usage, at)

    async def is_known(self, endpoint: Endpoint) -> bool:
        """Tell whether a model has a price, be it nothing."""
        return await self.cost(endpoint, TokenUsage(MILLION, MILLION), datetime.now(UTC)) is not None

    async def costs_nothing(self, endpoint: Endpoint) -> bool:
        """Tell whether a model is known to cost nothing."""
        return await self.cost(endpoint, TokenUsage(MILLION, MILLION), datetime.now(UTC)) == 0

    def has_own_window(self, endpoint: Endpoint) -> bool:
        """Tell whether `window` needs no table, which may be old, or rounded, or tell of the input only."""
        own = self._own.get(endpoint.address)
        return _is_here(endpoint) or bool(own and own.context)

    async def window(self, endpoint: Endpoint) -> int | None:
        """Return how many tokens a model takes at most; None if that is unknown."""
        own = self._own.get(endpoint.address)
        if own and own.context:
            return own.context
        if _is_here(endpoint):
            return (
                min(self._local_window, endpoint.context_length or self._local_window)
                if endpoint.is_embedded
                else None
            )
        found = _find(await self._table(), endpoint)
        return found[1].context_window if found else None

    def _table(self) -> "asyncio.Future[DataSnapshot | None]":
        if self._loading is None or self._loading.cancelled():
            self._loading = asyncio.ensure_future(asyncio.to_thread(_load))
        return asyncio.shield(self._loading)  # whoever stops waiting finds it loaded the next time


def _is_here(endpoint: Endpoint) -> bool:
    return endpoint.is_embedded or is_loopback(endpoint.base_url)


def _is_given_away(endpoint: Endpoint) -> bool:
    """Tell whether the model is one that OpenRouter marks as free, some of which no table has."""
    is_openrouter = endpoint.provider == "openrouter" or host_of(endpoint.base_url) == "openrouter.ai"
    return is_openrouter and endpoint.model.endswith(":free")


def _own_cost(price: "PriceSettings", usage: TokenUsage) -> float:
    cached_price = price.input if price.cached_input is None else price.cached_input
    cached = min(usage.cached_tokens, usage.input_tokens)
    dollars = (usage.input_tokens - cached) * (price.input or 0) + cached * (cached_price or 0)
    return (dollars + usage.output_tokens * (price.output or 0)) / MILLION


def _load() -> "DataSnapshot | None":
    try:
        from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415  (see above)

        return get_snapshot()
    except Exception:  # noqa: BLE001  (a table that cannot be read is none: no answer fails for it)
        return None


def _find(table: "DataSnapshot | None", endpoint: Endpoint) -> "tuple[Provider, ModelInfo] | None":
    """Return a model of the table: that of the provider at this address, else of the one with this name."""
    model = endpoint.model.removeprefix("models/")  # so Google lists its own
    for name, address in ((None, endpoint.base_url), (NAMES_IN_TABLE.get(endpoint.provider), None)):
        if table and (name or address):
            with suppress(Exception):  # mostly a LookupError; whatever it is, nothing is known then
                return table.find_provider_model(model, None, name, address)
    return None


def _cost(table: "DataSnapshot | None", endpoint: Endpoint, usage: TokenUsage, at: datetime) -> float | None:
    if not (found := _find(table, endpoint)):
        return None
    provider, model = found
    try:
        from genai_prices import Usage  # noqa: PLC0415

        cached = min(usage.cached_tokens, usage.input_tokens)
        counts = Usage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, cache_read_tokens=cached)
        price = model.calc_price(counts, provider, genai_request_timestamp=at)
    except Exception:  # noqa: BLE001
        return None
    by_unit = {unit for unit, amount in vars(price.model_price).items() if amount is not None}
    if by_unit and not by_unit & {"input_mtok", "output_mtok"}:  # by the hour, or by the page: not by what we count
        return None
    return float(price.total_price)
