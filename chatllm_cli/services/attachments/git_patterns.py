"""What a line of a .gitignore matches, as git's own wildmatch does: bytes, a path alone, nothing below it.

No try at a name takes long, however many stars there are: what lies between two of them is taken where it first fits,
and never given back.
"""

import re
import string
from collections.abc import Iterator, Sequence

from chatllm_cli.frozen import frozen

SLASH, STAR, STARS, NOTHING = b"/", b"*", b"**", b"(?!)"
ANY_IN_NAME = b"[^/]"
_CLASSES = {
    "alnum": string.ascii_letters + string.digits, "alpha": string.ascii_letters, "blank": " \t",
    "cntrl": "".join(map(chr, [*range(1, 32), 127])), "digit": string.digits,
    "graph": string.ascii_letters + string.digits + string.punctuation, "lower": string.ascii_lowercase,
    "print": string.ascii_letters + string.digits + string.punctuation + " ", "punct": string.punctuation,
    "space": string.whitespace, "upper": string.ascii_uppercase, "xdigit": string.hexdigits,
}  # fmt: skip


@frozen
class Pattern:
    """A line of a .gitignore."""

    leaves_out: bool
    only_folders: bool
    anywhere: bool  # whether the name alone is looked at, in whatever folder
    regex: re.Pattern[bytes]

    def matches(self, path: bytes, *, is_folder: bool) -> bool:
        """Tell whether it is about what lies at `path`, seen from the .gitignore."""
        name = path.rpartition(SLASH)[2] if self.anywhere else path
        return (is_folder or not self.only_folders) and bool(self.regex.fullmatch(name))


def patterns_in(data: bytes) -> list[Pattern]:
    """Return what a .gitignore says, in its order; what git passes over matches nothing."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [_pattern(line.removesuffix(b"\r")) for line in lines if line.strip(b"\r") and not line.startswith(b"#")]


def _pattern(line: bytes) -> Pattern:
    line = _without_blanks(line)
    leaves_out = not line.startswith(b"!")
    glob = line.removeprefix(b"!")
    only_folders, glob = glob.endswith(SLASH), glob.removesuffix(SLASH)
    tokens = _tokens(glob.removeprefix(SLASH))
    regex = NOTHING if NOTHING in tokens else _regex(tokens)
    return Pattern(leaves_out, only_folders, SLASH not in glob, re.compile(regex, re.DOTALL))


def _without_blanks(line: bytes) -> bytes:
    """Return a line without the blanks at its end, but for one that has a backslash before it."""
    kept = line.rstrip(b" ")
    backslashes = len(kept) - len(kept.rstrip(b"\\"))
    return line[: len(kept) + (backslashes % 2 and len(line) > len(kept))]


def _tokens(glob: bytes) -> list[bytes]:
    """Return slashes, stars, and an expression for each other character; `NOTHING` for what is never closed."""
    tokens: list[bytes] = []
    place = 0
    while place < len(glob):
        char, place = glob[place : place + 1], place + 1
        if char == b"*":
            end = place + len(glob[place:]) - len(glob[place:].lstrip(b"*"))
            char, place = (STARS if end > place else STAR), end
        elif char == b"?":
            char = ANY_IN_NAME
        elif char == b"[":
            char, place = _bracket(glob, place)
        elif char == b"\\":
            char, place = glob[place : place + 1], place + 1
            char = re.escape(char) if char else NOTHING
        elif char != SLASH:
            char = re.escape(char)
        tokens.append(char)
    return tokens


def _bracket(glob: bytes, place: int) -> tuple[bytes, int]:
    """Return an expression for one of several characters, and where it ends; `NOTHING` if it does not."""
    is_other = glob[place : place + 1] in {b"!", b"^"}
    start = place = place + is_other
    chosen: set[int] = set()
    before: int | None = None  # what a range may begin with
    while place == start or glob[place : place + 1] != b"]":
        if named := re.compile(rb"\[:([^\]]*):\]").match(glob, place):
            if (members := _CLASSES.get(named[1].decode("latin-1"))) is None:
                return NOTHING, len(glob)
            chosen, before, place = chosen | set(members.encode()), None, named.end()
            continue
        is_range = glob[place : place + 1] == b"-" and before is not None and glob[place + 1 : place + 2] not in b"]"
        place += is_range
        place += glob[place : place + 1] == b"\\"
        if place >= len(glob):
            return NOTHING, len(glob)
        chosen |= set(range(before or 0, glob[place] + 1)) if is_range else {glob[place]}
        before, place = (None if is_range else glob[place]), place + 1
    wanted = (set(range(256)) - chosen if is_other else chosen) - {ord("/")}
    return b"[%b]" % b"".join(b"\\x%02x" % each for each in sorted(wanted)) if wanted else NOTHING, place + 1


def _regex(tokens: Sequence[bytes]) -> bytes:
    """Return the expression for a whole path: ** alone between slashes stands for any folders."""
    names = list(_split(tokens, {SLASH}))
    groups = list(_split([STARS if name == [STARS] else _name(name) for name in names], {STARS}))
    if len(groups) == 1:
        return SLASH.join(groups[0])
    first, *between, last = (SLASH.join(group) for group in groups)
    begin = first + SLASH if first else b""
    middle = b"".join(b"(?>(?:.*?/)??%b/)" % group for group in between if group)
    return begin + middle + (b"(?:.*/)?" + last if last else b".+")


def _name(tokens: Sequence[bytes]) -> bytes:
    """Return the expression for one name."""
    pieces = [b"".join(piece) for piece in _split(tokens, {STAR, STARS})]
    if len(pieces) == 1:
        return pieces[0]
    first, *between, last = pieces
    return first + b"".join(b"(?>[^/]*?%b)" % piece for piece in between if piece) + b"[^/]*" + last


def _split(tokens: Sequence[bytes], ends: set[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    for token in tokens:
        if token in ends:
            yield part
            part = []
        else:
            part.append(token)
    yield part
