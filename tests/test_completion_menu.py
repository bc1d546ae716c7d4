"""What Tab offers in the chat, by the state that the session is in."""

from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from chatllm_cli.private_files import note_json
from chatllm_cli.repl.completion import PromptCompleter, is_to_be_completed
from chatllm_cli.services.model_lists import _file
from tests.desks import CTRL_D, ENTER, PASTE_BEGINS, PASTE_ENDS, Desk


@pytest.fixture
def desk(desk: Desk) -> Desk:
    for text in ("one", "two", "three"):
        desk.llm.reply(text)
    return desk


async def offered(desk: Desk, text: str) -> list[str]:
    """Return what the line would be with each of the completions."""
    document = Document(text)
    completer = PromptCompleter(desk.loop)
    found = [each async for each in completer.get_completions_async(document, CompleteEvent())]
    return [text[: len(text) + each.start_position] + each.text for each in found]


async def about(desk: Desk, text: str) -> list[str]:
    completer = PromptCompleter(desk.loop)
    return [each.display_meta_text async for each in completer.get_completions_async(Document(text), CompleteEvent())]


async def test_commands_are_completed_by_their_beginning(desk: Desk) -> None:
    assert await offered(desk, "/re") == ["/retry"]
    assert await offered(desk, "/s") == ["/system", "/set", "/switch", "/save", "/search", "/show"]
    assert await about(desk, "/retr") == ["have the last prompt answered again"]


async def test_what_no_command_begins_with_is_looked_for_in_the_names_and_then_in_what_they_do(desk: Desk) -> None:
    assert await offered(desk, "/rch") == ["/branches", "/search"]
    assert await offered(desk, "/clipboard") == ["/copy", "/image", "/paste"]


@pytest.mark.parametrize("text", ["hi", "say /re", "/etc/ho", "//", "/re\n", "me@ho"])
async def test_what_is_no_command_is_left_alone(desk: Desk, text: str) -> None:
    assert await offered(desk, text) == []
    assert not is_to_be_completed(text)


async def test_help_completes_names(desk: Desk) -> None:
    assert await offered(desk, "/help co") == ["/help continue", "/help copy", "/help cost"]


async def test_models_are_those_of_aliases_of_this_machine_and_of_remembered_lists(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATLLM_ALIASES", '{"fast": "groq/llama"}')
    monkeypatch.setenv("GROQ_API_KEY", "gsk_x")
    desk.begin()
    endpoint = desk.services.providers.catalogue("groq")
    note_json(
        _file(desk.places.model_lists, endpoint.provider, endpoint.base_url), {"at": 1.0, "models": ["llama", "qwen"]}
    )
    assert await offered(desk, "/model fa") == ["/model fast"]
    assert await offered(desk, "/model gr") == ["/model groq/llama", "/model groq/qwen"]
    assert await offered(desk, "/retry groq/q") == ["/retry groq/qwen"]
    assert desk.llm.requests == []


async def test_settings_and_their_values_are_completed(desk: Desk) -> None:
    assert await offered(desk, "/set tem") == ["/set temperature "]
    assert await offered(desk, "/set repl.editing ") == [
        "/set repl.editing emacs",
        "/set repl.editing vi",
        "/set repl.editing -",
    ]
    assert await offered(desk, "/set output.plain t") == ["/set output.plain true"]
    assert await offered(desk, "/set nonsense x") == []


async def test_numbers_branches_and_conversations_are_completed(desk: Desk) -> None:
    await desk.run(f"a whale{ENTER}a shark{ENTER}/undo{ENTER}{CTRL_D}")
    (summary,) = (await desk.services.history.list()).conversations
    conversation = await desk.services.history.last()
    assert await offered(desk, "/edit ") == ["/edit 1"]
    assert await about(desk, "/edit ") == ["a whale"]
    assert await offered(desk, "/switch ") == [f"/switch {conversation.messages[-1].id[:8]}"]
    assert await offered(desk, "/open whale") == [f"/open {summary.address}"]


async def test_tags_are_those_in_use(desk: Desk) -> None:
    await desk.run(f"a{ENTER}/tag sea land{ENTER}{CTRL_D}")
    assert await offered(desk, "/tag s") == ["/tag sea"]
    assert await offered(desk, "/tag -") == ["/tag -sea", "/tag -land"]


async def test_code_blocks_are_counted(desk: Desk) -> None:
    desk.llm.fail_next(ValueError("never asked"))
    desk.llm.__init__()  # type: ignore[misc]
    desk.llm.reply("```\nls\n```\n\n```\ndir\n```\n")
    await desk.run(f"a{ENTER}{CTRL_D}")
    assert await offered(desk, "/copy ") == ["/copy 1", "/copy 2"]
    assert await about(desk, "/copy ") == ["ls", "dir"]


async def test_files_are_completed_behind_a_command_and_an_at_sign(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").touch()
    (tmp_path / "song.md").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / "bad\x1bname").touch()
    monkeypatch.chdir(tmp_path)
    assert await offered(desk, "/save s") == ["/save song.md", "/save src/"]
    assert await offered(desk, "/save src/") == ["/save src/a.py"]
    assert await offered(desk, f"/save {tmp_path}/so") == [f"/save {tmp_path}/song.md"]
    assert await offered(desk, "/save .h") == ["/save .hidden"]
    assert await offered(desk, "/save b") == []
    assert await offered(desk, "/save nowhere/x") == []
    (tmp_path / "with blank.md").touch()
    assert await offered(desk, "see @with") == ['see @"with blank.md"']
    assert await offered(desk, 'see @"with') == ['see @"with blank.md"']
    assert await offered(desk, "see @so") == ["see @song.md"]


async def test_what_is_said_of_a_candidate_is_cleaned(desk: Desk) -> None:
    await desk.run(f"{PASTE_BEGINS}a\x1b[31m whale{PASTE_ENDS}{ENTER}{CTRL_D}")
    assert all("\x1b" not in each for each in await about(desk, "/open "))
