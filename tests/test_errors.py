import re

import pytest

from chatllm_cli import errors
from chatllm_cli.errors import ChatllmError, ExitCode

INDENT = 4  # characters per level of the drawn tree


def descendants(kind: type[ChatllmError]) -> list[type[ChatllmError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in descendants(child))]


def drawn_tree() -> list[tuple[str, str | None, int]]:
    """Each class that the module's docstring draws, with its parent and its code; without one it has its parent's."""
    tree: list[tuple[str, str | None, int]] = []
    above: list[tuple[str, int]] = []  # from the root to the class just read
    for line in (errors.__doc__ or "").splitlines():
        if match := re.fullmatch(r" {4}([ │├└─]*)([A-Z]\w+Error)(?: +(\d+))?(?:  .*)?", line):
            level = len(match[1]) // INDENT
            parent, code_of_parent = above[level - 1] if level else (None, -1)
            code = int(match[3] or code_of_parent)
            tree.append((match[2], parent, code))
            above[level:] = [(match[2], code)]
    return tree


@pytest.mark.parametrize("kind", descendants(ChatllmError))
def test_every_error_has_an_exit_code_that_is_a_failure(kind: type[ChatllmError]) -> None:
    assert isinstance(kind.exit_code, ExitCode)
    assert kind.exit_code != ExitCode.DONE


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    actual = [
        (kind.__name__, None if kind is ChatllmError else kind.__bases__[0].__name__, int(kind.exit_code))
        for kind in descendants(ChatllmError)
    ]
    assert drawn_tree() == actual


def test_an_error_is_its_message_and_may_have_a_hint() -> None:
    plain, hinted = ChatllmError("it broke"), ChatllmError("it broke", hint="mend it")
    assert (str(plain), plain.message, plain.hint) == ("it broke", "it broke", None)
    assert (str(hinted), hinted.message, hinted.hint) == ("it broke", "it broke", "mend it")


@pytest.mark.parametrize(
    ("code", "number"),
    [(ExitCode.HANGUP, 1), (ExitCode.INTERRUPT, 2), (ExitCode.PIPE, 13), (ExitCode.TERMINATE, 15)],
)
def test_the_codes_of_signals_are_those_of_a_shell(code: ExitCode, number: int) -> None:
    assert code == 128 + number
