import io
from datetime import UTC, datetime, timedelta

import pytest

from chatllm_cli.errors import ChatllmError, ProviderError
from chatllm_cli.models import Bill, Message, Role, Status, TokenUsage
from chatllm_cli.render.json_renderer import JsonRenderer
from chatllm_cli.render.renderer import LONGEST_ERROR, Renderer, age
from chatllm_cli.render.themes import Looks
from tests.terminal import COLUMNS, ROWS, FakeTerminal

TITLE = "\x1b]0;owned\x07"  # what would rename the window
SPELLED = "^[]0;owned^G"
AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


@pytest.fixture(autouse=True)
def size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setenv("LINES", str(ROWS))


ERRORS = [
    (ChatllmError("it broke"), "chatllm: it broke"),
    (ChatllmError("it broke", hint="mend it"), "chatllm: it broke\n  hint: mend it"),
    (ChatllmError("two\n  lines\there", hint="and\nhere"), "chatllm: two lines here\n  hint: and here"),
    (
        ProviderError(f"said {TITLE}\x9b31m", hint=f"try {TITLE}\u202e"),
        f"chatllm: said {SPELLED}\\x9b31m\n  hint: try {SPELLED}\\u{{202e}}",
    ),
    (ChatllmError("[bold]x[/] :smile:", hint="[red]"), "chatllm: [bold]x[/] :smile:\n  hint: [red]"),
]


@pytest.mark.parametrize(("error", "shown"), ERRORS)
def test_an_error_is_a_clean_line_on_stderr_and_its_hint_another(
    on_pipe: Renderer, pipe: io.StringIO, err_pipe: io.StringIO, error: ChatllmError, shown: str
) -> None:
    on_pipe.error(error)
    assert (pipe.getvalue(), err_pipe.getvalue()) == ("", f"{shown}\n")


@pytest.mark.parametrize(("error", "shown"), ERRORS)
def test_an_error_reads_the_same_on_a_terminal(
    on_terminal: Renderer, out: FakeTerminal, err: FakeTerminal, error: ChatllmError, shown: str
) -> None:
    on_terminal.error(error)
    assert (out.getvalue(), err.text, err.screen.title) == ("", shown, "")
    assert err.getvalue().startswith("\x1b[1;31mchatllm: \x1b[0m")


def test_a_long_error_is_cut_and_stays_one_line_on_a_pipe(on_pipe: Renderer, err_pipe: io.StringIO) -> None:
    on_pipe.error(ChatllmError("x" * 5000, hint="y" * 5000))
    assert err_pipe.getvalue() == f"chatllm: {'x' * LONGEST_ERROR}\n  hint: {'y' * LONGEST_ERROR}\n"


def test_a_long_error_breaks_between_words_on_a_terminal(on_terminal: Renderer, err: FakeTerminal) -> None:
    on_terminal.error(ChatllmError("word " * 20, hint="hint " * 20))
    words = f"chatllm: {'word ' * 14}".rstrip(), ("word " * 6).rstrip()
    hints = f"  hint: {'hint ' * 14}".rstrip(), ("hint " * 6).rstrip()
    assert err.text.splitlines() == [*words, *hints]


def test_a_notice_is_clean_and_on_stderr_only(
    on_pipe: Renderer,
    pipe: io.StringIO,
    err_pipe: io.StringIO,
    on_terminal: Renderer,
    out: FakeTerminal,
    err: FakeTerminal,
) -> None:
    on_pipe.notice(f"note {TITLE}")
    on_terminal.notice(f"note {TITLE}")
    assert (pipe.getvalue(), err_pipe.getvalue()) == ("", f"note {SPELLED}\n")
    assert (out.getvalue(), err.text, err.screen.title) == ("", f"note {SPELLED}", "")


