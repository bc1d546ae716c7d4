"""What a person sees of the history: lists, finds, a conversation, its tree, and figures."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from chatllm_cli.models import Conversation, Hit, Message, Role, Status, Summary, Tally
from chatllm_cli.render.renderer import Renderer, age, amount
from chatllm_cli.render.terminal import fitting

THOUSAND = 1000
BAR_WIDTH = 20
TREE_TEXT = 60
TITLE = "title"
LIST_HEADER = ("", "id", "used", TITLE, "messages", "tokens", "model")
DROPPED_FIRST = ("model", "tokens", "messages", "used")
TITLE_ROOM = 28  # columns


def show_list(renderer: Renderer, summaries: Sequence[Summary]) -> None:
    """List conversations, with the address that each is taken up by."""
    if not renderer.is_terminal:
        renderer.rows((), [_listed(summary) for summary in summaries])
        return
    now = datetime.now(UTC)
    columns = [
        [name, *cells] for name, *cells in zip(LIST_HEADER, *[_shown(each, now) for each in summaries], strict=True)
    ]
    for name in DROPPED_FIRST:  # a title that nobody can read is worth less
        others = sum(max(map(len, column)) + 1 for column in columns if column[0] != TITLE)
        if renderer.out.width - others < TITLE_ROOM:
            columns = [column for column in columns if column[0] != name]
    header, *rows = zip(*columns, strict=True)
    renderer.rows(header, rows)


def _shown(summary: Summary, now: datetime) -> tuple[str, ...]:
    return (
        f"@{summary.place}" if summary.place else "",
        summary.address,
        age(summary.updated_at, now).removesuffix(" ago"),
        summary.title + "".join(f" #{tag}" for tag in summary.tags),
        str(summary.messages),
        count(summary.tokens) if summary.tokens else "-",
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
    from chatllm_cli.render import history_screens  # noqa: PLC0415  (rich)

    history_screens.show_hits(renderer.console, hits)


def show_conversation(renderer: Renderer, conversation: Conversation, *, is_raw: bool = False) -> None:
    """Show the messages of a conversation, from the first to its head; raw is as they were written."""
    plain = renderer.looks.plain or is_raw
    if renderer.is_terminal:
        from chatllm_cli.render import history_screens  # noqa: PLC0415

        history_screens.show_title(renderer.console, conversation)
    if conversation.system_prompt:
        _show_message(renderer, "system", "", conversation.system_prompt, is_markdown=False)
    for message in conversation.thread():
        is_markdown = message.role is Role.ASSISTANT and not plain
        content = "\n".join([*([message.content] if message.content else []), *_attached(message)])
        _show_message(renderer, _speaker(message), _details(message), content, is_markdown=is_markdown)
    if not conversation.messages:
        renderer.notice("no message is left in this conversation")
    if aside := conversation.aside():
        renderer.notice(f"messages on other branches, not shown: {len(aside)} (`history show --tree` has all)")
    tell_damage(renderer, conversation)


def tell_damage(renderer: Renderer, conversation: Conversation) -> None:
    """Say that not all of a conversation could be read, if so."""
    if conversation.damaged_lines:
        renderer.notice(f"damaged lines in this conversation's file, skipped: {conversation.damaged_lines}")


def _attached(message: Message) -> list[str]:
    return [f"attached: {' '.join(each.told.split())}" for each in message.attachments]


def _show_message(renderer: Renderer, name: str, details: str, content: str, *, is_markdown: bool) -> None:
    if not renderer.is_terminal:
        renderer.text(f"## {name}{' · ' if details else ''}{details}\n\n{content}\n")
        return
    from chatllm_cli.render import history_screens  # noqa: PLC0415

    code_theme = renderer.code_theme if is_markdown else None
    history_screens.show_message(renderer.console, name, details, content, code_theme)


def show_tree(renderer: Renderer, conversation: Conversation) -> None:
    """Show every message as a branch of what it answers; the thread in use is marked with a star."""
    children: dict[str | None, list[Message]] = {}
    known = {message.id for message in conversation.messages}
    for message in conversation.messages:
        children.setdefault(message.parent if message.parent in known else None, []).append(message)
    in_use = {message.id for message in conversation.thread()}
    lines = _branches(children, in_use)
    if renderer.is_terminal:
        lines = [fitting(line, renderer.out.width - 1) for line in lines]
    renderer.text("\n".join(lines))


def _branches(children: Mapping[str | None, Sequence[Message]], in_use: set[str]) -> list[str]:
    """Return a line for each message, siblings further in than what they answer."""
    lines: list[str] = []
    roots = children.get(None, [])
    if len(roots) > 1:
        lines.append("the beginning")
    waiting = [(message, "  " if len(roots) > 1 else "") for message in reversed(roots)]
    while waiting:
        message, indent = waiting.pop()
        lines.append(_leaf(message, indent, in_use))
        below = children.get(message.id, [])
        deeper = indent if len(below) == 1 else f"{indent}  "
        waiting += [(child, deeper) for child in reversed(below)]
    return lines


def _leaf(message: Message, indent: str, in_use: set[str]) -> str:
    words = " ".join(message.content.split())
    text = words if len(words) <= TREE_TEXT else f"{words[: TREE_TEXT - 1]}…"
    text = " · ".join([*([text] if text else []), *_attached(message)])
    state = "" if message.status is Status.COMPLETE else f" ({message.status})"
    return f"{indent}{'*' if message.id in in_use else '-'} {message.id[:8]} {_speaker(message)}{state}: {text}"


def show_tallies(renderer: Renderer, tallies: Sequence[Tally], by: str) -> None:
    """Show how much was said, with bars on a terminal."""
    most = max((tally.tokens or tally.messages for tally in tallies), default=0) or 1
    rows = []
    for tally in tallies:
        figures = (tally.name, str(tally.conversations), str(tally.messages))
        if renderer.is_terminal:
            bar = "█" * round(BAR_WIDTH * (tally.tokens or tally.messages) / most)
            rows.append((*figures, count(tally.tokens), amount(tally.cost, tally.unpriced), bar))
        else:
            rows.append((*figures, str(tally.tokens), f"{tally.cost:.6f}", str(tally.unpriced)))
    renderer.rows((by, "conversations", "answers", "tokens", "cost", ""), rows)


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
