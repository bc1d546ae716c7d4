"""One run of the REPL: the conversation that goes on, who answers it, and how. It shows nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from chatllm_cli.bootstrap import Services
from chatllm_cli.errors import ChatllmError, ConversationNotFoundError, HistoryError, UsageError
from chatllm_cli.models import Attachment, Bill, ChatOptions, Conversation, Endpoint, Message, Role
from chatllm_cli.render.turn_views import TurnView

if TYPE_CHECKING:
    from chatllm_cli.config.settings import Settings
    from chatllm_cli.services.chat import ChatService
    from chatllm_cli.services.history import OpenConversation

Load = Callable[[Mapping[str, Any]], "Settings"]  # the settings, with what was changed in the session on top
NOTHING_SAID = "nothing was said yet"


class Session:
    """What a session holds, and what can be done with it. Its methods raise `ChatllmError`."""

    def __init__(
        self,
        services: Services,
        endpoints: Sequence[Endpoint],
        options: ChatOptions,
        *,
        system_prompt: str | None = None,
        last: Conversation | None = None,
        load: Load | None = None,
        attached: Sequence[Attachment] = (),
        wrap: Callable[[str], str] | None = None,
    ) -> None:
        self.services = services
        self.endpoints = list(endpoints)
        self.options = options
        self.attached = list(attached)  # which goes with the next prompt
        self.bill: Bill | None = None  # of the last turn
        self._wrap = wrap  # what the first prompt is put into
        self.is_private = not services.settings.history.enabled
        self._system_prompt = system_prompt  # of a new conversation
        self._for_last = system_prompt  # which `last` is given, if that was wished along with it
        self._last = last
        self._log: OpenConversation | None = None
        self._parted: dict[str, OpenConversation] = {}  # that were left, and may not be on the disk yet
        self._load = load or _load_settings
        self._changes: dict[str, Any] = {}
        self._titling: asyncio.Future[None] | None = None
        self._is_titled = False  # by the user

    @property
    def conversation(self) -> Conversation | None:
        """The conversation; None before the first prompt."""
        return self._log.conversation if self._log else self._last

    @property
    def said(self) -> Conversation:
        """The conversation. Raises `UsageError` before the first prompt."""
        if (conversation := self.conversation) is None or not conversation.messages:
            raise UsageError(NOTHING_SAID)
        return conversation

    @property
    def prompts(self) -> list[Message]:
        """The prompts of the conversation, down to its head: the first is number 1 to a person."""
        thread = self.conversation.thread() if self.conversation else ()
        return [message for message in thread if message.role is Role.USER]

    @property
    def system_prompt(self) -> str:
        """The standing instruction."""
        if self._log is None and self._last and self._for_last is not None:
            return self._for_last
        if self.conversation:
            return self.conversation.system_prompt
        return self.services.settings.system_prompt if self._system_prompt is None else self._system_prompt

    @property
    def wraps(self) -> bool:
        """Whether the next prompt is put into another."""
        return self._wrap is not None

    @property
    def is_kept(self) -> bool:
        """Whether all of the conversation is on the disk."""
        return self._log is not None and self._log.is_kept

    @property
    def uses_cache(self) -> bool:
        """Whether answers may come from the cache."""
        return self.services.settings.cache.mode in {"always", "refresh"} and not self.is_private

    def prompt(self, number: int | None) -> Message:
        """Return a prompt by its number; the last one without. Raises `UsageError` if there is none."""
        if not (prompts := self.prompts):
            raise UsageError(NOTHING_SAID)
        if number is not None and not 1 <= number <= len(prompts):
            raise UsageError(f"there is no prompt {number}", hint=f"they are numbered from 1 to {len(prompts)}")
        return prompts[-1 if number is None else number - 1]

    async def send(
        self,
        prompt: str,
        view: TurnView,
        *,
        attachments: Sequence[Attachment] = (),
        instead_of: Message | None = None,
    ) -> Message:
        """Do a turn with `prompt`; one that stands instead of another goes on a branch of its own."""
        log = await self._open(prompt or next((each.name for each in attachments), ""))
        head = log.conversation.head
        if instead_of:
            with suppress(HistoryError):  # the turn itself meets the same fault, and tells
                await log.back_before(instead_of)
        wrapped = self._wrap(prompt) if self._wrap else prompt
        async with self._answered(log, back_to=head if instead_of else None):
            return await self._chat.send(log, wrapped, self.endpoints, self.options, view, attachments=attachments)

    async def go_on(self, view: TurnView) -> Message:
        """Take up the last answer where it stopped."""
        if self.conversation is None:
            raise UsageError("there is no answer yet to go on with")
        log = await self._open("")
        async with self._answered(log):
            return await self._chat.go_on(log, self.endpoints, self.options, view)

    async def retry(self, view: TurnView, endpoints: Sequence[Endpoint] = ()) -> Message:
        """Have the last prompt answered another time; the answer that there is stays, and stands if none comes."""
        if self.conversation is None:
            raise UsageError("there is no prompt to answer again")
        log = await self._open("")
        answered = log.conversation.head
        with suppress(HistoryError):
            await log.back_to_prompt()
        async with self._answered(log, back_to=answered):
            return await self._chat.retry(log, list(endpoints) or self.endpoints, self.options, view)

    @asynccontextmanager
    async def _answered(self, log: "OpenConversation", *, back_to: str | None = None) -> AsyncIterator[None]:
        """Do a turn while the block runs; go back to where the conversation stood if it brings no text.

        The prompt of that stays on a branch, and comes back into the line as it was typed.
        """
        try:
            yield
        finally:
            if log.conversation.last_text:
                self._wrap = None
            elif back_to is not None:
                with suppress(HistoryError):
                    await log.move_head(back_to)

    async def undo(self) -> Message:
        """Go back to before the last turn, and return its prompt."""
        undone = self.prompt(None)
        await (await self._open("")).undo()
        return undone

    async def fork(self, number: int | None) -> None:
        """Go on in a copy of the conversation, down to its N-th turn or all of it."""
        conversation = self.said
        if self.is_private:
            raise UsageError("a private conversation cannot be copied: nothing of it is kept")
        await self._open("")  # with what was wished along with it
        await self._save(conversation)
        end = None if number is None else self._end_of_turn(number)
        self._leave_for(await self.services.history.fork(conversation.id, end))

    def _end_of_turn(self, number: int) -> str:
        begin, thread = self.prompt(number).id, self.said.thread()
        place = [message.id for message in thread].index(begin)
        replies = [message for message in thread[place : place + 2] if message.role is Role.ASSISTANT]
        return replies[0].id if replies else begin

    async def switch(self, message_id: str) -> None:
        """Go on at the end of the branch that a message is on."""
        found = self.said.find(message_id)
        if found is None:
            raise UsageError(f"there is no message '{message_id}' in this conversation", hint="/branches has the ids")
        await (await self._open("")).move_head(self.said.newest_below(found.id))

    async def open(self, address: str) -> None:
        """Go on with another conversation, with its own model if that is still set up."""
        await self.take_up(await self.services.history.load(address))

    async def take_up(self, conversation: Conversation) -> None:
        """Go on with a stored conversation."""
        self._leave_for(conversation)
        self._keep(is_wished=True)
        if conversation.last_model:
            self.answer_by(self.services.providers.resumed(conversation))

    def begin(self, *, private: bool | None = None) -> None:
        """Begin a new conversation with the next prompt; one that is private is kept nowhere."""
        self._leave_for(None)
        if private is not None:
            self._keep(is_wished=not private)

    def choose(self, model: str) -> None:
        """Have another model answer from here on."""
        self.answer_by(self.services.providers.endpoint(model))

    def answer_by(self, endpoint: Endpoint) -> None:
        """Have the model at `endpoint` answer, and the fallbacks behind it."""
        self.endpoints = [endpoint, *self.services.providers.fallbacks(endpoint)]

    async def instruct(self, system_prompt: str) -> None:
        """Give the conversation another standing instruction."""
        system_prompt = self.services.guard.checked_system_prompt(system_prompt)
        if self.conversation is None:
            self._system_prompt = system_prompt
        else:
            (await self._open("")).set_system_prompt(system_prompt)

    async def set_title(self, title: str) -> None:
        """Give the conversation another title."""
        _ = self.said
        self.stop_title()
        self._is_titled = True
        await (await self._open("")).set_title(title)

    async def set_tags(self, tags: Sequence[str]) -> None:
        """Give the conversation these tags and no others."""
        _ = self.said
        await (await self._open("")).set_tags(tags)

    async def change(self, key: str, value: object) -> None:
        """Work with a setting changed, as long as the session lasts. Raises `ConfigError`."""
        settings = self._load({**self._changes, key: value})
        if hasattr(self.options, key):
            chosen = getattr(ChatOptions() if value is None else settings, key)
            self.options = replace(self.options, **{key: chosen})
        self._changes[key] = value
        await self.services.change(settings)
        self._rebuild_chat()

    async def reckon(self) -> None:
        """Find out what the last turn took, for `bill`."""
        conversation = self.conversation
        thread = conversation.thread() if conversation else ()
        if conversation and thread and thread[-1].role is Role.ASSISTANT:
            bill = await self._chat.bill(conversation, thread[-1], self.endpoints)
            if conversation is self.conversation:
                self.bill = bill

    def begin_title(self) -> None:
        """Ask the model for a title meanwhile, once, if that is wished."""
        is_wished = self.services.settings.history.titles == "model" and not self.is_private
        if is_wished and self._titling is None and not self._is_titled and self._last is None and self._log:
            self._titling = asyncio.ensure_future(self._title(self._log))

    def stop_title(self) -> None:
        """Leave off asking for a title: a turn comes first, and after it there is another chance."""
        if self._titling and not self._titling.done():
            self._titling.cancel()
            self._titling = None

    async def close(self) -> None:
        """Save what could not be saved before, each conversation for itself. Raises `HistoryError`."""
        if self._titling:
            self._titling.cancel()
        faults: list[HistoryError] = []
        for log in [*self._parted.values(), *([self._log] if self._log else [])]:
            try:
                await log.save()
            except HistoryError as error:
                faults.append(error)
        if faults:
            raise faults[0]

    def _keep(self, *, is_wished: bool) -> None:
        """Keep what is said from here on, unless the settings keep nothing."""
        self.is_private = not (is_wished and self.services.settings.history.enabled)
        self._rebuild_chat()

    async def _title(self, log: "OpenConversation") -> None:
        with suppress(ChatllmError):
            if title := await self._chat.title(log, self.endpoints[0]):
                await log.set_title(title)

    async def _save(self, conversation: Conversation) -> None:
        """See to it that there is a file to be copied."""
        if self._log:
            await self._log.save()
        if self._log and not self._log.is_kept:
            raise ConversationNotFoundError(f"conversation {conversation.id} is not on the disk")

    def _leave_for(self, conversation: Conversation | None) -> None:
        self.stop_title()
        self._titling, self._is_titled, self._wrap = None, False, None
        if self._log:
            self._parted[self._log.conversation.id] = self._log
        self._log, self._last, self._for_last, self.bill = None, conversation, None, None
        if conversation and (known := self._parted.get(conversation.id)) and not known.is_kept:
            self._log = known  # the disk has not all of it

    async def _open(self, prompt: str) -> "OpenConversation":
        """Return the conversation; a new one begins with its first prompt."""
        if self._log is None:
            self._log = await self.services.open_conversation(
                prompt,
                self.endpoints[0],
                system_prompt=self._for_last if self._last else self._system_prompt,
                last=self._last,
                keep=not self.is_private,
            )
        return self._log

    @cached_property
    def _chat(self) -> "ChatService":
        """Built, and imported, on first use: nobody waits for it before the first prompt is typed."""
        return self.services.build_chat(cached=self.uses_cache)

    def _rebuild_chat(self) -> None:
        self.__dict__.pop("_chat", None)


def _load_settings(changes: Mapping[str, Any]) -> "Settings":
    from chatllm_cli.config.loading import load_settings  # noqa: PLC0415  (pydantic, which a chat may do without)

    return load_settings(changes)
