"""The text of a web page, as markdown: the only module that knows markdownify and Beautiful Soup."""

import warnings

from bs4 import BeautifulSoup
from markdownify import MarkdownConverter

LAID_OUT = 2_000_000  # characters of the longest page whose layout is kept, which takes 3 s for each million
USELESS = ("script", "style", "template", "noscript", "nav", "svg", "iframe")


def text_of(page: str) -> str:
    """Return what a page says, without scripts, styles and menus; headings, lists, tables and code stay such."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of what may be XML, or a file's name
        soup = BeautifulSoup(page, "lxml")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for element in soup(("head", *USELESS)):
        element.extract()
    text = _laid_out(soup) if len(page) <= LAID_OUT else soup.get_text("\n", strip=True)
    lines = "\n".join(line.rstrip() for line in text.strip().split("\n"))
    return f"{title}\n\n{lines}" if title and title not in lines[: len(title) + 2] else lines


def _laid_out(soup: BeautifulSoup) -> str:
    converter = MarkdownConverter(
        heading_style="atx",
        bullets="-",
        strip=["a", "img"],
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
    )
    try:
        return str(converter.convert_soup(soup))
    except RecursionError:  # nobody nests as deep as that for readers
        return soup.get_text("\n", strip=True)
