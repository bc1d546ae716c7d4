from pathlib import Path

import pytest

from chatllm_cli.repl.slash_commands import COMMANDS, KEYS, TABLE, help_lines, nearest, parse
from tests.desks import CTRL_D, ENTER, Desk


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("/help", ("help", "")),
        ("/exit  ", ("exit", "")),
        ("  /exit", ("exit", "")),
        ("\t/exit\t\n", ("exit", "")),
        ("/nope", ("nope", "")),
        ("/", ("", "")),
        ("/ ", ("", "")),
        ("", None),
        ("hi", None),
        ("help", None),
        ("say /help", None),
        ("/ what", None),
        ("/exit now", ("exit", "now")),
        ("/modle gpt", ("modle", "gpt")),
        ("/help me with /etc/hosts", ("help", "me with /etc/hosts")),
        ("/help\nand more", None),
        ("/system be short\nand kind", ("system", "be short\nand kind")),
        ("/system\nbe short", ("system", "be short")),
        ("/Exit", None),
        ("/help2", None),
        ("/a_b", None),
        ("/grüße", None),
        ("//", None),
        ("/etc/hosts", None),
        ("/etc/", None),
        ("/* a comment */", None),
    ],
)
def test_a_line_is_a_command_if_it_begins_with_a_slash_and_a_word(line: str, call: tuple[str, str] | None) -> None:
    assert parse(line) == call


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_typed(name: str) -> None:
    assert parse(f"/{name}") == (name, "")
    assert COMMANDS[name].name == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hlep", "there is no command /hlep; did you mean /help?"),
        ("exti", "there is no command /exti; did you mean /exit or /export?"),
        ("s", "there is no command /s; did you mean /system or /set or /switch?"),
        ("xyzzy", "there is no command /xyzzy; /help shows what there is"),
        ("", "there is no command /; /help shows what there is"),
    ],
)
def test_a_command_that_does_not_exist_is_told_with_the_nearest_ones(name: str, said: str) -> None:
    assert nearest(name) == said


async def test_an_unknown_command_is_not_sent(desk: Desk) -> None:
    await desk.run(f"/hepl{ENTER}{ENTER}   {ENTER}{CTRL_D}")
    assert desk.prompts == []
    assert desk.told == ["there is no command /hepl; did you mean /help?"]


async def test_help_shows_every_command_and_the_keys(desk: Desk) -> None:
    await desk.run(f"/help{ENTER}/exit{ENTER}")
    assert desk.shown.splitlines() == [*help_lines(TABLE), *KEYS]
    assert "/retry [MODEL]          have the last prompt answered again" in desk.shown


@pytest.mark.parametrize("asked", ["retry", "/retry"])
async def test_help_of_one_command_is_one_line(desk: Desk, asked: str) -> None:
    await desk.run(f"/help {asked}{ENTER}{CTRL_D}")
    assert desk.shown == "/retry [MODEL]  have the last prompt answered again\n"


async def test_help_of_a_command_that_does_not_exist_says_so(desk: Desk) -> None:
    await desk.run(f"/help retyr{ENTER}{CTRL_D}")
    assert desk.told == ["chatllm: there is no command /retyr; did you mean /retry?"]


def test_the_documented_commands_are_those_of_the_table() -> None:
    page = (Path(__file__).parent.parent / "docs/slash-commands.md").read_text()
    rows = [f"| `{f'/{each.name} {each.arguments}'.strip()}` | {each.help} |" for each in TABLE]
    assert [line.replace("\\|", "|") for line in page.splitlines() if line.startswith("| `/")] == rows
