"""What the arrow keys, Ctrl-R and the greyed suggestions draw on: the prompts of this session and of earlier ones."""

from collections.abc import Callable, Iterable
from contextlib import suppress

from prompt_toolkit.auto_suggest import AutoSuggest, Suggestion
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.history import History

from chatllm_cli.render.clean import clean
from chatllm_cli.services.input_history import InputHistory


class Recall(History):
    """The input history as the prompt uses it; what is private is recalled in this session, and not kept."""

    def __init__(self, kept: InputHistory, keeps: Callable[[], bool], checked: Callable[[str], str]) -> None:
        super().__init__()
        self._kept = kept
        self._keeps = keeps
        self._checked = checked  # without secrets, if those are not to be kept

    def load_history_strings(self) -> Iterable[str]:
        """Return what was typed before, the newest first."""
        with suppress(OSError):  # it is a convenience
            yield from map(clean, reversed(self._kept.load()))  # who wrote into that file is not known

    def store_string(self, string: str) -> None:
        """Keep what was typed."""
        if self._keeps():
            with suppress(OSError):
                self._kept.add(self._checked(string))


class Suggest(AutoSuggest):
    """Suggests the rest of the newest prompt that begins like what is typed."""

    def get_suggestion(self, buffer: Buffer, document: Document) -> Suggestion | None:
        """Return what the right arrow would add, up to the end of that line."""
        text = document.text
        if not text.strip() or "\n" in text:
            return None
        found = next((each for each in reversed(buffer.history.get_strings()) if each.startswith(text)), text)
        rest = found[len(text) :].partition("\n")[0]
        return Suggestion(rest) if rest else None
