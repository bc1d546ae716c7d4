"""What can be done with conversations: the one that goes on, its branches, and others."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from chatllm_cli.errors import ConfigError, UsageError
from chatllm_cli.formats import writing
from chatllm_cli.models import Conversation, Role
from chatllm_cli.render import history_views
from chatllm_cli.render.renderer import write_output
from chatllm_cli.repl.commands.arguments import first_line, new_file, number_of
from chatllm_cli.repl.ports import Candidate, Loop
from chatllm_cli.services.redaction import told_secrets

MOST_LISTED, MOST_FOUND, MOST_COMPLETED = 10, 20, 200
SHORT_ID = 8


async def new(loop: Loop, _: str) -> None:
    """Begin a new conversation."""
    loop.session.begin()
    kept = "nothing of this session is kept" if loop.session.is_private else "the last one is kept"
    loop.renderer.notice(f"a new conversation begins with the next prompt; {kept}")


async def private(loop: Loop, _: str) -> None:
    """Begin a conversation of which nothing is kept; or end it."""
    if not loop.session.services.settings.history.enabled:
        raise UsageError("nothing of this session is kept anyway (--private, or history.enabled in the settings)")
    loop.session.begin(private=not loop.session.is_private)
    if loop.session.is_private:
        loop.renderer.notice(
            "private: from here on nothing is kept, and nothing of this is recalled later; /private ends it"
        )
    else:
        loop.renderer.notice("a new conversation begins, which is kept; nothing is left of the private one")


async def open_(loop: Loop, address: str) -> None:
    """Go on with another conversation; without an address, with one that is picked."""
    chosen = address or await loop.pick()
    if not chosen:
        return
    was_private = loop.session.is_private
    try:
        await loop.session.open(chosen)
    except ConfigError as error:
        if loop.session.conversation is None:
            raise
        loop.renderer.notice(f"{error.message}; {loop.session.endpoints[0].address} goes on with it")
    if was_private and not loop.session.is_private:
        loop.renderer.notice("no longer private: what is said in this conversation is kept")
    loop.replay()


async def list_(loop: Loop, argument: str) -> None:
    """List the conversations that were used last."""
    listing = await loop.session.services.history.list(limit=number_of(argument) or MOST_LISTED)
    if listing.conversations:
        history_views.show_list(loop.renderer, listing.conversations)
    else:
        loop.renderer.notice("there is no conversation yet")
    for fault in listing.faults:
        loop.renderer.error(fault)


async def search(loop: Loop, text: str) -> None:
    """Search all that was said, in every conversation."""
    if not text:
        raise UsageError("there is nothing to search for: /search TEXT")
    from chatllm_cli.services.history import Query  # noqa: PLC0415  (what the first prompt does not wait for)

    hits = await loop.session.services.history.search(Query(text), limit=MOST_FOUND + 1)
    if not hits:
        loop.renderer.notice(f"nothing is found for '{text}'")
        return
    history_views.show_hits(loop.renderer, hits[:MOST_FOUND])
    more = "; there are more" if len(hits) > MOST_FOUND else ""
    loop.renderer.notice(f"/open goes on with one of them{more}")


async def show(loop: Loop, argument: str) -> None:
    """Show the conversation, or its last turns."""
    conversation, turns = loop.session.said, number_of(argument)
    history_views.show_conversation(loop.renderer, conversation if turns is None else _end_of(conversation, turns))


def _end_of(conversation: Conversation, turns: int) -> Conversation:
    thread = conversation.thread()
    begins = [place for place, message in enumerate(thread) if message.role is Role.USER]
    begin = begins[-turns] if 0 < turns <= len(begins) else 0
    return replace(conversation, messages=thread[begin:], system_prompt="")


async def title(loop: Loop, text: str) -> None:
    """Give the conversation another title, or show the one it has."""
    if text:
        await loop.session.set_title(text)
    loop.renderer.notice(f"the title is '{loop.session.said.title}'")


async def tag(loop: Loop, argument: str) -> None:
    """Add tags; -NAME takes one away."""
    old = list(loop.session.said.tags)
    gone = {each[1:] for each in argument.split() if each.startswith("-")}
    if missing := gone - {*old}:
        raise UsageError(f"the conversation has no tag '{min(missing)}'")
    wanted = dict.fromkeys([*old, *(each for each in argument.replace(",", " ").split() if each[0] != "-")])
    tags = [each for each in wanted if each not in gone]
    if tags != old:
        await loop.session.set_tags(tags)
    loop.renderer.notice(f"tags: {', '.join(tags)}" if tags else "there are no tags; /tag NAME adds one")


async def fork(loop: Loop, argument: str) -> None:
    """Go on in a copy of the conversation; the first one stays as it is."""
    await loop.session.fork(number_of(argument))
    loop.renderer.notice(f"this is '{loop.session.said.title}' from here on; the first one stays as it is")


async def branches(loop: Loop, _: str) -> None:
    """Show every branch of the conversation."""
    history_views.show_tree(loop.renderer, loop.session.said)
    loop.renderer.notice("* is in use; /switch ID goes on at the end of another branch")


async def switch(loop: Loop, message_id: str) -> None:
    """Go on at the end of the branch that a message is on."""
    if not message_id:
        raise UsageError("no message is named: /switch ID", hint="/branches has the ids")
    await loop.session.switch(message_id)
    loop.replay()


async def export(loop: Loop, argument: str) -> None:
    """Write the conversation into a file that is not there yet, without secrets, in the format of its ending."""
    path = new_file(argument, "export")
    kind = writing.format_of(path)
    exported = await asyncio.to_thread(loop.session.services.exporter.prepared, loop.session.said)
    document = writing.dump(kind, exported.conversation, exported.files)
    write_output(path, document, is_private=True)
    loop.renderer.notice(f"the conversation is written to {path}")
    if exported.secrets:
        loop.renderer.notice(f"{told_secrets(exported.secrets)}; `chatllm history export --no-redact` keeps them")


async def addresses(loop: Loop, _: str) -> Sequence[Candidate]:
    """Return the addresses of the conversations that were used last."""
    listing = await loop.session.services.history.list(limit=MOST_COMPLETED)
    return [Candidate(each.address, each.title) for each in listing.conversations]


async def leaves(loop: Loop, _: str) -> Sequence[Candidate]:
    """Return the messages that the branches which are not in use end with, the newest first."""
    conversation = loop.session.conversation
    if conversation is None:
        return []
    parents = {message.parent for message in conversation.messages}
    others = [each for each in conversation.aside() if each.id not in parents]
    return [Candidate(each.id[:SHORT_ID], first_line(each.content)) for each in reversed(others)]


async def tags(loop: Loop, argument: str) -> Sequence[Candidate]:
    """Return the tags that are in use, and those that could be taken away."""
    if argument.startswith("-"):
        conversation = loop.session.conversation
        return [Candidate(f"-{each}") for each in (conversation.tags if conversation else ())]
    listing = await loop.session.services.history.list(limit=MOST_COMPLETED)
    return [Candidate(each) for each in dict.fromkeys(tag for found in listing.conversations for tag in found.tags)]
