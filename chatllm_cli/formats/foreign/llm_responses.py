"""What llm kept before 0.36: a row for each prompt and its response, at first without anything that joins them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
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
from chatllm_cli.formats.reading.fields import as_text
from chatllm_cli.formats.reading.sqlite_files import Database
from chatllm_cli.frozen import frozen
from chatllm_cli.models import Role

MOST_ROWS = 1_000_000  # of one table
_COLUMNS = ("id", "prompt", "system", "response", "reasoning", *REPLY_COLUMNS)
_OLDEST = ("log", "logs")  # the table's name changed once
_BY_ID = "WHERE id = ?"
_BY_RESPONSE = "WHERE response_id = ?"


@frozen
class Rows:
    """The rows of one conversation, in the order they came."""

    table: str
    rows: list[int]


def are_in(database: Database) -> bool:
    """Tell whether a database has tables of this kind."""
    return database.has("responses", "id", "conversation_id", "prompt", "response") or bool(_oldest(database))


def _oldest(database: Database) -> list[str]:
    return [table for table in _OLDEST if database.has(table, "model", "prompt", "response", "system")]


def conversations(database: Database) -> dict[str, Rows]:
    """Return where each conversation's rows are, by its id: the id of its first row where it has none."""
    found: dict[str, Rows] = {}
    if database.has("responses", "id", "conversation_id", "prompt", "response"):
        for row in database.rows("responses", ("id", "conversation_id"), "ORDER BY id"):
            _add(found, as_text(row["conversation_id"] or row["id"]), "responses", row["rowid"])
    for table in _oldest(database):
        begun: dict[object, str] = {}  # by the number of a first row, which others have as well, when it was written
        for row in database.rows(table, ("chat_id", "timestamp", "datetime_utc"), "ORDER BY rowid"):
            first = row["chat_id"] or row["rowid"]
            at = begun.setdefault(first, f"{row['timestamp'] or row['datetime_utc']} {first}")
            _add(found, f"log {at}", table, row["rowid"])
    return found


def _add(found: dict[str, Rows], key: str, table: str, row: int) -> None:
    if len(found) >= MOST_ROWS:
        raise FormatError(f"the database has more than {MOST_ROWS:,} conversations")
    found.setdefault(key, Rows(table, [])).rows.append(row)


class Reader:
    """Reads the rows of conversations."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._calls = self._by_response("tool_calls")
        self._results = self._by_response("tool_results")

    def title(self, key: str) -> str:
        """Return the name of a conversation, if it has one."""
        if not self._database.has("conversations", "id", "name"):
            return ""
        return next(
            (as_text(row["name"]) for row in self._database.rows("conversations", ("name",), _BY_ID, key)), ""
        )

    def read(self, rows: Rows, tree: Tree) -> str | None:
        """Add to the tree what was said in these rows, and return the id of the last message."""
        place = Place()
        for number in rows.rows:
            for row in self._database.rows(rows.table, (*_COLUMNS, "timestamp"), "WHERE rowid = ?", number):
                dated = row | {"datetime_utc": row["datetime_utc"] or row["timestamp"]}
                place = self._read(dated, place, tree, has_parts=rows.table == "responses")
        return place.below

    def _read(self, row: Mapping[str, Any], place: Place, tree: Tree, *, has_parts: bool) -> Place:
        """Add one prompt and its response."""
        prompt, answer, returned = Said(), Said([as_text(row["response"])], as_text(row["reasoning"])), Said()
        system = [as_text(row["system"])]
        texts = [as_text(row["prompt"])]
        if has_parts:
            key = as_text(row["id"])
            texts = [*self._fragments("prompt_fragments", key, tree), *texts]
            system = [*self._fragments("system_fragments", key, tree), *system]
            self._take_tools(key, answer, returned, tree)
        prompt.texts = ["\n".join(text for text in texts if text)]
        if has_parts:
            tree.attach(prompt, self._attached("prompt_attachments", "response_id", key))
        place = tree.instruct(place, "\n\n".join(text.strip() for text in system if text.strip()), asked_at(row))
        place = tree.grow(place, Role.SYSTEM, returned, asked_at(row))
        place = tree.grow(place, Role.USER, prompt, asked_at(row))
        return tree.grow(place, Role.ASSISTANT, answer, answered_at(row), reply_facts(row))

    def _fragments(self, table: str, response: str, tree: Tree) -> Iterator[str]:
        if self._database.has(table, "response_id", "fragment_id", "order"):
            for row in self._database.rows(table, ("fragment_id",), f'{_BY_RESPONSE} ORDER BY "order"', response):
                yield tree.counted(fragment(self._database, row["fragment_id"]))

    def _take_tools(self, response: str, answer: Said, returned: Said, tree: Tree) -> None:
        """Take the calls of a response, and what the calls before it returned."""
        for row in self._rows("tool_calls", ("name", "arguments"), self._calls.get(response, ())):
            answer.call(row["name"], parsed(row["arguments"] or "{}"))
        for row in self._rows("tool_results", ("id", "name", "output", "exception"), self._results.get(response, ())):
            returned.result(row["name"], row["output"], row["exception"])
            tree.attach(returned, self._attached("tool_results_attachments", "tool_result_id", row["rowid"]))

    def _attached(self, table: str, column: str, key: object) -> Iterator[dict[str, Any]]:
        if self._database.has(table, column, "attachment_id", "order"):
            for row in self._database.rows(table, ("attachment_id",), f'WHERE {column} = ? ORDER BY "order"', key):
                yield from attachment_rows(self._database, row["attachment_id"])

    def _rows(self, table: str, columns: tuple[str, ...], numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
        for number in numbers:
            yield from self._database.rows(table, columns, "WHERE rowid = ?", number)

    def _by_response(self, table: str) -> dict[str, list[int]]:
        """Return the numbers of the rows for each response: nothing else in the file finds them fast."""
        found = defaultdict(list)
        if self._database.has(table, "response_id"):
            for count, row in enumerate(self._database.rows(table, ("response_id",), "ORDER BY rowid")):
                if count >= MOST_ROWS:
                    raise FormatError(f"the database has more than {MOST_ROWS:,} rows in {table}")
                found[as_text(row["response_id"])].append(row["rowid"])
        return found
