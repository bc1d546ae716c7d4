"""The prompts of a conversation, asked again: what `chatllm history replay` does."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.ask import exit_code
from chatllm_cli.cli.asking import counted
from chatllm_cli.cli.request_flags import RequestFlags
from chatllm_cli.errors import ChatllmError, ExitCode, IncompleteAnswerError, UsageError
from chatllm_cli.frozen import frozen
from chatllm_cli.models import ChatOptions, Conversation, Endpoint, Message, Role
from chatllm_cli.render.differences import show_difference, unified
from chatllm_cli.render.json_renderer import JsonRenderer, described
from chatllm_cli.render.renderer import Renderer, amount
from chatllm_cli.render.turn_views import SilentView, TurnView, open_turn_view
from chatllm_cli.repl.quiet_terminal import quiet_terminal
from chatllm_cli.services.history import Aside

if TYPE_CHECKING:
    from chatllm_cli.services.chat import ChatService
    from chatllm_cli.services.history import OpenConversation

Lift = Callable[[], AbstractContextManager[None]]  # gives the terminal back to whoever asks a person
NO_ANSWER = "no answer"


@frozen
class Turn:
    """A prompt, and the reply to it that is stored."""

    prompt: Message
    reply: Message | None

    @property
    def stored(self) -> tuple[str, str]:
        """Who gave the stored answer, and what it says."""
        return (self.reply.model or NO_ANSWER, self.reply.content) if self.reply else (NO_ANSWER, "")


@frozen
class Answer:
    """A reply to a prompt that was asked again, and how it came."""

    turn: Turn
    reply: Message
    timings: dict[str, float | None]

    @property
    def is_same(self) -> bool:
        """Whether it says what the stored one says, whatever ends its last line."""
        old = self.turn.reply
        return old is not None and self.reply.content.rstrip("\n") == old.content.rstrip("\n")

    def as_fields(self, conversation: str, *, diffs: bool) -> dict[str, Any]:
        """Return it as a script gets it."""
        old = self.turn.reply
        before = {"message": old.id, "model": old.model, "text": old.content} if old else None
        fields = {"prompt": self.turn.prompt.id, "before": before, "same": self.is_same}
        if diffs:
            fields["diff"] = unified(self.turn.stored, (self.reply.model or "", self.reply.content))
        return described(self.reply, conversation, self.timings) | fields


@dataclass(eq=False)
class Replay:
    """The prompts that are asked again, and all that is needed for that."""

    renderer: Renderer
    chat: "ChatService"
    log: "OpenConversation"
    said: Conversation  # as it is sent
    options: ChatOptions
    is_cached: bool  # whether an answer that was given before will do
    diffs: bool
    keeps: bool
    answers: list[Answer] = field(default_factory=list)
    codes: list[ExitCode] = field(default_factory=list)
    has_begun: bool = False  # whether there is something on stdout that is to be kept apart

    @property
    def turns(self) -> Sequence[Turn]:
        """The prompts down to the head, each with the reply that is stored."""
        return list(_turns(self.said.thread()))

    def check(self, address: str) -> None:
        """Look for secrets in what is to be sent, and say so."""
        view = SilentView(self.renderer, address)
        self.said = self.chat.checked(self.said, view)
        view.close()


def _turns(thread: Sequence[Message]) -> Iterator[Turn]:
    for message, following in zip(thread, (*thread[1:], None), strict=True):
        if message.role is Role.USER:
            yield Turn(message, following if following and following.role is Role.ASSISTANT else None)


async def open_replay(
    services: Services,
    renderer: Renderer,
    conversation: Conversation,
    chosen: Sequence[Sequence[Endpoint]],
    flags: RequestFlags,
    *,
    diffs: bool,
) -> Replay:
    """Take up a conversation, to ask its prompts again. Raises `UsageError` if it has none."""
    log = await services.open_conversation("", chosen[0][0], system_prompt=None, last=conversation)
    keeps = services.settings.history.enabled
    chat = services.build_chat(cached=keeps)
    said = conversation
    if flags.system is not None:
        said = replace(said, system_prompt=services.guard.checked_system_prompt(flags.system))
    replay = Replay(renderer, chat, log, said, flags.options(), bool(flags.cache), diffs, keeps)
    if not replay.turns:
        raise UsageError("there is no prompt in this conversation")
    return replay


async def run_replay(replay: Replay, chosen: Sequence[Sequence[Endpoint]]) -> ExitCode:
    """Ask the models one after another. Raises what one of them fails of."""
    renderer = replay.renderer
    try:
        with quiet_terminal() as lifted:
            replay.check(chosen[0][0].address)
            for endpoints in chosen:
                if len(chosen) > 1:
                    _begin_model(replay, endpoints[0].address)
                await _ask_all(replay, endpoints, lifted)
    finally:
        if isinstance(renderer, JsonRenderer):
            fields = [answer.as_fields(replay.log.conversation.id, diffs=replay.diffs) for answer in replay.answers]
            renderer.answers(fields, asked=len(fields), same=sum(answer.is_same for answer in replay.answers))
    return next((code for code in replay.codes if code), ExitCode.DONE)


async def _ask_all(replay: Replay, endpoints: Sequence[Endpoint], lifted: Lift) -> None:
    """Ask one model all prompts, as far as it goes, and say what that took."""
    address, renderer = endpoints[0].address, replay.renderer
    turns, came = replay.turns, Came()
    try:
        for number, turn in enumerate(turns, start=1):
            _begin(replay, f"{address} · {number}", turn.prompt)
            await _ask_again(replay, turn, endpoints, lifted, came)
    except asyncio.CancelledError:
        kept = "; what came is kept" if replay.log.is_kept else ""
        renderer.farewell(f"stopped{kept}: {came.told(address, len(turns))}")
        raise
    except ChatllmError as error:
        renderer.notice(came.told(address, len(turns)))
        if isinstance(error, IncompleteAnswerError) and replay.log.is_kept:
            error.hint = "what came is in the history"
        raise
    finally:
        replay.answers += came.answers
    renderer.notice(came.told(address, len(turns)))


@dataclass(eq=False)
class Came:
    """What came of a model's turns."""

    answers: list[Answer] = field(default_factory=list)
    replies: list[Message] = field(default_factory=list)  # those that broke off, too

    def told(self, address: str, prompts: int) -> str:
        """Return what it comes to, in words."""
        done, same = len(self.answers), sum(answer.is_same for answer in self.answers)
        which = counted(prompts, "prompt") if done == prompts else f"{done} of {counted(prompts, 'prompt')}"
        usages = [reply.usage for reply in self.replies if reply.usage]
        taken, brought = sum(each.input_tokens for each in usages), sum(each.output_tokens for each in usages)
        cost = sum(each.cost or 0.0 for each in self.replies)
        unpriced = sum(each.is_unpriced for each in self.replies)
        parts = [f"{which} asked again on {address}", f"{counted(same, 'answer')} the same"]
        parts += [f"{taken:,} in", f"{brought:,} out"] if usages else []
        if cost:
            parts.append(amount(cost, unpriced))
        elif unpriced:
            parts.append("price unknown")
        return " · ".join(parts)


