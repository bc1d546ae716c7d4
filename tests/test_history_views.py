import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chatllm_cli.models import Attachment, Conversation, Hit, Message, Role, Status, Summary, Tally
from chatllm_cli.render.history_views import count, show_conversation, show_hits, show_list, show_tallies, show_tree
from chatllm_cli.render.renderer import Renderer
from chatllm_cli.render.themes import Looks
from tests.terminal import COLUMNS, ROWS, FakeTerminal

TITLE = "\x1b]0;owned\x07"  # what would rename the window
SPELLED = "^[]0;owned^G"
LOCALLY = datetime.fromisoformat("2026-01-02 03:04:05").astimezone()  # in whatever zone the test runs
AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


@pytest.fixture(autouse=True)
def size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setenv("LINES", str(ROWS))


def summaries(at: datetime) -> list[Summary]:
    return [
        Summary("abcdefgh", "abcd", "Short", "openai/gpt", at, at, 1, 4000, 123, ("work", "x"), place=1),
        Summary("zyxwvuts", "zyxwv", f"Two\nlines {TITLE}", f"hub/{TITLE}", at, at, 0, 0, 0),
    ]


def test_a_list_on_a_pipe_is_tab_separated_and_exact(on_pipe: Renderer, pipe: io.StringIO) -> None:
    show_list(on_pipe, summaries(AT))
    assert pipe.getvalue() == (
        "@1\tabcdefgh\t2026-01-02T03:04:05+00:00\tShort\t1\topenai/gpt\t4123\twork,x\n"
        f"\tzyxwvuts\t2026-01-02T03:04:05+00:00\tTwo lines {TITLE}\t0\thub/{TITLE}\t0\t\n"
    )


def test_a_list_on_a_terminal_is_aligned_and_clean(on_terminal: Renderer, out: FakeTerminal) -> None:
    show_list(on_terminal, summaries(datetime.now(UTC) - timedelta(days=3, minutes=1)))
    assert out.screen.title == ""
    assert out.text == (
        "    id     used  title                   messages  tokens  model\n"
        "@1  abcd   3 d   Short #work #x          1         4.1k    openai/gpt\n"
        f"    zyxwv  3 d   Two lines {SPELLED}  0         -       hub/{SPELLED}"
    )


