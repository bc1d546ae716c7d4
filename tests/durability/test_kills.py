"""kill -9, a great many times: what was acknowledged is there, and everything can be read and gone on with."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Self

import pytest

from chatllm_cli.formats import json as json_format
from chatllm_cli.models import Conversation, Message, Role, Status
from chatllm_cli.services.history import HistoryService, OpenConversation, files, records
from chatllm_cli.services.history.intake import Became, Taken
from chatllm_cli.services.imports import Imports
from tests.durability import forked_cli, victims
from tests.durability.helpers import NOON, chance, conversation_of, journal_of, turns
from tests.fake_openai import FakeOpenAI
from tests.terminal import CHATLLM

KILLS, CONVERSATIONS = 1_000, 100
KILLS_PER_START = 11  # the others are forks: a start takes seconds where there is much else to do
PATIENCE = 30  # seconds
LATEST_MARK = 1.5  # seconds: one between two marks, and what a mark itself takes on a busy machine


def start(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, victims.__file__, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: "subprocess.Popen[str]") -> list[str]:
    """What it told until its end, which is a good one."""
    told, complaint = process.communicate(timeout=150)
    assert (process.returncode, complaint) == (0, "")
    return told.splitlines()


async def next_is_kept(path: Path) -> bool:
    opened = OpenConversation(records.decode(path.read_bytes(), path.stem), path)
    said = Message("next", Role.USER, "And now?", NOON, opened.conversation.head)
    await opened.add(said)
    found = records.decode(path.read_bytes(), path.stem)
    return (found.find("next"), len(found.messages)) == (said, len(opened.conversation.messages))


def whole_journals(root: Path) -> list[Conversation]:
    """All that is stored, but for when it came; one that was only begun has nothing in it."""
    read = [records.decode(data, path.stem) for path in files.all_journals(root) if (data := path.read_bytes())]
    return [replace(each, imported_at=None) for each in read]


@pytest.mark.slow
async def test_no_kill_leaves_half_of_an_imported_conversation(tmp_path: Path) -> None:
    wanted = [replace(conversation_of(turns(20), f"{number:016}"), title=f"{number}") for number in range(300)]
    file = tmp_path / "all.jsonl"
    file.write_text("".join(json_format.dump_line(each, {}) for each in wanted))
    acknowledged = {int(number) for number in ended(start("importers", tmp_path, file, 60))}
    found = whole_journals(tmp_path / "data")
    assert 0 < len(found) < len(wanted)
    assert found == [wanted[int(each.id)] for each in found]
    assert {f"{number:016}" for number in acknowledged} <= {each.id for each in found}
    intake = HistoryService(tmp_path / "data", tmp_path / "index.db").intake()
    reads = [read.became async for read in Imports(intake).run(file)]
    assert [each.became for each in reads if isinstance(each, Taken)].count(Became.NEW) == len(wanted) - len(found)
    assert whole_journals(tmp_path / "data") == wanted


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_no_message_that_was_acknowledged_is_lost_by_a_thousand_kills(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "2026" / "07"
    folder.mkdir(parents=True)
    half = KILLS // 2
    # Two at a time, and at times in one conversation.
    killers = [start("writers", folder, begin, begin + half, CONVERSATIONS) for begin in (0, half)]
    acknowledged = {message_id for killer in killers for message_id in ended(killer)}
    found: dict[str, Message] = {}
    torn = 0
    for path in folder.iterdir():
        conversation = records.decode(path.read_bytes(), path.stem)
        found |= {message.id: message for message in conversation.messages}
        torn += conversation.damaged_lines
    begun = len([*folder.iterdir()])  # where the machine is slow, all who would have begun one may have died before
    assert len(acknowledged) >= KILLS
    assert CONVERSATIONS * 0.9 <= begun <= CONVERSATIONS
    assert acknowledged - {each.id for each in found.values() if each.status is Status.COMPLETE} == set()
    assert [
        message.id for message in found.values()
        if message.content != (text := victims.text_of(message.id))
        and not (message.status is Status.INTERRUPTED and text.startswith(message.content))
    ] == []  # fmt: skip
    assert torn <= KILLS
    assert [path for path in folder.iterdir() if not await next_is_kept(path)] == []
    history = HistoryService(tmp_path / "data", tmp_path / "index.db")
    listing = await history.list()
    assert (len(listing.conversations), listing.faults) == (begun, ())
    assert sum(summary.messages for summary in listing.conversations) == len(found) + begun


@pytest.mark.slow
async def test_a_kill_while_conversations_are_rewritten_leaves_each_as_it_was_or_as_it_is_to_be(quick: Path) -> None:
    month = quick / "data" / "2026" / "07"
    month.mkdir(parents=True)
    for number in range(3):
        messages = [replace(message, content="a" * 50) for message in turns(20)]
        conversation = conversation_of(messages, f"{number}aaabbbbccccdddd")
        (month / f"{conversation.id}.jsonl").write_bytes(journal_of(conversation))
    kills = 150
    told = ended(start("scrubbers", quick, kills))
    assert len(told) == 3 * kills
    assert {line.split()[0] for line in told} == {"40"}
    assert {line.split()[1] for line in told} == {"0"}
    assert {line.split()[2] for line in told} == {"a", "b"}
    history = HistoryService(quick / "data", quick / "index.db")
    listing = await history.list()
    assert ([each.messages for each in listing.conversations], listing.faults) == ([40] * 3, ())


class Starter:
    """Starts `chatllm`, from its beginning or by a fork of a process that has it all imported."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            command = [sys.executable, forked_cli.__file__, str(other.fileno())]
            self._server = subprocess.Popen(command, pass_fds=[other.fileno()], stdout=subprocess.DEVNULL)

    def start(self, arguments: list[str], home: Path, *, forked: bool) -> tuple[int, int]:
        """Return its process id, and the descriptor of what it says."""
        environment = os.environ | {"CHATLLM_HOME": str(home)}
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        complaints = home.with_name(f"{home.name}-stderr")
        if forked:
            message = json.dumps(
                {"arguments": arguments, "environment": environment, "complaints": str(complaints)}
            ).encode()
            with self._lock:
                socket.send_fds(self._socket, [message], [writer])
                child = int(self._socket.recv(100))
        else:
            with complaints.open("w") as stderr:
                process = subprocess.Popen(
                    [CHATLLM, *arguments], stdin=subprocess.DEVNULL, stdout=writer, stderr=stderr, env=environment
                )
            self._processes.append(process)
            child = process.pid
        os.close(writer)
        return child, reader

    def __enter__(self) -> Self:
        self._processes: list[subprocess.Popen[bytes]] = []
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()
        for process in (self._server, *self._processes):
            process.wait(timeout=10)


