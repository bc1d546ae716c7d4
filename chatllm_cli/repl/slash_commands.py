"""The slash commands: one table, from which dispatch, help, completion and docs/slash-commands.md are made."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from chatllm_cli.errors import UsageError
from chatllm_cli.repl.commands import answers, conversations, inputs, models
from chatllm_cli.repl.commands.arguments import files, numbers_of_prompts
from chatllm_cli.repl.ports import Candidate, Loop, SlashCommand

MOST_NEAR = 3


async def _show_help(loop: Loop, name: str) -> None:
    name = name.removeprefix("/")
    if name and name not in COMMANDS:
        raise UsageError(nearest(name))
    shown = [COMMANDS[name]] if name else list(COMMANDS.values())
    lines = [*help_lines(shown), *([] if name else KEYS)]
    if loop.renderer.is_terminal:
        indent = len(lines[0]) - len(shown[0].help)
        width = loop.renderer.out.width
        rows = [textwrap.fill(line, width, subsequent_indent=" " * indent) for line in lines[: len(shown)]]
        lines = [*rows, *(textwrap.fill(line, width) for line in lines[len(shown) :])]
    loop.renderer.text("\n".join(lines))


async def _leave(loop: Loop, _: str) -> None:
    loop.leave()


async def _clear(loop: Loop, _: str) -> None:
    loop.clear_screen()


async def _names(_loop: Loop, _: str) -> Sequence[Candidate]:
    return [Candidate(command.name, command.help) for command in COMMANDS.values()]


TABLE = (
    SlashCommand("help", "[COMMAND]", "show what can be typed here", _show_help, _names),
    SlashCommand("model", "[MODEL]", "have another model answer from here on", models.model, models.addresses),
    SlashCommand(
        "system", "[TEXT]", "give another standing instruction; - takes it away", models.system, takes_lines=True
    ),
    SlashCommand("set", "[SETTING [VALUE]]", "change a setting for this session", models.set_, models.settings),
    SlashCommand("retry", "[MODEL]", "have the last prompt answered again", answers.retry, models.addresses),
    SlashCommand("edit", "[N]", "change prompt N, on a new branch", answers.edit, numbers_of_prompts),
    SlashCommand("undo", "", "take the last turn back; it stays on a branch", answers.undo),
    SlashCommand("fork", "[N]", "go on in a copy, down to turn N", conversations.fork, numbers_of_prompts),
    SlashCommand("branches", "", "show every branch of the conversation", conversations.branches),
    SlashCommand("switch", "ID", "go on at the end of another branch", conversations.switch, conversations.leaves),
    SlashCommand("continue", "", "take up an incomplete answer where it stopped", answers.go_on),
    SlashCommand(
        "copy", "[N]", "put the answer, or its N-th code block, on the clipboard", answers.copy, answers.blocks
    ),
    SlashCommand("save", "FILE", "write the last answer into a file", answers.save, files),
    SlashCommand("export", "FILE", "write the conversation as .md, .json, .html, …", conversations.export, files),
    SlashCommand("search", "TEXT", "search all conversations", conversations.search),
    SlashCommand(
        "open", "[CONVERSATION]", "go on with another one, or pick it", conversations.open_, conversations.addresses
    ),
    SlashCommand("new", "", "begin a new conversation", conversations.new),
    SlashCommand("title", "[TEXT]", "give the conversation another title", conversations.title),
    SlashCommand("tag", "[NAME… | -NAME…]", "add tags, or take them away", conversations.tag, conversations.tags),
    SlashCommand("list", "[N]", "list the conversations used last", conversations.list_),
    SlashCommand("show", "[N]", "show the conversation, or its last N turns", conversations.show),
    SlashCommand("file", "[PATH|GLOB|URL]", "attach files to the next prompt; - takes them away", inputs.file, files),
    SlashCommand("image", "[PATH|URL]", "attach a picture, or that on the clipboard", inputs.image, files),
    SlashCommand("paste", "", "put what is on the clipboard into the line", inputs.paste),
    SlashCommand("private", "", "begin a conversation that is not kept; or end it", conversations.private),
    SlashCommand("usage", "", "show the tokens that the conversation took", models.usage),
    SlashCommand("cost", "", "show what was spent", models.cost),
    SlashCommand("editor", "", "write the next prompt in $VISUAL or $EDITOR", inputs.editor),
    SlashCommand("clear", "", "clear the screen; the conversation goes on", _clear),
    SlashCommand("exit", "", "leave; the conversation is kept", _leave),
)
COMMANDS: Mapping[str, SlashCommand] = {command.name: command for command in TABLE}

KEYS = (
    "Enter sends; Alt-Enter and Ctrl-J begin a new line, as Enter does in an open code block; a paste is one prompt.",
    "Ctrl-C stops the answer or clears the line (Up brings it back), Ctrl-D leaves. Ctrl-R searches what was typed.",
    "Ctrl-X Ctrl-E opens the editor. @PATH in a prompt attaches a file. Tab completes.",
)

_COMMAND_LINE = re.compile(r"/([a-z]*)(?:(?<=[a-z])[ \t]+([^\n]*))?\Z")
_WITH_LINES = re.compile(r"/([a-z]+)\s+(.*)\Z", re.DOTALL)


def help_lines(commands: Sequence[SlashCommand]) -> list[str]:
    """Return a line for each command: how it is written, and what it is for."""
    written = [f"/{command.name} {command.arguments}".rstrip() for command in commands]
    width = max(map(len, written))
    return [f"{how:<{width}}  {command.help}" for how, command in zip(written, commands, strict=True)]


def parse(line: str) -> tuple[str, str] | None:
    """Return the name and the argument of the command that `line` calls.

    None if it is a prompt, as is a path like /etc/hosts. A word behind a name that is mistyped must not make a prompt
    of it, which would be sent and kept.
    """
    line = line.strip()
    if match := _COMMAND_LINE.match(line):
        return match[1], (match[2] or "").strip()
    match = _WITH_LINES.match(line)
    if match and match[1] in COMMANDS and COMMANDS[match[1]].takes_lines:
        return match[1], match[2]
    return None


def command_with_lines(line: str) -> str | None:
    """Return the name of the command that stands in the first of several lines, and takes but one."""
    match = _WITH_LINES.match(line.strip())
    if match and "\n" in line.strip() and match[1] in COMMANDS and not COMMANDS[match[1]].takes_lines:
        return match[1]
    return None


def nearest(name: str) -> str:
    """Return what to say of a command that does not exist."""
    beginning = [each for each in COMMANDS if name and each.startswith(name)]
    near = [f"/{each}" for each in (beginning or get_close_matches(name, COMMANDS, n=MOST_NEAR))[:MOST_NEAR]]
    return f"there is no command /{name}; " + (
        f"did you mean {' or '.join(near)}?" if near else "/help shows what there is"
    )
