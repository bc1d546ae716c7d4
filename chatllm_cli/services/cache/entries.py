"""An entry of the cache, as bytes and back.

The SHA-256 of what follows, and that compressed: a line of JSON that says what it is, and behind it the text and the
reasoning as they are. JSON of megabytes that somebody else wrote would be taken apart for seconds.
"""

import hashlib
import json
import zlib
from datetime import datetime
from typing import Any

from chatllm_cli.frozen import frozen
from chatllm_cli.models import MOST_TOKENS, Completion, TokenUsage
from chatllm_cli.services.cache.stores import MOST

LARGEST = 16 * 2**20  # bytes, before they are compressed: twice the longest answer that is taken by default
LONGEST_HEAD = 4096
DIGEST_SIZE = 32
FASTEST = 1  # of zlib's levels: the others take longer than they save


@frozen
class Entry:
    """A completion, when it was new, who gave it and what it cost."""

    completion: Completion
    at: datetime
    model: str  # as addressed: provider/model
    cost: float | None = None  # in US dollars; None if nobody knows


def pack(entry: Entry) -> bytes | None:
    """Return an entry as it is stored; None if it is too large to be."""
    completion, usage = entry.completion, entry.completion.usage
    text = completion.text.encode("utf-8", "surrogatepass")
    reasoning = completion.reasoning.encode("utf-8", "surrogatepass")
    head = {
        "text": len(text),
        "finish_reason": completion.finish_reason,
        "usage": usage and [usage.input_tokens, usage.output_tokens, usage.cached_tokens],
        "at": entry.at.isoformat(),
        "model": entry.model,
        "cost": entry.cost,
    }
    line = json.dumps(head).encode()
    whole = line + b"\n" + text + reasoning
    if len(line) > LONGEST_HEAD or len(whole) > LARGEST:
        return None
    body = zlib.compress(whole, FASTEST)
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
    line, _, texts = inflating.decompress(body, LARGEST + 1).partition(b"\n")
    if not inflating.eof or inflating.unused_data or len(line) > LONGEST_HEAD:
        return None
    match json.loads(line):
        case {
            "text": int(length),
            "finish_reason": None | str() as finish_reason,
            "usage": usage,
            "at": str(at),
            "model": str(model),
            "cost": None | int() | float() as cost,
        } if type(length) is int and 0 <= length <= len(texts) and _is_amount(cost):
            moment = datetime.fromisoformat(at)
            if not moment.tzinfo:
                return None
            text, reasoning = (each.decode("utf-8", "surrogatepass") for each in (texts[:length], texts[length:]))
            return Entry(Completion(text, finish_reason, _usage(usage), reasoning), moment, model, cost)
    return None


def _is_amount(cost: float | None) -> bool:
    return cost is None or (type(cost) in {int, float} and 0 <= cost <= MOST)


def _usage(counts: Any) -> TokenUsage | None:
    if counts is None:
        return None
    if not all(type(count) is int and 0 <= count <= MOST_TOKENS for count in counts):
        raise ValueError("expected numbers of tokens")
    return TokenUsage(*counts)
