"""Files that go with a prompt, typed at a desk."""

import asyncio
from pathlib import Path

import pytest

from chatllm_cli.errors import QuotaError
from chatllm_cli.models import Attachment
from chatllm_cli.repl import clipboard
from chatllm_cli.repl.toolbar import status_line
from tests.desks import CTRL_C, CTRL_D, ENTER, PASTE_BEGINS, PASTE_ENDS, WAIT, Desk

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a.py").write_text("print('a')\n")
    (tmp_path / "b.md").write_text("# b\n")
    (tmp_path / "shot.png").write_bytes(PNG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def desk(desk: Desk, folder: Path) -> Desk:
    for text in ("one", "two", "three"):
        desk.llm.reply(text)
    return desk


def typed(*lines: str) -> str:
    return "".join(f"{line}{ENTER}" for line in lines) + CTRL_D


async def attached(desk: Desk) -> list[list[str]]:
    """Return the names of what went with each prompt of the conversation."""
    conversation = await desk.services.history.last()
    return [[each.name for each in m.attachments] for m in conversation.messages if m.role == "user"]


async def test_a_file_goes_with_the_next_prompt_and_no_other(desk: Desk) -> None:
    await desk.run(typed("/file a.py", "what is it?", "and now?"))
    assert "print('a')" in desk.prompts[0]
    assert desk.prompts[0].endswith("what is it?")
    assert desk.prompts[1] == "and now?"
    assert await desk.thread() == ["what is it?", "one", "and now?", "two"]
    assert await attached(desk) == [["a.py"], []]
    assert desk.told == ["attached: a.py (11 bytes, about 4 tokens)"]


async def test_a_file_named_in_the_prompt_goes_with_it(desk: Desk) -> None:
    await desk.run(typed("what is @a.py?", "and @nowhere.py, or @john?"))
    assert "print('a')" in desk.prompts[0]
    assert await attached(desk) == [["a.py"], []]
    assert desk.told == [
        "attached: a.py (11 bytes, about 4 tokens)",
        "there is no file 'nowhere.py': @nowhere.py is sent as it is written",
    ]


async def test_a_file_named_in_what_was_pasted_does_not_go_with_it(desk: Desk) -> None:
    await desk.run(f"{PASTE_BEGINS}mend @a.py{PASTE_ENDS}{ENTER}{CTRL_D}")
    assert desk.prompts == ["mend @a.py"]
    assert desk.told == ["@a.py was pasted, not typed: it is not attached (/file a.py attaches it)"]


async def test_what_is_attached_is_shown_and_taken_away(desk: Desk) -> None:
    await desk.run(typed("/file *.md", "/file", "/file -", "hi"))
    assert desk.prompts == ["hi"]
    assert desk.told == [
        "attached: b.md (4 bytes, about 1 token)",
        "attached: b.md (4 bytes)",
        "nothing is attached any more",
    ]


async def test_a_picture_goes_with_the_prompt_as_what_it_is(desk: Desk) -> None:
    await desk.run(typed("/image shot.png", "what is it?", "/image b.md"))
    parts = desk.llm.requests[0].messages[0][1]
    assert [type(part) for part in parts if not isinstance(part, str)] == [Attachment]
    assert str(parts[-1]).endswith("what is it?")
    assert "chatllm: b.md is no picture" in desk.told


async def test_the_picture_on_the_clipboard_is_attached(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard, "image", lambda: PNG)
    await desk.run(typed("/image", "what is it?"))
    assert await attached(desk) == [["clipboard.png"]]


async def test_a_clipboard_without_a_picture_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard, "image", lambda: None)
    await desk.run(typed("/image"))
    assert desk.told == [
        "chatllm: there is no picture on the clipboard",
        "  hint: /image PATH attaches a file",
    ]


async def test_what_cannot_be_attached_is_told_and_nothing_is_sent(desk: Desk) -> None:
    await desk.run(typed("/file nowhere", "see @http://127.0.0.1:9/x"))
    assert desk.prompts == []
    assert [line for line in desk.told if line.startswith("chatllm: ")] == [
        "chatllm: there is no file nowhere",
        "chatllm: http://127.0.0.1:9/x did not come: connection refused",
    ]


async def test_a_failed_prompt_comes_back_with_what_went_with_it(desk: Desk) -> None:
    desk.llm.fail_next(QuotaError("nothing left"))
    desk.keys.send_text(f"/file a.py{ENTER}hi{ENTER}")
    running = asyncio.ensure_future(desk.run(""))
    while not (desk.line == "hi" and desk.loop.is_reading and "chatllm: nothing left" in desk.told):
        await asyncio.sleep(WAIT)
    desk.keys.send_text(f"!{ENTER}{CTRL_D}")
    await running
    assert await attached(desk) == [["a.py"], ["a.py"]]


async def test_an_edited_prompt_keeps_what_went_with_it_and_a_new_one_does_not(desk: Desk) -> None:
    await desk.run(typed("/file a.py", "what is it?", "/edit", "!"))
    assert await attached(desk) == [["a.py"], ["a.py"]]
    desk.begin(await desk.services.history.last())
    await desk.run(f"/edit{ENTER}{CTRL_C}plain{ENTER}{CTRL_D}")
    assert (await attached(desk))[-1] == []


async def test_a_retry_sends_what_went_with_the_prompt(desk: Desk) -> None:
    await desk.run(typed("/file a.py", "what is it?", "/retry"))
    assert desk.prompts[0] == desk.prompts[1]


async def test_the_toolbar_counts_what_is_attached(desk: Desk) -> None:
    await desk.run(typed("/file *"))
    assert status_line(desk.session, 80) == "fake/model · 3 attached"


async def test_how_a_conversation_ended_names_what_went_with_the_prompt(desk: Desk) -> None:
    await desk.run(typed("/file a.py", "what is it?"))
    desk.begin(await desk.services.history.last())
    await desk.run(CTRL_D)
    assert "attached: a.py (11 bytes)" in desk.stderr.getvalue()


async def test_a_private_conversation_keeps_no_picture(desk: Desk) -> None:
    await desk.run(typed("/private", "/image shot.png", "what is it?"))
    assert len(desk.llm.requests) == 1
    assert not desk.places.data.exists() or not list(desk.places.data.rglob("*"))


async def test_what_went_with_a_failed_prompt_stays_attached_whatever_is_typed_next(desk: Desk) -> None:
    desk.llm.fail_next(QuotaError("nothing left"))
    await desk.run(typed("/file a.py", "hi", "/model ollama/other", "again"))
    assert await attached(desk) == [["a.py"], ["a.py"]]
    assert "still attached: a.py (11 bytes)" in desk.told
