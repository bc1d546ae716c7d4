"""How bash, zsh and fish are answered that complete a line, and how they come to ask.

Typer's own way lets zsh evaluate what the candidates are made of, titles among them; has rich look for markup in
them; and knows nothing of what bash takes for the end of a word. Here a shell only ever reads lines: a value, a
tab, and what is said of it.
"""

import os
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from chatllm_cli.errors import UsageError
from chatllm_cli.frozen import frozen
from chatllm_cli.private_files import replace_file
from chatllm_cli.render.clean import clean_line

VARIABLE = "_CHATLLM_COMPLETE"
LINE = "_CHATLLM_LINE"  # the line up to the cursor, as it was typed
EARLIER_LINES = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")  # in scripts that an earlier version installed
BREAKS = "_CHATLLM_BREAKS"  # what bash takes for the end of a word, besides blanks
KEPT_BREAKS = "@$"  # of which bash takes the next word to begin with them
QUOTES = "'\""

BASH = f"""\
_chatllm_completion() {{
    local IFS=$'\\n' line
    COMPREPLY=()
    while read -r line; do
        COMPREPLY+=("$line")
    done < <({LINE}="${{COMP_LINE:0:$COMP_POINT}}" {BREAKS}="$COMP_WORDBREAKS" {VARIABLE}=complete_bash \\
        "${{1/#\\~/$HOME}}" 2>/dev/null)
    if [[ ${{#COMPREPLY[@]}} -eq 1 && ${{COMPREPLY[0]}} == *[/=] ]]; then
        compopt -o nospace 2>/dev/null
    fi
    return 0
}}
complete -o default -F _chatllm_completion chatllm
"""

ZSH = f"""\
#compdef chatllm
_chatllm_completion() {{
    local value told
    local -a values shown begun begun_shown
    while IFS=$'\\t' read -r value told; do
        if [[ $value == *[/=] ]]; then
            begun+=("$value") begun_shown+=("$value${{told:+  -- $told}}")
        else
            values+=("$value") shown+=("$value${{told:+  -- $told}}")
        fi
    done < <({LINE}="${{(j: :)words[1,CURRENT-1]}} $QIPREFIX$PREFIX" {VARIABLE}=complete_zsh chatllm 2>/dev/null)
    if (( $#values + $#begun == 0 )); then
        _files
        return
    fi
    (( $#begun )) && compadd -l -S '' -d begun_shown -a begun
    (( $#values )) && compadd -l -d shown -a values
    return 0
}}
if [[ $funcstack[1] == _chatllm ]]; then
    _chatllm_completion "$@"
else
    compdef _chatllm_completion chatllm
fi
"""

