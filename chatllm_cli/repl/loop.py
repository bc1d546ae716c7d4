"""The chat loop: read a line, do a turn or a command, show it, and again."""

import asyncio
import errno
import signal
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from prompt_toolkit.application import get_app_session

from chatllm_cli.background_imports import import_in_background
from chatllm_cli.errors import ChatllmError, HistoryError, IncompleteAnswerError, UsageError
from chatllm_cli.models import Attachment, Message
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.replay import show_last_turns
from chatllm_cli.render.turn_views import TurnView
from chatllm_cli.repl import slash_commands
from chatllm_cli.repl.completion import PromptCompleter
from chatllm_cli.repl.mentions import find_mentions
from chatllm_cli.repl.picker import pick
from chatllm_cli.repl.ports import Draft
from chatllm_cli.repl.prompt_line import PromptLine
from chatllm_cli.repl.quiet_terminal import make_quiet, modes, set_modes
from chatllm_cli.repl.recall import Recall
from chatllm_cli.repl.session import Session
from chatllm_cli.repl.toolbar import status_line
from chatllm_cli.repl.turns import Turn, Turns
from chatllm_cli.repl.type_ahead import take_early_keys

if TYPE_CHECKING:
    from chatllm_cli.services.attachments.reading import Reading

# Imported while the first prompt is typed: it takes half a second. Not before its line is on the screen, which would
# come a quarter of a second later.
NEEDED_FOR_A_TURN = (
    "chatllm_cli.services.history",
    "chatllm_cli.services.chat",
    "chatllm_cli.render.footed_view",
    "chatllm_cli.services.llm",
)
HANG_UP = 0.5  # seconds until the signal has come


