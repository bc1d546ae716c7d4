"""The text of a web page, as markdown: the only module that knows markdownify and Beautiful Soup."""

import warnings

from bs4 import BeautifulSoup
from markdownify import MarkdownConverter

USELESS = ("script", "style", "template", "noscript", "nav", "svg", "iframe")


def text_of(page: str) -> str:
    """Return what a page says, without scripts, styles and menus; headings, lists, tables and code stay such."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of what may be XML, or a file's name
        soup = BeautifulSoup(page, "html.parser")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for element in soup(("head", *USELESS)):
        element.extract()
    try:
        text = MarkdownConverter(
            heading_style="atx", bullets="-", strip=["a", "img"], escape_asterisks=False, escape_underscores=False,
            escape_misc=False,
        ).convert_soup(soup)  # fmt: skip
    except RecursionError:  # nobody nests as deep as that for readers
        text = soup.get_text("\n", strip=True)
    lines = "\n".join(line.rstrip() for line in text.strip().split("\n"))
    return f"{title}\n\n{lines}" if title and title not in lines[: len(title) + 2] else lines
