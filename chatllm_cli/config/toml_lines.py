"""Where in the text of a TOML file its keys stand, line by line."""

import re
from collections.abc import Iterator

from chatllm_cli.config.setting_keys import Key, parse_key
from chatllm_cli.errors import ConfigError
from chatllm_cli.frozen import frozen

# What a line break may stand in, or a bracket mean nothing in: strings of all four kinds, and comments.
_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|\#[^\n]*|[\[{]|[\]}]|\n|[^"\'\#\[\]{}\n]+|.',
    re.DOTALL,
)
_HEADER = re.compile(r"\s*\[+(.*?)\]+\s*(?:#.*)?$", re.DOTALL)
_KEY_TEXT = re.compile(r"""((?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^"'=])+)=""")


@frozen
class Statement:
    """Some lines that belong together: a heading, a key with its value, a comment, or nothing."""

    text: str
    line: int
    table: Key
    """Under which heading it stands; a heading stands under itself."""
    key: Key = ()
    """Of a key with its value: all of it, that of its heading included."""

    @property
    def is_header(self) -> bool:
        """Tell whether it is a heading."""
        return self.text.lstrip().startswith("[")

    @property
    def is_comment(self) -> bool:
        """Tell whether it is a comment and nothing else."""
        return self.text.lstrip().startswith("#")

    @property
    def is_blank(self) -> bool:
        """Tell whether there is nothing in it."""
        return not self.text.strip()


def statements(text: str) -> list[Statement]:
    """Return the statements of a file; their texts, joined, are the file."""
    found: list[Statement] = []
    table: Key = ()
    line = 1
    for piece in _pieces(text):
        header = _HEADER.match(piece)
        if header:
            table = _key(header[1])
        key = () if header or piece.lstrip().startswith("#") else _key_of_pair(piece)
        found.append(Statement(piece, line, table, (*table, *key) if key else ()))
        line += piece.count("\n")
    return found


class Lines:
    """In which lines of a file its keys and tables begin."""

    def __init__(self, text: str) -> None:
        self._first: dict[Key, int] = {}
        self._own: dict[Key, int] = {}
        for each in statements(text):
            if place := each.key or (each.table if each.is_header else ()):
                self._own[place] = each.line
                for length in range(1, len(place) + 1):
                    self._first.setdefault(place[:length], each.line)

    def line_of(self, key: Key) -> int | None:
        """Return the line in which a key, a table, or what is nearest to holding it, begins."""
        if line := self._first.get(key):
            return line
        holders = (key[:length] for length in range(len(key) - 1, 0, -1))
        return next((self._own[holder] for holder in holders if holder in self._own), None)


def _pieces(text: str) -> Iterator[str]:
    depth, begin = 0, 0
    for token in _TOKEN.finditer(text):
        depth = max(0, depth + (token[0] in "[{") - (token[0] in "]}"))
        if token[0] == "\n" and not depth:
            yield text[begin : token.end()]
            begin = token.end()
    if begin < len(text):
        yield text[begin:]


def _key_of_pair(piece: str) -> Key:
    match = _KEY_TEXT.match(piece)
    return _key(match[1]) if match else ()


def _key(text: str) -> Key:
    try:
        return parse_key(text)
    except ConfigError:
        return ()
