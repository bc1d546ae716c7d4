"""What llm keeps since 0.36: messages by a hash of all that was said down to them, threads that end in one of them.

A thread that was forked from another shares its messages: both are branches of one conversation.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.foreign.llm_tree import (
    REPLY_COLUMNS,
    Place,
    Said,
    Tree,
    answered_at,
    asked_at,
    attachment_rows,
    fragment,
    parsed,
    reply_facts,
)
from chatllm_cli.formats.reading.fields import as_list, as_moment, as_object, as_text
from chatllm_cli.formats.reading.sqlite_files import Database
from chatllm_cli.frozen import frozen
from chatllm_cli.models import Role

MOST_THREADS = 1_000_000
MOST_MESSAGES = 1_000_000  # of one conversation
_THREAD_COLUMNS = ("name", "tip_message_hash", "datetime_utc")
_NO_THREAD = dict.fromkeys(_THREAD_COLUMNS)
_MESSAGE_COLUMNS = ("hash", "parent_hash", "role")
_PART_COLUMNS = ("type", "text", "payload")
_ROLES = {"user": Role.USER, "assistant": Role.ASSISTANT}


@frozen
class Told:
    """What is known of a conversation besides its messages."""

    title: str = ""
    head: str | None = None


def are_in(database: Database) -> bool:
    """Tell whether a database has tables of this kind."""
    return (
        database.has("threads", "id", "tip_message_hash")
        and database.has("turns", "id", "thread_id", "parent_message_hash", "tip_message_hash")
        and database.has("messages", "hash", "parent_hash", "role")
        and database.has("parts", "id", "message_hash", "position", "type")
    )


def families(database: Database) -> dict[str, list[str]]:
    """Return the ids of all threads, by the id of the one that they were forked from in the end."""
    if not are_in(database):
        return {}
    origins: dict[str, str | None] = {}
    for row in database.rows("threads", ("id", "forked_from"), "ORDER BY id"):
        origins[as_text(row["id"])] = as_text(row["forked_from"]) or None
        _check(len(origins), MOST_THREADS, "threads")
    for row in database.rows("turns", ("thread_id",), "WHERE thread_id IS NOT NULL GROUP BY thread_id"):
        origins.setdefault(as_text(row["thread_id"]), None)  # the thread may be gone
        _check(len(origins), MOST_THREADS, "threads")
    roots = _roots(origins)
    found = defaultdict(list)
    for thread in sorted(origins):  # by when they began: what a fork has in common is of the turns of the first
        found[roots[thread]].append(thread)
    return found


def _check(count: int, most: int, what: str) -> None:
    if count > most:
        raise FormatError(f"the database has more than {most:,} {what}")


def _roots(origins: Mapping[str, str | None]) -> dict[str, str]:
    """Return for each thread the one that it comes from in the end; of a circle, one in it."""
    roots: dict[str, str] = {}
    for thread in origins:
        walked, current = [thread], thread
        on_the_way = {thread}
        while current not in roots and (above := origins[current]) and above in origins and above not in on_the_way:
            current = above
            walked.append(current)
            on_the_way.add(current)
        roots.update(dict.fromkeys(walked, roots.get(current, current)))
    return roots


def read(database: Database, threads: Iterable[str], tree: Tree) -> Told:
    """Add to the tree what was said in these threads, and tell their title and the leaf that is in use."""
    chains = _Chains(database, tree)
    title, last = "", ""
    head: str | None = None
    for thread in threads:
        row = next(database.rows("threads", _THREAD_COLUMNS, "WHERE id = ?", thread), _NO_THREAD)
        title = title or as_text(row["name"])
        newest, end = chains.take_turns(thread)
        if tip := as_text(row["tip_message_hash"]):  # it may be of no turn
            end = chains.grow(tip, as_moment(as_text(row["datetime_utc"])))
        if head is None or newest > last:
            last, head = max(newest, last), end
    return Told(title, head)


class _Chains:
    """Messages of one conversation as they are found on the way up from the last ones."""

    def __init__(self, database: Database, tree: Tree) -> None:
        self._database = database
        self._tree = tree
        self._places: dict[str, Place] = {}  # by the hash of the message that they are below

    def take_turns(self, thread: str) -> tuple[str, str | None]:
        """Add what was said in all turns, and return the id of the last one, and of the message that it ended in."""
        newest, end = "", None
        columns = ("id", "parent_message_hash", "tip_message_hash", *REPLY_COLUMNS)
        for turn in self._database.rows("turns", columns, "WHERE thread_id = ? ORDER BY id", thread):
            newest = as_text(turn["id"])
            asked, tip = as_text(turn["parent_message_hash"]), as_text(turn["tip_message_hash"])
            if asked:
                end = self.grow(asked, asked_at(turn))
            if tip:
                end = self.grow(tip, answered_at(turn), turn)
        return newest, end

    def grow(self, tip: str, at: datetime, answered: Mapping[str, Any] | None = None) -> str | None:
        """Add the messages down to `tip` that are not there yet, and return the id of the last one.

        Replies among them are those of the turn that is `answered`; nobody knows whose they are without one.
        """
        chain = list(self._up_from(tip))
        for found in reversed(chain):
            place = self._places.get(as_text(found["parent_hash"]), Place())
            said, role = self._said(as_text(found["hash"])), as_text(found["role"])
            if role == "system":
                place = self._tree.instruct(place, said.content, at)
            else:
                facts = None if role != "assistant" else reply_facts(answered, is_last=found is chain[0])
                place = self._tree.grow(place, _ROLES.get(role, Role.SYSTEM), said, at, facts)
            self._places[as_text(found["hash"])] = place
        return self._places[tip].below

    def _up_from(self, tip: str) -> Iterator[dict[str, Any]]:
        """Yield the messages from one up to the first that is known already."""
        above, seen = tip, set[str]()
        while above and above not in self._places:
            row = next(self._database.rows("messages", _MESSAGE_COLUMNS, "WHERE hash = ?", above), None)
            if row is None:
                raise FormatError("one of its messages is missing")
            if above in seen or len(seen) >= MOST_MESSAGES:
                raise FormatError("its messages have no beginning")
            seen.add(above)
            yield row | {"hash": above}  # a damaged index finds others
            above = as_text(row["parent_hash"])

    def _said(self, message: str) -> Said:
        said = Said()
        parts = self._database.rows("parts", _PART_COLUMNS, "WHERE message_hash = ? ORDER BY position", message)
        for part in parts:
            self._take(part, said)
        return said

    def _take(self, part: Mapping[str, Any], said: Said) -> None:
        """Take one part of a message: its text stands in a column, or what it is made of in the payload."""
        payload, kind = as_object(parsed(part["payload"])) if part["payload"] else {}, as_text(part["type"])
        if kind == "reasoning":
            said.reasoning += self._text(part, payload)
        elif kind == "tool_call":
            said.call(payload.get("name"), payload.get("arguments"))
        elif kind == "tool_result":
            said.result(payload.get("name"), payload.get("output"), payload.get("exception"))
        elif kind == "text":
            said.texts.append(self._text(part, payload))
        elif kind != "attachment":
            raise FormatError(f"it has a part of a kind that is not known: {kind[:40]}")
        if payload:
            self._tree.attach(said, self._attached(payload))

    def _text(self, part: Mapping[str, Any], payload: Mapping[str, Any]) -> str:
        if part["text"] is not None or "text_ref" not in payload:
            return as_text(part["text"])
        return "".join(self._piece(as_object(piece)) for piece in as_list(payload["text_ref"]))

    def _piece(self, piece: Mapping[str, Any]) -> str:
        """Return a piece of a text: itself, or the fragment that stands there."""
        if "literal" in piece:
            return as_text(piece["literal"])
        return self._tree.counted(fragment(self._database, piece.get("fragment")))

    def _attached(self, payload: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        named = [payload["attachment"]] if payload.get("attachment") else as_list(payload.get("attachments"))
        for each in named:
            yield from attachment_rows(self._database, as_object(each).get("id"))
