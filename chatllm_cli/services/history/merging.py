"""What a journal lacks of another one of the same conversation: pure functions, bytes in and bytes out.

Journals only grow, and every message has an id of its own. So two that went on apart are brought together by what
one has and the other has not; where both went on, both branches are kept.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from chatllm_cli.frozen import frozen
from chatllm_cli.services.history import records

LAST_STANDS = {"title", "tags", "system_prompt"}  # types of records of which the last one stands


@frozen
class Merged:
    """A journal with what it lacked of another, and how many messages that were."""

    data: bytes
    messages: int = 0
    differing: int = 0  # messages that both have, and that say something else here
    has_branched: bool = False  # whether what was added stands beside what is in use


@dataclass(slots=True)
class _Facts:
    """What a journal has."""

    finished: dict[str, object] = field(default_factory=dict)  # what messages say, by id
    begun: set[str] = field(default_factory=set)  # replies of which there are marks
    rewritten: set[str] = field(default_factory=set)  # of these, where the marks are others: something was taken out
    latest: dict[str, str] = field(default_factory=dict)  # when each of `LAST_STANDS` was said last
    has_header: bool = False

    def take(self, record: dict[str, Any]) -> None:
        """Take note of one record."""
        match record["type"]:
            case "message":
                self.finished[record["id"]] = record.get("content")
            case "partial":
                self.begun.add(record["id"])
            case "conversation":
                self.has_header = True
                self.latest |= {kind: max(self.latest.get(kind, ""), record["at"]) for kind in LAST_STANDS}
            case kind if kind in LAST_STANDS:
                self.latest[kind] = max(self.latest.get(kind, ""), record["at"])


def merged(ours: bytes, theirs: bytes, conversation_id: str) -> Merged:
    """Return our journal with what `theirs` has and it lacks, but for damaged lines.

    A message that both have stays as it is in ours. Of titles, tags and system prompts the later one stands. The head
    moves on with theirs if that went on from where ours stands. Raises `HistoryError` for a newer format.
    """
    known = set(records.lines(ours))
    unknown = [line for line in records.lines(theirs) if line not in known]
    if not unknown:
        return Merged(ours)
    mine = _facts(_read(known))
    ours_alone = _read(known.difference(records.lines(theirs)))
    mine.rewritten = {record["id"] for _, record in ours_alone if record["type"] == "partial"}
    read = list(_read(line for line in unknown if not records.is_damaged(line)))
    other = _facts(read)
    news = b"".join(line + b"\n" for line, record in read if _is_news(record, mine, other))
    differing = sum(each != other.finished.get(id_, each) for id_, each in mine.finished.items())
    if not news:
        return Merged(ours, differing=differing)
    torn = bool(ours) and not ours.endswith(b"\n")  # a torn last line is ended, as writers do
    data = ours + b"\n" * torn + news
    count = len((other.finished.keys() | other.begun) - mine.finished.keys() - mine.begun)
    head, moves = _head(ours, theirs, data, conversation_id)
    return Merged(data + head, count, differing, has_branched=bool(count) and not moves)


def _read(lines: Iterable[bytes]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for line in lines:
        with suppress(ValueError, TypeError, KeyError, RecursionError, OverflowError):
            record = records.parsed(line)
            if all(isinstance(record[name], str) for name in ("type", "id", "at")):
                yield line, record


def _facts(read: Iterable[tuple[bytes, dict[str, Any]]]) -> _Facts:
    facts = _Facts()
    for _, record in read:
        facts.take(record)
    return facts


def _is_news(record: dict[str, Any], mine: _Facts, other: _Facts) -> bool:
    match record["type"]:
        case "message":
            return record["id"] not in mine.finished
        case "partial":
            return record["id"] not in {*mine.finished, *other.finished, *mine.rewritten}
        case "conversation":
            return not mine.has_header
        case "head":
            return False
        case kind if kind in LAST_STANDS:
            return bool(other.latest[kind] == record["at"] > mine.latest.get(kind, ""))
        case _:  # a later version's, of which nothing is known
            return True


def _head(ours: bytes, theirs: bytes, both: bytes, conversation_id: str) -> tuple[bytes, bool]:
    """Return the record that puts the head where it belongs, if what was added leaves it elsewhere.

    And tell whether it moves from where it was.
    """
    before, after, now = (records.decode(data, conversation_id) for data in (ours, theirs, both))
    down_to_theirs = replace(now, head=after.head).thread()
    passed = {each for message in down_to_theirs for each in (message.id, message.continues)}
    is_known = after.head in {message.id for message in before.messages}  # and was left here
    goes_on = not before.messages or (before.head in passed - {None} and not is_known)
    head = after.head if goes_on else before.head
    record = records.head_record(conversation_id, head, now.updated_at)
    return b"" if now.head == head else records.encode(record), head != before.head
