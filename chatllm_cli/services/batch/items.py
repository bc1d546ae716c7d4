"""What a line of a batch asks: a prompt as plain text, or a JSON object with one."""

import json
from collections.abc import Mapping
from dataclasses import field
from hashlib import blake2b
from typing import Any, Literal

from chatllm_cli.errors import UsageError
from chatllm_cli.frozen import frozen
from chatllm_cli.models import ChatOptions

TEXTS = ("prompt", "system", "model")
OPTIONS = ("temperature", "top_p", "max_tokens", "seed", "stop", "reasoning_effort", "options")
FIELDS = ("id", *TEXTS, *OPTIONS)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST_QUOTE = 60
Kind = Literal["lines", "jsonl"]  # what the lines are


@frozen
class Item:
    """A prompt, and how it is to be asked; what is None, or empty, is as for the others."""

    line: int
    id: int | str
    prompt: str
    system: str | None = None
    model: str | None = None
    options: ChatOptions = field(default_factory=ChatOptions)
    has_own_id: bool = False  # else it is the number of the line


@frozen
class BadLine:
    """A line that cannot be used, and why."""

    line: int
    why: str


class Items:
    """Reads the lines of one batch; what they are is told by the first that is not blank, unless it is said."""

    def __init__(self, kind: Kind | None = None) -> None:
        self._kind = kind
        self._line = 0
        self._seen: set[int] = set()  # ids, as numbers that are as good as they are, and smaller

    def read(self, line: bytes | None) -> Item | BadLine | None:
        """Return what the next line asks; None for a blank one. Raises `UsageError` if nobody knows what they are."""
        self._line += 1
        if line is None:
            return BadLine(self._line, "it is longer than a prompt may be, 16 MB")
        try:
            text = (line.removeprefix(BYTE_ORDER_MARK) if self._line == 1 else line).decode().rstrip("\r")
        except UnicodeDecodeError as error:
            return BadLine(self._line, f"it is not UTF-8 (byte {error.start + 1})")
        if not text.strip():
            return None
        if self._kind is None:
            self._kind = _kind_of(text, self._line)
        if self._kind == "lines":
            return Item(self._line, self._line, text)
        try:
            return self._item(text)
        except ValueError as error:
            return BadLine(self._line, str(error))

    def _item(self, text: str) -> Item:
        given = _object(text)
        if unknown := [name for name in given if name not in FIELDS]:
            raise ValueError(f"there is no field '{unknown[0][:LONGEST_QUOTE]}'; there is {', '.join(FIELDS)}")
        texts = {name: _text(name, given.get(name)) for name in TEXTS}
        prompt = texts["prompt"] or ""
        if not prompt.strip():
            raise ValueError("it has no prompt")
        options = {name: given[name] for name in OPTIONS if given.get(name) is not None}
        checked = _checked(options) if options else ChatOptions()
        id_, has_own_id = self._id(given.get("id"))
        return Item(self._line, id_, prompt, texts["system"], texts["model"] or None, checked, has_own_id)

    def _id(self, given: object) -> tuple[int | str, bool]:
        """Return the id of a line. Raises ValueError if it is none, or if another has it."""
        if given is not None and (isinstance(given, bool) or not isinstance(given, int | str) or given == ""):
            raise ValueError("id: expected a text or a whole number")
        id_ = self._line if given is None else given
        key = key_of(id_)
        if key in self._seen:
            raise ValueError(f"another line before it has the id {json.dumps(id_)[:LONGEST_QUOTE]}")
        self._seen.add(key)
        return id_, given is not None


def key_of(id_: int | str) -> int:
    """Return a number that stands for an id: a text that spells a number is another than the number."""
    return int.from_bytes(blake2b(json.dumps(id_).encode(), digest_size=8).digest())


def prompt_hash(prompt: str) -> str:
    """Return what tells a prompt from others."""
    return blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _kind_of(text: str, line: int) -> Kind:
    if not text.lstrip().startswith("{"):
        return "lines"
    try:
        if "prompt" in _object(text):
            return "jsonl"
        why = "has no prompt"
    except ValueError as error:
        why = str(error).replace("it is", "is", 1)
    raise UsageError(
        f"line {line} looks like a JSON object, and {why}",
        hint="--format jsonl reads it as one all the same, --format lines sends it as it is",
    )


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is too deep") from None
    except ValueError as error:
        raise ValueError(f"it is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004  (one kind for all that is wrong with a line)
    return value


def _text(name: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name}: expected a text")
    return value


def _checked(given: Mapping[str, Any]) -> ChatOptions:
    """Hold options to what the settings take. Raises ValueError."""
    from pydantic import ValidationError  # noqa: PLC0415  (what most lines do without)

    from chatllm_cli.config.faults import complaints  # noqa: PLC0415
    from chatllm_cli.config.sections import OptionSettings  # noqa: PLC0415
    from chatllm_cli.services.providers import chat_options  # noqa: PLC0415

    stop = given.get("stop")
    texts = {"stop": [stop]} if isinstance(stop, str) else {}
    try:
        return chat_options(OptionSettings(**{**given, **texts}))
    except ValidationError as error:
        first = complaints(error)[0]
        raise ValueError(first.line(first.key)) from None