@dataclass
class Killed:
    """What is left of `chatllm ask` after it was killed."""

    phase: str
    seed: int
    was_asked: bool  # whether the server saw the request
    seen: list[tuple[float, str]]  # what had come on stdout, and how many seconds before the kill
    conversation: Conversation | None
    complaint: str  # on stderr

    def is_prompt_kept(self) -> bool:
        messages = self.conversation.messages if self.conversation else ()
        return [(each.role, each.content) for each in messages[:1]] == [(Role.USER, f"prompt {self.seed}")]

    def age(self) -> float:
        """How old what is kept of the reply is: seconds before the kill since when nothing of it is kept."""
        kept = self.conversation.messages[1].content if self.conversation and self.conversation.messages[1:] else ""
        return max((ago for ago, text in self.seen if not kept.startswith(text)), default=0.0)


@dataclass
class Victim:
    """A run of `chatllm ask` in a home of its own."""

    fake: FakeOpenAI
    home: Path
    seed: int
    starter: Starter
    seen: list[tuple[float, str]] = field(default_factory=list)

    def start(self, model: str) -> None:
        forked = self.seed % KILLS_PER_START != 0
        arguments = ["ask", "-m", model, f"prompt {self.seed}"]
        self.process, self.stdout = self.starter.start(arguments, self.home, forked=forked)

    def was_asked(self) -> bool:
        said = f"prompt {self.seed}"
        return any(chat.body["messages"][-1]["content"] == said for chat in list(self.fake.chats))

    def wait_until_asked(self) -> None:
        until = time.monotonic() + PATIENCE
        while not self.was_asked() and time.monotonic() < until:
            time.sleep(0.005)

    def read(self, seconds: float, last: str = "\0") -> None:
        """Read what it says for as long, or until it says `last`."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and last not in (self.seen[-1][1] if self.seen else ""):
            time.sleep(0.005)
            with suppress(BlockingIOError):
                self._take(os.read(self.stdout, 65536))

    def wait_for_text(self) -> None:
        until = time.monotonic() + PATIENCE
        while not self.seen and time.monotonic() < until:
            self.read(0.01)

    def kill(self, phase: str) -> Killed:
        os.kill(self.process, signal.SIGKILL)
        moment = time.monotonic()
        os.set_blocking(self.stdout, True)
        while piece := os.read(self.stdout, 65536):  # until all of its threads are gone
            self._take(piece)
        os.close(self.stdout)
        paths = list(self.home.glob("data/conversations/*/*/*.jsonl"))
        assert len(paths) <= 1
        conversation = records.decode(paths[0].read_bytes(), paths[0].stem) if paths else None
        seen = [(moment - at, text) for at, text in self.seen]
        complaint = self.home.with_name(f"{self.home.name}-stderr").read_text()
        return Killed(phase, self.seed, self.was_asked(), seen, conversation, complaint)

    def _take(self, piece: bytes) -> None:
        if piece:
            text = self.seen[-1][1] if self.seen else ""
            self.seen.append((time.monotonic(), text + piece.decode()))


def before_it_asks(victim: Victim, seconds: float) -> None:
    victim.start("says-hello")
    time.sleep(seconds)


def while_it_waits_for_an_answer(victim: Victim, seconds: float) -> None:
    victim.start("hang")
    victim.wait_until_asked()
    time.sleep(seconds / 4)


def in_mid_stream(victim: Victim, seconds: float) -> None:
    victim.start("tokens-400-20")
    victim.wait_for_text()
    victim.read(seconds * 2)


def when_it_saves(victim: Victim, seconds: float) -> None:
    victim.start("tokens-30-1")
    victim.wait_for_text()
    victim.read(10, last="word29 ")
    time.sleep(seconds / 100)


def while_it_waits_to_ask_again(victim: Victim, seconds: float) -> None:
    victim.start("fault-503")
    victim.wait_until_asked()
    time.sleep(0.05 + seconds / 3)


PHASES: tuple[Callable[[Victim, float], None], ...] = (
    before_it_asks,
    while_it_waits_for_an_answer,
    in_mid_stream,
    when_it_saves,
    while_it_waits_to_ask_again,
)


async def is_gone_on_with(home: Path) -> bool:
    """Whether a later run lists what is there and adds to it."""
    history = HistoryService(home / "data" / "conversations", home / "cache" / "index.db")
    listing = await history.list()
    if listing.conversations:
        opened = await history.open("@1")
        await opened.add(Message("next", Role.USER, "And now?", NOON, opened.conversation.head))
    return not listing.faults and len((await history.list()).conversations) == len(listing.conversations)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_the_program_keeps_the_prompt_and_all_but_the_last_second_of_a_hundred_kills(
    provider: FakeOpenAI, tmp_path: Path
) -> None:
    def kill(number: int) -> Killed:
        phase = PHASES[number % len(PHASES)]
        victim = Victim(provider, tmp_path / f"home-{number}", number, starter)
        try:
            phase(victim, chance(number).random())
        finally:
            killed = victim.kill(phase.__name__)
        return killed

    kills = 100
    with Starter() as starter, ThreadPoolExecutor(2) as pool:
        all_killed = list(pool.map(kill, range(kills)))
    asked = [killed for killed in all_killed if killed.was_asked]
    lost = [(killed.phase, killed.seed) for killed in asked if not killed.is_prompt_kept()]
    assert (len(all_killed), lost) == (kills, [])
    late = [killed for killed in all_killed if killed.phase != before_it_asks.__name__]
    assert [(each.seed, each.complaint) for each in late if not each.was_asked] == []
    old = [(killed.phase, killed.seed, killed.age()) for killed in late if killed.age() > LATEST_MARK]
    assert old == []
    damaged = [each.seed for each in all_killed if each.conversation and each.conversation.damaged_lines > 1]
    assert damaged == []
    homes = [tmp_path / f"home-{number}" for number in range(kills)]
    assert [home.name for home in homes if not await is_gone_on_with(home)] == []
