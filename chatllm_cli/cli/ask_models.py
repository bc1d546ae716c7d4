"""`chatllm ask -m A -m B …`: one prompt, several models at once, their answers one after another or side by side."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.ask import GO_ON, Question, exit_code
from chatllm_cli.cli.request_flags import RequestFlags
from chatllm_cli.cli.running import check_differ, choose
from chatllm_cli.errors import ChatllmError, ExitCode, HistoryError, IncompleteAnswerError, UsageError
from chatllm_cli.models import ChatOptions, Conversation, Endpoint, Message, Role
from chatllm_cli.render.json_renderer import JsonRenderer, described
from chatllm_cli.render.late_view import LateView
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.turn_views import TurnView, open_turn_view
from chatllm_cli.repl.quiet_terminal import quiet_terminal
from chatllm_cli.services.history import Aside

if TYPE_CHECKING:
    from chatllm_cli.services.chat import ChatService
    from chatllm_cli.services.history import OpenConversation


@dataclass(eq=False)
class Asked:
    """One of the models, and what it answers."""

    endpoints: Sequence[Endpoint]
    listener: LateView
    log: "OpenConversation | Aside"
    answering: "asyncio.Task[Message | ChatllmError]"
    view: TurnView | None = None  # while it is shown
    timings: Mapping[str, float | None] = field(default_factory=dict)  # once it was

    @property
    def address(self) -> str:
        """The model as a person writes it, whoever answers in its place."""
        return self.endpoints[0].address

    @property
    def reply(self) -> Message | None:
        """What came of the reply; None as long as nothing is kept of it."""
        last = self.log.conversation.thread()[-1:]
        return last[0] if last and last[0].role is Role.ASSISTANT else None


@dataclass(eq=False)
class Together:
    """The models that are asked together, and where their answers go."""

    renderer: Renderer
    chat: "ChatService"
    log: "OpenConversation"
    keeps: bool  # whether the settings want it kept
    asked: Sequence[Asked] = ()
    front: TurnView | None = None  # what is on the screen
    lift: Callable[[], AbstractContextManager[None]] = field(default=nullcontext)
    codes: list[ExitCode] = field(default_factory=list)

    async def begin(self, question: Question, chosen: Sequence[Sequence[Endpoint]], options: ChatOptions) -> None:
        """Keep the prompt, and ask all of them; the first one's answer becomes the head."""
        have_key = [asyncio.Event() for _ in chosen]
        is_told = self.renderer.is_read_by_a_person
        listeners = [LateView(partial(self._lend_for_key, each), tells_secrets=is_told) for each in have_key]
        prompt = await self.chat.put(
            self.log, question.prompt, chosen[0][0], listeners[0], attachments=question.attachments
        )
        logs: list[OpenConversation | Aside] = [self.log, *(Aside(self.log, prompt.id) for _ in chosen[1:])]
        self.asked = [
            Asked(
                endpoints,
                listener,
                log,
                asyncio.create_task(self._answer(log, endpoints, options, listener, have_key[: number + 1])),
            )
            for number, (endpoints, listener, log) in enumerate(zip(chosen, listeners, logs, strict=True))
        ]
        for each in have_key:  # before anything is shown
            await each.wait()

    async def _answer(
        self,
        log: "OpenConversation | Aside",
        endpoints: Sequence[Endpoint],
        options: ChatOptions,
        listener: LateView,
        have_key: Sequence[asyncio.Event],
    ) -> Message | ChatllmError:
        """Ask one of the models; a command for its key may ask a person, and waits for those before it."""
        *before, own = have_key
        try:
            if endpoints[0].has_key_command:
                for each in before:
                    await each.wait()
            else:
                own.set()
            return await self.chat.go_on(log, endpoints, options, listener)
        except ChatllmError as error:
            return error
        finally:
            own.set()

    @contextmanager
    def _lend_for_key(self, has_key: asyncio.Event) -> Iterator[None]:
        try:
            with self.lend():
                yield
        finally:
            has_key.set()

    @contextmanager
    def lend(self) -> Iterator[None]:
        """Leave the terminal to something else while the block runs."""
        with self.front.lend_terminal() if self.front else self.lift():
            yield

    def open(self, asked: Asked, view: TurnView) -> None:
        """Show a turn in `view` from here on, and what has come of it."""
        view.lends(self.lift)
        asked.view = self.front = view
        asked.listener.show(view)

    def close(self, asked: Asked) -> None:
        """Show what is left of a turn that is over, if it is on the screen."""
        if view := asked.view:
            asked.view, asked.timings = None, view.timings
            if self.front is view:
                self.front = None
            view.close()

    async def show_to_its_end(self, asked: Asked, view: TurnView) -> None:
        """Show a turn in `view` until it is over."""
        self.open(asked, view)
        await asked.answering
        self.close(asked)

    async def tell(self, asked: Asked, renderer: Renderer) -> None:
        """Say on stderr how a turn ended that is over."""
        outcome = await asked.answering
        if isinstance(outcome, Message):
            renderer.ending(outcome, command=GO_ON if self._goes_on(asked) else "")
            if renderer.shows_usage:
                renderer.usage(await self.chat.bill(self.log.conversation, outcome, asked.endpoints))
            self.codes.append(exit_code(outcome, is_lost=self.keeps and not self.log.is_kept))
            return
        if isinstance(outcome, IncompleteAnswerError) and self.log.is_kept:
            outcome.hint = "what came is in the history" + (f"; {GO_ON} goes on" if self._goes_on(asked) else "")
        renderer.error(outcome)
        self.codes.append(outcome.exit_code)

    def _goes_on(self, asked: Asked) -> bool:
        return asked is self.asked[0] and self.log.is_kept

    async def stop(self) -> None:
        """Stop whoever still answers, and wait until what came is kept."""
        tasks = [each.answering for each in self.asked]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:  # what one failed of was told, or comes of what is told
            _ = task.cancelled() or task.exception()

    async def settle(self) -> None:
        """Go on below the first answer that says something: the first model may have failed."""
        answers = [each.reply.id for each in self.asked if each.reply and each.reply.content]
        if answers and not self.log.conversation.last_text:
            with suppress(HistoryError):  # the replies have met the same fault
                await self.log.move_head(answers[0])


