"""What foreign programs keep besides text, as text: calls of tools, their results, and what cannot be taken along."""

import json
import re
from typing import Any

from chatllm_cli.errors import FormatError


def joined(*texts: str) -> str:
    """Return the texts that are not blank as paragraphs."""
    return "\n\n".join(text for text in texts if text.strip())


def fence_for(text: str) -> str:
    """Return a fence that a text cannot end."""
    return "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))


def fenced(text: str, language: str = "") -> str:
    """Return text between fences that it cannot end; an empty text if there is none."""
    if not text.strip():
        return ""
    fence = fence_for(text)
    end = "" if text.endswith("\n") else "\n"
    return f"{fence}{language if language.isalnum() else ''}\n{text}{end}{fence}"


def called(name: str, arguments: Any) -> str:
    """Return the call of a tool; `arguments` is what it was given, or JSON of it."""
    return f"[call {name or 'a tool'}: {as_json(arguments)}]"


def as_json(value: Any) -> str:
    """Return a text as it is, and anything else as JSON in one line. Raises `FormatError` for what is too deep."""
    try:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except RecursionError:  # by a hair: what reads JSON goes a little deeper
        raise FormatError("it is nested too deeply") from None


def note(what: str, name: str = "") -> str:
    """Return a word on something that is left out: an image, a file, or what nobody knows."""
    return f"[{what}: {name}]" if name else f"[{what}]"
