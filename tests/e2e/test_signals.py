"""Signals in every phase of a turn: what came is kept, the process dies by the signal, the terminal is left sane."""

import fcntl
import json
import os
import re
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGSTOP, SIGTERM, Signals
from typing import Any

import pytest

from chatllm_cli.config.places import Places
from tests.fake_openai import FakeOpenAI, Handler
from tests.fault_modes import FAULT_MODES, Fault, conclude, fault, over_and_over, silence, stream
from tests.terminal import CHATLLM, CTRL_C, CTRL_D, PATIENCE, Terminal

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

PROMPT, LAST_PROMPT = "my prompt", "the last one"
WORDS = "".join(f"word{number} " for number in range(400))
BEGUN = "word0 word1 word2"
ANSWER = "all of it"
COUNTDOWN = "retry 1/"
STOPPED, AND_KEPT = "stopped", "stopped; what came is kept"
FOOTER = re.compile(r"\n\S+ · [^\n]*↓ \d+\n>.*\Z")  # which the chat shows beneath an answer while it comes
QUICKLY = 5  # seconds; no phase ends by itself in that time
FAREWELL = 2  # seconds that the program takes at most to save what there is
A_WHILE = 0.3  # seconds in which something is to go on as it is

AT_PROMPT, WAITING, STREAMING, BACKING_OFF, SAVING = "prompt", "waiting", "streaming", "backing-off", "saving"
LATE, HALTING, FLOOD = "late", "halting", "flood"
PHASES = (WAITING, STREAMING, BACKING_OFF, SAVING)
ASK = [(phase, number) for phase in PHASES for number in (SIGINT, SIGTERM, SIGHUP)]
CHAT = [(phase, number) for phase in (AT_PROMPT, *PHASES) for number in (SIGTERM, SIGHUP)]
NEVER_SAVED = [(SIGINT,), (SIGTERM,), (SIGINT, SIGINT)]
BY = BY_SIGNAL, BY_KEY = "signal", "key"
GONE = [("ask", STREAMING), ("chat", AT_PROMPT)]
SUSPENDED = [(WAITING, LATE, ANSWER), (STREAMING, HALTING, f"{BEGUN} {ANSWER}")]