def test_text_is_exact_on_a_pipe_and_clean_on_a_terminal(
    on_pipe: Renderer, pipe: io.StringIO, on_terminal: Renderer, out: FakeTerminal
) -> None:
    for renderer in (on_pipe, on_terminal):
        renderer.text(f"a\r\n{TITLE}")
        renderer.text("b", end="")
    assert pipe.getvalue() == f"a\r\n{TITLE}\nb"
    assert out.getvalue() == f"a\n{SPELLED}\nb"


ROWS_OF_A_TABLE = [("a", f"x{TITLE}", "1"), ("long one", "two\nlines\tand tabs", "22")]


def test_a_table_on_a_pipe_is_tab_separated_and_exact_a_line_a_row(on_pipe: Renderer, pipe: io.StringIO) -> None:
    on_pipe.rows(("name", "text", "count"), ROWS_OF_A_TABLE)
    assert pipe.getvalue() == f"a\tx{TITLE}\t1\nlong one\ttwo lines and tabs\t22\n"


def test_a_table_on_a_terminal_is_aligned_and_clean(on_terminal: Renderer, out: FakeTerminal) -> None:
    on_terminal.rows(("name", "text", "count"), ROWS_OF_A_TABLE)
    assert out.screen.title == ""
    assert out.text == (
        "name      text                count\n"
        f"a         x{SPELLED}       1\n"
        "long one  two lines and tabs  22"
    )  # fmt: skip


def test_a_table_wider_than_the_terminal_keeps_a_row_a_line(
    on_pipe: Renderer, pipe: io.StringIO, on_terminal: Renderer, out: FakeTerminal
) -> None:
    rows = [("a", "wide 日本 " * 30), ("b", "short")]
    for renderer in (on_pipe, on_terminal):
        renderer.rows(("name", "text"), rows)
    assert pipe.getvalue() == f"a\t{('wide 日本 ' * 30).strip()}\nb\tshort\n"
    header, first, second = out.text.splitlines()
    assert (header, second) == ("name  text", "b     short")
    assert first.startswith("a     wide 日本 wide")
    assert first.endswith("…")


def test_an_empty_table_is_a_header_on_a_terminal_and_nothing_on_a_pipe(
    on_pipe: Renderer, pipe: io.StringIO, on_terminal: Renderer, out: FakeTerminal
) -> None:
    for renderer in (on_pipe, on_terminal):
        renderer.rows(("name", "text"), [])
    assert (pipe.getvalue(), out.text) == ("", "name  text")


@pytest.mark.parametrize(
    ("status", "content", "told"),
    [
        (Status.COMPLETE, "whole", ""),
        (Status.COMPLETE, " \n", "the answer is empty\n"),
        (Status.INTERRUPTED, "cut", "the answer was interrupted\n"),
        (Status.TRUNCATED, "cut", "the answer is cut off: it reached the limit on its length\n"),
        (Status.FILTERED, "", "the answer is cut off: the provider's content filter stopped it\n"),
        (Status.ERROR, "cut", "the answer is cut off: the request failed\n"),
        (Status.UNKNOWN_END, "cut", "the answer may be cut off: the provider did not say that it was done\n"),
    ],
)
def test_an_answer_that_is_not_whole_is_told_on_stderr(
    on_pipe: Renderer, pipe: io.StringIO, err_pipe: io.StringIO, status: Status, content: str, told: str
) -> None:
    on_pipe.ending(Message("a1", Role.ASSISTANT, content, AT, status=status, finish_reason="as it says"))
    assert (pipe.getvalue(), err_pipe.getvalue()) == ("", told)


@pytest.mark.parametrize(
    ("status", "finish_reason", "told"),
    [
        (Status.TRUNCATED, None, "the answer is cut off: the connection ended before it did; /continue goes on\n"),
        (Status.FILTERED, "refusal", "the model refused to answer\n"),
        (Status.COMPLETE, "stop", ""),
    ],
)
def test_an_ending_may_say_how_to_go_on(
    on_pipe: Renderer, err_pipe: io.StringIO, status: Status, finish_reason: str | None, told: str
) -> None:
    reply = Message("a1", Role.ASSISTANT, "text", AT, status=status, finish_reason=finish_reason)
    on_pipe.ending(reply, command="/continue")
    assert err_pipe.getvalue() == told


