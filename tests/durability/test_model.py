"""The history against a plain model of it, whatever a person, a second process and a crash do."""

import asyncio
import os
import re
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, assume, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from chatllm_cli.errors import HistoryError, UsageError
from chatllm_cli.models import Conversation, Message, Role, Status
from chatllm_cli.services.history import HistoryService, OpenConversation, records
from tests.durability.conftest import MEMORY
from tests.durability.helpers import turns

RUNS, STEPS = 250, 50  # for each of two seeds, which fit onto two processors
LATER = datetime(2100, 1, 1, tzinfo=UTC)  # than any conversation begins
SECRET, REMOVED = "secret", "[removed]"
TEXTS = ("", "hello", f"my {SECRET} is {SECRET}", "zwei\nZeilen", "\u2028 half \ud83d NUL \0", "long " * 100)
texts = st.sampled_from(TEXTS)
titles = st.sampled_from([text for text in TEXTS if text])
picks = st.integers(0, 1_000)
Answer = TypeVar("Answer")


@dataclass
class Kept:
    """What the file of one conversation holds, as far as anybody may see it."""

    header: Conversation
    title: str
    system_prompt: str
    tags: tuple[str, ...] = ()
    messages: dict[str, Message] = field(default_factory=dict)
    # What led to the head, in the order it was written: messages, marks, and moves of the head.
    heads: list[tuple[bool, str | None]] = field(default_factory=list)  # whether it is a move, and where to
    damaged: int = 0
    is_torn: bool = False  # whether the last line is

    @property
    def head(self) -> str | None:
        return self.heads[-1][1] if self.heads else None

    def say(self, message: Message) -> None:
        self.messages[message.id] = message
        self.heads.append((False, message.id))

    def forget(self, gone: Message) -> None:
        """What stood below a message that is gone stands below its parent."""
        prompts = self.prompts()
        titles = {records.title_of(gone.content), *([self.header.title] if gone in prompts[:1] else ())}
        self.retitle(lambda title: "" if title in titles else title)
        del self.messages[gone.id]
        for message in self.messages.values():
            if message.parent == gone.id:
                self.messages[message.id] = replace(message, parent=gone.parent)
        heads = [head for head in self.heads if head != (False, gone.id)]
        self.heads = [(True, gone.parent) if head == (True, gone.id) else head for head in heads]

    def replace_texts(self, replaced: Callable[[str], str]) -> None:
        prompts = [prompt.content for prompt in self.prompts()]
        made_of = {records.title_of(prompt): prompt for prompt in prompts}
        if prompts:
            made_of[self.header.title] = prompts[0]
        anew = {title: replaced(prompt) for title, prompt in made_of.items() if replaced(prompt) != prompt}
        self.retitle(lambda title: records.title_of(anew[title]) if title in anew else replaced(title))
        for message in self.messages.values():
            self.messages[message.id] = replace(message, content=replaced(message.content))
        self.system_prompt = replaced(self.system_prompt)
        self.tags = tuple(map(replaced, self.tags))

    def prompts(self) -> list[Message]:
        return [message for message in self.messages.values() if message.role is Role.USER]

    def retitle(self, renamed: Callable[[str], str]) -> None:
        """Change the title that it began with, and the one that stands."""
        self.header = replace(self.header, title=renamed(self.header.title))
        self.title = renamed(self.title)

    def thread(self) -> list[Message]:
        thread: list[Message] = []
        current = self.messages.get(self.head or "")
        while current:
            thread.insert(0, current)
            above = current.parent
            if above is not None and above not in self.messages:  # it is lost: the one before stands for it
                ids = list(self.messages)
                above = [None, *ids][ids.index(current.id)]
            current = self.messages.get(above or "")
        return thread

    def shown_title(self) -> str:
        prompts = self.prompts()
        return self.title or (records.title_of(prompts[0].content) if prompts else "")

    def place(self) -> tuple[float, str]:
        """Where it stands in a list: after those that were used later."""
        return -list(self.messages.values())[-1].at.timestamp(), self.header.id


