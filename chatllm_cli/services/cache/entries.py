"""An entry of the cache, as bytes and back: compressed JSON behind its own SHA-256."""

import hashlib
import json
import math
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chatllm_cli.models import MOST_TOKENS, Completion, TokenUsage
from chatllm_cli.services.cache.stores import LARGEST_ENTRY

DIGEST_SIZE = 32
FASTEST = 1  # of zlib's levels: the others take longer than they save


@dataclass(frozen=True, slots=True)
class Entry:
    """A completion, when it was new, who gave it and what it cost."""

    completion: Completion
    at: datetime
    model: str  # as addressed: provider/model
    cost: float | None = None  # in US dollars; None if nobody knows


def pack(entry: Entry) -> bytes:
    """Return an entry as it is stored."""
    completion, usage = entry.completion, entry.completion.usage
    told = {
        "text": completion.text,
        "reasoning": completion.reasoning,
        "finish_reason": completion.finish_reason,
        "usage": usage and [usage.input_tokens, usage.output_tokens, usage.cached_tokens],
        "at": entry.at.isoformat(),
        "model": entry.model,
        "cost": entry.cost,
    }
    body = zlib.compress(json.dumps(told).encode(), FASTEST)
    return hashlib.sha256(body).digest() + body


def unpack(data: object) -> Entry | None:
    """Return the entry that `pack` made these bytes of; None if it was not, however strange they are."""
    try:
        return _unpack(data)
    except Exception:  # noqa: BLE001  (what others wrote there may fail in any way: JSON too deep, numbers too long)
        return None


def _unpack(data: object) -> Entry | None:
    if not isinstance(data, bytes):
        return None
    digest, body = data[:DIGEST_SIZE], data[DIGEST_SIZE:]
    if hashlib.sha256(body).digest() != digest:
        return None
    inflating = zlib.decompressobj()
    text = inflating.decompress(body, LARGEST_ENTRY)
    match json.loads(text) if inflating.eof else None:
        case {
            "text": str(answer),
            "reasoning": str(reasoning),
            "finish_reason": None | str() as finish_reason,
            "usage": usage,
            "at": str(at),
            "model": str(model),
            "cost": None | int() | float() as cost,
        } if (moment := datetime.fromisoformat(at)).tzinfo and _is_amount(cost):
            completion = Completion(answer, finish_reason, _usage(usage), reasoning)
            return Entry(completion, moment, model, cost)
    return None


def _is_amount(cost: float | None) -> bool:
    return cost is None or (math.isfinite(cost) and cost >= 0)


def _usage(counts: Any) -> TokenUsage | None:
    if counts is None:
        return None
    if not all(type(count) is int and 0 <= count <= MOST_TOKENS for count in counts):
        raise ValueError("expected numbers of tokens")
    return TokenUsage(*counts)