@pytest.mark.parametrize(
    ("columns", "header"),
    [
        (80, ["id", "used", "title", "messages", "tokens", "model"]),
        (66, ["id", "used", "title", "messages", "tokens"]),
        (58, ["id", "used", "title", "messages"]),
        (46, ["id", "used", "title"]),
        (38, ["id", "title"]),
        (20, ["id", "title"]),
    ],
)
def test_on_a_narrow_terminal_the_title_keeps_its_room(
    monkeypatch: pytest.MonkeyPatch, columns: int, header: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = FakeTerminal(columns)
    show_list(Renderer(out, out), summaries(datetime.now(UTC)))
    assert out.text.splitlines()[0].split() == header


HITS = [
    Hit(
        "abcdefgh",
        "abcd",
        f"A title {TITLE}",
        "m1",
        "user",
        "",
        AT,
        (("say ", False), ("hello", True), (" now", False)),
    ),
    Hit("abcdefgh", "abcd", "A title", "m2", "assistant", f"hub/{TITLE}", AT, ((f"hello {TITLE}", True),)),
]


def test_finds_on_a_pipe_are_tab_separated_and_exact(on_pipe: Renderer, pipe: io.StringIO) -> None:
    show_hits(on_pipe, HITS)
    assert pipe.getvalue() == (
        f"abcdefgh\tm1\t2026-01-02T03:04:05+00:00\tuser\tA title {TITLE}\tsay hello now\n"
        f"abcdefgh\tm2\t2026-01-02T03:04:05+00:00\tassistant\tA title\thello {TITLE}\n"
    )


def test_finds_on_a_terminal_say_where_they_are_and_are_bold(on_terminal: Renderer, out: FakeTerminal) -> None:
    days = f"{(datetime.now(UTC) - AT).days} d ago"
    show_hits(on_terminal, HITS)
    assert out.screen.title == ""
    assert out.text == (
        f"abcd  A title {SPELLED}  you, {days}, m1\n    say hello now\n"
        f"abcd  A title  hub/{SPELLED}, {days}, m2\n    hello {SPELLED}"
    )
    assert [out.screen.buffer[1][column].bold for column in (7, 8, 12, 13)] == [False, True, True, False]


def test_a_tree_shows_every_branch_and_marks_the_one_in_use(on_pipe: Renderer, pipe: io.StringIO) -> None:
    show_tree(on_pipe, CONVERSATION)
    assert pipe.getvalue() == (
        f"* u1 you: *hello* {TITLE}\n"
        "  - a1 openai/gpt: another branch\n"
        f"  * a2 hub/{TITLE}: # Hi *you* {TITLE}\n"
        "  * u2 you: more\n"
        "  * a3 openai/gpt (error): cut\n"
    )


def test_a_long_conversation_is_a_tree_too(on_pipe: Renderer, pipe: io.StringIO) -> None:
    messages = [Message(f"m{n}", Role.USER, f"text {n}", AT, f"m{n - 1}" if n else None) for n in range(5000)]
    show_tree(on_pipe, Conversation("c1", "Long", AT, messages=tuple(messages), head="m4999"))
    assert pipe.getvalue().splitlines()[-1] == "* m4999 you: text 4999"


TALLIES = [
    Tally("hub/a", 2, 4, 1000, 500, cost=1.24),
    Tally("hub/b", 1, 1, 0, 0, cost=0.0041, unpriced=1),
    Tally("hub/c", 1, 2, 0, 0, unpriced=2),
]


def test_figures_on_a_pipe_are_exact_and_on_a_terminal_have_bars(
    on_pipe: Renderer, pipe: io.StringIO, on_terminal: Renderer, out: FakeTerminal
) -> None:
    for renderer in (on_pipe, on_terminal):
        show_tallies(renderer, TALLIES, "model")
    assert pipe.getvalue() == (
        "hub/a\t2\t4\t1500\t1.240000\t0\nhub/b\t1\t1\t0\t0.004100\t1\nhub/c\t1\t2\t0\t0.000000\t2\n"
    )
    header, first, second, third = out.text.splitlines()
    assert header.split() == ["model", "conversations", "answers", "tokens", "cost"]
    assert first.split() == ["hub/a", "2", "4", "1.5k", "$1.24", "█" * 20]
    assert second.split() == ["hub/b", "1", "1", "0", "≥", "$0.0041"]
    assert third.split() == ["hub/c", "1", "2", "0", "–"]  # noqa: RUF001


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (4123, "4.1k"), (2_500_000, "2.5M"), (10**9, "1.0G")],
)
def test_a_count_has_few_figures(number: int, shown: str) -> None:
    assert count(number) == shown


CONVERSATION = Conversation(
    "c1",
    f"A title {TITLE}",
    LOCALLY,
    "openai/gpt",
    f"Be kind. {TITLE}",
    (
        Message("u1", Role.USER, f"*hello* {TITLE}", LOCALLY),
        Message("a1", Role.ASSISTANT, "another branch", LOCALLY, "u1", model="openai/gpt"),
        Message("a2", Role.ASSISTANT, f"# Hi\n\n*you* {TITLE}\n", LOCALLY, "u1", model=f"hub/{TITLE}", cached=True),
        Message("u2", Role.USER, "more", LOCALLY, "a2"),
        Message(
            "a3", Role.ASSISTANT, "cut", LOCALLY, "u2", Status.ERROR, "openai/gpt", error=f"it\nbroke {TITLE}"
        ),
    ),
    "a3",
)  # fmt: skip


BRANCHES = "messages on other branches, not shown: 1 (`history show --tree` has all)\n"