def test_a_cached_answer_and_a_stand_in_are_told_on_stderr(
    on_pipe: Renderer, pipe: io.StringIO, err_pipe: io.StringIO
) -> None:
    on_pipe.cached(datetime.now(UTC) - timedelta(hours=2, minutes=1))
    on_pipe.stand_in("local/smol")
    assert pipe.getvalue() == ""
    assert err_pipe.getvalue() == (
        "cached 2 h ago (--refresh asks again)\n"
        "no key and no base_url: local/smol answers, the small model that comes along\n"
    )


USED = TokenUsage(812, 344)


@pytest.mark.parametrize(
    ("bill", "line"),
    [
        (
            Bill(USED, 0.0041, 0.031, 0, 12_800),
            "812 in · 344 out · $0.0041 · conversation $0.031 · context 9 %",
        ),
        (Bill(USED, 0.0041, 0.031, 2, None), "812 in · 344 out · $0.0041 · conversation ≥ $0.031"),
        (Bill(USED, None, 0.0, 1, 12_800), "812 in · 344 out · price unknown · context 9 %"),
        (Bill(USED, 0.0, 0.0, 0, 8192), "812 in · 344 out · context 14 %"),
        (Bill(TokenUsage(12_345, 1), 0.0, 0.0, 0, None), "12,345 in · 1 out"),
        (Bill(TokenUsage(5, 5), 0.0, 0.0, 0, 8192), "5 in · 5 out · context <1 %"),
        (Bill(USED, 0.0, 0.031, 0, None, cached=True), "cached · conversation $0.031"),
        (Bill(USED, 0.0, 0.0, 0, None, cached=True), ""),
        (Bill(None, None, 0.031, 1, 8192), ""),
    ],
)
def test_what_an_answer_took_is_one_dim_line_on_a_terminal(
    on_terminal: Renderer, err: FakeTerminal, bill: Bill, line: str
) -> None:
    assert on_terminal.shows_usage
    on_terminal.usage(bill)
    assert (err.text, err.getvalue()) == (line, f"\x1b[2m{line}\x1b[0m\n" if line else "")


@pytest.mark.parametrize(
    ("wished", "terminal", "pipe"), [("auto", True, False), ("always", True, True), ("never", False, False)]
)
def test_whether_it_is_told_what_an_answer_took_is_a_setting(wished: str, terminal: bool, pipe: bool) -> None:
    looks = Looks(usage=wished)
    shown = [Renderer(io.StringIO(), stream, looks).shows_usage for stream in (FakeTerminal(), io.StringIO())]
    assert shown == [terminal, pipe]
    assert not JsonRenderer(io.StringIO(), FakeTerminal(), looks).shows_usage


@pytest.mark.parametrize(
    ("passed", "shown"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(), "just now"),
        (timedelta(seconds=59.9), "just now"),
        (timedelta(minutes=1), "1 min ago"),
        (timedelta(minutes=59, seconds=59), "59 min ago"),
        (timedelta(hours=1), "1 h ago"),
        (timedelta(hours=23, minutes=59), "23 h ago"),
        (timedelta(days=1), "1 d ago"),
        (timedelta(days=400), "400 d ago"),
    ],
)
def test_an_age_is_told_in_the_largest_unit_that_fits(passed: timedelta, shown: str) -> None:
    assert age(AT, AT + passed) == shown


@pytest.mark.parametrize("what", ["waiting", f"waiting for\nhub/{TITLE}", "long " * 100, "長い" * 100])
def test_waiting_is_shown_on_one_line_and_leaves_no_trace(
    on_terminal: Renderer, err: FakeTerminal, what: str
) -> None:
    on_terminal.notice("before")
    on_terminal.waiting(what)
    assert len(err.text.splitlines()) == 2
    assert err.text.splitlines()[1].startswith(what[:11])
    on_terminal.waited()
    on_terminal.notice("after")
    assert (err.text, err.screen.title) == ("before\nafter", "")


