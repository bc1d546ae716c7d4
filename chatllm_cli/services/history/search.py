"""Finding conversations and messages in the index."""

import json
import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import PurePath
from typing import Any

from chatllm_cli.errors import UsageError
from chatllm_cli.frozen import frozen
from chatllm_cli.models import Filter, Hit, Summary, Tally
from chatllm_cli.services.history import files
from chatllm_cli.services.history.catch_up import fold
from chatllm_cli.surrogates import without_halves

CANDIDATES = 500  # the newest messages that match, which are then ranked: of a common word nobody reads all
ALL = 2**62  # messages
SHORTEST_ADDRESS = 4
TRIGRAM = 3
MOST_TERMS = 30  # words, or trigrams, that SQLite is asked for: the rest is looked for in what it finds
SNIPPET_BEFORE, SNIPPET_LENGTH = 40, 160  # characters
SATURATION, LENGTH_WEIGHT, USUAL_LENGTH = 1.2, 0.75, 400.0  # BM25's k1 and b, and what passes for an average message
SORTS = {
    "used": "updated_at DESC, id",
    "created": "created_at DESC, id",
    "title": "title COLLATE NOCASE, id",
    "messages": "messages DESC, id",
    "tokens": "input_tokens + output_tokens DESC, id",
}
TALLIES = {
    "model": "m.model",
    "provider": "substr(m.model, 1, instr(m.model, '/') - 1)",
    "day": "date(m.at, 'unixepoch', 'localtime')",
    "month": "strftime('%Y-%m', m.at, 'unixepoch', 'localtime')",
}
COLUMNS = "id, title, model, created_at, updated_at, messages, input_tokens, output_tokens, cost, unpriced, tags"
MESSAGE_COLUMNS = "m.number, m.id, m.role, m.model, m.at, m.content, c.id, c.title"


@frozen
class Query:
    """What to search for: words that all have to be there, or FTS5's own syntax, or a regular expression."""

    text: str
    is_raw: bool = False
    is_regex: bool = False


def list_conversations(
    db: sqlite3.Connection, wanted: Filter, *, limit: int | None = None, sort: str = "used", offset: int = 0
) -> list[Summary]:
    """Return the conversations that `wanted` describes."""
    where, values = _conversation_conditions(wanted)
    rows = db.execute(
        f"SELECT {COLUMNS} FROM conversations c WHERE {where} ORDER BY {SORTS[sort]} LIMIT ? OFFSET ?",  # noqa: S608
        [*values, -1 if limit is None else limit, offset],
    )
    is_in_order = wanted == Filter() and sort == "used"
    return [
        _summary(db, row, place if is_in_order else None) for place, row in enumerate(rows.fetchall(), offset + 1)
    ]


def places(db: sqlite3.Connection, wanted: Filter) -> list[tuple[str, str]]:
    """Return the ids of the conversations that `wanted` describes, last used first, and the folders they lie in."""
    where, values = _conversation_conditions(wanted)
    sql = f"SELECT id, folder FROM conversations c WHERE {where} ORDER BY {SORTS['used']}"  # noqa: S608
    return db.execute(sql, values).fetchall()


def places_found(db: sqlite3.Connection, query: Query, wanted: Filter) -> list[tuple[str, str]]:
    """Return the same of all conversations in which `search` finds something."""
    rows, _, _ = _matching(db, query, wanted, ALL)
    found = {row[6] for row in rows}
    return [place for place in places(db, Filter()) if place[0] in found]


def summary(db: sqlite3.Connection, conversation_id: str) -> Summary:
    """Return what lists show of a conversation that is known."""
    row = db.execute(f"SELECT {COLUMNS} FROM conversations WHERE id = ?", [conversation_id]).fetchone()  # noqa: S608
    return _summary(db, row, None)


def count_conversations(db: sqlite3.Connection) -> int:
    """Return how many there are in a list of all."""
    return int(db.execute("SELECT count(*) FROM conversations WHERE messages > 0").fetchone()[0])


def faulty(db: sqlite3.Connection) -> list[str]:
    """Return the ids of the conversations that cannot be read, last used first."""
    rows = db.execute(
        "SELECT id FROM conversations INDEXED BY faulty WHERE fault IS NOT NULL ORDER BY updated_at DESC, id"
    )
    return [row[0] for row in rows]


