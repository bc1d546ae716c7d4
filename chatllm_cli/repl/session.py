"""One run of the chat loop: read a line, do a turn or a command, show it, and again."""

import asyncio
import importlib
import signal
import threading
from collections.abc import Awaitable

from prompt_toolkit import PromptSession

from chatllm_cli.bootstrap import Services
from chatllm_cli.errors import ChatllmError
from chatllm_cli.models import ChatOptions, Conversation, Endpoint, Message
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.turn_views import open_turn_view
from chatllm_cli.repl import slash_commands
from chatllm_cli.repl.key_bindings import build_key_bindings
from chatllm_cli.repl.quiet_terminal import quiet_terminal
from chatllm_cli.services.history import OpenConversation

PROMPT = "> "


class Session:
    """The loop and what it holds: the conversation that goes on, and the model that answers."""

    def __init__(
        self,
        services: Services,
        renderer: Renderer,
        endpoint: Endpoint,
        *,
        system_prompt: str | None = None,
        last: Conversation | None = None,
    ) -> None:
        self.renderer = renderer
        self._services = services
        self._endpoint = endpoint
        self._system_prompt = system_prompt
        self._last = last
        settings = services.settings
        self._chat = services.build_chat(cached=settings.cache.mode == "always" and settings.history.enabled)
        self._log: OpenConversation | None = None
        self._is_over = False

    async def run(self) -> None:
        """Read and answer until /exit or Ctrl-D."""
        self._import_langchain_meanwhile()
        prompt: PromptSession[str] = PromptSession(
            multiline=True, key_bindings=build_key_bindings(), prompt_continuation="  "
        )
        if self._last:
            self.renderer.notice(f"going on with '{self._last.title}', {len(self._last.thread())} messages so far")
        self.renderer.notice(f"{self._endpoint.address} · /help shows what can be typed, Ctrl-D leaves")
        while not self._is_over:
            try:
                line = await prompt.prompt_async(PROMPT)
            except KeyboardInterrupt:  # the line is cleared
                continue
            except EOFError:
                return
            await self._take(line)

    def leave(self) -> None:
        """End the loop after this line."""
        self._is_over = True

    async def _take(self, line: str) -> None:
        if not line.strip():
            return
        name = slash_commands.parse(line)
        if name is None:
            await self._turn(line)
        elif command := slash_commands.COMMANDS.get(name):
            await command.handler(self)
        else:
            self.renderer.notice(slash_commands.nearest(name))

    async def _turn(self, prompt: str) -> None:
        view = open_turn_view(self.renderer, self._endpoint.address)
        settings = self._services.settings
        options = ChatOptions(settings.temperature, settings.max_tokens)
        try:
            log = await self._open(prompt)
            with quiet_terminal():
                reply = await _until_interrupted(self._chat.send(log, prompt, self._endpoint, options, view))
        except ChatllmError as error:
            view.close()
            self.renderer.error(error)
            return
        finally:
            view.close()
        if reply:
            self.renderer.ending(reply)
        else:
            self.renderer.stopped(is_kept=log.is_kept)

    async def _open(self, prompt: str) -> OpenConversation:
        """Return the conversation; a new one begins with its first prompt."""
        if self._log is None:
            self._log = await self._services.open_conversation(
                prompt, self._endpoint, system_prompt=self._system_prompt, last=self._last
            )
        return self._log

    def _import_langchain_meanwhile(self) -> None:
        """Import it while the first prompt is typed; it takes most of a second."""
        module = "chatllm_cli.services.llm"
        threading.Thread(target=importlib.import_module, args=[module], daemon=True).start()


async def _until_interrupted(turn: Awaitable[Message]) -> Message | None:
    """Await `turn` in a task of its own that Ctrl-C cancels, and nothing else; None if it did.

    With asyncio's own handler the loop itself would be cancelled, and end with 130 on a later Ctrl-D.
    """
    task = asyncio.ensure_future(turn)
    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        if this and this.cancelling():  # TERM or HUP: the session itself is to end
            raise
        return None
    finally:
        loop.remove_signal_handler(signal.SIGINT)
