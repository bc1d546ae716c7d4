"""The files that a prompt names by @PATH."""

import re
from dataclasses import dataclass
from pathlib import Path

MENTION = re.compile(r"(?<!\S)@(?:\"([^\"\n]+)\"|(\S+))")
ENDS_A_SENTENCE = ".,;:!?)]}'\""
IS_ADDRESS = re.compile(r"https?://\S")
LOOKS_LIKE_A_FILE = re.compile(r"[\w~.+-]*/[\w/~.+-]*|[\w~+-][\w~.+-]*\.\w{1,5}")
IN_A_GLOB = set("*[")  # a question mark ends a sentence


@dataclass(frozen=True, slots=True)
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
    in_paste = {quoted or word for quoted, word in MENTION.findall(pasted)}
    meant: list[str] = []
    only_pasted: list[str] = []
    missing: list[str] = []
    for name, is_quoted in names.items():
        if found := _found(name, is_quoted=is_quoted):
            (only_pasted if name in in_paste else meant).append(found)
        elif (is_quoted or LOOKS_LIKE_A_FILE.fullmatch(name.rstrip(ENDS_A_SENTENCE))) and name not in in_paste:
            missing.append(name.rstrip(ENDS_A_SENTENCE))
    return Mentions(tuple(dict.fromkeys(meant)), tuple(dict.fromkeys(only_pasted)), tuple(missing))


def _found(name: str, *, is_quoted: bool) -> str | None:
    """Return the name of what is there; without what ends the sentence around it, if there is none with it."""
    for each in [name] if is_quoted else dict.fromkeys([name, name.rstrip(ENDS_A_SENTENCE)]):
        if IS_ADDRESS.match(each) or IN_A_GLOB.intersection(each) or _is_there(each):
            return each
    return None


def _is_there(name: str) -> bool:
    try:
        return Path(name).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False
