"""What a slash command needs of the loop that it is typed in, and what it is made of."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from chatllm_cli.frozen import frozen
from chatllm_cli.models import Attachment, Message
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.turn_views import TurnView
from chatllm_cli.repl.session import Session

if TYPE_CHECKING:
    from chatllm_cli.services.attachments.reading import Reading


@frozen
class Candidate:
    """What an argument may be, and what is said of it."""

    text: str
    about: str = ""


@frozen
class Draft:
    """What stands in the line before anything is typed."""

    text: str = ""
    instead_of: Message | None = None  # the prompt that it takes the place of, on a branch of its own
    attachments: tuple[Attachment, ...] = ()  # which go with it
    pasted: str = ""  # of the text
    opens_editor: bool = False
    came_back: bool = False  # because it brought no answer: it is kept, and nobody need send it


class Loop(Protocol):
    """The loop."""

    renderer: Renderer
    session: Session

    def leave(self) -> None:
        """End after this line."""

    def put_into_line(self, draft: Draft) -> None:
        """Begin the next line with this."""

    def replay(self) -> None:
        """Show how the conversation ended that is gone on with."""

    def clear_screen(self) -> None:
        """Take everything off the screen."""

    def attach(self, reading: "Reading") -> None:
        """Attach what was read to the next prompt, and say what that is."""

    async def pick(self) -> str | None:
        """Let the user pick a conversation, and return its id; None if none is wanted."""

    async def show_turn(self, turn: Callable[[TurnView], Awaitable[Message]], begun: str = "") -> None:
        """Do a turn and show it; `begun` is the text of a reply that is taken up."""


Handler = Callable[[Loop, str], Awaitable[None]]
Candidates = Callable[[Loop, str], Awaitable[Sequence[Candidate]]]


@frozen
class SlashCommand:
    """One command: how it is written, what it is for, what it does, and what its argument may be."""

    name: str
    arguments: str  # as help shows them
    help: str
    handler: Handler
    candidates: Candidates | None = None
    takes_lines: bool = False  # whether its argument may have several
