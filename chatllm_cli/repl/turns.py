"""A turn in the REPL: shown as it streams, stopped by Ctrl-C alone, and what is said of it at its end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from prompt_toolkit.application import get_app_session

from chatllm_cli.errors import ChatllmError, IncompleteAnswerError
from chatllm_cli.frozen import frozen
from chatllm_cli.models import Message
from chatllm_cli.render.footer import Footer
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.turn_views import TurnView, open_turn_view
from chatllm_cli.repl.quiet_terminal import make_quiet
from chatllm_cli.repl.session import Session
from chatllm_cli.repl.toolbar import status_line
from chatllm_cli.repl.type_ahead import TypeAhead

GO_ON, RETRY = "/continue", "/retry"
CHARACTERS_PER_TOKEN = 4  # about
Turn = Callable[[TurnView], Awaitable[Message]]


@frozen
class Outcome:
    """What became of a turn."""

    reply: Message | None = None  # None if the user stopped it, or it failed
    error: ChatllmError | None = None


class Turns:
    """Does turns, one at a time."""

    def __init__(self, session: Session, renderer: Renderer, modes: list[Any] | None = None) -> None:
        renderer.asks_again = f" ({RETRY} asks again)"
        self._session = session
        self._renderer = renderer
        self._modes = modes  # of the terminal, before it was made quiet
        self._running: asyncio.Future[Message] | None = None
        self._typed: TypeAhead | None = None
        self._view: TurnView | None = None

    async def show(self, turn: Turn, begun: str = "") -> Outcome:
        """Do a turn and show it; `begun` is the text of a reply that is taken up."""
        self._session.stop_title()
        before = self._head
        keyboard = get_app_session()
        typed = self._typed = TypeAhead(keyboard.input, keyboard.output)
        footer = Footer(self._status, lambda: typed.draft)
        view = open_turn_view(self._renderer, self._session.endpoints[0].address, begun, footer=footer)
        self._view = view
        try:
            with typed.reading(view, self._modes) as lifted:
                view.lends(lifted)
                reply = await self._until_interrupted(turn(view), at_once=typed.was_interrupted)
        except ChatllmError as error:
            view.close()
            if isinstance(error, IncompleteAnswerError):
                error.hint = f"{GO_ON} goes on"
            self._renderer.error(error)
            return Outcome(error=error)
        finally:
            view.close()
            self._typed = self._view = None
            make_quiet(keeps_keys=True)  # until the next prompt is open: an Enter in the gap stays one
        if reply:
            await self._end(reply)
        else:
            self._tell_stopped(before)
        return Outcome(reply)

    def interrupt(self) -> bool:
        """Stop the turn that is under way, and tell whether there is one; what was typed meanwhile is not sent."""
        if self._running:
            self._running.cancel()
            if self._typed:
                self._typed.hold()
        return self._running is not None

    def _status(self, width: int) -> str:
        if not self._session.services.settings.repl.toolbar:
            return ""
        coming = self._view.characters // CHARACTERS_PER_TOKEN if self._view else 0
        return status_line(self._session, width, coming=coming)

    @property
    def _head(self) -> str | None:
        return self._session.conversation.head if self._session.conversation else None

    async def _end(self, reply: Message) -> None:
        self._session.begin_title()
        self._renderer.ending(reply, command=GO_ON)
        await self._session.reckon()
        if self._renderer.shows_usage and self._session.bill:
            self._renderer.usage(self._session.bill)

    def _tell_stopped(self, before: str | None) -> None:
        conversation = self._session.conversation
        if conversation and conversation.head == before and conversation.last_text:
            self._renderer.notice("stopped; nothing came, and the answer that there was stands")
            return
        kept = conversation.thread()[-1] if conversation and self._session.is_kept else None
        self._renderer.stopped(kept, command=GO_ON)

    async def _until_interrupted(self, turn: Awaitable[Message], *, at_once: bool) -> Message | None:
        """Await `turn` in a task of its own that Ctrl-C cancels, and nothing else; None if it did.

        With asyncio's own handler the loop itself would be cancelled, and end with 130 on a later Ctrl-D.
        """
        self._running, this = asyncio.ensure_future(turn), asyncio.current_task()
        if at_once:
            asyncio.get_running_loop().call_soon(self._running.cancel)  # after its first step: the prompt is kept
        try:
            return await self._running
        except asyncio.CancelledError:
            if this and this.cancelling():  # TERM or HUP: the session itself is to end
                raise
            return None
        finally:
            self._running = None
