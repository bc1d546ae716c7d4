"""What stands beneath a reply while it comes. No rich here: whoever fills it in starts up without."""

from collections.abc import Callable

from chatllm_cli.frozen import frozen

PROMPT = "> "


@frozen
class Footer:
    """A line about the turn, and the next prompt so far; both are asked for each time they are shown."""

    status: Callable[[int], str]  # one line, which is told how many columns there are; none if it is empty
    draft: Callable[[], str]