def test_waiting_is_shown_clean(on_terminal: Renderer, out: FakeTerminal, err: FakeTerminal) -> None:
    on_terminal.waiting(f"waiting for\nhub/{TITLE}")
    assert (out.getvalue(), err.text, err.screen.title) == ("", f"waiting for hub/{SPELLED}", "")


def test_waiting_is_not_shown_on_a_pipe(on_pipe: Renderer, pipe: io.StringIO, err_pipe: io.StringIO) -> None:
    on_pipe.waiting("waiting")
    on_pipe.waited()
    assert (pipe.getvalue(), err_pipe.getvalue()) == ("", "")


def test_waiting_is_not_shown_on_a_terminal_that_cannot_take_it_away(
    out: FakeTerminal, err: FakeTerminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    renderer = Renderer(out, err)
    renderer.waiting("waiting")
    renderer.waited()
    assert (out.getvalue(), err.getvalue()) == ("", "")


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (None, "stopped\n"),
        (Message("a1", Role.ASSISTANT, "text", AT), "stopped; what came is kept; /continue goes on\n"),
        (Message("a1", Role.ASSISTANT, "", AT), "stopped; nothing came; /continue asks again\n"),
    ],
)
def test_who_stops_an_answer_is_told_what_is_left_of_it(
    on_pipe: Renderer, err_pipe: io.StringIO, reply: Message | None, told: str
) -> None:
    on_pipe.stopped(reply, command="/continue")
    assert err_pipe.getvalue() == told


def test_a_wait_that_finds_no_room_is_shown_in_short(on_terminal: Renderer, err: FakeTerminal) -> None:
    on_terminal.waiting("a long story of why nothing comes " * 3, "retry 1/5 in 7 s (Ctrl-C stops)")
    assert err.text == "retry 1/5 in 7 s (Ctrl-C stops)"


def test_a_heading_is_a_line_of_markdown_on_a_pipe(on_pipe: Renderer, pipe: io.StringIO) -> None:
    on_pipe.heading(f"hub/{TITLE}\nmodel")
    assert pipe.getvalue() == f"## hub/{TITLE} model\n"


def test_a_heading_is_bold_clean_and_one_row_on_a_terminal(on_terminal: Renderer, out: FakeTerminal) -> None:
    on_terminal.heading(f"hub/{TITLE}\nmodel {'x' * 100}")
    assert out.text == f"hub/{SPELLED} model {'x' * 100}"[: COLUMNS - 2] + "…"
    assert out.screen.buffer[0][0].bold


def test_a_line_is_ended_if_an_answer_left_it_open(on_pipe: Renderer, pipe: io.StringIO) -> None:
    on_pipe.end_line()
    for text in ("open", "", "ended\n", ""):
        on_pipe.put(text)
        on_pipe.end_line()
    assert pipe.getvalue() == "open\nended\n"


def test_what_is_said_about_one_of_several_models_says_which(on_pipe: Renderer, err_pipe: io.StringIO) -> None:
    about = on_pipe.about("hub/model")
    about.notice("cut off")
    about.error(ChatllmError("it broke", hint="mend it"))
    on_pipe.notice("done")
    told = "hub/model: cut off\nchatllm: hub/model: it broke\n  hint: mend it\ndone\n"
    assert err_pipe.getvalue() == told


def test_a_script_is_told_beside_it_which_model_it_is_about() -> None:
    out, err = io.StringIO(), io.StringIO()
    renderer = JsonRenderer(out, err)
    renderer.about("hub/model").notice("cut off")
    renderer.notice("done")
    renderer.heading("hub/model")
    assert (out.getvalue(), err.getvalue()) == (
        "", '{"notice": "cut off", "model": "hub/model"}\n{"notice": "done"}\n'
    )  # fmt: skip