FISH = f"""\
function __chatllm_completion
    set -lx {LINE} (commandline -cp | string collect)
    set -lx {VARIABLE} complete_fish
    set -l found (chatllm 2>/dev/null)
    if set -q found[1]
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete --command chatllm --no-files --arguments '(__chatllm_completion)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
RENEW = "_message 'run chatllm --install-completion to complete with this version'"


def answer(group: Any, asked: str) -> str:
    """Return what the shell wants to know: candidates, a line each, or its script; nothing if anything is wrong."""
    what, _, shell = asked.partition("_")
    if what == "source":
        return SCRIPTS.get(shell, "")
    if shell == "zsh" and LINE not in os.environ:
        return RENEW  # it is evaluated
    line = split_line(next((os.environ[name] for name in (LINE, *EARLIER_LINES) if name in os.environ), ""))
    found = list(_candidates(group, line))
    if shell == "bash":
        return "".join(f"{line.replacement(value, os.environ.get(BREAKS, ''))}\n" for value, _ in found)
    return "".join(f"{value}\t{told}\n" if told else f"{value}\n" for value, told in found)


def _candidates(group: Any, line: "Line") -> Iterator[tuple[str, str]]:
    """Yield what the last word can be, whole. What can be no word of a line, or is to be a file, is left out."""
    from typer._completion_classes import BashComplete  # noqa: PLC0415  (only the shell asks)

    option = re.match("--[^=]*=", line.last)
    begun = option[0] if option else ""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        try:
            items = BashComplete(group, {}, "chatllm", VARIABLE).get_completions(line.words[1:], line.last)
        except (Exception, SystemExit):  # noqa: BLE001  (there is nobody to tell)
            return
    for item in items:
        value = f"{begun}{item.value}"
        if item.type == "plain" and clean_line(value) == value and value.startswith(line.last):
            yield value, clean_line(item.help or "")


@frozen
class Line:
    """A line that is being typed: its words, the last one apart, which may be empty."""

    words: list[str]
    last: str
    typed: str = ""  # the last one with its quotes and backslashes
    quote: str = ""  # the one that is open

    def replacement(self, value: str, breaks: str) -> str:
        """Return what bash is to put in the place of what it takes for the last word, for that to be `value`."""
        kept = self.typed.rindex(self.quote) + 1 if self.quote else 0
        for match in re.finditer(r"\\.|(.)", "" if self.quote else self.typed):
            if match[1] and match[1] in breaks:
                kept = match.start() if match[1] in KEPT_BREAKS else match.end()
        rest = value[len(split_line(f"x {self.typed[:kept]}").last) :]
        return _escaped(rest, self.quote)


def _escaped(text: str, quote: str) -> str:
    """Spell a text so that bash takes it as it is where this quote is open.

    `!` stands outside of quotes: in double ones the backslash that keeps it from recalling an earlier line would
    stay, and what bash takes for single ones then, "$(echo "it's")" before them may have shifted.
    """
    if not quote:
        return re.sub(r"([^\w@%+=:,./-])", r"\\\1", text)
    spelled = text.replace("'", "'\\''") if quote == "'" else re.sub(r'(["\\$`])', r"\\\1", text)
    return spelled.replace("!", f"{quote}\\!{quote}")


def split_line(line: str) -> Line:
    """Take a line apart as a shell does, where quotes may still be open."""
    words: list[str] = []
    word, quote, typed, is_word = "", "", "", False
    characters = iter(line)
    for character in characters:
        typed += character
        if character == "\\" and quote != "'":
            following = next(characters, "")
            typed += following
            word += following if not quote or following in '"\\$`' else f"\\{following}"
            is_word = True
        elif character == quote:
            quote = ""
        elif quote:
            word += character
        elif character in QUOTES:
            quote, is_word = character, True
        elif character.isspace():
            words += [word] if is_word else []
            word, typed, is_word = "", "", False
        else:
            word += character
            is_word = True
    return Line(words, word, typed, quote)


def shell_in_use() -> str:
    """Return the name of the shell that this was called from. Raises `UsageError`."""
    import shellingham  # noqa: PLC0415  (only installing asks)

    try:
        name = str(shellingham.detect_shell()[0])
    except shellingham.ShellDetectionFailure:
        name = Path(os.environ.get("SHELL", "")).name
    if name not in SCRIPTS:
        raise UsageError(f"there is no completion for {name or 'this shell'}", hint="there is for bash, zsh and fish")
    return name


def install(shell: str) -> Path:
    """Have a shell of the user's complete, and return where its script is. Raises `UsageError`."""
    home = Path.home()
    places: dict[str, tuple[Path, Path | None, str]] = {
        "bash": (home / ".bash_completions/chatllm.sh", home / ".bashrc", "source '{}'"),
        "zsh": (home / ".zfunc/_chatllm", home / ".zshrc", "fpath+=~/.zfunc; autoload -Uz compinit; compinit"),
        "fish": (home / ".config/fish/completions/chatllm.fish", None, ""),
    }
    script, rc, line = places[shell]
    try:
        script.parent.mkdir(parents=True, exist_ok=True)
        replace_file(script, SCRIPTS[shell].encode())
        if rc is not None:
            _add_line(rc, line.format(script))
    except OSError as error:
        raise UsageError(f"{error.filename or script} cannot be written: {error.strerror}") from None
    return script


def _add_line(path: Path, line: str) -> None:
    """Put a line at the end of a file that may have it already; nothing that is there is written anew."""
    with path.open("ab+") as file:
        file.seek(0)
        before = file.read()
        if line.encode() not in before.splitlines():
            file.write((b"" if not before or before.endswith(b"\n") else b"\n") + line.encode() + b"\n")
