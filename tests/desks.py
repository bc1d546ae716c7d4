"""A session at a desk: over a fake model, with keys that can be sent and output that can be read."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO

from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from chatllm_cli.bootstrap import Services
from chatllm_cli.config.loading import load_settings
from chatllm_cli.config.places import Places
from chatllm_cli.message_content import text_in
from chatllm_cli.models import ChatOptions, Conversation
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.repl.loop import Loop
from chatllm_cli.repl.session import Session
from tests.fakes import ENDPOINT, FakeLLM

ENTER, ALT_ENTER, CTRL_C, CTRL_D, CTRL_J, CTRL_R, CTRL_U = "\r", "\x1b\r", "\x03", "\x04", "\n", "\x12", "\x15"
CTRL_X_CTRL_E, ESCAPE, TAB, RIGHT, UP, DOWN = "\x18\x05", "\x1b", "\t", "\x1b[C", "\x1b[A", "\x1b[B"
PASTE_BEGINS, PASTE_ENDS = "\x1b[200~", "\x1b[201~"
WAIT = 0.005


class Desk:
    """A session over a fake model."""

    def __init__(self, places: Places, keys: PipeInput, *, last: Conversation | None = None) -> None:
        self.places, self.keys = places, keys
        self.llm = FakeLLM()
        self.begin(last)

    def begin(
        self,
        last: Conversation | None = None,
        wrap: Callable[[str], str] | None = None,
        system_prompt: str | None = None,
    ) -> None:
        """Sit down for another session, with the same model."""
        self.stdout, self.stderr = StringIO(), StringIO()
        self.services = Services(load_settings(), self.places, llm=self.llm)
        self.session = Session(
            self.services, [ENDPOINT], ChatOptions(), last=last, wrap=wrap, system_prompt=system_prompt
        )
        self.loop = Loop(self.session, Renderer(self.stdout, self.stderr))

    async def run(self, keys: str) -> None:
        """Type all of `keys` and wait for the session to end."""
        self.keys.send_text(keys)
        await asyncio.wait_for(self.loop.run(), 10)

    @property
    def told(self) -> list[str]:
        """The lines on stderr, without the greeting."""
        return self.stderr.getvalue().splitlines()[1:]

    @property
    def shown(self) -> str:
        """What is on stdout."""
        return self.stdout.getvalue()

    @property
    def prompts(self) -> list[str]:
        """What was sent, request by request."""
        return [text_in(request.messages[-1][1]) for request in self.llm.requests]

    @property
    def line(self) -> str:
        """What stands in the line now."""
        return self.loop.line

    async def thread(self) -> list[str]:
        """Return what is on the disk of the conversation used last, from the first message to the head."""
        return [message.content for message in (await self.services.history.last()).thread()]


@contextmanager
def open_desk(places: Places) -> Iterator[Desk]:
    """Sit down at a desk."""
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        yield Desk(places, keys)