async def ask_models(
    services: Services,
    renderer: Renderer,
    question: Question,
    flags: RequestFlags,
    last: Conversation | None,
    *,
    columns: bool,
) -> ExitCode:
    """Ask all models that are named, show what they answer, and return the exit code of the first that failed.

    Raises `UsageError` without a prompt, or if a model is named twice.
    """
    if not question.topic:
        raise UsageError(
            "to go on with an answer goes with one model", hint="give a prompt, or leave out the other -m"
        )
    chosen = [await choose(services, renderer, model, last) for model in flags.model or ()]
    check_differ(chosen)
    log = await services.open_conversation(question.topic, chosen[0][0], system_prompt=flags.system, last=last)
    keeps = services.settings.history.enabled
    together = Together(renderer, services.build_chat(cached=keeps), log, keeps)
    with quiet_terminal() as lifted:
        together.lift = lifted
        await _show_all(together, lambda: together.begin(question, chosen, flags.options()), columns=columns)
    return next((code for code in together.codes if code), ExitCode.DONE)


async def _show_all(together: Together, begin: Callable[[], Awaitable[None]], *, columns: bool) -> None:
    renderer = together.renderer
    try:
        await begin()
        if isinstance(renderer, JsonRenderer):
            await _show_as_json(together, renderer)
        else:
            await _show_in_groups(together, _groups(renderer, together.asked, columns=columns))
        await together.settle()
    except asyncio.CancelledError:
        await _end(together)
        if isinstance(renderer, JsonRenderer):
            _put_json(together, renderer)
        await together.settle()
        renderer.farewell("stopped; what came of each is kept" if together.log.is_kept else "stopped")
        raise
    finally:
        await _end(together)


async def _end(together: Together) -> None:
    await together.stop()
    for each in together.asked:
        together.close(each)


def _groups(renderer: Renderer, asked: Sequence[Asked], *, columns: bool) -> Sequence[Sequence[Asked]]:
    """Return who is shown side by side; each alone if that is not wished, or finds no room."""
    size = 1
    if columns and renderer.paints_answers:
        from chatllm_cli.render.columns import NARROWEST, columns_that_fit  # noqa: PLC0415  (rich)

        size = columns_that_fit(renderer.out.width)
        if size == 1:
            renderer.notice(f"no two columns of {NARROWEST} fit here: the answers come one after another")
    return [asked[begin : begin + size] for begin in range(0, len(asked), size)]


async def _show_in_groups(together: Together, groups: Sequence[Sequence[Asked]]) -> None:
    for number, group in enumerate(groups):
        if number:
            together.renderer.text("")
        if len(group) > 1:
            await _show_side_by_side(together, group)
        else:
            await _show_alone(together, group[0])


async def _show_alone(together: Together, asked: Asked) -> None:
    renderer = together.renderer
    renderer.heading(asked.address)
    speaker = renderer if renderer.is_terminal else renderer.about(asked.address)
    await together.show_to_its_end(asked, open_turn_view(speaker, asked.address))
    renderer.end_line()
    await together.tell(asked, speaker)


async def _show_side_by_side(together: Together, group: Sequence[Asked]) -> None:
    from chatllm_cli.render.columns import Board, ColumnView  # noqa: PLC0415  (rich)

    board = Board(together.renderer, [each.address for each in group])
    speakers = [together.renderer.about(each.address) for each in group]
    views = [ColumnView(speaker, board, column) for speaker, column in zip(speakers, board.columns, strict=True)]
    try:
        await asyncio.gather(*map(together.show_to_its_end, group, views))
    except BaseException:
        await together.stop()  # else more might come of what is finished below
        raise
    finally:
        for each in group:
            together.close(each)
        board.finish()
    for each, speaker in zip(group, speakers, strict=True):
        await together.tell(each, speaker)


async def _show_as_json(together: Together, renderer: JsonRenderer) -> None:
    speakers = [renderer.about(each.address) for each in together.asked]
    views = [open_turn_view(speaker, speaker.whom) for speaker in speakers]
    await asyncio.gather(*map(together.show_to_its_end, together.asked, views))
    for each, speaker in zip(together.asked, speakers, strict=True):
        await together.tell(each, speaker)
    _put_json(together, renderer)


def _put_json(together: Together, renderer: JsonRenderer) -> None:
    kept = [(each.reply, each.timings) for each in together.asked]
    renderer.answers([described(reply, together.log.conversation.id, timings) for reply, timings in kept if reply])
