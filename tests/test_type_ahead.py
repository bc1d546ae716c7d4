import asyncio
import gc
import os
from collections.abc import Iterator
from io import StringIO

import pytest
from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import DummyInput, PipeInput, create_pipe_input
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import DummyOutput
from prompt_toolkit.output.vt100 import Vt100_Output

from chatllm_cli.repl.key_bindings import build_key_bindings
from chatllm_cli.repl.type_ahead import LONGEST_KEY, TypeAhead
from tests.desks import ALT_ENTER, CTRL_C, CTRL_J, ENTER, PASTE_BEGINS, PASTE_ENDS

BACKSPACE, CTRL_U, CTRL_W, ESCAPE, LEFT = "\x7f", "\x15", "\x17", "\x1b", "\x1b[D"
LONG_PASTE = "\n".join(f"line {number}" for number in range(1000))


class Screen:
    """Writes down what it is to show."""

    def __init__(self) -> None:
        self.refreshed = self.stepped_aside = 0

    def refresh(self) -> None:
        self.refreshed += 1

    def step_aside(self) -> None:
        self.stepped_aside += 1


@pytest.fixture
def keys() -> Iterator[PipeInput]:
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        yield keys


def typing(keys: PipeInput) -> TypeAhead:
    return TypeAhead(keys, DummyOutput())


async def settled(seconds: float = 0.02) -> None:
    """Let what was sent be read."""
    await asyncio.sleep(seconds)


async def send(keys: PipeInput, *texts: str) -> None:
    """Type, in pieces that are read one by one; what does not fit into the pipe at once goes on when it does."""
    for text in texts:
        keys.send_text(text)
        await settled()


BINDINGS = build_key_bindings(
    on_clear=lambda: None, on_paste=lambda _: None, is_untouched=lambda: False, open_editor=lambda: None
)


async def prompted() -> str:
    """Return what the next prompt gives for the keys that were handed over."""
    session: PromptSession[str] = PromptSession(multiline=True, key_bindings=BINDINGS)
    return await asyncio.wait_for(session.prompt_async(), 5)


@pytest.mark.parametrize(
    ("typed", "draft"),
    [
        ("hello", "hello"),
        ("wörld 全角 👨\u200d👩", "wörld 全角 👨\u200d👩"),
        (f"helo{BACKSPACE}lo", "hello"),
        (BACKSPACE, ""),
        (f"one two {CTRL_W}", "one "),
        (f"  {CTRL_W}", ""),
        (f"one{CTRL_J}two{CTRL_U}", "one\n"),
        (f"one{CTRL_J}{CTRL_U}", "one"),
        (f"one{CTRL_J}two", "one\ntwo"),
        (f"one{ALT_ENTER}two", "one\ntwo"),
        (f"one{ENTER}two", "one\rtwo"),
        (f"one{ENTER}{BACKSPACE}", "one\r"),
        (f"one{ENTER}two{CTRL_W}{CTRL_U}{CTRL_U}", "one\r"),
        (f"{PASTE_BEGINS}one\r\ntwo\rthree{PASTE_ENDS}!", "one\ntwo\nthree!"),
        (f"ab{LEFT}c", "abc"),  # where the cursor is, the prompt alone knows
        (f"a{ESCAPE}fb", "ab"),  # Alt-F is a command
        ("\x1b[24;80Rx", "x"),
    ],
)
async def test_a_draft_follows_the_common_keys(keys: PipeInput, typed: str, draft: str) -> None:
    ahead = typing(keys)
    with ahead.reading(Screen()):
        await send(keys, typed)
        assert ahead.draft == draft


@pytest.mark.parametrize(
    "typed",
    [
        ["hello", ENTER],
        ["wör", "ld", ENTER],
        ["one", CTRL_J, "two", ALT_ENTER, "three", ENTER],
        ["bc", LEFT, LEFT, "a", ENTER],
        [PASTE_BEGINS, "one\ntwo", PASTE_ENDS, ENTER],
        [f"{PASTE_BEGINS}{LONG_PASTE}{PASTE_ENDS}", ENTER],
    ],
    ids=["line", "accents", "lines", "arrows", "paste", "long paste"],
)
async def test_the_next_prompt_takes_the_keys_as_if_they_were_typed_there(keys: PipeInput, typed: list[str]) -> None:
    keys.send_text("".join(typed))
    there = await prompted()
    with typing(keys).reading(Screen()):
        await send(keys, *typed)
    assert await prompted() == there