def copies(db: sqlite3.Connection) -> int:
    """Return how many of the conversations are copies that sync tools left."""
    rows = db.execute("SELECT id FROM conversations INDEXED BY with_long_ids WHERE length(id) > 16")
    return sum(bool(files.copied_id(PurePath(f"{row[0]}{files.ENDING}"))) for row in rows)


def newest(db: sqlite3.Connection) -> str | None:
    """Return the id of the conversation that was used last here, whether it can be read or not.

    One that only came from elsewhere is taken where there is no other.
    """
    for used in ("AND NOT unused", ""):
        row = db.execute(
            "SELECT id FROM conversations WHERE (messages > 0 OR fault IS NOT NULL) "  # noqa: S608
            f"{used} ORDER BY updated_at DESC, id LIMIT 1"
        ).fetchone()
        if row:
            return str(row[0])
    return None


def ids_beginning(db: sqlite3.Connection, prefix: str) -> list[str]:
    """Return the ids that begin with `prefix`, the last used first."""
    sql = "SELECT id FROM conversations WHERE id >= ? AND id < ? ORDER BY updated_at DESC"
    return [row[0] for row in db.execute(sql, [prefix, f"{prefix}\U0010ffff"])]


def ids_titled(db: sqlite3.Connection, title: str) -> list[str]:
    """Return the ids of the conversations with exactly this title, the last used first."""
    sql = "SELECT id FROM conversations WHERE title = ? ORDER BY updated_at DESC"
    return [row[0] for row in db.execute(sql, [title])]


def shortest_address(db: sqlite3.Connection, conversation_id: str) -> str:
    """Return the shortest beginning of an id, of four characters or more, that no other id has."""
    for length in range(SHORTEST_ADDRESS, len(conversation_id)):
        if len(ids_beginning(db, conversation_id[:length])) < 2:  # noqa: PLR2004  (itself, and another)
            return conversation_id[:length]
    return conversation_id


def search(db: sqlite3.Connection, query: Query, wanted: Filter, limit: int) -> list[Hit]:
    """Return the messages that match, the best first. Raises `UsageError` for a query that cannot be one."""
    rows, pattern, terms = _matching(db, query, wanted, max(CANDIDATES, limit))
    ranked = sorted(rows, key=lambda row: (-_score(fold(row[5]), terms), -row[4]))
    return [_hit(db, row, pattern) for row in ranked[:limit]]


def _matching(
    db: sqlite3.Connection, query: Query, wanted: Filter, most: int
) -> tuple[list[Any], re.Pattern[str] | None, list[str]]:
    """Return the messages that match, what finds the place in them, and the terms they are ranked by."""
    text = without_halves(query.text).replace("\0", " ")  # which SQLite cannot be asked for
    if query.is_regex:
        return *_search_by_regex(db, query.text, wanted, most), []
    if query.is_raw:
        return _search_raw(db, text, wanted, most), _pattern(re.findall(r"\w+", text)), []
    terms = _terms(fold(text))
    return _search_terms(db, terms, wanted, most), _pattern(terms), terms


def _terms(text: str) -> list[str]:
    """Return the words of a query; what stands in double quotes is one, blanks and all."""
    found = re.findall(r'"([^"]*\w[^"]*)"(?!\S)|(\S+)', text)
    return [" ".join(phrase.split()) or word for phrase, word in found]


def tallies(db: sqlite3.Connection, by: str, wanted: Filter) -> list[Tally]:
    """Return how much was said, by one of `TALLIES`."""
    where, values = _message_conditions(wanted)
    sql = f"""
        SELECT {TALLIES[by]} AS name, count(DISTINCT m.conversation), count(*),
               sum(m.input_tokens), sum(m.output_tokens), total(m.cost), sum(m.cost IS NULL)
        FROM messages m JOIN conversations c ON c.number = m.conversation
        WHERE m.role = 'assistant' AND {where} GROUP BY name ORDER BY name
    """  # noqa: S608
    return [Tally(*row) for row in db.execute(sql, values)]


