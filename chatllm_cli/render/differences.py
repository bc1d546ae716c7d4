"""How two answers differ, line by line: as unified diff on a pipe, in colours and with marked words on a terminal."""

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from chatllm_cli.frozen import frozen
from chatllm_cli.render.clean import clean
from chatllm_cli.render.renderer import Renderer

AROUND = 3  # lines that are the same, shown around what differs
WORDS = re.compile(r"\w+|\s+|[^\w\s]")
ALIKE = 0.4  # how much of two lines has to be the same for their words to be compared
MOST_COMPARED = 250_000  # pairs of words: beyond that it would be waited for
STYLES = {"-": "red", "+": "green", "@": "cyan"}
Span = tuple[int, int]


@frozen
class Line:
    """A line of a difference: its sign (blank, -, + or @), its text, and where that differs from its counterpart."""

    sign: str
    text: str
    marks: Sequence[Span] = ()


def show_difference(renderer: Renderer, old: tuple[str, str], new: tuple[str, str]) -> None:
    """Show how one answer differs from another, each of them a name and a text; nothing if it does not."""
    if renderer.paints_answers:
        _paint(renderer, old, new)
    elif text := unified(old, new):
        renderer.text(text, end="")


def unified(old: tuple[str, str], new: tuple[str, str]) -> str:
    """Return how one text differs from another as `diff -u` has it; nothing if it does not, whatever ends it."""
    if old[1].rstrip("\n") == new[1].rstrip("\n"):
        return ""
    lines = (f"{'' if line.sign == '@' else line.sign}{line.text}\n" for line in _lines(old[1], new[1], marked=False))
    return "".join((*_names(old[0], new[0]), *lines))


def _names(old: str, new: str) -> tuple[str, str]:
    return f"--- {' '.join(old.split())}\n", f"+++ {' '.join(new.split())}\n"


def _paint(renderer: Renderer, old: tuple[str, str], new: tuple[str, str]) -> None:
    from rich.text import Text  # noqa: PLC0415  (rich, which a pipe does without)

    if old[1].rstrip("\n") == new[1].rstrip("\n"):
        return
    console = renderer.console
    for name in _names(old[0], new[0]):
        console.print(Text(clean(name), style="bold"), end="")
    for line in _lines(clean(old[1]), clean(new[1]), marked=True):
        style = STYLES.get(line.sign, "")
        text = Text("" if line.sign == "@" else line.sign, style=style)
        text.append(line.text)
        for begin, end in line.marks:
            text.stylize("reverse", begin + 1, end + 1)
        console.print(text, overflow="fold")


def _lines(old: str, new: str, *, marked: bool) -> Iterator[Line]:
    # At newlines only, as whoever reads the difference does.
    before, after = old.rstrip("\n").split("\n"), new.rstrip("\n").split("\n")
    for group in SequenceMatcher(None, before, after).get_grouped_opcodes(AROUND):
        (_, a, _, b, _), (_, _, c, _, d) = group[0], group[-1]
        yield Line("@", f"@@ -{_range(a, c)} +{_range(b, d)} @@")
        for kind, begin, end, new_begin, new_end in group:
            if kind == "equal":
                yield from (Line(" ", line) for line in before[begin:end])
            else:
                yield from _changed(before[begin:end], after[new_begin:new_end], marked=marked)


def _range(begin: int, end: int) -> str:
    """Return lines, counted from 1, as `diff -u` names them; none of them by the one before."""
    length = end - begin
    first = begin + 1 if length else begin
    return f"{first}" if length == 1 else f"{first},{length}"


def _changed(old: Sequence[str], new: Sequence[str], *, marked: bool) -> Iterator[Line]:
    """Yield lines that became others; the n-th of them is taken for the n-th."""
    pairs = [_marks(one, other) if marked else ((), ()) for one, other in zip(old, new, strict=False)]
    for sign, lines, side in (("-", old, 0), ("+", new, 1)):
        for number, line in enumerate(lines):
            yield Line(sign, line, pairs[number][side] if number < len(pairs) else ())


def _marks(old: str, new: str) -> tuple[Sequence[Span], Sequence[Span]]:
    """Return where the words of two lines differ; nowhere if there is hardly any that is the same."""
    before, after = WORDS.findall(old), WORDS.findall(new)
    if len(before) * len(after) > MOST_COMPARED:
        return (), ()
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    same = sum(len(_said(before[at : at + size])) for at, _, size in matcher.get_matching_blocks())
    if 2 * same < ALIKE * (len(_said(before)) + len(_said(after))):
        return (), ()
    changes = [code for code in matcher.get_opcodes() if code[0] != "equal"]
    return (
        _spans(before, [(begin, end) for _, begin, end, _, _ in changes]),
        _spans(after, [(begin, end) for _, _, _, begin, end in changes]),
    )


def _said(words: Sequence[str]) -> Sequence[str]:
    """Return words without the blanks between them."""
    return [word for word in words if not word.isspace()]


def _spans(words: Sequence[str], changes: Sequence[Span]) -> Sequence[Span]:
    """Return the places of words as places of characters."""
    places = [0]
    for word in words:
        places.append(places[-1] + len(word))
    return [(places[begin], places[end]) for begin, end in changes if begin < end]