def test_a_conversation_on_a_pipe_is_the_exact_thread(
    on_pipe: Renderer, pipe: io.StringIO, err_pipe: io.StringIO
) -> None:
    show_conversation(on_pipe, CONVERSATION)
    assert err_pipe.getvalue() == BRANCHES
    assert (
        pipe.getvalue()
        == f"""\
## system

Be kind. {TITLE}

## you · 2026-01-02 03:04

*hello* {TITLE}

## hub/{TITLE} · 2026-01-02 03:04 · cached

# Hi

*you* {TITLE}


## you · 2026-01-02 03:04

more

## openai/gpt · 2026-01-02 03:04 · error · it
broke {TITLE}

cut

"""
    )


def test_a_conversation_on_a_terminal_is_clean_and_its_answers_are_rendered(
    on_terminal: Renderer, out: FakeTerminal, err: FakeTerminal
) -> None:
    show_conversation(on_terminal, CONVERSATION)
    assert (err.text.replace("\n", ""), out.screen.title) == (BRANCHES.strip(), "")
    assert (
        out.text
        == f"""\
A title {SPELLED}  c1

system
Be kind. {SPELLED}

you  2026-01-02 03:04
*hello* {SPELLED}

hub/{SPELLED}  2026-01-02 03:04 · cached
{"Hi".center(COLUMNS).rstrip()}

you {SPELLED}

you  2026-01-02 03:04
more

openai/gpt  2026-01-02 03:04 · error · it broke {SPELLED}
cut"""
    )


def test_a_conversation_on_a_plain_terminal_is_clean_and_not_rendered(out: FakeTerminal, err: FakeTerminal) -> None:
    answer = replace(CONVERSATION.messages[2], parent=None)
    show_conversation(
        Renderer(out, err, Looks(plain=True)), Conversation("c1", "A title", AT, messages=(answer,), head="a2")
    )
    assert out.screen.title == ""
    assert out.text == f"A title  c1\n\nhub/{SPELLED}  2026-01-02 03:04 · cached\n# Hi\n\n*you* {SPELLED}"


def test_lines_of_a_conversation_that_were_skipped_are_told_on_stderr(
    on_pipe: Renderer, pipe: io.StringIO, err_pipe: io.StringIO
) -> None:
    show_conversation(on_pipe, Conversation("c1", "A title", AT, damaged_lines=2))
    assert (pipe.getvalue(), err_pipe.getvalue()) == (
        "",
        "no message is left in this conversation\ndamaged lines in this conversation's file, skipped: 2\n",
    )


ATTACHED = Message(
    "u1aaaaaaaa",
    Role.USER,
    "Why?",
    AT,
    attachments=(
        Attachment(f"a{TITLE}.log", "text/plain", 1200, "text"),
        Attachment("a.png", "image/png", 34_000, sha256="a" * 64),
    ),
)


def test_what_was_attached_is_named_with_its_size(on_pipe: Renderer, pipe: io.StringIO) -> None:
    show_conversation(on_pipe, Conversation("c1", "t", AT, messages=(ATTACHED,), head=ATTACHED.id))
    assert pipe.getvalue().partition("\n\n")[2] == (
        f"Why?\nattached: a{TITLE}.log (1.2 kB)\nattached: a.png (image/png, 34 kB)\n\n"
    )


def test_what_was_attached_is_clean_on_a_terminal(on_terminal: Renderer, out: FakeTerminal) -> None:
    show_conversation(on_terminal, Conversation("c1", "t", AT, messages=(ATTACHED,), head=ATTACHED.id))
    assert out.screen.title == ""
    assert f"attached: a{SPELLED}.log (1.2 kB)" in out.text


def test_a_tree_names_what_was_attached(on_pipe: Renderer, pipe: io.StringIO) -> None:
    silent = replace(ATTACHED, id="u2aaaaaaaa", content="", attachments=ATTACHED.attachments[1:])
    show_tree(on_pipe, Conversation("c1", "t", AT, messages=(ATTACHED, silent), head=silent.id))
    assert pipe.getvalue() == (
        "the beginning\n"
        f"  - u1aaaaaa you: Why? · attached: a{TITLE}.log (1.2 kB) · attached: a.png (image/png, 34 kB)\n"
        "  * u2aaaaaa you: attached: a.png (image/png, 34 kB)\n"
    )
