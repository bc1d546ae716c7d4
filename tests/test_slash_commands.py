import pytest

from chatllm_cli.repl.slash_commands import COMMANDS, nearest, parse


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("/help", "help"),
        ("/exit", "exit"),
        ("/exit  ", "exit"),
        ("  /exit", "exit"),
        ("\t/exit\t\n", "exit"),
        ("/nope", "nope"),
        ("/", ""),
        ("/ ", ""),
        ("", None),
        ("hi", None),
        ("help", None),
        ("say /help", None),
        ("/ what", None),
        ("/exit now", "exit"),
        ("/modle gpt", "modle"),
        ("/help me with /etc/hosts", "help"),
        ("/help\nand more", None),
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
def test_a_line_is_a_command_if_it_begins_with_a_slash_and_a_word(line: str, name: str | None) -> None:
    assert parse(line) == name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_typed(name: str) -> None:
    assert (parse(f"/{name}"), COMMANDS[name].name) == (name, name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hlep", "there is no command /hlep; did you mean /help?"),
        ("helpp", "there is no command /helpp; did you mean /help?"),
        ("exti", "there is no command /exti; did you mean /exit?"),
        ("xyzzy", "there is no command /xyzzy; /help shows what there is"),
        ("", "there is no command /; /help shows what there is"),
    ],
)
def test_a_command_that_does_not_exist_is_told_with_the_nearest_one(name: str, said: str) -> None:
    assert nearest(name) == said