async def test_a_long_paste_is_one_message_and_its_end_is_seen_of_it(keys: PipeInput) -> None:
    ahead = typing(keys)
    with ahead.reading(Screen()):
        await send(keys, PASTE_BEGINS + LONG_PASTE[:5000], LONG_PASTE[5000:] + PASTE_ENDS)
        assert ahead.draft == LONG_PASTE
    keys.send_text(ENTER)
    assert await prompted() == LONG_PASTE


async def test_a_paste_that_goes_on_when_the_turn_is_over_stays_one_message(keys: PipeInput) -> None:
    with typing(keys).reading(Screen()):
        await send(keys, f"a {PASTE_BEGINS}one\nt")
    keys.send_text(f"wo{PASTE_ENDS}{ENTER}")
    assert await prompted() == "a one\ntwo"


async def test_a_character_that_comes_in_two_parts_is_one(keys: PipeInput) -> None:
    ahead = typing(keys)
    with ahead.reading(Screen()):
        keys.send_bytes("ü".encode()[:1])
        await settled()
        assert ahead.draft == ""
        keys.send_bytes("ü".encode()[1:])
        await settled()
        assert ahead.draft == "ü"


async def test_a_key_that_comes_in_two_parts_is_one(keys: PipeInput) -> None:
    with typing(keys).reading(Screen()):
        await send(keys, "b", LEFT[:1], LEFT[1:], "a", ENTER)
    assert await prompted() == "ab"


async def test_an_escape_with_nothing_behind_it_is_a_key_of_its_own(keys: PipeInput) -> None:
    with typing(keys).reading(Screen()):
        await send(keys, f"a{ESCAPE}")
    assert [press.key for press in get_typeahead(keys)] == ["a", Keys.Escape]


