"""One run of the chat loop: read a line, do a turn or a command, show it, and again."""

import asyncio
import importlib
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from prompt_toolkit import PromptSession
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.keys import Keys

from chatllm_cli.bootstrap import Services
from chatllm_cli.errors import ChatllmError, IncompleteAnswerError, UsageError
from chatllm_cli.models import ChatOptions, Conversation, Endpoint, Message
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.turn_views import TurnView, open_turn_view
from chatllm_cli.repl import slash_commands
from chatllm_cli.repl.key_bindings import build_key_bindings
from chatllm_cli.repl.quiet_terminal import quiet_terminal
from chatllm_cli.services.history import OpenConversation

PROMPT = "> "
GO_ON = "/continue"


class Session:
    """The loop and what it holds: the conversation that goes on, and the models that answer."""

    def __init__(
        self,
        services: Services,
        renderer: Renderer,
        endpoints: Sequence[Endpoint],
        options: ChatOptions,
        *,
        system_prompt: str | None = None,
        last: Conversation | None = None,
        wrap: Callable[[str], str] | None = None,
    ) -> None:
        self.renderer = renderer
        renderer.asks_again = ""
        self._services = services
        self._endpoints = endpoints
        self._system_prompt = system_prompt
        self._last = last
        self._wrap = wrap  # what the first prompt is put into
        settings = services.settings
        self._options = options
        self._chat = services.build_chat(
            cached=settings.cache.mode in {"always", "refresh"} and settings.history.enabled
        )
        self._log: OpenConversation | None = None
        self._prompt: PromptSession[str] = PromptSession(
            multiline=True, key_bindings=build_key_bindings(), prompt_continuation="  "
        )
        self._turn: asyncio.Future[Message] | None = None
        self._titling: asyncio.Future[None] | None = None
        self._is_over = False

    async def run(self) -> None:
        """Read and answer until /exit or Ctrl-D."""
        self._import_langchain_meanwhile()
        # For as long as the session lasts: with none between two turns, a second Ctrl-C would end it.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        if self._last:
            self.renderer.notice(f"going on with '{self._last.title}', {len(self._last.thread())} messages so far")
        if not self._services.settings.history.enabled:
            self.renderer.notice("private: nothing of this is kept")
        self.renderer.notice(f"{self._endpoints[0].address} · /help shows what can be typed, Ctrl-D leaves")
        try:
            await self._read_and_answer()
        finally:
            if self._titling:
                self._titling.cancel()
        if self._log:
            await self._log.save()

    async def _read_and_answer(self) -> None:
        while not self._is_over:
            try:
                line = await self._prompt.prompt_async(PROMPT, handle_sigint=False)
            except KeyboardInterrupt:  # the line is cleared
                continue
            except EOFError:
                return
            await self._take(line)

    def leave(self) -> None:
        """End the loop after this line."""
        self._is_over = True

    async def go_on(self) -> None:
        """Take up the last answer where it stopped."""
        conversation = self._log.conversation if self._log else self._last
        await self._show_turn(self._go_on, conversation.last_text if conversation else "")

    async def _take(self, line: str) -> None:
        if not line.strip():
            return
        name = slash_commands.parse(line)
        if name is None:
            await self._show_turn(lambda view: self._send(line, view))
        elif command := slash_commands.COMMANDS.get(name):
            await command.handler(self)
        else:
            self.renderer.notice(slash_commands.nearest(name))

    async def _send(self, prompt: str, view: TurnView) -> Message:
        log = await self._open(prompt)
        wrap, self._wrap = self._wrap, None
        return await self._chat.send(log, wrap(prompt) if wrap else prompt, self._endpoints, self._options, view)

    async def _go_on(self, view: TurnView) -> Message:
        if self._log is None and self._last is None:
            raise UsageError("there is no answer yet to go on with")
        return await self._chat.go_on(await self._open(""), self._endpoints, self._options, view)

    async def _show_turn(self, turn: Callable[[TurnView], Awaitable[Message]], begun: str = "") -> None:
        view = open_turn_view(self.renderer, self._endpoints[0].address, begun)
        if self._titling and not self._titling.done():  # the turn comes first; the title gets another chance after it
            self._titling.cancel()
            self._titling = None
        try:
            with quiet_terminal() as lifted:
                view.lends(lifted)
                reply = await self._until_interrupted(turn(view))
        except ChatllmError as error:
            view.close()
            if isinstance(error, IncompleteAnswerError):
                error.hint = f"{GO_ON} goes on"
            self.renderer.error(error)
            return
        finally:
            view.close()
        if reply:
            self._give_title()
            self.renderer.ending(reply, command=GO_ON)
            if self.renderer.shows_usage and self._log:
                self.renderer.usage(await self._chat.bill(self._log.conversation, reply, self._endpoints))
        else:
            kept = self._log.conversation.thread()[-1] if self._log and self._log.is_kept else None
            self.renderer.stopped(kept, command=GO_ON)

    def _give_title(self) -> None:
        """Ask the model for a title while the next prompt is typed, once, if that is wished."""
        wished = self._services.settings.history
        if wished.titles != "model" or not wished.enabled or self._titling or self._last or self._log is None:
            return
        self._titling = asyncio.ensure_future(self._title(self._log))

    async def _title(self, log: OpenConversation) -> None:
        with suppress(ChatllmError):
            if title := await self._chat.title(log, self._endpoints[0]):
                await log.set_title(title)

    async def _open(self, prompt: str) -> OpenConversation:
        """Return the conversation; a new one begins with its first prompt."""
        if self._log is None:
            self._log = await self._services.open_conversation(
                prompt, self._endpoints[0], system_prompt=self._system_prompt, last=self._last
            )
        return self._log

    async def _until_interrupted(self, turn: Awaitable[Message]) -> Message | None:
        """Await `turn` in a task of its own that Ctrl-C cancels, and nothing else; None if it did.

        With asyncio's own handler the loop itself would be cancelled, and end with 130 on a later Ctrl-D.
        """
        self._turn, this = asyncio.ensure_future(turn), asyncio.current_task()
        if self._was_interrupted_ahead():
            asyncio.get_running_loop().call_soon(self._turn.cancel)  # after its first step: the prompt is kept
        try:
            return await self._turn
        except asyncio.CancelledError:
            if this and this.cancelling():  # TERM or HUP: the session itself is to end
                raise
            return None
        finally:
            self._turn = None

    def _was_interrupted_ahead(self) -> bool:
        """Tell whether Ctrl-C came in one burst with the Enter before it, and was read along with that."""
        keys = get_typeahead(self._prompt.app.input)
        interrupts = [place for place, press in enumerate(keys) if press.key == Keys.ControlC]
        store_typeahead(self._prompt.app.input, keys[interrupts[-1] + 1 :] if interrupts else keys)
        return bool(interrupts)

    def _interrupt(self) -> None:
        """Stop the reply that streams; at the prompt, do as Ctrl-C there."""
        if self._turn:
            self._turn.cancel()
        elif self._prompt.app.is_running:
            self._prompt.app.key_processor.send_sigint()

    def _import_langchain_meanwhile(self) -> None:
        """Import it while the first prompt is typed; it takes most of a second."""
        module = "chatllm_cli.services.llm"
        threading.Thread(target=importlib.import_module, args=[module], daemon=True).start()