def _begin_model(replay: Replay, address: str) -> None:
    """Name the model whose answers follow; a script finds it above each of them."""
    if replay.renderer.is_terminal and not isinstance(replay.renderer, JsonRenderer):
        if replay.has_begun:
            replay.renderer.text("")
        replay.renderer.heading(address)
        replay.has_begun = False


def _begin(replay: Replay, name: str, prompt: Message) -> None:
    """Put what stands above an answer: for a person the prompt, for a script whose it is, and its number."""
    renderer = replay.renderer
    if isinstance(renderer, JsonRenderer):
        return
    if replay.has_begun:
        renderer.text("")
    replay.has_begun = True
    if renderer.is_terminal:
        renderer.heading(f"> {prompt.topic}", style="dim")
    else:
        renderer.heading(name)


async def _ask_again(replay: Replay, turn: Turn, endpoints: Sequence[Endpoint], lifted: Lift, came: Came) -> None:
    """Have a prompt answered another time, and show the answer, or how it differs; skip one that cannot be sent."""
    log = Aside(replay.log, turn.prompt.id, replay.said)
    view = _view(replay, endpoints[0].address)
    view.lends(lifted)
    answer = replay.chat.go_on if replay.is_cached else replay.chat.retry
    try:
        reply = await answer(log, endpoints, replay.options, view)
    except UsageError as error:  # an image for a model that takes none
        view.close()
        replay.renderer.notice(f"{error.message}; this prompt is skipped")
        return
    finally:
        timings = dict(view.timings)
        view.close()
        replay.renderer.end_line()
        came.replies += [each for each in log.conversation.thread()[-1:] if each.role is Role.ASSISTANT]
    came.answers.append(Answer(turn, reply, timings))
    replay.codes.append(exit_code(reply, is_lost=replay.keeps and not replay.log.is_kept))
    if replay.diffs and not isinstance(replay.renderer, JsonRenderer):
        _show_difference(replay.renderer, came.answers[-1])
    replay.renderer.ending(reply)


def _view(replay: Replay, address: str) -> TurnView:
    return SilentView(replay.renderer, address) if replay.diffs else open_turn_view(replay.renderer, address)


def _show_difference(renderer: Renderer, answer: Answer) -> None:
    if answer.is_same and renderer.is_terminal:
        renderer.notice("the same answer")
    show_difference(renderer, answer.turn.stored, (answer.reply.model or "", answer.reply.content))
