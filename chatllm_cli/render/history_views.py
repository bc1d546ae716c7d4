"""What a person sees of the history: lists, finds, a conversation, its tree, and figures."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from rich.text import Text

from chatllm_cli.models import Conversation, Hit, Message, Role, Status, Summary, Tally
from chatllm_cli.render.clean import clean, clean_line
from chatllm_cli.render.markdown.document import rendered
from chatllm_cli.render.renderer import Renderer, age

THOUSAND = 1000
BAR_WIDTH = 20
TREE_TEXT = 60


def show_list(renderer: Renderer, summaries: Sequence[Summary]) -> None:
    """List conversations, with the address that each is taken up by."""
    now = datetime.now(UTC)
    if renderer.is_terminal:
        header = ("", "id", "last used", "title", "messages", "tokens", "model")
        renderer.rows(header, [_shown(summary, now) for summary in summaries])
        return
    renderer.rows((), [_listed(summary) for summary in summaries])


def _shown(summary: Summary, now: datetime) -> tuple[str, ...]:
    return (
        f"@{summary.place}" if summary.place else "",
        summary.address,
        age(summary.updated_at, now),
        summary.title + "".join(f" #{tag}" for tag in summary.tags),
        str(summary.messages),
        count(summary.tokens),
        summary.model,
    )


def _listed(summary: Summary) -> tuple[str, ...]:
    return (
        f"@{summary.place}" if summary.place else "",
        summary.id,
        summary.updated_at.isoformat(timespec="seconds"),
        summary.title,
        str(summary.messages),
        summary.model,
        str(summary.tokens),
        ",".join(summary.tags),
    )


def show_hits(renderer: Renderer, hits: Sequence[Hit]) -> None:
    """Show what a search found: where it is, and the text around it with the finds in bold."""
    if not renderer.is_terminal:
        renderer.rows((), [(hit.conversation, hit.message, hit.at.isoformat(timespec="seconds"), hit.role, hit.title,
                            "".join(text for text, _ in hit.snippet)) for hit in hits])  # fmt: skip
        return
    now = datetime.now(UTC)
    for hit in hits:
        who = "you" if hit.role == Role.USER else hit.model or hit.role
        place = Text.assemble((hit.address, "bold"), "  ", clean_line(hit.title))
        place.append(f"  {clean_line(who)}, {age(hit.at, now)}", style="dim")
        renderer.console.print(place, soft_wrap=True)
        snippet = Text("    ")
        for text, is_find in hit.snippet:
            snippet.append(clean(text), style="bold yellow" if is_find else "")
        renderer.console.print(snippet, soft_wrap=True)


def show_conversation(renderer: Renderer, conversation: Conversation, *, is_raw: bool = False) -> None:
    """Show the messages of a conversation, from the first to its head; raw is as they were written."""
    plain = renderer.is_plain or is_raw
    if conversation.system_prompt:
        _show_message(renderer, "system", "", conversation.system_prompt, is_markdown=False)
    for message in conversation.thread():
        is_markdown = message.role is Role.ASSISTANT and not plain
        _show_message(renderer, _speaker(message), _details(message), message.content, is_markdown=is_markdown)
    if aside := conversation.aside():
        renderer.notice(f"messages on other branches, not shown: {len(aside)} (`history show --tree` has all)")
    if conversation.damaged_lines:
        renderer.notice(f"damaged lines in this conversation's file, skipped: {conversation.damaged_lines}")


def _show_message(renderer: Renderer, name: str, details: str, content: str, *, is_markdown: bool) -> None:
    if not renderer.is_terminal:
        renderer.text(f"## {name}{' · ' if details else ''}{details}\n\n{content}\n")
        return
    renderer.console.print(Text.assemble((clean_line(name), "bold"), (f"  {clean_line(details)}", "dim")))
    body = clean(content).strip("\n")
    renderer.console.print(rendered(body) if is_markdown else Text(body))
    renderer.console.print()


def show_tree(renderer: Renderer, conversation: Conversation) -> None:
    """Show every message as a branch of what it answers; the thread in use is marked with a star."""
    children: dict[str | None, list[Message]] = {}
    known = {message.id for message in conversation.messages}
    for message in conversation.messages:
        children.setdefault(message.parent if message.parent in known else None, []).append(message)
    in_use = {message.id for message in conversation.thread()}
    renderer.text("\n".join(_branches(children, None, "", in_use)))


def _branches(
    children: Mapping[str | None, Sequence[Message]], parent: str | None, indent: str, in_use: set[str]
) -> list[str]:
    lines: list[str] = []
    siblings = children.get(parent, [])
    while siblings:  # a line of single answers goes down without recursion
        deeper = indent if len(siblings) == 1 else f"{indent}  "
        for message in siblings[:-1]:
            lines += [_leaf(message, deeper, in_use), *_branches(children, message.id, deeper, in_use)]
        last = siblings[-1]
        lines.append(_leaf(last, deeper, in_use))
        siblings, indent = children.get(last.id, []), deeper
    return lines


def _leaf(message: Message, indent: str, in_use: set[str]) -> str:
    words = " ".join(message.content.split())
    text = words if len(words) <= TREE_TEXT else f"{words[: TREE_TEXT - 1]}…"
    state = "" if message.status is Status.COMPLETE else f" ({message.status})"
    return f"{indent}{'*' if message.id in in_use else '-'} {message.id[:8]} {_speaker(message)}{state}: {text}"


def show_tallies(renderer: Renderer, tallies: Sequence[Tally], by: str) -> None:
    """Show how much was said, with bars on a terminal."""
    most = max((tally.tokens or tally.messages for tally in tallies), default=0) or 1
    rows = []
    for tally in tallies:
        figures = (tally.name, str(tally.conversations), str(tally.messages))
        tokens = (count(tally.tokens) if renderer.is_terminal else str(tally.tokens),)
        bar = ("█" * round(BAR_WIDTH * (tally.tokens or tally.messages) / most),) if renderer.is_terminal else ()
        rows.append((*figures, *tokens, *bar))
    renderer.rows((by, "conversations", "messages", "tokens", ""), rows)


def count(number: int) -> str:
    """Return a number in three figures: 4123 is 4.1k."""
    for size, unit in ((THOUSAND**3, "G"), (THOUSAND**2, "M"), (THOUSAND, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)


def _speaker(message: Message) -> str:
    return "you" if message.role is Role.USER else message.model or message.role


def _details(message: Message) -> str:
    details = [local_time(message.at)]
    details += [message.status] if message.status is not Status.COMPLETE else []
    details += ["cached"] if message.cached else []
    details += [message.error] if message.error else []
    return " · ".join(details)


def local_time(at: datetime) -> str:
    """Return `at` on this machine's clock, to the minute; in UTC if its zone cannot hold it."""
    with suppress(OverflowError, OSError, ValueError):
        at = at.astimezone()
    return at.strftime("%Y-%m-%d %H:%M")