class Loop:
    """Reads what is typed and has it done, until /exit or Ctrl-D."""

    def __init__(self, session: Session, renderer: Renderer) -> None:
        self.session = session
        self.renderer = renderer
        self._modes = modes()
        self._turns = Turns(session, renderer, self._modes)
        services = session.services
        recall = Recall(services.input_history, lambda: not session.is_private, self._checked)
        self._line = PromptLine(
            recall,
            PromptCompleter(self),
            lambda width: status_line(session, width),
            renderer.error,
            on_shown=lambda: import_in_background(*NEEDED_FOR_A_TURN),
        )
        self._draft = Draft()
        self._reckoning: asyncio.Future[None] | None = None
        self._work: asyncio.Future[None] | None = None  # of a command, which Ctrl-C stops
        self._is_over = False

    def _checked(self, text: str) -> str:
        """Return what was typed as it may be kept: the guard is another one after /set redact."""
        return self.session.services.guard.checked_title(text)

    async def run(self) -> None:
        """Read and answer until it is over; a conversation that could not be saved before is saved then."""
        # For as long as the session lasts: with none between two turns, a second Ctrl-C would end it.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        make_quiet(keeps_keys=True)
        take_early_keys(get_app_session().input)
        self._greet()
        try:
            while not self._is_over:
                await self._read()
        except EOFError:
            await self._await_hang_up()
        except OSError as error:
            this = asyncio.current_task()
            if error.errno != errno.EIO or (this and this.cancelling()):
                raise
            await self._await_hang_up()
        finally:
            self._line.keep_typed_ahead()
            if self._modes:
                set_modes(self._modes)
            await self.session.close()

    async def _await_hang_up(self) -> None:
        """Let the signal come that ends this, if it was the terminal that ended: that may be ignored."""
        if self._modes and modes() is None:
            await asyncio.sleep(HANG_UP)

    @property
    def line(self) -> str:
        """What stands in the line."""
        return self._line.text

    @property
    def is_reading(self) -> bool:
        """Whether the line is open."""
        return self._line.is_open

    def leave(self) -> None:
        """End after this line."""
        self._is_over = True

    def put_into_line(self, draft: Draft) -> None:
        """Begin the next line with this."""
        self._draft = draft

    def replay(self) -> None:
        """Show how the conversation ended that is gone on with."""
        if conversation := self.session.conversation:
            count = len(conversation.thread())
            self.renderer.notice(f"going on with '{conversation.title}', {count} messages so far")
            show_last_turns(self.renderer, conversation, self.session.services.settings.repl.replay)
            self._reckoning = asyncio.ensure_future(self._reckon())

    def clear_screen(self) -> None:
        """Take everything off the screen; what was scrolled off stays."""
        if self.renderer.can_paint:
            self.renderer.put("\x1b[2J\x1b[H")

    def attach(self, reading: "Reading") -> None:
        """Attach what was read to the next prompt, and say what that is."""
        self.session.attached += [each for each in reading.attachments if each not in self.session.attached]
        self._tell_of(reading)

    async def pick(self) -> str | None:
        """Let the user pick a conversation, and return its id; None if none is wanted."""
        history = self.session.services.history
        if not (conversations := (await history.list()).conversations):
            raise UsageError("there is no conversation yet")
        return await pick(conversations, history.load)

    async def show_turn(self, turn: Turn, begun: str = "") -> None:
        """Do a turn and show it."""
        await self._turns.show(turn, begun)

    async def _read(self) -> None:
        self._line.use(self.session.services.settings)
        draft, self._draft = self._draft, Draft()
        if draft.text and self.renderer.out.is_dumb:
            self.renderer.notice(f"this terminal cannot have a line filled in; it would be: {draft.text}")
            draft = replace(draft, text="")
        line, draft = await self._line.read(draft)
        if not line.strip():
            return
        if name := slash_commands.command_with_lines(line):
            self.renderer.error(UsageError(f"/{name} is one line: nothing is done, and nothing sent"))
            self._bring_back(replace(draft, text=line))
        elif (call := slash_commands.parse(line)) is None:
            await self._send(line, draft)
        else:
            await self._do(*call)

    async def _do(self, name: str, argument: str) -> None:
        if not (command := slash_commands.COMMANDS.get(name)):
            self.renderer.notice(slash_commands.nearest(name))
            return
        if argument and not command.arguments:
            self.renderer.error(UsageError(f"/{name} takes nothing behind it"))
            return
        try:
            if not await self._is_done(command.handler(self, argument)):
                self.renderer.notice("stopped")
        except HistoryError as error:
            error.hint = "it is done all the same, and written as soon as that can be"
            self.renderer.error(error)
        except ChatllmError as error:
            self.renderer.error(error)
        except Exception as error:  # noqa: BLE001  (a fault of ours in one command must not cost the session)
            message = f"internal error in /{name}: {type(error).__name__}: {error}"
            self.renderer.error(ChatllmError(message, hint="the conversation goes on; please report it"))

    async def _is_done(self, work: Awaitable[None]) -> bool:
        """Do some work that Ctrl-C stops; tell whether it came to its end."""
        self._work, this = asyncio.ensure_future(work), asyncio.current_task()
        try:
            await self._work
        except asyncio.CancelledError:
            if this and this.cancelling():  # TERM or HUP: the session itself is to end
                raise
            return False
        finally:
            self._work = None
        return True

    async def _send(self, prompt: str, draft: Draft) -> None:
        """Do a turn; a prompt that failed comes back into the line, and what was attached stays so."""
        draft = replace(draft, text=prompt, pasted=self._line.pasted, opens_editor=False)
        mentioned: list[Attachment] = []
        try:
            is_read = await self._is_done(self._read_mentioned(prompt, mentioned))
        except ChatllmError as error:
            self.renderer.error(error)
            is_read = False
        if not is_read:
            self._bring_back(draft)
            return
        wanted = [*draft.attachments, *self.session.attached, *mentioned]
        attachments = tuple({each.name: each for each in wanted}.values())  # of a file that changed, as it is now
        self.session.attached.clear()

        async def turn(view: TurnView) -> Message:
            return await self.session.send(prompt, view, attachments=attachments, instead_of=draft.instead_of)

        outcome = await self._turns.show(turn)
        if outcome.error is not None and not isinstance(outcome.error, IncompleteAnswerError):
            self.session.attached += attachments
            self._bring_back(replace(draft, attachments=(), came_back=True))

    def _bring_back(self, draft: Draft) -> None:
        """Begin the next line with a draft, unless something is typed already; what is attached stays so."""
        self.session.attached += draft.attachments
        for each in self.session.attached:
            self.renderer.notice(f"still attached: {each.told}")
        if not self._line.is_typed_ahead:
            self._draft = replace(draft, attachments=())

    async def _read_mentioned(self, prompt: str, attached: list[Attachment]) -> None:
        """Attach what a prompt names by @PATH. Raises `ChatllmError`."""
        if "@" not in prompt:
            return
        found = await asyncio.to_thread(find_mentions, prompt, self._line.pasted)
        for name in found.missing:
            self.renderer.notice(f"there is no file '{name}': @{name} is sent as it is written")
        for name in found.pasted:
            self.renderer.notice(f"@{name} was pasted, not typed: it is not attached (/file {name} attaches it)")
        for name in found.meant:
            reading = await self.session.services.attachments.read(name)
            self._tell_of(reading)
            attached += reading.attachments

    def _tell_of(self, reading: "Reading") -> None:
        from chatllm_cli.services.chat.announcements import announced  # noqa: PLC0415  (only where it is used)

        for line in announced(reading):
            self.renderer.notice(line)

    async def _reckon(self) -> None:
        """Find out how full the context is, for the toolbar; it may take a while to find a model's size."""
        with suppress(ChatllmError):
            await self.session.reckon()
        self._line.refresh()

    def _greet(self) -> None:
        session, conversation = self.session, self.session.conversation
        if conversation:
            self.replay()
        if session.is_private:
            self.renderer.notice("private: nothing of this is kept")
        if session.wraps:
            self.renderer.notice("your first prompt goes into the one that -p names")
        self.renderer.notice(f"{session.endpoints[0].address} · /help shows what can be typed, Ctrl-D leaves")

    def _interrupt(self) -> None:
        """Stop the reply that streams; at the prompt, do as Ctrl-C there."""
        if self._turns.interrupt():
            return
        if self._line.is_open:
            if not self._line.is_edited:
                self._line.clear()
        elif self._work:
            self._work.cancel()
