"""What each slash command does, typed at a desk."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.errors import QuotaError
from chatllm_cli.models import Chunk, Role, TokenUsage
from chatllm_cli.repl import clipboard
from chatllm_cli.services.history import journal
from tests.desks import CTRL_C, CTRL_D, CTRL_J, ENTER, PASTE_BEGINS, PASTE_ENDS, WAIT, Desk

LEAVE = CTRL_D


def typed(*lines: str) -> str:
    return "".join(f"{line}{ENTER}" for line in lines) + LEAVE


async def test_retry_asks_again_and_keeps_both_answers(desk: Desk) -> None:
    desk.llm.reply("one")
    desk.llm.reply("two")
    await desk.run(typed("a", "/retry"))
    assert desk.prompts == ["a", "a"]
    conversation = await desk.services.history.last()
    assert [m.content for m in conversation.thread()] == ["a", "two"]
    assert [m.content for m in conversation.aside()] == ["one"]


async def test_retry_may_name_another_model_for_this_once(desk: Desk) -> None:
    for text in ("one", "two", "three"):
        desk.llm.reply(text)
    await desk.run(typed("a", "/retry ollama/other", "b"))
    assert [request.endpoint.address for request in desk.llm.requests] == ["fake/model", "ollama/other", "fake/model"]


async def test_a_retry_that_fails_leaves_the_answer_that_there_was(desk: Desk) -> None:
    desk.llm.reply("one")
    desk.llm.play(QuotaError("nothing left"))
    desk.llm.reply("two")
    await desk.run(typed("a", "/retry", "b"))
    assert [content for _, content in desk.llm.requests[-1].messages] == ["a", "one", "b"]
    assert await desk.thread() == ["a", "one", "b", "two"]


async def test_retry_passes_over_the_cache_and_replaces_what_is_there(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_CACHE__MODE", "always")
    desk.begin()
    desk.llm.reply("one")
    desk.llm.reply("two")
    await desk.run(typed("a", "/retry", "/new", "a"))
    assert desk.prompts == ["a", "a"]
    assert await desk.thread() == ["a", "two"]
    assert "cached just now (/retry asks again)" in desk.told


@pytest.mark.parametrize(
    "command", ["/retry", "/undo", "/edit", "/copy", "/save x", "/fork", "/branches", "/export x"]
)
async def test_what_needs_a_conversation_says_so_before_there_is_one(desk: Desk, command: str) -> None:
    await desk.run(typed(command))
    assert desk.prompts == []
    assert len(desk.told) == 1
    assert desk.told[0].startswith("chatllm: ")


async def test_edit_opens_an_earlier_prompt_and_what_is_sent_goes_on_a_branch_of_its_own(desk: Desk) -> None:
    for text in ("one", "two", "three"):
        desk.llm.reply(text)
    await desk.run(typed("a", "b", "/edit 1", "!"))
    assert [content for _, content in desk.llm.requests[-1].messages] == ["a!"]
    conversation = await desk.services.history.last()
    assert [m.content for m in conversation.thread()] == ["a!", "three"]
    assert [m.content for m in conversation.aside()] == ["a", "one", "b", "two"]


async def test_edit_without_a_number_opens_the_last_prompt(desk: Desk) -> None:
    for text in ("one", "two", "three"):
        desk.llm.reply(text)
    await desk.run(typed("a", "b", "/edit", "!"))
    assert await desk.thread() == ["a", "one", "b!", "three"]


async def test_an_edit_that_is_cleared_changes_nothing(desk: Desk) -> None:
    desk.llm.reply("one")
    desk.llm.reply("two")
    await desk.run(typed("a"))
    desk.begin(await desk.services.history.last())
    await desk.run(f"/edit{ENTER}{CTRL_C}b{ENTER}{LEAVE}")
    assert await desk.thread() == ["a", "one", "b", "two"]


@pytest.mark.parametrize(
    ("argument", "said"), [("9", "there is no prompt 9"), ("0", "there is no prompt 0"), ("x", "'x' is no number")]
)
async def test_a_number_that_no_prompt_has_is_told(desk: Desk, argument: str, said: str) -> None:
    desk.llm.reply("one")
    await desk.run(typed("a", f"/edit {argument}"))
    assert f"chatllm: {said}" in desk.told


async def test_undo_takes_the_last_turn_back_and_loses_nothing(desk: Desk) -> None:
    for text in ("one", "two", "three"):
        desk.llm.reply(text)
    await desk.run(typed("a", "b", "/undo", "c"))
    conversation = await desk.services.history.last()
    assert [m.content for m in conversation.thread()] == ["a", "one", "c", "three"]
    assert [m.content for m in conversation.aside()] == ["b", "two"]
    assert "taken back: 'b'; /branches has it, /switch goes there" in desk.told


async def test_branches_shows_the_tree_and_switch_goes_to_the_end_of_a_branch(desk: Desk) -> None:
    for text in ("one", "two", "three"):
        desk.llm.reply(text)
    await desk.run(typed("a", "/retry"))
    conversation = await desk.services.history.last()
    (aside,) = conversation.aside()
    desk.begin(conversation)
    await desk.run(typed("/branches", f"/switch {aside.id[:8]}", "b"))
    prompt, first, second = (message.id[:8] for message in conversation.messages)
    assert desk.shown.startswith(f"* {prompt} you: a\n  - {first} fake/model: one\n  * {second} fake/model: two\n")
    assert await desk.thread() == ["a", "one", "b", "three"]


async def test_switching_to_a_message_goes_to_the_newest_leaf_below_it(desk: Desk) -> None:
    for text in ("one", "two", "three"):
        desk.llm.reply(text)
    await desk.run(typed("a", "b", "/undo", "/undo"))
    conversation = await desk.services.history.last()
    desk.begin(conversation)
    await desk.run(typed(f"/switch {conversation.messages[0].id[:6]}", "c"))
    assert await desk.thread() == ["a", "one", "b", "two", "c", "three"]


async def test_switching_to_what_does_not_exist_is_told(desk: Desk) -> None:
    desk.llm.reply("one")
    await desk.run(typed("a", "/switch zzzz", "/switch"))
    assert "chatllm: there is no message 'zzzz' in this conversation" in desk.told
    assert "chatllm: no message is named: /switch ID" in desk.told


async def test_fork_goes_on_in_a_copy(desk: Desk) -> None:
    for text in ("one", "two", "three"):
        desk.llm.reply(text)
    await desk.run(typed("a", "b", "/fork 1", "c"))
    listing = await desk.services.history.list()
    assert [(each.title, each.messages) for each in listing.conversations] == [("a (fork)", 4), ("a", 4)]
    assert await desk.thread() == ["a", "one", "c", "three"]


async def test_new_begins_another_conversation(desk: Desk) -> None:
    desk.llm.reply("one")
    desk.llm.reply("two")
    await desk.run(typed("a", "/new", "b"))
    assert [content for _, content in desk.llm.requests[-1].messages] == ["b"]
    assert [each.title for each in (await desk.services.history.list()).conversations] == ["b", "a"]


async def test_open_goes_on_with_another_conversation_and_shows_how_it_ended(desk: Desk) -> None:
    for text in ("one", "two", "three"):
        desk.llm.reply(text)
    await desk.run(typed("a", "/new", "b"))
    desk.begin()
    await desk.run(typed("/open a", "c"))
    assert desk.told[:5] == [
        "the conversation was held with fake/model, and there is no provider 'fake' now; fake/model goes on with it",
        "going on with 'a', 2 messages so far",
        "> a",
        "one",
        "",
    ]
    assert await desk.thread() == ["a", "one", "c", "three"]


async def test_opening_what_does_not_exist_is_told_and_the_conversation_goes_on(desk: Desk) -> None:
    desk.llm.reply("one")
    desk.llm.reply("two")
    await desk.run(typed("a", "/open nowhere", "b"))
    assert "chatllm: there is no conversation 'nowhere'" in desk.told
    assert await desk.thread() == ["a", "one", "b", "two"]


async def test_private_keeps_nothing_until_it_is_ended(desk: Desk) -> None:
    for text in ("one", "two", "three"):
        desk.llm.reply(text)
    await desk.run(typed("a", "/private", "secret", "/private", "b"))
    assert [each.title for each in (await desk.services.history.list()).conversations] == ["b", "a"]
    kept = b"".join(path.read_bytes() for path in desk.places.data.parent.rglob("*") if path.is_file())
    assert b"secret" not in kept
    assert desk.services.input_history.load() == ["a", "/private", "b"]


async def test_title_and_tags_are_given_and_shown(desk: Desk) -> None:
    desk.llm.reply("one")
    await desk.run(typed("a", "/title  On letters ", "/tag x y", "/tag -x z", "/tag -nope", "/tag"))
    (summary,) = (await desk.services.history.list()).conversations
    assert (summary.title, summary.tags) == ("On letters", ("y", "z"))
    assert desk.told == [
        "the title is 'On letters'",
        "tags: x, y",
        "tags: y, z",
        "chatllm: the conversation has no tag 'nope'",
        "tags: y, z",
    ]


async def test_list_and_search_and_show_find_what_was_said(desk: Desk) -> None:
    desk.llm.reply("A whale is a mammal.")
    await desk.run(typed("What is a whale?", "/list", "/search mammal", "/search nothing", "/search", "/show 1"))
    (summary,) = (await desk.services.history.list()).conversations
    assert summary.id in desk.shown
    assert "A whale is a mammal." in desk.shown
    assert "nothing is found for 'nothing'" in desk.told
    assert "chatllm: there is nothing to search for: /search TEXT" in desk.told


async def test_save_and_export_write_files_and_never_over_one(desk: Desk, tmp_path: Path) -> None:
    desk.llm.reply("one")
    answer, document, data = tmp_path / "a b.md", tmp_path / "c.md", tmp_path / "c.json"
    await desk.run(
        typed("a", f'/save "{answer}"', f"/save {answer}", f"/export {document}", f"/export {data}", "/save")
    )
    assert answer.read_text() == "one\n"
    assert "one" in document.read_text()
    assert json.loads(data.read_text())["messages"][1]["content"] == "one"
    assert desk.told == [
        f"the answer is written to {answer}",
        f"chatllm: {answer} exists already",
        "  hint: nothing is written over: name another file",
        f"the conversation is written to {document}",
        f"the conversation is written to {data}",
        "chatllm: no file is named: /save FILE",
    ]


async def test_export_takes_the_format_of_the_ending_and_leaves_out_secrets(desk: Desk, tmp_path: Path) -> None:
    secret = "sk-proj-" + "a1B2" * 10
    desk.llm.reply(f"not {secret}")
    endings = ("md", "json", "jsonl", "html", "txt")
    paths = [tmp_path / f"talk.{ending}" for ending in endings]
    await desk.run(typed(f"is it {secret}?", *(f"/export {path}" for path in paths)))
    documents = [path.read_text() for path in paths]
    assert [secret[:16] in document for document in documents] == [False] * 5
    assert [document[:15] for document in documents] == [
        '---\nid: "' + json.loads(documents[1])["id"][:6],
        '{\n  "format": "',
        '{"format":"chat',
        "<!DOCTYPE html>",
        "is it [OpenAI k",
    ]
    told = "2 secrets were replaced (OpenAI key); `chatllm history export --no-redact` keeps them"
    expected = [line for path in paths for line in (f"the conversation is written to {path}", told)]
    assert desk.told[-10:] == expected


async def test_copy_takes_the_answer_or_one_of_its_code_blocks(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []

    def copy(text: str, _: object) -> str:
        copied.append(text)
        return "the system's clipboard"

    monkeypatch.setattr(clipboard, "copy", copy)
    answer = "Try\n\n```sh\nls\n```\n\nor\n\n```sh\ndir\n```\n"
    desk.llm.reply(answer)
    await desk.run(typed("a", "/copy", "/copy 2", "/copy 3"))
    assert copied == [answer, "dir\n"]
    assert desk.told == [
        f"the answer is on the system's clipboard ({len(answer)} characters)",
        "code block 2 is on the system's clipboard (4 characters)",
        "chatllm: there is no code block 3: the last answer has 2",
    ]


async def test_model_is_changed_from_here_on(desk: Desk) -> None:
    desk.llm.reply("one")
    desk.llm.reply("two")
    await desk.run(typed("/model", "a", "/model ollama/other", "b", "/model nowhere/x/"))
    assert [request.endpoint.address for request in desk.llm.requests] == ["fake/model", "ollama/other"]
    assert desk.told[:2] == ["fake/model answers", "ollama/other answers"]
    assert desk.told[2].startswith("chatllm: there is no provider 'nowhere'")


async def test_system_is_given_shown_and_taken_away(desk: Desk) -> None:
    for text in ("one", "two", "three"):
        desk.llm.reply(text)
    await desk.run(typed("/system", "/system be short", "a", "/system be long", "b", "/system -", "c"))
    assert [request.messages[0] for request in desk.llm.requests] == [
        (Role.SYSTEM, "be short"),
        (Role.SYSTEM, "be long"),
        (Role.USER, "a"),
    ]
    assert desk.told == [
        "there is no system prompt; /system TEXT gives one",
        "the system prompt is: be short",
        "the system prompt is: be long",
        "there is no system prompt; /system TEXT gives one",
    ]
    assert (await desk.services.history.last()).system_prompt == ""


async def test_settings_are_changed_for_the_session_and_shown(desk: Desk) -> None:
    for text in ("one", "two", "three"):
        desk.llm.reply(text)
    await desk.run(
        typed("/set temperature 0.5", "a", "/set temperature 7", "/set stop END", "b", "/set temperature -", "c")
    )
    options = [request.options for request in desk.llm.requests]
    assert [(each.temperature, each.stop) for each in options] == [(0.5, ()), (0.5, ("END",)), (None, ("END",))]
    assert desk.told == [
        "temperature is 0.5",
        "chatllm: temperature: expected a number less than or equal to 2",
        "stop is 'END'",
        "temperature is not set",
    ]


async def test_what_cannot_be_set_here_is_told(desk: Desk) -> None:
    await desk.run(typed("/set model x", "/set nonsense 1", "/set"))
    assert desk.told[0] == "chatllm: model is changed by /model"
    assert "chatllm: 'nonsense' is no setting that can be changed here" in desk.told
    assert "temperature\tnot set" in desk.shown.splitlines()


async def test_usage_and_cost_tell_what_was_taken(desk: Desk) -> None:
    desk.llm.reply("one", end=Chunk(finish_reason="stop", usage=TokenUsage(1200, 34)))
    desk.llm.reply("two", end=Chunk(finish_reason="stop", usage=TokenUsage(1300, 6)))
    await desk.run(typed("a", "b", "/usage", "/cost"))
    assert desk.shown.startswith("onetwofake/model\t2\t2,500\t40\nthis conversation\t$0.00\ntoday\t$0.00\n")


async def test_clear_says_nothing_to_what_is_no_terminal(desk: Desk) -> None:
    await desk.run(typed("/clear"))
    assert (desk.shown, desk.told) == ("", [])


async def test_paste_puts_the_clipboard_into_the_line(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard, "paste", lambda: "from the\nclipboard")
    desk.llm.reply("ok")
    await desk.run(typed("/paste", "!"))
    assert desk.prompts == ["from the\nclipboard!"]


async def test_editor_writes_the_next_prompt(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "editor"
    script.write_text('#!/bin/sh\nprintf "from the editor" > "$1"\n')
    script.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(script))
    monkeypatch.delenv("VISUAL", raising=False)
    desk.llm.reply("ok")
    desk.keys.send_text(f"/editor{ENTER}")
    running = asyncio.ensure_future(desk.run(""))
    while desk.line != "from the editor":
        await asyncio.sleep(WAIT)
    desk.keys.send_text(f"{ENTER}{LEAVE}")
    await running
    assert desk.prompts == ["from the editor"]


async def test_an_edit_that_brings_no_answer_leaves_the_conversation_where_it_stood(desk: Desk) -> None:
    desk.llm.reply("one")
    desk.llm.play(QuotaError("nothing left"))
    desk.llm.reply("two")
    await desk.run(typed("a", "/edit", "!", "b"))
    assert [content for _, content in desk.llm.requests[-1].messages] == ["a", "one", "b"]


async def test_a_title_of_ones_own_outweighs_the_models(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATLLM_HISTORY__TITLES", "model")
    desk.begin()
    desk.llm.reply("one")
    desk.llm.play(0.2, Chunk("The model's"), Chunk(finish_reason="stop"))
    desk.llm.reply("two")
    desk.llm.reply("never asked for")
    await desk.run(typed("a", "/title mine", "b"))
    assert (await desk.services.history.last()).title == "mine"


@pytest.mark.parametrize("value", ["0", "1", "0.5"])
async def test_a_number_is_shown_as_one(desk: Desk, value: str) -> None:
    await desk.run(typed(f"/set temperature {value}", "/set output.plain true"))
    assert desk.told == [f"temperature is {float(value)}", "output.plain is true"]


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
async def test_a_file_that_cannot_be_is_told_and_the_session_goes_on(desk: Desk, name: str) -> None:
    desk.llm.reply("one")
    desk.llm.reply("two")
    await desk.run(f"a{ENTER}/save {PASTE_BEGINS}{name}{PASTE_ENDS}{ENTER}b{ENTER}{LEAVE}")
    assert desk.prompts == ["a", "b"]
    assert "cannot be written" in desk.told[0]


async def test_a_fault_in_a_command_does_not_end_the_session(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise RuntimeError("broken")

    monkeypatch.setattr(clipboard, "paste", fail)
    desk.llm.reply("one")
    await desk.run(typed("/paste", "a"))
    assert desk.prompts == ["a"]
    assert desk.told[0] == "chatllm: internal error in /paste: RuntimeError: broken"


async def test_leaving_a_private_conversation_for_one_that_is_kept_is_told(desk: Desk) -> None:
    for text in ("one", "two"):
        desk.llm.reply(text)
    await desk.run(typed("a", "/private", "b", "/open a"))
    assert "no longer private: what is said in this conversation is kept" in desk.told


async def test_a_system_prompt_for_a_conversation_that_is_gone_on_with_is_shown_and_goes_into_its_copy(
    desk: Desk,
) -> None:
    desk.llm.reply("one")
    desk.llm.reply("two")
    await desk.run(typed("a"))
    desk.begin(await desk.services.history.last(), system_prompt="be short")
    await desk.run(typed("/system", "/fork", "b"))
    assert "the system prompt is: be short" in desk.told
    assert desk.llm.requests[-1].messages[0] == (Role.SYSTEM, "be short")


async def test_a_prompt_file_is_put_around_the_first_prompt_alone_though_that_needed_a_retry(desk: Desk) -> None:
    desk.begin(wrap="Translate: {}".format)
    desk.llm.play(QuotaError("nothing left"))
    desk.llm.reply("one")
    desk.llm.reply("two")
    await desk.run(typed("a", "/retry", "b"))
    assert desk.prompts == ["Translate: a", "Translate: a", "b"]


async def test_what_could_not_be_saved_is_there_when_its_conversation_is_opened_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = journal.append
    is_full = False

    async def append(*arguments: Any, **more: Any) -> None:
        if is_full:
            raise OSError(28, "No space left on device")
        await real(*arguments, **more)

    monkeypatch.setattr(journal, "append", append)
    for text in ("one", "two", "three"):
        desk.llm.reply(text)
    running = asyncio.ensure_future(desk.run(f"a{ENTER}"))
    await reading(desk, after=1)
    is_full = True
    desk.keys.send_text(f"b{ENTER}")
    await reading(desk, after=2)
    desk.keys.send_text(f"/new{ENTER}")
    await asyncio.sleep(0.1)
    is_full = False
    desk.keys.send_text(f"/open a{ENTER}c{ENTER}{LEAVE}")
    await running
    assert await desk.thread() == ["a", "one", "b", "two", "c", "three"]


async def reading(desk: Desk, *, after: int) -> None:
    """Wait until so many requests were made, and the line is open again."""
    while not (len(desk.llm.requests) == after and desk.llm.closed == after and desk.loop.is_reading):
        await asyncio.sleep(WAIT)


@pytest.mark.parametrize("line", ["/undo 3", "/private yes", "/new x", "/exit now", "/usage all"])
async def test_what_a_command_does_not_take_is_refused_and_nothing_is_done(desk: Desk, line: str) -> None:
    desk.llm.reply("one")
    desk.llm.reply("two")
    await desk.run(typed("a", line, "b"))
    assert desk.told == [f"chatllm: {line.partition(' ')[0]} takes nothing behind it"]
    assert await desk.thread() == ["a", "one", "b", "two"]


async def test_a_command_with_further_lines_is_neither_done_nor_sent(desk: Desk) -> None:
    await desk.run(f"/list{CTRL_J}and more{ENTER}{LEAVE}")
    assert desk.prompts == []
    assert desk.told[0] == "chatllm: /list is one line: nothing is done, and nothing sent"


async def test_new_in_a_private_session_does_not_say_that_anything_is_kept(desk: Desk) -> None:
    desk.llm.reply("one")
    await desk.run(typed("/private", "a", "/new"))
    assert desk.told[-1] == "a new conversation begins with the next prompt; nothing of this session is kept"
