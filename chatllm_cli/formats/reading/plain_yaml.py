"""YAML that nobody vouches for, as plain data: imported when a file of it is read.

It is read event by event: no tag makes anything, no alias lets a few lines stand for gigabytes, and dates and numbers
are the texts that stand there.
"""

from typing import Any

import yaml

from chatllm_cli.errors import FormatError

MOST_VALUES = 100_000  # of a session: 30,000 messages
MOST_DEPTH = 50
_Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, if PyYAML was built with it
_NULLS = {"", "~", "null"}


def parse(text: str) -> Any:
    """Return the one document that is spelled: dicts, lists, texts and None. Raises `FormatError`."""
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_Parser):
            builder.take(event)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise FormatError(f"it is no YAML{where}") from None
    return builder.document


class _Builder:
    """Puts values together, without recursion."""

    def __init__(self) -> None:
        self.document: Any = None
        self._open: list[tuple[list[Any] | dict[str, Any], str | None]] = []  # each with the key that waits in it
        self._count = 0

    def take(self, event: yaml.Event) -> None:
        """Take the next event. Raises `FormatError` for what such a file does not have."""
        if isinstance(event, yaml.NodeEvent):
            self._check(event)
        if isinstance(event, yaml.ScalarEvent):
            self._put(None if event.implicit[0] and not event.style and event.value in _NULLS else event.value)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open.append(([] if isinstance(event, yaml.SequenceStartEvent) else {}, None))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._put(self._open.pop()[0])
        elif isinstance(event, yaml.DocumentStartEvent) and self._count:
            raise FormatError("it has more than one document")

    def _check(self, event: yaml.NodeEvent) -> None:
        self._count += 1
        if self._count > MOST_VALUES:
            raise FormatError(f"it has more than {MOST_VALUES:,} values")
        if len(self._open) > MOST_DEPTH:
            raise FormatError("it is nested too deeply")
        if event.anchor is not None or getattr(event, "tag", None) is not None:
            raise FormatError("it has an alias or a tag")

    def _put(self, value: Any) -> None:
        if not self._open:
            self.document = value
            return
        holder, key = self._open[-1]
        if isinstance(holder, list):
            holder.append(value)
        elif key is None:
            if not isinstance(value, str):
                raise FormatError("a name was expected before a colon, and there is none")
            self._open[-1] = holder, value
        else:
            holder[key] = value
            self._open[-1] = holder, None
