"""The history as a terminal shows it: laid out by rich, which a pipe does without."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from chatllm_cli.models import Conversation, Hit, Role
from chatllm_cli.render.clean import clean, clean_line
from chatllm_cli.render.markdown.document import rendered
from chatllm_cli.render.renderer import age

INDENT = 4


def show_hits(console: Console, hits: Sequence[Hit]) -> None:
    """Show what a search found: where it is, and the text around it with the finds in bold."""
    now = datetime.now(UTC)
    for hit in hits:
        who = "you" if hit.role == Role.USER else hit.model or hit.role
        place = Text.assemble((clean_line(hit.address), "bold"), "  ", clean_line(hit.title))
        place.append(f"  {clean_line(who)}, {age(hit.at, now)}, {clean_line(hit.message)[:8]}", style="dim")
        console.print(place)
        snippet = Text()
        for text, is_find in hit.snippet:
            snippet.append(clean(text), style="bold yellow" if is_find else "")
        console.print(Padding(snippet, (0, 0, 0, INDENT)))


def show_title(console: Console, conversation: Conversation) -> None:
    """Show which conversation it is."""
    tags = "".join(f" #{tag}" for tag in conversation.tags)
    console.print(Text(f"{clean_line(conversation.title + tags)}  {clean_line(conversation.id)}\n", style="dim"))


def show_message(console: Console, name: str, details: str, content: str, code_theme: str | None) -> None:
    """Show one message; with a theme for its code as markdown."""
    console.print(Text.assemble((clean_line(name), "bold"), (f"  {clean_line(details)}", "dim")))
    body = clean(content).strip("\n")
    console.print(rendered(body, code_theme) if code_theme else Text(body))
    console.print()
