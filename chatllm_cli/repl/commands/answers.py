"""What can be done with the last turn: ask again, go on, change it, take it back, and take it elsewhere."""

import asyncio
from collections.abc import Sequence

from chatllm_cli.errors import UsageError
from chatllm_cli.render.renderer import write_output
from chatllm_cli.repl import clipboard
from chatllm_cli.repl.commands.arguments import first_line, new_file, number_of
from chatllm_cli.repl.ports import Candidate, Draft, Loop

NO_ANSWER = "there is no answer yet"


async def retry(loop: Loop, model: str) -> None:
    """Have the last prompt answered another time, by another model if one is named."""
    session = loop.session
    if not session.prompts:
        raise UsageError("there is no prompt to answer again")
    endpoints = [session.services.providers.endpoint(model)] if model else []
    await loop.show_turn(lambda view: session.retry(view, endpoints))


async def go_on(loop: Loop, _: str) -> None:
    """Take up the last answer where it stopped."""
    conversation = loop.session.conversation
    from chatllm_cli.services.chat.context import unfinished_reply  # noqa: PLC0415  (what the first prompt does not wait for)

    begun = unfinished_reply(conversation) if conversation else None
    await loop.show_turn(loop.session.go_on, begun.content if begun else "")


async def edit(loop: Loop, argument: str) -> None:
    """Open an earlier prompt in the line; what is sent then takes its place on a branch of its own."""
    prompt = loop.session.prompt(number_of(argument))
    for each in prompt.attachments:
        loop.renderer.notice(f"attached: {each.told}")
    loop.put_into_line(Draft(prompt.content, instead_of=prompt, attachments=prompt.attachments))


async def undo(loop: Loop, _: str) -> None:
    """Go back to before the last turn."""
    undone = await loop.session.undo()
    loop.renderer.notice(f"taken back: '{first_line(undone.topic)}'; /branches has it, /switch goes there")


async def copy(loop: Loop, argument: str) -> None:
    """Put the last answer on the clipboard, or the N-th code block in it."""
    number, text = number_of(argument), _last_answer(loop)
    if number is not None:
        found = _blocks(text)
        if not 1 <= number <= len(found):
            raise UsageError(f"there is no code block {number}: the last answer has {len(found)}")
        text = found[number - 1]
    where = await asyncio.to_thread(clipboard.copy, text, loop.renderer)
    what = "the answer" if number is None else f"code block {number}"
    loop.renderer.notice(f"{what} is on {where} ({len(text):,} characters)")


async def blocks(loop: Loop, _: str) -> Sequence[Candidate]:
    """Return the numbers of the code blocks in the last answer."""
    conversation = loop.session.conversation
    found = _blocks(conversation.last_text) if conversation else []
    return [Candidate(str(number), first_line(block)) for number, block in enumerate(found, start=1)]


async def save(loop: Loop, argument: str) -> None:
    """Write the last answer into a file that is not there yet."""
    text, path = _last_answer(loop), new_file(argument, "save")
    write_output(path, text if text.endswith("\n") else f"{text}\n")
    loop.renderer.notice(f"the answer is written to {path}")


def _last_answer(loop: Loop) -> str:
    conversation = loop.session.conversation
    if conversation is None or not conversation.last_text:
        raise UsageError(NO_ANSWER)
    return conversation.last_text


def _blocks(text: str) -> list[str]:
    from chatllm_cli.render.code_blocks import code_blocks  # noqa: PLC0415  (markdown-it takes 30 ms)

    return code_blocks(text)
