"""The tour in docs/tour.md, typed as it stands there: what it shows has to be what is on the screen."""

import re
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fake_openai import FakeOpenAI
from tests.terminal import PATIENCE, Terminal

TOUR = Path(__file__).parent.parent.parent / "docs" / "tour.md"
KEYS = {"[Ctrl-C]": "\x03", "[Ctrl-D]": "\x04", "[Up]": "\x1b[A"}
PROMPTS = ("edit> ", "> ")
ANSWERS = {  # the made-up model's, by what the prompt ends with; the second time, if it is asked again
    "What is a whale?": ["A whale is a large mammal that lives in the sea."],
    "And a shark?": ["A shark is a fish."],
    "What do my notes say?": ["Your notes say that whales sing."],
    "Name a sea": ["The Baltic Sea.", "The Black Sea."],
    "Name a sea in Africa": ["The Red Sea."],
    "What is in @notes.txt?": ["A line about whales."],
    "Good morning": ["Guten Morgen"],
    "A secret?": ["I keep it."],
}
ROWS, COLUMNS = 70, 110

OpenTerminal = Callable[..., Terminal]


def blocks() -> Iterator[str]:
    """Return the lines of the tour's consoles, one after the other."""
    for block in re.findall(r"^```console\n(.*?)^```$", TOUR.read_text(), re.MULTILINE | re.DOTALL):
        yield from block.splitlines()


def scenes() -> list[tuple[str, list[str]]]:
    """Return the commands, each with the lines beneath it."""
    found: list[tuple[str, list[str]]] = []
    for line in blocks():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ chatllm "), []))
        else:
            found[-1][1].append(line)
    return found


def fits(expected: list[str], shown: list[str]) -> bool:
    """Tell whether a screen shows these lines; `…` stands for anything, alone in a line for any lines."""
    if expected == ["…"]:
        return bool(shown)
    patterns = [" *".join(re.escape(word).replace("…", ".*") for word in line.split()) for line in expected]
    return len(patterns) == len(shown) and all(
        re.fullmatch(pattern, " ".join(line.split())) for pattern, line in zip(patterns, shown, strict=True)
    )


def shown_by(screen: Terminal) -> list[str]:
    return [line for line in screen.text.splitlines() if line.strip()]


def follow(screen: Terminal, lines: list[str]) -> None:
    """Type what is to be typed in the chat, and wait for what is to be seen of it."""
    seen: list[str] = []
    for place, line in enumerate(lines):
        if line in KEYS:
            screen.type(KEYS[line])
            if line == "[Ctrl-C]":
                seen.pop()
        elif prompt := next((each for each in PROMPTS if line.startswith(each)), ""):
            seen.append(line)
            if place and lines[place - 1] == "[Up]":
                wait_for(screen, seen, is_typing=True)
                continue
            if prompt == "edit> ":  # the earlier prompt stands there already
                wait_for(screen, [*seen[:-1], "edit> …"], is_typing=True)
                seen[-1] = "edit> …"
            else:
                wait_for(screen, seen[:-1])
            screen.type(line.removeprefix(prompt) if prompt == "> " else line[len("edit> ") :])
            is_sent = "".join(lines[place + 1 : place + 2]) != "[Ctrl-C]"
            screen.type("\r" if is_sent else "")
            if not is_sent:
                wait_for(screen, seen, is_typing=True)
        else:
            seen.append(line)
    assert screen.wait() == 0


def wait_for(screen: Terminal, lines: list[str], *, is_typing: bool = False) -> None:
    """Read until these lines are on the screen, above the toolbar, and the prompt behind them."""
    expected = [*lines, *([] if is_typing else [">"]), "default/…"]
    end = time.monotonic() + PATIENCE
    while not fits(expected, shown_by(screen)):
        assert time.monotonic() < end, "\n".join([*expected, "--- but there is:", *shown_by(screen)])
        screen.read()


@pytest.mark.slow
def test_the_tour_shows_what_is_seen(
    provider: FakeOpenAI, terminal: OpenTerminal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.answers = {prompt: list(answers) for prompt, answers in ANSWERS.items()}
    monkeypatch.setenv("CHATLLM_MODEL", "answers")
    monkeypatch.setenv("PAGER", "cat")
    monkeypatch.chdir(home)
    (home / "notes.txt").write_text("Whales sing. Sharks do not, I think.")
    for command, lines in scenes():
        screen = terminal(*shlex.split(command), columns=COLUMNS, rows=ROWS)
        if command == "chat":
            follow(screen, lines)
            continue
        screen.wait()
        assert fits(lines, shown_by(screen)), "\n".join([command, *lines, "--- but there is:", screen.text])
    assert not any(provider.answers.values()), "the tour asks for every answer"
