"""A batch under way: each line of it asked, and what came of it put down, counted and shown."""

import asyncio
import gc
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatllm_cli.bootstrap import Services
from chatllm_cli.cli.request_flags import RequestFlags
from chatllm_cli.errors import ChatllmError, ExitCode, UsageError
from chatllm_cli.frozen import frozen
from chatllm_cli.models import Endpoint, Message, Role, Status
from chatllm_cli.render.batch_progress import BatchProgress, BatchView
from chatllm_cli.render.json_renderer import described, kind_of
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.services.batch import BadLine, Batch, Item, Items, Kind, Outcome, Results, count_lines, lines
from chatllm_cli.services.batch.gate import Gate
from chatllm_cli.services.batch.items import prompt_hash
from chatllm_cli.services.batch.unkept import Unkept

if TYPE_CHECKING:
    from chatllm_cli.services.batch.lines import Readable
    from chatllm_cli.services.history import OpenConversation
    from chatllm_cli.services.prompts import FilledPrompt

FRESHNESS = 1.0  # seconds that holds what the history says was spent: it is asked before each request
MOST_MODELS = 1000  # whose endpoints are remembered
COLLECTED_AFTER = 20_000  # new objects; a request makes some thousand, nearly all of which go by themselves
IN_THE_HISTORY = ("conversation", "message")


class Asking:
    """Asks a line of a batch."""

    def __init__(
        self,
        services: Services,
        renderer: Renderer,
        flags: RequestFlags,
        filled: "FilledPrompt | None",
        *,
        rpm: float | None,
        keeps: bool,
    ) -> None:
        settings = services.settings
        self.services, self.renderer = services, renderer
        self.progress = BatchProgress(renderer)
        self.keeps = keeps and settings.history.enabled
        if keeps and not self.keeps:
            renderer.notice("nothing of this is kept: history.enabled is off")
        gate = Gate(longest=settings.retries.max_wait, rpm=rpm, on_hold=self.progress.holds)
        if not self.keeps:  # else what is spent here is in there
            services.spending.freshness = FRESHNESS
        self._chat = services.build_chat(cached=settings.history.enabled, gate=gate)
        self._model, self._system, self._options = flags.one_model, flags.system, flags.options()
        self._filled = filled
        self._endpoints: dict[str, list[Endpoint]] = {}

    def prompt(self, item: Item) -> str:
        """Return what is sent of an item."""
        return self._filled.wrapped(item.prompt) if self._filled else item.prompt

    def begin(self) -> None:
        """Find out whether the model that is named can be asked. Raises `ChatllmError`."""
        if self._model:
            self._chosen(None)

    async def ask(self, item: Item) -> Outcome:
        """Ask, and return what came. Raises `ChatllmError` if it would be the same for all."""
        prompt = self.prompt(item)
        view = BatchView(self.progress, tells_secrets=self.renderer.is_read_by_a_person)
        try:
            endpoints = self._chosen(item.model)
            log = await self._log(item, prompt, endpoints[0])
        except ChatllmError as error:
            if item.model is None:
                raise
            return Outcome(item, error=error, sent=prompt, timings=view.timings)
        try:
            reply = await self._chat.send(log, prompt, endpoints, item.options.over(self._options), view)
        except ChatllmError as error:
            return Outcome(item, _reply_in(log), error, prompt, view.timings)
        return Outcome(item, reply, None, prompt, view.timings)

    def _chosen(self, model: str | None) -> list[Endpoint]:
        """Return who answers, and who stands behind. Raises `ChatllmError`."""
        address = model or self._model or ""
        if address not in self._endpoints:
            providers = self.services.providers
            endpoint = providers.endpoint(address)
            if providers.stands_in(endpoint, address):
                with self.progress.making_room():
                    self.renderer.stand_in(endpoint.address)
            if len(self._endpoints) >= MOST_MODELS:
                self._endpoints.clear()
            self._endpoints[address] = [endpoint, *providers.fallbacks(endpoint)]
        return self._endpoints[address]

    async def _log(self, item: Item, prompt: str, endpoint: Endpoint) -> "Unkept | OpenConversation":
        system = self._system if item.system is None else item.system
        if self.keeps:
            title = self._filled.title(item.prompt) if self._filled else prompt
            return await self.services.open_conversation(title, endpoint, system_prompt=system, last=None)
        system = self.services.settings.system_prompt if system is None else system
        checked = self.services.guard.checked_system_prompt(system) if system else ""
        return Unkept(checked, self.services.spending.note)


