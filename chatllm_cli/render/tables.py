"""Tables, aligned on a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from chatllm_cli.render.clean import clean_line

SHORT_CELL = 9


def show_table(console: Console, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Show a table; short cells, those with addresses among them, stay whole on a narrow terminal."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name, *cells in zip(header, *rows, strict=True):
        widest = max(map(len, [name, *cells]))
        table.add_column(name, min_width=widest if widest <= SHORT_CELL else None)
    for row in rows:
        table.add_row(*(Text(clean_line(cell), overflow="ellipsis", no_wrap=True) for cell in row))
    console.print(table)
