"""Code that comes line by line, highlighted as if it had come at once.

A lexer may look ahead, so that the last lines are held back. What is printed is counted in characters, whatever the
lexer says: of its tokens only the colours are taken. It goes on where a token began a line, in the state it was in
there; one that does not tell its state is given the last lines once more.
"""

from collections.abc import Iterable, Iterator
from inspect import signature
from typing import Any, NamedTuple

from pygments.lexer import RegexLexer
from pygments.token import Text as PlainToken
from pygments.token import _TokenType
from rich.syntax import Syntax
from rich.text import Text

HELD_BACK = 10  # lines; where a lexer looks further ahead (a long comment in C), only the colours may differ
BATCH = 5  # lines that become final together
KNOWN = 40  # printed lines that a lexer is given once more
MOST_KNOWN = 60  # lines that it may go back to where a token began a line
TAB = 4  # columns, as rich has it

Stack = tuple[str, ...]
ROOT: Stack = ("root",)
RawToken = tuple[int, _TokenType, str, Stack | None]  # as a lexer has it, whose places may be wrong


class Token(NamedTuple):
    """A piece of code; `stack` is the lexer's state where it can go on from there."""

    begin: int
    kind: _TokenType
    text: str
    stack: Stack | None


class CodeLines:
    """Highlights the lines of one block of code as they come."""

    def __init__(self, language: str, theme: str) -> None:
        syntax = Syntax("", language or "text", theme=theme, tab_size=TAB)
        self._lexer = syntax.lexer or syntax.default_lexer
        takes_stack = "stack" in signature(self._lexer.get_tokens_unprocessed).parameters
        self._tells_state = isinstance(self._lexer, RegexLexer) and takes_stack
        self._theme = Syntax.get_theme(theme)
        self.style = self._theme.get_background_style()
        self._source = ""  # of which the first `_known` characters are printed
        self._known = 0
        self._stack = ROOT  # the lexer's state where the source begins
        self._tokens: list[Token] = []  # of the source

    def feed(self, lines: str) -> list[Text]:
        """Take whole lines, and return those that are final."""
        self._source += "".join(line.expandtabs(TAB) for line in lines.splitlines(keepends=True))
        count = self._source.count("\n", self._known)
        if count < HELD_BACK + BATCH:
            self._lex_on()
            return []
        self._tokens = list(self._lexed(0, self._stack))
        end = _after_lines(self._source, self._known, count - HELD_BACK)
        final = self._lines(self._known, end)
        self._known = end
        self._forget()
        return final

    def rest(self) -> list[Text]:
        """Return the lines that are held back, as they look now."""
        return self._lines(self._known, len(self._source))

    def close(self) -> list[Text]:
        """Return the lines that are left, now that nothing more comes."""
        if self._source and not self._source.endswith("\n"):
            self._source += "\n"  # which some lexers need to see a line at all
        self._tokens = list(self._lexed(0, self._stack))
        return self.rest()

    def _forget(self) -> None:
        """Forget what is printed, but for what the lexer has to see again."""
        begin, stack = 0, self._stack
        for token in self._tokens if self._tells_state else ():
            if token.begin > self._known:
                break
            if token.stack:
                begin, stack = token.begin, token.stack
        if not self._tells_state or self._source.count("\n", begin, self._known) > MOST_KNOWN:
            begin, stack = _nth_last_line(self._source[: self._known], KNOWN), ROOT
        self._stack = stack
        self._source, self._known = self._source[begin:], self._known - begin
        self._tokens = [_behind(token, begin) for token in self._tokens if token.begin + len(token.text) > begin]

    def _lex_on(self) -> None:
        """Lex what is new with the line before it, for how it looks now."""
        while self._tokens and not (self._tokens[-1].stack and self._tells_state):
            self._tokens.pop()
        begin, stack = (0, self._stack)
        if self._tokens:
            last = self._tokens.pop()
            begin, stack = last.begin, last.stack or ROOT
        self._tokens += self._lexed(begin, stack)

    def _lexed(self, begin: int, stack: Stack) -> Iterable[Token]:
        """Return the tokens of the source from there on; plain ones if they are not all of it."""
        text = self._source[begin:]
        tokens: list[Token] = []
        at = 0
        for place, kind, piece, state in self._raw_tokens(text, stack):
            tokens.append(Token(begin + at, kind, piece, state if place == at else None))
            at += len(piece)
        return tokens if "".join(token.text for token in tokens) == text else [Token(begin, PlainToken, text, None)]

    def _raw_tokens(self, text: str, stack: Stack) -> Iterator[RawToken]:
        if isinstance(self._lexer, RegexLexer) and not _has_own_loop(self._lexer):
            yield from _with_states(self._lexer, text, stack)
            return
        states: dict[int, Stack] = {}
        arguments = {}
        if isinstance(self._lexer, RegexLexer) and self._tells_state:  # by the loop that its own is built upon
            states = {begin: state for begin, _, _, state in _with_states(self._lexer, text, stack) if state}
            arguments = {"stack": stack}
        for begin, kind, piece in self._lexer.get_tokens_unprocessed(text, **arguments):
            yield begin, kind, piece, states.get(begin)

    def _lines(self, begin: int, end: int) -> list[Text]:
        """Return the lines of the source between two places."""
        whole = Text(style=self.style, justify="left", tab_size=TAB)
        style_of = self._theme.get_style_for_token
        whole.append_tokens(
            (token.text[max(begin - token.begin, 0) : end - token.begin], style_of(token.kind))
            for token in self._tokens
            if token.begin < end and token.begin + len(token.text) > begin
        )
        return list(whole.split("\n")) if whole.plain else []


def _behind(token: Token, begin: int) -> Token:
    """Return what there is of a token from a place on, which then is the first."""
    if token.begin >= begin:
        return token._replace(begin=token.begin - begin)
    return Token(0, token.kind, token.text[begin - token.begin :], None)


def _after_lines(text: str, begin: int, number: int) -> int:
    """Return where the line begins that comes after so many."""
    for _ in range(number):
        begin = text.index("\n", begin) + 1
    return begin


def _nth_last_line(text: str, number: int) -> int:
    """Return where the last `number` lines of a text of whole lines begin."""
    place = len(text)
    for _ in range(number + 1):
        place = text.rfind("\n", 0, place)
        if place < 0:
            return 0
    return place + 1


def _has_own_loop(lexer: RegexLexer) -> bool:
    return type(lexer).get_tokens_unprocessed is not RegexLexer.get_tokens_unprocessed


def _with_states(lexer: RegexLexer, text: str, stack: Stack) -> Iterator[RawToken]:
    """Yield the tokens as `RegexLexer` finds them, with its state where a match begins a line.

    Nothing but its frame tells the state. In a version of Pygments that names it otherwise there is none.
    """
    tokens: Any = RegexLexer.get_tokens_unprocessed(lexer, text, stack)
    for begin, kind, piece in tokens:
        state = None
        if begin == 0 or text[begin - 1] == "\n":
            inside = tokens.gi_frame.f_locals
            if inside.get("pos") == begin and "statestack" in inside:
                state = tuple(inside["statestack"])
        yield begin, kind, piece, state