def spent(db: sqlite3.Connection, since: datetime) -> tuple[float, int]:
    """Return what was spent since a moment, and how many replies cost nobody knows what."""
    begin = [since.timestamp()]
    (cost,) = db.execute("SELECT total(cost) FROM messages WHERE cost > 0 AND at >= ?", begin).fetchone()
    sql = "SELECT count(*) FROM messages WHERE cost IS NULL AND role = 'assistant' AND at >= ?"
    return float(cost), int(db.execute(sql, begin).fetchone()[0])


def _search_terms(db: sqlite3.Connection, terms: Sequence[str], wanted: Filter, most: int) -> list[Any]:
    """Return messages that hold all terms: as words first, else anywhere inside of words."""
    where, values = _message_conditions(wanted)
    found: dict[int, Any] = {}
    asked = sorted(terms, key=len, reverse=True)[:MOST_TERMS]
    if terms and all(any(character.isalnum() for character in term) for term in asked):
        sql = f"""
            SELECT {MESSAGE_COLUMNS} FROM words JOIN messages m ON m.number = words.rowid
            JOIN conversations c ON c.number = m.conversation
            WHERE words MATCH ? AND {where} ORDER BY words.rowid DESC LIMIT {most}
        """  # noqa: S608
        rows = db.execute(sql, [_all_of(asked), *values])
        # FTS5 passes over punctuation, and was not asked for all: what is found that way is looked at once more.
        to_check = [term for term in terms if not term.isalnum() or term not in asked]
        found = {row[0]: row for row in rows if not to_check or _holds_all(row, to_check)}
    if terms and len(found) < most:
        inside = islice(_search_inside(db, terms, where, values), most)
        found |= {row[0]: row for row in inside if row[0] not in found}
    return list(found.values())


def _search_inside(db: sqlite3.Connection, terms: Sequence[str], where: str, values: Sequence[Any]) -> Iterator[Any]:
    """Yield messages that hold all terms anywhere: by trigrams, or one by one if every term is shorter."""
    long = sorted((term for term in terms if len(term) >= TRIGRAM), key=len, reverse=True)
    trigrams = dict.fromkeys(term[at : at + TRIGRAM] for term in long for at in range(len(term) - TRIGRAM + 1))
    # Not LIKE, which FTS5 would look up by trigrams itself: two of them with wildcards crash SQLite 3.40.
    if trigrams:
        source, condition = "trigrams JOIN messages m ON m.number = trigrams.rowid", "trigrams MATCH ?"
        value = _all_of(list(trigrams)[:MOST_TERMS])
    else:
        source, condition, value = "messages m", "instr(fold(m.content), ?)", terms[0]
    sql = f"""
        SELECT {MESSAGE_COLUMNS} FROM {source} JOIN conversations c ON c.number = m.conversation
        WHERE {condition} AND {where} ORDER BY m.number DESC
    """  # noqa: S608
    for row in db.execute(sql, [value, *values]):
        if _holds_all(row, terms):
            yield row


def _all_of(terms: Sequence[str]) -> str:
    """Return the FTS5 query for texts that hold all these terms."""
    return " ".join('"' + term.replace('"', '""') + '"' for term in terms)


def _holds_all(row: Any, terms: Sequence[str]) -> bool:
    content = " ".join(fold(row[5]).split())
    return all(term in content for term in terms)


def _search_raw(db: sqlite3.Connection, match: str, wanted: Filter, most: int) -> list[Any]:
    where, values = _message_conditions(wanted)
    sql = f"""
        SELECT {MESSAGE_COLUMNS} FROM words JOIN messages m ON m.number = words.rowid
        JOIN conversations c ON c.number = m.conversation
        WHERE words MATCH ? AND {where} ORDER BY rank LIMIT {most}
    """  # noqa: S608
    try:
        return db.execute(sql, [match, *values]).fetchall()
    except sqlite3.OperationalError as error:
        raise UsageError(
            f"'{match}' is not FTS5 syntax: {error}", hint="without --raw any text is found as it is"
        ) from None


