"""What models say in the benchmarks: markdown of several kinds, in pieces as they stream."""

PIECE = 4  # characters in a chunk

PARAGRAPH = (
    "This is **prose** with some `code` and a [link](http://x.example/a) that goes on for a while, as answers do."
)
ITEM = "- an item with **bold** and text that is long enough to be an item of a list in an answer\n"
CODE = "def function(argument, other=None):  # comment\n    return argument + other * 42\n"
HEAD, ROW = "| name | value | note |\n|---|---|---|\n", "| some name | 42 | a note of some length |\n"
MIXED = f"{PARAGRAPH}\n\n{PARAGRAPH}\n\n{ITEM * 6}\n```python\n{CODE * 6}```\n\n{HEAD}{ROW * 5}\n"
KINDS: dict[str, tuple[str, str, str]] = {  # what it begins with, is made of, and ends with
    "prose": ("", f"{PARAGRAPH}\n\n", ""),
    "list": ("", ITEM, ""),
    "code": ("```python\n", CODE, "\n```\n"),
    "tables": ("", f"{HEAD}{ROW * 12}\n", ""),
    "mixed": ("", MIXED, ""),
    "one paragraph": ("", f"{PARAGRAPH} ", ""),
    "one table": (HEAD, ROW, ""),
}


def reply(kind: str, chunks: int) -> list[str]:
    """Return a reply of so many chunks."""
    begin, unit, end = KINDS[kind]
    length = chunks * PIECE
    text = (begin + unit * (length // len(unit) + 1))[:length] + end
    return [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