@frozen
class Run:
    """What is asked, and where the answers go."""

    stream: "Readable"
    path: Path | None  # of a file whose lines can be counted
    kind: Kind | None
    output: Path | None  # None is stdout
    concurrency: int
    in_order: bool


async def go_through(asking: Asking, run: Run) -> ExitCode:
    """Ask all, and return what that is worth to a script. Raises `ChatllmError`."""
    asking.begin()
    results = await asyncio.to_thread(Results.open, run.output) if run.output else None
    if results and results.damaged:
        asking.renderer.notice(f"damaged lines in {run.output}, skipped: {results.damaged}")
    putting = _Putting(asking, results)
    batch = Batch(asking.ask, putting.put, concurrency=run.concurrency, in_order=run.in_order)
    progress = asking.progress
    beside = [asyncio.create_task(progress.keep_showing()), asyncio.create_task(_count(progress, run.path))]
    try:
        async with aclosing(_items(asking, run, results)) as items:
            await batch.run(items)
    except asyncio.CancelledError:
        progress.stopped("; the same command goes on" if results else "")
        raise
    except ChatllmError:
        progress.end()
        raise
    finally:
        for task in beside:
            task.cancel()
        with progress.making_room():
            await _close(asking, results)
    progress.end()
    return ExitCode.INCOMPLETE if progress.counts.failed else ExitCode.DONE


async def _close(asking: Asking, results: Results | None) -> None:
    """Let all be on the disk. Raises `ChatllmError`."""
    try:
        if results:
            await results.aclose()
    finally:
        asking.services.spending.write()


async def _count(progress: BatchProgress, path: Path | None) -> None:
    """Count the prompts of a file, while the first are asked already."""
    if path and progress.is_shown:
        with suppress(OSError), path.open("rb") as file:
            progress.total = await asyncio.to_thread(count_lines, file)


async def _items(asking: Asking, run: Run, results: Results | None) -> AsyncGenerator[Item | BadLine]:
    """Yield what is to be asked, and what cannot be. Raises `UsageError`."""
    items = Items(run.kind)
    try:
        async with aclosing(lines(run.stream)) as read:
            async for line in read:
                item = items.read(line)
                if isinstance(item, Item) and results and results.has(item, asking.prompt(item)):
                    asking.progress.counts.there += 1
                elif item is not None:
                    yield item
    except OSError as error:
        raise UsageError(f"the prompts cannot be read: {error.strerror or error}") from None


class _Putting:
    """Puts down what came."""

    def __init__(self, asking: Asking, results: Results | None) -> None:
        self._progress = asking.progress
        self._renderer = asking.renderer
        self._results = results
        self._is_first = True

    def put(self, outcome: Outcome) -> None:
        """Put an answer into the file, or on stdout, and say what is wrong. Raises `ChatllmError`, OSError."""
        self._progress.count(outcome.reply, is_whole=outcome.is_whole)
        answer = _described(outcome)
        if self._results:
            self._results.put(answer)
        else:
            with self._progress.making_room():
                self._renderer.text(json.dumps(answer))
        error = _error_of(outcome)
        if error:
            self._progress.failed(outcome.item.line, error)
        elif outcome.reply and not outcome.is_whole:
            self._progress.cut(outcome.item.line, outcome.reply)
        if self._is_first:
            _settle_down()
            self._is_first = False


def _settle_down() -> None:
    """Let the collector pass over all that is there by now, most of it imported, and come less often."""
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER)


def _error_of(outcome: Outcome) -> ChatllmError | None:
    return UsageError(outcome.item.why) if isinstance(outcome.item, BadLine) else outcome.error


def _described(outcome: Outcome) -> dict[str, Any]:
    """Return what came of a line as the object that a script gets; `ask --json` has the same names."""
    item, error = outcome.item, _error_of(outcome)
    reply = outcome.reply or Message("", Role.ASSISTANT, "", datetime.now(UTC))
    fields = described(reply if error is None else replace(reply, status=Status.ERROR), "", outcome.timings)
    for name in IN_THE_HISTORY:
        del fields[name]
    return {
        "id": item.id if isinstance(item, Item) else None,
        "line": item.line,
        "prompt_hash": prompt_hash(outcome.sent) if isinstance(item, Item) else None,
        **fields,
        "error": {"kind": kind_of(error), "message": error.message} if error else None,
    }


def _reply_in(log: "Unkept | OpenConversation") -> Message | None:
    last = log.conversation.messages[-1:]
    return last[0] if last and last[0].role is Role.ASSISTANT else None
