"""A turn that goes on while something else is on the screen: what it tells is kept until it has a view."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime

from chatllm_cli.errors import ChatllmError, HistoryError
from chatllm_cli.models import BudgetUse, Endpoint, RetryWait, Trimmed
from chatllm_cli.render.turn_views import TurnView

Lend = Callable[[], AbstractContextManager[None]]


class LateView:
    """Listens to a turn, and passes on what it is told: at once if it has a view, else as soon as it is given one."""

    def __init__(self, lend: Lend, *, tells_secrets: bool) -> None:
        """Listen without a view; `lend` gives the terminal meanwhile to whoever asks a person."""
        self.tells_secrets = tells_secrets
        self._lend = lend
        self._view: TurnView | None = None
        self._kept: list[Callable[[TurnView], object]] = []
        self._text: list[str] = []  # of the reply, since the last that was kept of something else

    def show(self, view: TurnView) -> None:
        """Tell `view` all that was kept, and whatever comes from now on."""
        self._keep_text()
        for tell in self._kept:
            tell(view)
        self._kept.clear()
        self._view = view

    def on_chunk(self, text: str) -> None:
        """Take the next piece of the reply; a view gets in one what came before it."""
        if self._view:
            self._view.on_chunk(text)
        else:
            self._text.append(text)

    def lend_terminal(self) -> AbstractContextManager[None]:
        """Leave the terminal to something else while the block runs, whatever is on it."""
        return self._view.lend_terminal() if self._view else self._lend()

    def on_secrets(self, kinds: Sequence[str], *, replaced: bool) -> None:
        """Say what the prompt holds, and what was done about it."""
        self._tell(lambda view: view.on_secrets(kinds, replaced=replaced))

    def on_reasoning(self, text: str) -> None:
        """Show the next piece of what the model thinks aloud."""
        self._tell(lambda view: view.on_reasoning(text))

    def on_cached(self, at: datetime) -> None:
        """Say that the reply is from the cache."""
        self._tell(lambda view: view.on_cached(at))

    def on_cache_fault(self, fault: str) -> None:
        """Say that the turn goes on without the cache."""
        self._tell(lambda view: view.on_cache_fault(fault))

    def on_silence(self, seconds: float) -> None:
        """Let a wait be seen to go on; one that nobody sees is not told later."""
        if self._view:
            self._view.on_silence(seconds)

    def on_wait(self, wait: RetryWait) -> None:
        """Count down to the next try."""
        self._tell(lambda view: view.on_wait(wait))

    def on_trimmed(self, trimmed: Trimmed) -> None:
        """Say what is not in the request as it was said."""
        self._tell(lambda view: view.on_trimmed(trimmed))

    def on_budget(self, use: BudgetUse) -> None:
        """Say how much of a budget is spent."""
        self._tell(lambda view: view.on_budget(use))

    def on_unheld(self, use: BudgetUse) -> None:
        """Say how many replies no budget holds."""
        self._tell(lambda view: view.on_unheld(use))

    def on_unpriced(self, endpoint: Endpoint) -> None:
        """Say that no budget holds this model."""
        self._tell(lambda view: view.on_unpriced(endpoint))

    def on_fallback(self, error: ChatllmError, endpoint: Endpoint) -> None:
        """Say who is asked instead."""
        self._tell(lambda view: view.on_fallback(error, endpoint))

    def on_history_error(self, error: HistoryError) -> None:
        """Say that the turn goes on but is not kept."""
        self._tell(lambda view: view.on_history_error(error))

    def _tell(self, tell: Callable[[TurnView], object]) -> None:
        if self._view:
            tell(self._view)
        else:
            self._keep_text()
            self._kept.append(tell)

    def _keep_text(self) -> None:
        if self._text:
            text = "".join(self._text)
            self._kept.append(lambda view: view.on_chunk(text))
            self._text.clear()