@dataclass
class Handle:
    """A conversation that somebody has open, who does not see what others write."""

    opened: OpenConversation
    key: str


class History(RuleBasedStateMachine):
    """Does things to a history and to its model, and compares them after each."""

    all_steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(mkdtemp(prefix="chatllm-test-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
        self.runner = asyncio.Runner()
        self.history = HistoryService(self.root / "data", self.root / "index.db")
        self.kept: dict[str, Kept] = {}
        self.handles: list[Handle] = []
        self.count = self.steps = 0

    def teardown(self) -> None:
        self.runner.close()
        shutil.rmtree(self.root)

    def do(self, work: Awaitable[Answer]) -> Answer:
        async def wait() -> Answer:
            return await work

        return self.runner.run(wait())

    def path(self, key: str) -> Path:
        begun = self.kept[key].header.created_at
        return self.root / "data" / f"{begun:%Y}" / f"{begun:%m}" / f"{key}.jsonl"

    def pick(self, pick: int) -> Handle:
        """Return a handle on a conversation in which something was said."""
        handle = self.handles[pick % len(self.handles)]
        assume(handle.opened.conversation.messages)
        return handle

    def written_by(self, handle: Handle) -> Kept:
        """Return what a file holds when its handle writes to it."""
        self.kept[handle.key].is_torn = False
        return self.kept[handle.key]

    def pick_key(self, pick: int) -> str:
        return list(self.kept)[pick % len(self.kept)]

    def message(self, role: Role, content: str, parent: str | None) -> Message:
        self.count += 1
        at, model = LATER + timedelta(seconds=self.count), "hub/m" if role is Role.ASSISTANT else None
        return Message(f"{self.count:04}m", role, content, at, parent, model=model)

    @precondition(lambda self: len(self.kept) < 4)
    @rule(text=texts)
    def start(self, text: str) -> None:
        opened = self.history.start(text, model="hub/model", system_prompt="Be kind.")
        message = self.message(Role.USER, text, None)
        header = opened.conversation
        self.do(opened.add(message))
        self.kept[header.id] = Kept(header, header.title, "Be kind.")
        self.kept[header.id].say(message)
        self.handles.append(Handle(opened, header.id))

    @precondition(lambda self: self.handles)
    @rule(pick=picks, role=st.sampled_from([Role.USER, Role.ASSISTANT]), text=texts)
    def add(self, pick: int, role: Role, text: str) -> None:
        handle = self.pick(pick)
        kept = self.written_by(handle)
        message = self.message(role, text, handle.opened.conversation.head)
        self.do(handle.opened.add(message))
        kept.say(message)

    @precondition(lambda self: self.handles)
    @rule(pick=picks, pieces=st.lists(texts, min_size=1, max_size=3), is_ended=st.booleans())
    def reply(self, pick: int, pieces: list[str], is_ended: bool) -> None:
        handle = self.pick(pick)
        kept = self.written_by(handle)
        reply = self.message(Role.ASSISTANT, "", handle.opened.conversation.head)
        for piece in pieces:
            self.do(handle.opened.mark(reply, piece))
        reply = replace(reply, content="".join(pieces), status=Status.INTERRUPTED)
        kept.say(reply)
        if is_ended:
            reply = replace(reply, status=Status.COMPLETE)
            self.do(handle.opened.add(reply))
            kept.say(reply)

    @precondition(lambda self: self.handles)
    @rule(pick=picks, other=picks)
    def branch(self, pick: int, other: int) -> None:
        handle = self.pick(pick)
        kept = self.written_by(handle)
        known = [None, *(message.id for message in handle.opened.conversation.messages)]
        head = known[other % len(known)]
        self.do(handle.opened.move_head(head))
        kept.heads.append((True, head))

    @precondition(lambda self: self.handles)
    @rule(pick=picks, is_retry=st.booleans())
    def undo_or_retry(self, pick: int, is_retry: bool) -> None:
        handle = self.pick(pick)
        work = handle.opened.back_to_prompt if is_retry else handle.opened.undo
        befores = [None, *(message.id for message in handle.opened.conversation.thread())]
        prompts = [
            (message, before)
            for message, before in zip(handle.opened.conversation.thread(), befores, strict=False)
            if message.role is Role.USER
        ]
        if not prompts:
            with pytest.raises(UsageError):
                self.do(work())
            return
        kept = self.written_by(handle)
        self.do(work())
        prompt, before = prompts[-1]
        kept.heads.append((True, prompt.id if is_retry else before))

    @precondition(lambda self: self.handles)
    @rule(pick=picks, title=titles)
    def rename(self, pick: int, title: str) -> None:
        handle = self.pick(pick)
        kept = self.written_by(handle)
        self.do(handle.opened.set_title(title))
        kept.title = title

    @precondition(lambda self: self.handles)
    @rule(pick=picks, tags=st.lists(st.sampled_from(["one", "two", SECRET]), unique=True))
    def tag(self, pick: int, tags: list[str]) -> None:
        handle = self.pick(pick)
        kept = self.written_by(handle)
        self.do(handle.opened.set_tags(tags))
        kept.tags = tuple(tags)

    @precondition(lambda self: self.handles)
    @rule(pick=picks, system_prompt=texts)
    def change_system_prompt(self, pick: int, system_prompt: str) -> None:
        handle = self.pick(pick)
        kept = self.written_by(handle)
        handle.opened.set_system_prompt(system_prompt)
        message = self.message(Role.USER, "And now?", handle.opened.conversation.head)
        self.do(handle.opened.add(message))
        kept.say(message)
        kept.system_prompt = system_prompt

    @precondition(lambda self: self.kept and len(self.handles) < 6)
    @rule(pick=picks)
    def reopen(self, pick: int) -> None:
        key = self.pick_key(pick)
        self.handles.append(Handle(self.do(self.history.open(key)), key))

    @precondition(lambda self: self.handles)
    @rule(pick=picks)
    def close(self, pick: int) -> None:
        self.handles.pop(pick % len(self.handles))

    @precondition(lambda self: self.kept)
    @rule(pick=picks)
    def fork(self, pick: int) -> None:
        key = self.pick_key(pick)
        thread = self.kept[key].thread()
        assume(thread and len(self.kept) < 6)
        forked = self.do(self.history.fork(key))
        assert [message.content for message in forked.messages] == [message.content for message in thread]
        kept = Kept(
            forked,
            f"{self.kept[key].shown_title()} (fork)".lstrip(),
            self.kept[key].system_prompt,
            self.kept[key].tags,
        )
        for message in forked.messages:
            kept.say(message)
        self.kept[forked.id] = kept

    @precondition(lambda self: self.kept)
    @rule(pick=picks)
    def remove(self, pick: int) -> None:
        key = self.pick_key(pick)
        path = self.path(key)
        self.do(self.history.upkeep.remove([key]))
        assert list(path.parent.glob(f"{key}*")) == []
        del self.kept[key]
        for handle in [each for each in self.handles if each.key == key]:
            self.handles.remove(handle)
            with pytest.raises(HistoryError, match="it was removed meanwhile"):
                self.do(handle.opened.set_title("back again"))
        assert not path.exists()

    @precondition(lambda self: self.kept)
    @rule(pick=picks, other=picks)
    def remove_message(self, pick: int, other: int) -> None:
        key = self.pick_key(pick)
        messages = list(self.kept[key].messages.values())
        assume(messages)
        gone = messages[other % len(messages)]
        self.do(self.history.upkeep.remove_message(self.path(key), gone.id))
        self.kept[key].forget(gone)
        self.kept[key].is_torn = False

    @precondition(lambda self: self.kept)
    @rule(number=st.integers(1, 4))
    def scrub(self, number: int) -> None:
        keys = list(self.kept)[:number]
        paths = [self.path(key) for key in keys]
        self.do(self.history.upkeep.scrub(paths, re.compile(re.escape(SECRET)), REMOVED))
        for key in keys:
            self.kept[key].replace_texts(lambda text: text.replace(SECRET, REMOVED))
            self.kept[key].is_torn = False
            assert SECRET.encode() not in self.path(key).read_bytes()

    @precondition(lambda self: self.kept)
    @rule(pick=picks, length=picks)
    def crash(self, pick: int, length: int) -> None:
        key = self.pick_key(pick)
        line = records.encode(records.message_record(self.message(Role.USER, "never acknowledged", None)))
        with self.path(key).open("ab") as file:
            file.write(line[: 1 + length % (len(line) - 3)])
        kept = self.kept[key]
        kept.damaged += not kept.is_torn
        kept.is_torn = True

    @rule()
    def repair(self) -> None:
        damaged = self.do(self.history.upkeep.repair())
        assert {each.path.stem: each.lines for each in damaged} == {
            key: kept.damaged for key, kept in self.kept.items() if kept.damaged
        }
        for kept in self.kept.values():
            kept.damaged, kept.is_torn = 0, False

    @rule()
    def lose_the_index(self) -> None:
        for path in self.root.glob("index.db*"):
            path.unlink()

    @invariant()
    def files_are_as_the_model_says(self) -> None:
        self.steps += 1
        History.all_steps += 1
        for key, kept in self.kept.items():
            found = records.decode(self.path(key).read_bytes(), key)
            assert {message.id: message for message in found.messages} == kept.messages
            assert [message.id for message in found.messages] == list(kept.messages)
            assert (found.head, list(found.thread())) == (kept.head, kept.thread())
            assert (found.title, found.system_prompt) == (kept.shown_title(), kept.system_prompt)
            assert (found.tags, found.damaged_lines) == (kept.tags, kept.damaged)

    @invariant()
    def the_list_is_as_the_model_says(self) -> None:
        if self.steps % 2:  # at times there is more than one change to catch up with
            return
        listing = self.do(self.history.list())
        said = sorted((kept for kept in self.kept.values() if kept.messages), key=Kept.place)
        lost = [kept for kept in self.kept.values() if kept.damaged and not kept.messages]
        assert len(listing.faults) == len(lost)
        assert [(each.id, each.title, each.messages, each.tags) for each in listing.conversations] == [
            (kept.header.id, kept.shown_title().replace("\ud83d", "\ufffd"), len(kept.messages), kept.tags)
            for kept in said
        ]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("number", [1, 2])
def test_the_history_is_as_a_plain_model_of_it_says_after_every_step(number: int) -> None:
    History.all_steps = 0
    run_state_machine_as_test(
        seed(number)(type("SeededHistory", (History,), {})),
        settings=settings(
            max_examples=RUNS,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert History.all_steps >= RUNS * STEPS // 2


async def test_a_file_that_is_removed_meanwhile_is_written_anew_with_its_tags_and_its_branch(quick: Path) -> None:
    history = HistoryService(quick)
    opened = history.start("Hi", model="")
    for message in turns(2):
        await opened.add(message)
    await opened.set_tags(["one"])
    await opened.move_head("m001")
    for path in quick.glob("*/*/*"):
        path.unlink()
    await opened.set_title("Another title")
    found = await history.load("@1")
    assert (found.title, found.tags, found.head) == ("Another title", ("one",), "m001")


async def test_a_conversation_that_lost_all_its_messages_can_be_renamed(quick: Path) -> None:
    history = HistoryService(quick)
    opened = history.start("Hi", model="")
    await opened.add(turns(1)[0])
    (path,) = quick.glob("*/*/*")
    await history.upkeep.remove_message(path, "m000")
    again = await history.open(opened.conversation.id)
    await again.set_title("Another title")
    assert (await history.load(opened.conversation.id)).title == "Another title"
