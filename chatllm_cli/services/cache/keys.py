"""What an answer is found again by: the SHA-256 of everything that shapes it."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict
from urllib.parse import urlsplit

from chatllm_cli.config.addresses import host_of
from chatllm_cli.models import ChatRequest, Content

VERSION = 5  # change it when the key or the entry changes its meaning: old entries are then never found


def request_key(request: ChatRequest, *, weights: str = "", missing: Collection[str] = ()) -> str:
    """Return the key of a request; `weights` is the SHA-256 of the embedded model's, if that answers.

    `missing` are the hashes of images that are not there any more: the model is told so, and answers otherwise.
    The key has neither the API key in it, which does not shape the answer, nor what is only shown, nor the time.
    """
    endpoint = request.endpoint
    options = asdict(request.options) | {"extra": {name: json.loads(value) for name, value in request.options.extra}}
    canonical = {
        "version": VERSION,
        "provider": endpoint.provider,
        "base_url": _normalised(endpoint.base_url),
        "model": endpoint.model,
        "weights": weights,
        "messages": [[role.value, _spelled(content, missing)] for role, content in request.messages],
        "options": options,
        "spelled": [endpoint.max_tokens_field, endpoint.seed_field, endpoint.takes_schema],  # how they are sent
        "trim": request.trim,
    }
    return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()


def _spelled(content: Content, missing: Collection[str]) -> str | list[str | dict[str, str]]:
    """Return what a message says; an image is its hash, whatever it is called, and nothing if it is missing."""
    if isinstance(content, str):
        return content
    return [
        part if isinstance(part, str) else {part.media_type: "" if part.sha256 in missing else part.sha256}
        for part in content
    ]


def _normalised(base_url: str) -> str:
    """Return one spelling for all of an address: of its host, its port and its end."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{host_of(base_url)}{parts.path.rstrip('/')}" if base_url else ""
