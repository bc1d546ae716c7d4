"""Code that comes line by line, highlighted as if it had come at once.

A lexer may look ahead, so that the last lines are held back. What is final is cut off where a token begins a line,
and the lexer goes on there later, in the state it was in: no line is lexed often, however long the code is.
"""

import re
from collections.abc import Iterable, Iterator
from inspect import signature
from typing import Any, NamedTuple

from pygments.lexer import RegexLexer
from pygments.token import _TokenType
from rich.syntax import Syntax
from rich.text import Text

HELD_BACK = 10  # lines; of what goes on for longer (a comment in C), only the colours may differ
BATCH = 5  # lines that become final together
KNOWN = 40  # lines that a lexer is given once more, if it does not tell its state
TAB = 4  # columns, as rich has it

Stack = tuple[str, ...]
ROOT: Stack = ("root",)


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
        self._held = ""  # whole lines, of which the first `_known` characters are final
        self._known = 0
        self._tokens: list[Token] = []  # of what is held
        self._stack = ROOT  # the lexer's state where that begins

    def feed(self, lines: str) -> list[Text]:
        """Take whole lines, and return those that nothing to come can change."""
        self._held += "".join(line.expandtabs(TAB) for line in lines.splitlines(keepends=True))
        count = self._held.count("\n", self._known)
        if count < HELD_BACK + BATCH:
            self._lex_on()
            return []
        self._tokens = list(self._lexed(0, self._stack))
        end, stack = self._last_beginning(self._held.count("\n") - HELD_BACK)
        final = self._lines(token for token in self._tokens if self._known <= token.begin < end)
        self._known = max(end, self._known)
        self._forget(self._known if self._tells_state else _nth_last_line(self._held[: self._known], KNOWN), stack)
        return final

    def rest(self) -> list[Text]:
        """Return the lines that are held back, as they look now."""
        return self._lines(token for token in self._tokens if token.begin >= self._known)

    def close(self) -> list[Text]:
        """Return the lines that are left, now that nothing more comes."""
        self._tokens = list(self._lexed(0, self._stack))
        return self.rest()

    def _forget(self, end: int, stack: Stack) -> None:
        """Forget what is before `end`, where the lexer is in that state."""
        self._stack = stack if self._tells_state else ROOT
        self._held, self._known = self._held[end:], self._known - end
        self._tokens = [token._replace(begin=token.begin - end) for token in self._tokens if token.begin >= end]

    def _lex_on(self) -> None:
        """Lex what is new with the line before it, for how it looks now."""
        while self._tokens and not (self._tokens[-1].stack and self._tells_state):
            self._tokens.pop()
        begin, stack = (0, self._stack)
        if self._tokens:
            last = self._tokens.pop()
            begin, stack = last.begin, last.stack or ROOT
        self._tokens += self._lexed(begin, stack)

    def _lexed(self, begin: int, stack: Stack) -> Iterator[Token]:
        """Yield the tokens of what is held from there on, where the lexer is in this state."""
        text = self._held[begin:]
        if isinstance(self._lexer, RegexLexer) and not _has_own_loop(self._lexer):
            found = _with_states(self._lexer, text, stack)
        else:
            found = self._with_own_loop(text, stack)
        for token in found:
            yield token._replace(begin=begin + token.begin)

    def _with_own_loop(self, text: str, stack: Stack) -> Iterator[Token]:
        """Yield the tokens as the lexer's own loop finds them, with the states of the one that it is built upon."""
        states = {found.end(): ROOT for found in re.finditer("\n", text)}  # it has none, or hides it
        arguments = {}
        if isinstance(self._lexer, RegexLexer) and self._tells_state:
            states = {token.begin: token.stack for token in _with_states(self._lexer, text, stack) if token.stack}
            arguments = {"stack": stack}
        for begin, kind, piece in self._lexer.get_tokens_unprocessed(text, **arguments):
            yield Token(begin, kind, piece, states.get(begin))

    def _last_beginning(self, last_line: int) -> tuple[int, Stack]:
        """Return the last place, at most so many lines down, where a token begins a line."""
        found, line = (0, self._stack), 0
        for token in self._tokens:
            if line > last_line:
                break
            if token.stack:
                found = (token.begin, token.stack)
            line += token.text.count("\n")
        return found

    def _lines(self, tokens: Iterable[Token]) -> list[Text]:
        whole = Text(style=self.style, justify="left", tab_size=TAB)
        style_of = self._theme.get_style_for_token
        whole.append_tokens((token.text, style_of(token.kind)) for token in tokens)
        return list(whole.split("\n")) if whole.plain else []


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


def _with_states(lexer: RegexLexer, text: str, stack: Stack) -> Iterator[Token]:
    """Yield the tokens as `RegexLexer` finds them, with its state where a match begins a line.

    Nothing but its frame tells the state. A version of Pygments that names it otherwise begins anew with each line.
    """
    tokens: Any = RegexLexer.get_tokens_unprocessed(lexer, text, stack)
    for begin, kind, piece in tokens:
        state = None
        if begin == 0 or text[begin - 1] == "\n":
            inside = tokens.gi_frame.f_locals
            state = tuple(inside.get("statestack", ROOT)) if inside.get("pos", begin) == begin else None
        yield Token(begin, kind, piece, state)
