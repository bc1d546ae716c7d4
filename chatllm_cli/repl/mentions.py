"""The files that a prompt names by @PATH."""

import glob
import re
from pathlib import Path

from chatllm_cli.frozen import frozen

MENTION = re.compile(r"(?<!\S)@(?:\"([^\"\n]+)\"|(\S+))")
ENDS_A_SENTENCE = ".,;:!?)]}'\""
IS_ADDRESS = re.compile(r"https?://\S")
LOOKS_LIKE_A_FILE = re.compile(r"[\w~.+-]*/[\w/~.+-]*|[\w~+-][\w~.+-]*\.\w{1,5}")
GLOB = re.compile(r"[*\[].*[./]|[./].*[*\[]")  # of files: @* and @x[0] mean something else, mostly


@frozen
class Mentions:
    """What a prompt names: to be attached, only pasted, and not to be found."""

    meant: tuple[str, ...] = ()
    pasted: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def find_mentions(prompt: str, pasted: str = "") -> Mentions:
    """Return what a prompt names by @.

    What came in by a paste is not meant: whoever wrote it could have any file of this machine sent. Blocking: it
    looks whether the files are there.
    """
    names = {quoted or word: bool(quoted) for quoted, word in MENTION.findall(prompt)}
    in_paste = {_bare(quoted or word) for quoted, word in MENTION.findall(pasted)}
    meant: list[str] = []
    only_pasted: list[str] = []
    missing: list[str] = []
    for name, is_quoted in names.items():
        if found := _found(name, is_quoted=is_quoted):
            (only_pasted if _bare(name) in in_paste else meant).append(found)
        elif (is_quoted or LOOKS_LIKE_A_FILE.fullmatch(_bare(name))) and _bare(name) not in in_paste:
            missing.append(_bare(name))
    return Mentions(tuple(dict.fromkeys(meant)), tuple(dict.fromkeys(only_pasted)), tuple(missing))


def _bare(name: str) -> str:
    """Return a name without what ends the sentence around it."""
    return name.rstrip(ENDS_A_SENTENCE)


def _found(name: str, *, is_quoted: bool) -> str | None:
    """Return the name of what is there; without what ends the sentence around it, if there is none with it."""
    for each in [name] if is_quoted else dict.fromkeys([name, _bare(name)]):
        if IS_ADDRESS.match(each) or _is_there(each):
            return each
    return None


def _is_there(name: str) -> bool:
    try:
        path = Path(name).expanduser()
        return path.exists() or bool(GLOB.search(name) and any(glob.iglob(str(path), recursive=True)))  # noqa: PTH207  (absolute ones too)
    except (OSError, RuntimeError, ValueError):
        return False
