"""Conversations of simonw/llm, from its logs.db: of any version, told by the tables that are there."""

from collections.abc import Sequence

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.foreign import llm_responses, llm_threads
from chatllm_cli.formats.foreign.llm_threads import Told
from chatllm_cli.formats.foreign.llm_tree import Tree
from chatllm_cli.formats.reading.source import Imported, Outcome, Outcomes, Source
from chatllm_cli.formats.reading.sqlite_files import Database, is_database, opened
from chatllm_cli.ids import stable_id
from chatllm_cli.models import Conversation

# Characters of all conversations: a fragment stands once in the file, and may be in each of them.
MOST_SAID = 4 * 2**30


def is_one(source: Source) -> bool:
    """Tell whether a file is a database that llm keeps its logs in. Raises `FormatError` for a damaged one."""
    if not is_database(source):
        return False
    with opened(source) as database:
        return _is_llms(database)


def load(source: Source) -> Outcomes:
    """Yield each conversation, those of the older tables last; what stands in both is one.

    Raises `FormatError` for what is no such database.
    """
    with opened(source) as database:
        if not _is_llms(database):
            raise FormatError("it is a database, but not one of llm's logs")
        with database.at_once():
            families, older = llm_threads.families(database), llm_responses.conversations(database)
            reader = _Reader(database, older)
        said = 0
        for key, threads in [*families.items(), *((key, []) for key in older)]:
            for outcome in reader.outcomes(key, threads):
                yield outcome
                said += _length(outcome)
            if database.is_exhausted or said > MOST_SAID:
                yield FormatError("the conversations after it are left out: there is too much to read")
                return


def _length(outcome: Outcome) -> int:
    return sum(len(each.content) for each in outcome.conversation.messages) if isinstance(outcome, Imported) else 0


def _is_llms(database: Database) -> bool:
    return llm_threads.are_in(database) or llm_responses.are_in(database)


class _Reader:
    def __init__(self, database: Database, older: dict[str, llm_responses.Rows]) -> None:
        self._database = database
        self._older = older
        self._responses = llm_responses.Reader(database)

    def outcomes(self, key: str, threads: Sequence[str]) -> Outcomes:
        """Yield a conversation, unless nothing was said in it, or it was read already."""
        try:
            with self._database.at_once():
                imported = self._read(key, threads)
        except FormatError as error:
            yield FormatError(f"conversation {key[:60]}: {error.message}")
        else:
            yield from [imported] if imported else ()

    def _read(self, key: str, threads: Sequence[str]) -> Imported | None:
        tree, told = Tree(key), Told()
        for each in threads or [key]:
            if rows := self._older.pop(each, None):
                told = Told(self._responses.title(each), self._responses.read(rows, tree))
        if threads:
            newer = llm_threads.read(self._database, threads, tree)
            told = Told(told.title or newer.title, newer.head or told.head)
        messages = tuple(tree.messages.values())
        if not messages:
            return None
        model = next((message.model for message in messages if message.model), "")
        conversation = Conversation(
            stable_id("llm", key), told.title, messages[0].at, model or "", tree.system_prompt, messages, told.head
        )
        return Imported(conversation, tree.files)