def _search_by_regex(
    db: sqlite3.Connection, regex: str, wanted: Filter, most: int
) -> tuple[list[Any], re.Pattern[str]]:
    try:
        pattern = re.compile(regex, re.MULTILINE | re.IGNORECASE)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"'{regex}' is not a regular expression: {error}") from None
    db.create_function("matches", 1, lambda text: pattern.search(text) is not None, deterministic=True)
    where, values = _message_conditions(wanted)
    sql = f"""
        SELECT {MESSAGE_COLUMNS} FROM messages m JOIN conversations c ON c.number = m.conversation
        WHERE {where} AND m.content != '' AND matches(m.content) ORDER BY m.number DESC LIMIT {most}
    """  # noqa: S608
    return db.execute(sql, values).fetchall(), pattern


def _conversation_conditions(wanted: Filter) -> tuple[str, list[Any]]:
    conditions: list[str] = ["messages > 0"]
    values: list[Any] = []
    if wanted.since:
        conditions.append("updated_at >= ?")
        values.append(wanted.since.timestamp())
    if wanted.until:
        conditions.append("updated_at < ?")
        values.append(wanted.until.timestamp())
    if wanted.model:
        conditions.append("instr(lower(model), lower(?))")
        values.append(wanted.model)
    if wanted.tag:
        conditions.append("EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)")
        values.append(wanted.tag)
    return " AND ".join(conditions), values


def _message_conditions(wanted: Filter) -> tuple[str, list[Any]]:
    conditions: list[str] = ["1"]
    values: list[Any] = []
    for condition, value in (
        ("m.at >= ?", wanted.since and wanted.since.timestamp()),
        ("m.at < ?", wanted.until and wanted.until.timestamp()),
        ("m.role = ?", wanted.role),
        ("instr(lower(m.model), lower(?))", wanted.model),
        ("EXISTS (SELECT 1 FROM json_each(c.tags) WHERE value = ?)", wanted.tag),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    return " AND ".join(conditions), values


def _score(text: str, terms: Sequence[str]) -> float:
    """Return how well a text fits: BM25 without the rarity of words, which all texts here have in common."""
    norm = SATURATION * (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * len(text) / USUAL_LENGTH)
    counts = [text.count(term) for term in terms]
    return round(sum(count * (SATURATION + 1) / (count + norm) for count in counts), 1)


def _summary(db: sqlite3.Connection, row: Any, place: int | None) -> Summary:
    id_, title, model, created_at, updated_at, messages, input_tokens, output_tokens, cost, unpriced, tags = row
    return Summary(
        id_,
        shortest_address(db, id_),
        title,
        model,
        datetime.fromtimestamp(created_at, UTC),
        datetime.fromtimestamp(updated_at, UTC),
        messages,
        input_tokens,
        output_tokens,
        tuple(json.loads(tags)),
        place,
        cost,
        unpriced,
    )


def _hit(db: sqlite3.Connection, row: Any, pattern: "re.Pattern[str] | None") -> Hit:
    _, message, role, model, at, content, conversation, title = row
    address = shortest_address(db, conversation)
    when = datetime.fromtimestamp(at, UTC)
    return Hit(conversation, address, title, message, role, model, when, _snippet(content, pattern))


def _pattern(terms: Sequence[str]) -> "re.Pattern[str] | None":
    longest_first = sorted({term for term in terms if term}, key=len, reverse=True)
    patterns = [re.escape(term).replace("\\ ", r"\s+") for term in longest_first]
    return re.compile("|".join(patterns), re.IGNORECASE) if patterns else None


def _snippet(content: str, pattern: "re.Pattern[str] | None") -> tuple[tuple[str, bool], ...]:
    """Return the piece of `content` around the first find, in parts that are finds or not, on one line."""
    text = content
    first = pattern.search(text) if pattern else None
    if pattern and not first:  # the search sees ﬁ as fi and é as e + accent as é; so does whoever looks for the find
        text = unicodedata.normalize("NFKC", content)
        first = pattern.search(text)
    begin = max(first.start() - SNIPPET_BEFORE, 0) if first else 0
    piece = " ".join(text[begin : begin + SNIPPET_LENGTH].split())
    parts: list[tuple[str, bool]] = [("…", False)] if begin else []
    end = 0
    for found in pattern.finditer(piece) if pattern else ():
        parts += [(piece[end : found.start()], False), (found[0], True)]
        end = found.end()
    parts.append((piece[end:], False))
    if begin + SNIPPET_LENGTH < len(text):
        parts.append(("…", False))
    return tuple(part for part in parts if part[0])
