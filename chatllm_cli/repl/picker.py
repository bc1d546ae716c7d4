"""Picking a conversation: type to narrow the list down, with the end of the chosen one beneath."""

from collections.abc import Awaitable, Callable, Sequence

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import BufferControl, FormattedTextControl, HSplit, Layout, Window
from prompt_toolkit.layout.processors import BeforeInput

from chatllm_cli.errors import ChatllmError
from chatllm_cli.models import Conversation, Role, Summary
from chatllm_cli.render.clean import clean, clean_line

LIST_HEIGHT, PREVIEW_HEIGHT = 10, 8
Load = Callable[[str], Awaitable[Conversation]]


def matches(text: str, wanted: str) -> bool:
    """Tell whether the characters of `wanted` stand in `text` in this order, with or without others between."""
    characters = iter(text.casefold())
    return all(character in characters for character in wanted.casefold() if not character.isspace())


async def pick(conversations: Sequence[Summary], load: Load) -> str | None:
    """Return the id of the conversation that is picked; None if none is."""
    return await _Picker(conversations, load).run()


class _Picker:
    def __init__(self, conversations: Sequence[Summary], load: Load) -> None:
        self._conversations = conversations
        self._load = load
        self._chosen = 0
        self._previews: dict[str, str] = {}
        self._wanted = Buffer(on_text_changed=lambda _: self._move(-self._chosen), multiline=False)
        self._app: Application[str | None] = Application(
            layout=Layout(self._rows()), key_bindings=self._keys(), erase_when_done=True
        )

    async def run(self) -> str | None:
        return await self._app.run_async(pre_run=lambda: self._move(0), handle_sigint=False)  # ours stays

    @property
    def _found(self) -> list[Summary]:
        wanted = self._wanted.text
        return [each for each in self._conversations if matches(f"{each.title} {each.id}", wanted)]

    def _rows(self) -> HSplit:
        search = BufferControl(self._wanted, input_processors=[BeforeInput("resume: ")])
        return HSplit(
            [
                Window(search, height=1),
                Window(FormattedTextControl(self._list), height=lambda: self._heights()[0]),
                Window(FormattedTextControl(self._divider), height=1, char="─"),
                Window(FormattedTextControl(self._preview), height=lambda: self._heights()[1], wrap_lines=True),
            ]
        )

    def _heights(self) -> tuple[int, int]:
        """Return how many rows the list and the preview have, below the search and around the divider."""
        room = self._app.output.get_size().rows - 2
        rows = max(min(LIST_HEIGHT, room), 1)
        return rows, max(min(PREVIEW_HEIGHT, room - rows), 0)

    def _divider(self) -> str:
        return f"── {len(self._found)} of {len(self._conversations)} · Enter takes one up, Esc leaves "

    def _list(self) -> StyleAndTextTuples:
        height = self._heights()[0]
        first = max(self._chosen - height + 1, 0)
        lines: StyleAndTextTuples = []
        for place, each in enumerate(self._found[first : first + height], start=first):
            style = "reverse" if place == self._chosen else ""
            lines.append((style, f"{each.address}  {clean_line(each.title)}  ({each.messages})\n"))
        return lines

    def _preview(self) -> StyleAndTextTuples:
        chosen = self._current()
        return [("", self._previews.get(chosen.id, "") if chosen else "nothing is like that")]

    def _current(self) -> Summary | None:
        found = self._found
        return found[self._chosen] if self._chosen < len(found) else None

    def _move(self, by: int) -> None:
        self._chosen = max(min(self._chosen + by, len(self._found) - 1), 0)
        current = self._current()
        if current and current.id not in self._previews:
            self._app.create_background_task(self._read(current.id))

    async def _read(self, conversation_id: str) -> None:
        try:
            thread = (await self._load(conversation_id)).thread()
        except ChatllmError as error:
            self._previews[conversation_id] = clean(error.message)
        else:
            told = [f"{'> ' if each.role is Role.USER else ''}{each.content}" for each in thread[-2:]]
            self._previews[conversation_id] = clean("\n".join(told))
        self._app.invalidate()

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("up")
        @keys.add("c-p")
        def _up(_: KeyPressEvent) -> None:
            self._move(-1)

        @keys.add("down")
        @keys.add("c-n")
        def _down(_: KeyPressEvent) -> None:
            self._move(1)

        @keys.add("enter")
        def _take(event: KeyPressEvent) -> None:
            current = self._current()
            event.app.exit(result=current.id if current else None)

        @keys.add("escape", eager=True)
        @keys.add("c-c")
        @keys.add("c-d")
        def _leave(event: KeyPressEvent) -> None:
            event.app.exit(result=None)

        return keys