class Stage:
    """The program on a terminal: brought into a phase, sent a signal, and looked at when it has ended."""

    def __init__(self, provider: FakeOpenAI, places: Places, cue: threading.Event) -> None:
        self.turns = 0
        self._provider = provider
        self._places = places
        self._cue = cue
        self._lock = self._pipe = -1
        self._piped = b""

    def start(self, *arguments: str, pipe: Path | None = None) -> None:
        """Start the program; its stdout is the terminal, or `pipe`."""
        if pipe:
            os.mkfifo(pipe)
            self._pipe = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.screen = Terminal(arguments, stdout=pipe)
        self._modes = termios.tcgetattr(self.screen.child.child_fd)
        if arguments[0] == "chat":
            self.screen.wait_for("\n>")

    def close(self) -> None:
        self.screen.close()
        self.let_it_save()
        self.close_pipe()

    @property
    def shown(self) -> str:
        """What a person saw of the answer."""
        if self._pipe < 0:
            return FOOTER.sub("", self.screen.text)
        with suppress(BlockingIOError):
            self._piped += os.read(self._pipe, 65536)
        return self._piped.decode()

    def say(self, prompt: str = PROMPT) -> None:
        """Send a prompt in the chat."""
        self._cue.clear()
        self.screen.type(f"{prompt}\r")

    def reach(self, phase: str) -> None:
        """Wait until one more turn is in that phase."""
        self.turns += 1
        self.until(lambda: len(self._provider.chats) == self.turns)
        if phase == STREAMING:
            self.until(lambda: self.shown.count(BEGUN) == self.turns)
        elif phase == BACKING_OFF:
            self.screen.wait_for(COUNTDOWN)
        elif phase == SAVING:
            self.until(lambda: self.journal().count('"partial"') == self.turns)
            self.hold_the_save()

    def hold_the_save(self) -> None:
        """Let the answer end while its file is locked, and wait until the program waits for that."""
        path = self._path()
        assert path
        self._lock = os.open(path, os.O_RDWR)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._cue.set()
        self.until(lambda: path in _open_files(self.screen.child.pid))

    def let_it_save(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def close_pipe(self) -> None:
        """Read no more of the answer."""
        if self._pipe >= 0:
            os.close(self._pipe)
        self._pipe = -1

    def until(self, condition: Callable[[], object]) -> None:
        """Read the screen until something is so."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, self.screen.text
            assert self.screen.read() or condition(), self.screen.text

    def until_stopped(self) -> None:
        """Wait until the chat says of every turn so far that it was stopped."""
        self.until(lambda: self.screen.text.count(STOPPED) == self.turns)

    def runs_on(self) -> None:
        """Assert that it does not end for a while."""
        end = time.monotonic() + A_WHILE
        while time.monotonic() < end:
            assert self.screen.read(), self.screen.text

    def send(self, number: Signals) -> None:
        self.screen.child.kill(number)

    def interrupt(self, by: str) -> None:
        if by == BY_KEY:
            self.screen.type(CTRL_C)
        else:
            self.send(SIGINT)

    def dies_by(self, number: Signals, *, within: float = QUICKLY) -> float:
        """Assert that the process ends by that signal, and return after how many seconds."""
        begin = time.monotonic()
        code = self.screen.wait()
        seconds = time.monotonic() - begin
        assert code == 128 + number, self.screen.text
        assert self.screen.child.signalstatus == number, "it exited with a code that only looks like a signal's"
        assert seconds < within, self.screen.text
        self.is_sane()
        return seconds

    def until_it_cannot_write(self) -> None:
        """Read nothing, until the terminal takes no more of what comes."""
        waiting, before = 0, -1
        while waiting != before:
            before = waiting
            time.sleep(A_WHILE)  # many a word comes in that time
            held = fcntl.ioctl(self.screen.child.child_fd, termios.FIONREAD, b"0000")
            waiting = int.from_bytes(held, sys.byteorder)

    def goes_on_and_leaves(self) -> None:
        """Assert that the chat answers once more, and that Ctrl-D ends it as it should."""
        self.say(LAST_PROMPT)
        self.screen.wait_for("fine\n7 in · 3 out\n>")
        self.screen.type(CTRL_D)
        assert self.screen.wait() == 0, self.screen.text
        self.is_sane()

    @property
    def modes_are_as_before(self) -> bool:
        return termios.tcgetattr(self.screen.child.child_fd) == self._modes

    def is_sane(self) -> None:
        """Assert that the terminal is as it was before, and that nothing on it was meant for developers."""
        assert self.modes_are_as_before
        for hidden_or_on, shown_or_off in (("\x1b[?25l", "\x1b[?25h"), ("\x1b[?2004h", "\x1b[?2004l")):
            assert self.screen.raw.rfind(hidden_or_on) <= self.screen.raw.rfind(shown_or_off), self.screen.raw
        cursor = self.screen.screen.cursor
        assert (cursor.x, cursor.attrs.fg, cursor.attrs.bold) == (0, "default", False), self.screen.text
        for unwanted in ("Traceback", "Unhandled", "never retrieved"):
            assert unwanted not in self.screen.text

    def journal(self) -> str:
        """Return the conversation's file as it is."""
        path = self._path()
        return path.read_text() if path else ""

    def _path(self) -> Path | None:
        return next(self._places.conversations.glob("*/*/*.jsonl"), None)


def _open_files(pid: int | None) -> list[Path]:
    paths = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            paths.append(each.readlink())
    return paths


@pytest.fixture
def cue(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """What the fake server waits for in some phases; each phase is a model that brings it about."""
    cue = threading.Event()

    def wait_for_cue(handler: Handler) -> None:
        cue.wait()

    def talk(handler: Handler) -> None:
        handler.start_stream()
        for word in WORDS.split():
            handler.say(f"{word} ")
            handler.pause(0.02)
        handler.conclude()

    def answer_late(handler: Handler) -> None:
        cue.wait()
        stream(ANSWER, conclude())(handler)

    plays: dict[str, Fault] = {
        AT_PROMPT: silence,
        WAITING: silence,
        STREAMING: talk,
        BACKING_OFF: lambda handler: fault(handler, "429:retry-after=30"),
        SAVING: stream(ANSWER, wait_for_cue, conclude()),
        LATE: answer_late,
        FLOOD: stream(over_and_over("word " * 100, 0.001)),
        HALTING: stream(f"{BEGUN} ", wait_for_cue, ANSWER, conclude()),
    }
    for model, play in plays.items():
        monkeypatch.setitem(FAULT_MODES, model, _except_for_the_last_prompt(play))
    yield cue
    cue.set()


def _except_for_the_last_prompt(play: Fault) -> Fault:
    def choose(handler: Handler) -> None:
        is_last = handler.body["messages"][-1]["content"] == LAST_PROMPT
        (stream("fine", conclude()) if is_last else play)(handler)

    return choose


@pytest.fixture
def stage(provider: FakeOpenAI, places: Places, cue: threading.Event) -> Iterator[Stage]:
    stage = Stage(provider, places, cue)
    yield stage
    stage.close()


def export() -> list[dict[str, Any]]:
    """Return the messages of the conversation, as another process reads them."""
    command = [CHATLLM, "history", "export", "--format", "json"]
    exported = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
    messages: list[dict[str, Any]] = json.loads(exported.stdout)["messages"]
    return messages


def said() -> list[tuple[str, str]]:
    """Return what was said, and the status of each message."""
    return [(message["content"], message["status"]) for message in export()]


def is_what_came(reply: tuple[str, str], phase: str, shown: str) -> bool:
    """Tell whether a reply is what had come in that phase, with `shown` on the screen when it was stopped."""
    content, status = reply
    if phase == SAVING:
        return reply == (ANSWER, "complete")
    if phase != STREAMING:
        return reply == ("", "interrupted")
    *seen, _ = shown[shown.rindex(BEGUN) :].split()  # the last word may have been on its way
    is_part = WORDS.startswith(content) and content != WORDS
    return status == "interrupted" and is_part and content.split()[: len(seen)] == seen


def test_the_cases_are_many() -> None:
    of_ask = len(ASK) + len(PHASES) + len(NEVER_SAVED) + len(SUSPENDED)
    of_chat = len(CHAT) + len(BY) + len(PHASES)
    assert of_ask + of_chat + len(GONE) >= 36


@pytest.mark.parametrize(("phase", "number"), ASK)
def test_a_signal_ends_ask_and_what_came_is_kept(stage: Stage, phase: str, number: Signals) -> None:
    stage.start("ask", "-m", phase, PROMPT)
    stage.reach(phase)
    shown = stage.shown
    if number == SIGINT:
        stage.interrupt(BY_KEY)
    else:
        stage.send(number)
    if phase == SAVING:
        stage.runs_on()
        stage.let_it_save()
    stage.dies_by(number)
    prompt, reply = said()
    assert prompt == (PROMPT, "complete")
    assert is_what_came(reply, phase, shown), reply
    assert " ".join(stage.screen.text.split()).startswith(f"{reply[0].strip()} {STOPPED}".strip())


@pytest.mark.parametrize("phase", PHASES)
def test_a_reader_that_goes_away_ends_ask_at_once_and_without_a_word(
    stage: Stage, tmp_path: Path, phase: str
) -> None:
    stage.start("ask", "-m", phase, PROMPT, pipe=tmp_path / "pipe")
    stage.reach(phase)
    shown = stage.shown
    stage.close_pipe()
    if phase == SAVING:
        stage.runs_on()
        stage.let_it_save()
    stage.dies_by(SIGPIPE)
    prompt, reply = said()
    assert prompt == (PROMPT, "complete")
    assert is_what_came(reply, phase, shown), reply
    assert stage.screen.text == ""


def test_a_signal_before_the_request_keeps_it_from_being_sent(stage: Stage, provider: FakeOpenAI) -> None:
    stage.start("ask", "-m", STREAMING, PROMPT)
    stage.until(lambda: '"message"' in stage.journal())
    stage.send(SIGINT)
    stage.dies_by(SIGINT)
    assert said() == [(PROMPT, "complete"), ("", "interrupted")]
    assert not provider.chats


@pytest.mark.parametrize("numbers", NEVER_SAVED)
def test_a_save_that_cannot_be_done_is_waited_for_two_seconds_or_until_the_second_signal(
    stage: Stage, numbers: tuple[Signals, ...]
) -> None:
    first, *others = numbers
    stage.start("ask", "-m", SAVING, PROMPT)
    stage.reach(SAVING)
    stage.send(first)
    if others:
        stage.runs_on()
        stage.send(others[0])
        stage.dies_by(first, within=FAREWELL - 2 * A_WHILE)
    else:
        assert stage.dies_by(first, within=2 * FAREWELL) > FAREWELL / 2
    stage.let_it_save()
    assert said() == [(PROMPT, "complete"), (ANSWER, "interrupted")]  # a mark was made before


def test_ctrl_c_says_that_the_file_is_not_written_which_the_answer_was_for(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stage.start("ask", "-m", "tokens-300-30", "-o", "a.md", PROMPT)
    stage.until(lambda: '"partial"' in stage.journal())
    stage.screen.type(CTRL_C)
    stage.dies_by(SIGINT)
    assert stage.screen.text == "a.md is not written\nstopped; what came is kept; `chatllm ask -c` goes on"
    assert not Path("a.md").exists()


def test_a_shell_loop_stops_at_ctrl_c(provider: FakeOpenAI, cue: threading.Event) -> None:
    script = f"for prompt in 1 2 3; do '{CHATLLM}' ask -m {WAITING} $prompt; done; echo went on"
    shell = subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, process_group=0)
    while not provider.chats:
        assert shell.poll() is None
        time.sleep(0.01)
    os.killpg(shell.pid, SIGINT)
    out, _ = shell.communicate(timeout=PATIENCE)
    assert (shell.returncode, out) == (-SIGINT, b"")
    assert len(provider.chats) == 1


def test_a_terminal_that_nobody_reads_is_left_as_it_was_found(stage: Stage) -> None:
    stage.start("ask", "--plain", "-m", FLOOD, PROMPT)
    stage.screen.wait_for("word")
    stage.until_it_cannot_write()
    stage.send(SIGTERM)
    stage.screen.child.wait()
    assert stage.screen.child.signalstatus == SIGTERM
    assert stage.modes_are_as_before


@pytest.mark.parametrize(("phase", "number"), CHAT)
def test_a_signal_ends_chat_and_what_came_is_kept(stage: Stage, phase: str, number: Signals) -> None:
    stage.start("chat", "-m", phase)
    if phase == AT_PROMPT:
        stage.say(LAST_PROMPT)
        stage.screen.wait_for("fine\n7 in · 3 out\n>")
        stage.screen.type("half a line")
        stage.screen.wait_for("> half a line")
    else:
        stage.say()
        stage.reach(phase)
    shown = stage.shown
    stage.send(number)
    if phase == SAVING:
        stage.runs_on()
        stage.let_it_save()
    stage.dies_by(number)
    prompt, reply = said()
    if phase == AT_PROMPT:
        assert (prompt, reply) == ((LAST_PROMPT, "complete"), ("fine", "complete"))
    else:
        assert prompt == (PROMPT, "complete")
        assert is_what_came(reply, phase, shown), reply


@pytest.mark.parametrize("by", BY)
def test_ctrl_c_at_the_prompt_clears_the_line_and_no_more(stage: Stage, provider: FakeOpenAI, by: str) -> None:
    stage.start("chat", "-m", AT_PROMPT)
    stage.screen.type("half a line")
    stage.screen.wait_for("> half a line")
    stage.interrupt(by)
    stage.until(lambda: "half" not in stage.screen.text)
    stage.goes_on_and_leaves()
    assert provider.last_messages() == [("user", LAST_PROMPT)]


@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c_stops_the_reply_and_the_chat_goes_on(stage: Stage, phase: str) -> None:
    stage.start("chat", "-m", phase)
    shown = []
    for by in BY:
        stage.say()
        stage.reach(phase)
        shown.append(stage.shown)
        stage.interrupt(by)
        if phase == SAVING:
            stage.runs_on()
            stage.let_it_save()
        stage.until_stopped()
    stage.goes_on_and_leaves()
    messages = said()
    assert messages[0::2] == [(PROMPT, "complete"), (PROMPT, "complete"), (LAST_PROMPT, "complete")]
    assert is_what_came(messages[1], phase, shown[0]), messages[1]
    assert is_what_came(messages[3], phase, shown[1]), messages[3]
    assert messages[5] == ("fine", "complete")


def test_two_interrupts_in_one_moment_do_not_end_the_chat(stage: Stage) -> None:
    stage.start("chat", "-m", STREAMING)
    for milliseconds in (0, 1, 5, 20):
        stage.say()
        stage.reach(STREAMING)
        stage.send(SIGINT)
        time.sleep(milliseconds / 1000)
        stage.send(SIGINT)
        stage.until_stopped()
    stage.goes_on_and_leaves()
    assert [status for _, status in said()] == [*["complete", "interrupted"] * 4, "complete", "complete"]


def test_enter_and_ctrl_c_in_one_burst_stop_that_reply(stage: Stage) -> None:
    stage.start("chat", "-m", STREAMING)
    stage.screen.type(f"{PROMPT}\r{CTRL_C}")
    stage.screen.wait_for(STOPPED)
    stage.goes_on_and_leaves()
    first, *_, last_prompt, last_reply = said()
    assert first == (PROMPT, "complete")
    assert (last_prompt, last_reply) == ((LAST_PROMPT, "complete"), ("fine", "complete"))


@pytest.mark.parametrize(("phase", "told"), [(AT_PROMPT, "stopped; nothing came"), (SAVING, AND_KEPT)])
def test_what_is_saved_in_spite_of_ctrl_c_is_saved_once_and_told(stage: Stage, phase: str, told: str) -> None:
    stage.start("chat", "-m", phase)
    if phase == SAVING:
        stage.say()
        stage.reach(SAVING)
        stage.screen.type(CTRL_C)
        stage.runs_on()
        stage.let_it_save()
    else:
        stage.screen.type(f"{PROMPT}\r{CTRL_C}")
    stage.screen.wait_for(STOPPED)
    assert told in stage.screen.text
    stage.goes_on_and_leaves()
    assert stage.journal().count('"message"') == len(export())


def test_an_answer_that_had_ended_is_complete_though_its_last_mark_was_waited_for(stage: Stage) -> None:
    stage.start("ask", "-m", LATE, PROMPT)
    stage.reach(LATE)
    stage.hold_the_save()  # before the first word comes: it is a mark that waits
    stage.runs_on()  # meanwhile the answer ends
    stage.send(SIGINT)
    stage.runs_on()
    stage.let_it_save()
    stage.dies_by(SIGINT)
    assert said() == [(PROMPT, "complete"), (ANSWER, "complete")]


def test_two_interrupts_leave_a_save_that_cannot_be_done_and_the_chat_goes_on(stage: Stage) -> None:
    stage.start("chat", "-m", SAVING)
    stage.say()
    stage.reach(SAVING)
    stage.send(SIGINT)
    stage.runs_on()
    stage.send(SIGINT)
    stage.until_stopped()
    stage.runs_on()
    assert "Unhandled" not in stage.screen.text
    stage.let_it_save()
    stage.goes_on_and_leaves()
    assert said() == [(PROMPT, "complete"), (ANSWER, "complete"), (LAST_PROMPT, "complete"), ("fine", "complete")]


@pytest.mark.parametrize(("command", "phase"), GONE)
def test_a_terminal_that_goes_away_ends_it_and_what_came_is_kept(stage: Stage, command: str, phase: str) -> None:
    if command == "ask":
        stage.start("ask", "-m", phase, PROMPT)
    else:
        stage.start("chat", "-m", phase)
        stage.say(LAST_PROMPT if phase == AT_PROMPT else PROMPT)
    if phase == AT_PROMPT:
        stage.screen.wait_for("fine\n7 in · 3 out\n>")
    else:
        stage.reach(phase)
    shown = stage.shown
    stage.screen.hang_up()
    assert stage.screen.child.signalstatus == SIGHUP
    prompt, reply = said()
    if phase == AT_PROMPT:
        assert (prompt, reply) == ((LAST_PROMPT, "complete"), ("fine", "complete"))
    else:
        assert prompt == (PROMPT, "complete")
        assert is_what_came(reply, phase, shown), reply


@pytest.mark.parametrize(("phase", "model", "whole"), SUSPENDED)
def test_a_suspension_is_not_the_providers_silence(
    stage: Stage, cue: threading.Event, monkeypatch: pytest.MonkeyPatch, phase: str, model: str, whole: str
) -> None:
    monkeypatch.setenv("CHATLLM_TIMEOUTS__FIRST_TOKEN", "1")
    monkeypatch.setenv("CHATLLM_TIMEOUTS__IDLE", "1")
    stage.start("ask", "-m", model, PROMPT)
    stage.reach(phase)
    stage.runs_on()
    stage.send(SIGSTOP)
    time.sleep(2.5)
    if phase == STREAMING:  # with something to read when it runs again
        cue.set()
    stage.send(SIGCONT)
    cue.set()
    assert stage.screen.wait() == 0, stage.screen.text
    stage.is_sane()
    assert said() == [(PROMPT, "complete"), (whole, "complete")]