async def test_an_escape_does_not_swallow_the_key_after_a_while(
    keys: PipeInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatllm_cli.repl.type_ahead.LONGEST_KEY", LONGEST_KEY / 10)
    with typing(keys).reading(Screen()):
        await send(keys, ESCAPE)
        await settled(LONGEST_KEY / 5)
        await send(keys, "[D")
    assert [press.key for press in get_typeahead(keys)] == [Keys.Escape, "[", "D"]


async def test_what_was_read_along_with_the_last_enter_comes_first(keys: PipeInput) -> None:
    store_typeahead(keys, [KeyPress("a", "a")])
    ahead = typing(keys)
    assert ahead.draft == "a"
    with ahead.reading(Screen()):
        await send(keys, "b")
        assert ahead.draft == "ab"
    keys.send_text(f"c{ENTER}")
    assert await prompted() == "abc"


@pytest.mark.parametrize(
    ("burst", "draft"), [(CTRL_C, ""), (f"{ENTER}{CTRL_C}", ""), (f"a{ENTER}b{CTRL_C}{CTRL_C}c{ENTER}", "a\nbc\r")]
)
async def test_ctrl_c_in_that_burst_is_told_and_what_was_before_it_is_not_sent(
    keys: PipeInput, burst: str, draft: str
) -> None:
    keys.send_text(burst)
    store_typeahead(keys, keys.read_keys())
    ahead = typing(keys)
    assert (ahead.was_interrupted, ahead.draft) == (True, draft)


async def test_what_was_typed_before_a_reply_is_stopped_is_kept_and_waits_for_enter(keys: PipeInput) -> None:
    screen, ahead = Screen(), typing(keys)
    with ahead.reading(screen):
        await send(keys, f"one{ENTER}two{ALT_ENTER}three{ENTER}")
        keys.send_text(f"four{ENTER}{ENTER}")  # not read yet
        ahead.hold()
        assert ahead.draft == "one\ntwo\nthree\nfour"
        await send(keys, "!")
    keys.send_text(ENTER)
    assert await prompted() == "one\ntwo\nthree\nfour!"


async def test_each_change_is_shown_and_nothing_else(keys: PipeInput) -> None:
    screen, ahead = Screen(), typing(keys)
    with ahead.reading(screen):
        shown = []
        for text in ("a", LEFT, f"{PASTE_BEGINS}b", f"c{PASTE_ENDS}", "de", BACKSPACE):
            before = screen.refreshed
            await send(keys, text)
            shown.append(screen.refreshed - before)
    assert shown == [1, 0, 0, 1, 1, 1]
    assert screen.stepped_aside


async def test_nothing_is_read_when_the_turn_is_over_or_somebody_else_reads(keys: PipeInput) -> None:
    ahead = typing(keys)
    with ahead.reading(Screen()):
        ahead.pause()
        await send(keys, "a")
        assert ahead.draft == ""
        ahead.resume()
        await settled()
        assert ahead.draft == "a"
    await send(keys, "b")
    assert ahead.draft == "a"
    keys.send_text(ENTER)
    assert await prompted() == "ab"


async def test_the_terminal_marks_pastes_as_long_as_it_is_read(keys: PipeInput) -> None:
    written = StringIO()
    ahead = TypeAhead(keys, Vt100_Output(written, lambda: Size(24, 80)))
    with ahead.reading(Screen()):
        assert written.getvalue() == "\x1b[?2004h"
        ahead.pause()
        assert written.getvalue() == "\x1b[?2004h\x1b[?2004l"
        ahead.resume()
    assert written.getvalue() == "\x1b[?2004h\x1b[?2004l" * 2


async def test_a_keyboard_that_goes_away_is_not_read_again_and_again(keys: PipeInput) -> None:
    ahead = typing(keys)
    with ahead.reading(Screen()):
        await send(keys, "a")
        keys.close()
        await settled()
        assert not asyncio.get_running_loop().remove_reader(keys.fileno())
    assert [press.key for press in get_typeahead(keys)] == ["a"]


async def test_no_keyboard_and_another_jobs_terminal_are_left_alone() -> None:
    with TypeAhead(DummyInput(), DummyOutput()).reading(Screen()):
        pass
    master, slave = os.openpty()  # which controls no process, this one neither
    with os.fdopen(slave) as terminal, create_app_session():
        from prompt_toolkit.input.vt100 import Vt100Input  # noqa: PLC0415  (of no use elsewhere)

        ahead = TypeAhead(Vt100Input(terminal), DummyOutput())
        with ahead.reading(Screen()):
            os.write(master, b"a\n")
            await settled()
            assert ahead.draft == ""
    os.close(master)


async def test_a_terminal_that_another_job_has_for_a_while_is_read_again_afterwards(
    keys: PipeInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreground = [os.getpgrp()]
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: foreground[0])
    monkeypatch.setattr("chatllm_cli.repl.type_ahead.AWAY", 0.02)
    screen, ahead = Screen(), typing(keys)
    with ahead.reading(screen):
        await send(keys, "a")
        foreground[0] += 1
        await send(keys, "b")
        await settled(0.1)
        assert ahead.draft == "a"
        ahead.hold()
        assert ahead.draft == "a"
        foreground[0] -= 1
        await settled(0.1)
        assert ahead.draft == "ab"


async def test_what_is_typed_for_somebody_else_is_not_read_when_the_reply_is_stopped(keys: PipeInput) -> None:
    ahead = typing(keys)
    with ahead.reading(Screen()):
        ahead.pause()
        keys.send_text("secret")
        ahead.hold()
        assert ahead.draft == ""


async def test_old_garbage_waits_for_the_end_of_the_turn(keys: PipeInput) -> None:
    before = gc.get_threshold()
    with typing(keys).reading(Screen()):
        assert gc.get_threshold()[2] > 1_000_000
    assert gc.get_threshold() == before
