import hashlib
from datetime import UTC, datetime

import pytest

from chatllm_cli.errors import FormatError
from chatllm_cli.formats.foreign.aichat import is_one
from chatllm_cli.formats.reading.source import LONG_AGO, Imported, Source
from chatllm_cli.ids import stable_id
from chatllm_cli.models import Attachment, Conversation, Message, Role
from tests.documents import PNG
from tests.imports import conversations, fixture, outcomes

NAME = "sessions/_/20260102T030405-moon.yaml"
FILE = fixture("aichat", "20260102T030405-moon.yaml")
SHORT = fixture("aichat", "short.yaml")
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY = stable_id("aichat", "20260102T030405-moon.yaml", "How far is the moon?")
SHA256 = hashlib.sha256(PNG).hexdigest()

CALLS = """\
[call look_up: {"what": "moons"}]

[call look_up: {}]

```
["Io", "Europa"]
```"""


def test_a_session_is_one_conversation_what_was_summed_up_included() -> None:
    said = [
        (Role.USER, "How far is the moon?"),
        (Role.ASSISTANT, "384,400 km.\n\nThat is: 1.3 light seconds."),
        (Role.SYSTEM, "This is a summary of the chat history as a recap: the moon is far."),
        (Role.USER, "And this one?\n\n[image: https://example.org/moon.png]"),
        (Role.SYSTEM, CALLS),
        (Role.ASSISTANT, "2026-01-02"),
    ]
    messages: list[Message] = []
    for role, content in said:
        parent = messages[-1].id if messages else None
        is_reply = role is Role.ASSISTANT
        image = Attachment("/home/me/io.png", "image/png", len(PNG), sha256=SHA256)
        messages.append(
            Message(
                stable_id(KEY, parent, role, content), role, content, AT, parent,
                model="openai/gpt-4o" if is_reply else None, cost=0.0 if is_reply else None,
                attachments=(image,) if "this one" in content else (),
            )
        )  # fmt: skip
    expected = Conversation(KEY, "", AT, "openai/gpt-4o", "You know the sky.", tuple(messages), messages[-1].id)
    assert outcomes("aichat", FILE, NAME) == [Imported(expected, {SHA256: PNG})]


def test_a_session_that_goes_on_keeps_the_ids_it_had() -> None:
    more = SHORT + b"- role: user\n  content: why?\n"
    (before,), (after,) = (conversations("aichat", data, "short.yaml") for data in (SHORT, more))
    assert after.id == before.id
    assert after.messages[:-1] == before.messages
    assert (after.created_at, after.messages[-1].content) == (LONG_AGO, "why?")


def test_sessions_of_different_names_are_different_conversations() -> None:
    assert len({conversations("aichat", SHORT, name)[0].id for name in ("a.yaml", "b.yaml", "x/a.yaml")}) == 2


def test_an_agents_instructions_are_the_system_prompt_if_no_message_is() -> None:
    (found,) = conversations("aichat", b"agent_instructions: Be kind.\n" + SHORT)
    assert found.system_prompt == "Be kind."


@pytest.mark.parametrize(
    ("written", "address"),
    [("ollama:qwen3:8b", "ollama/qwen3:8b"), ("claude:opus", "anthropic/opus"), ("gpt-4", "gpt-4"), ("''", "")],
)
def test_a_model_has_our_address(written: str, address: str) -> None:
    (found,) = conversations("aichat", SHORT.replace(b"ollama:qwen3", written.encode()))
    assert (found.model, found.messages[1].model) == (address, address or None)


def session(content: str) -> bytes:
    return b"model: m\nmessages:\n- role: user\n  content: " + content.encode() + b"\n"


@pytest.mark.parametrize(
    ("written", "content"),
    [
        ("2026-01-02", "2026-01-02"),
        ("yes", "yes"),
        ("0x1F", "0x1F"),
        ("1e999", "1e999"),
        ("'null'", "null"),
        ('"\\u0041\\n"', "A\n"),
        ("|-\n    a: b\n    c", "a: b\nc"),
        ("<<", "<<"),
    ],
)
def test_what_was_said_is_text_whatever_it_looks_like(written: str, content: str) -> None:
    (found,) = conversations("aichat", session(written))
    assert [each.content for each in found.messages] == [content]


@pytest.mark.parametrize("written", ["null", "~", "", "''", "[]"])
def test_a_session_in_which_nothing_was_said_is_passed_over(written: str) -> None:
    assert conversations("aichat", session(written)) == []


BOMB = "a: &a [x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        pytest.param(BOMB.encode(), "it has an alias or a tag", id="bomb"),
        pytest.param(session("*x"), "it has an alias or a tag", id="alias"),
        pytest.param(session("&x y"), "it has an alias or a tag", id="anchor"),
        pytest.param(session("!!python/object/apply:os.system [id]"), "it has an alias or a tag", id="tag"),
        pytest.param(session("{a: b"), "it is no YAML (line 5)", id="cut"),
        pytest.param(session("\x07"), "it is no YAML", id="control character"),
        pytest.param(b"model: \xff", "it is not UTF-8 (byte 8)", id="not UTF-8"),
        pytest.param(b"a: " + b"[" * 60 + b"]" * 60, "it is nested too deeply", id="deep"),
        pytest.param(b"[" * 200_000, "it is no YAML (line 1)", id="deeper than the parser goes"),
        pytest.param(b"- " * 200_000, "it is nested too deeply", id="deep blocks"),
        pytest.param(b"a: [" + b"[]," * 150_000 + b"]", "it has more than 100,000 values", id="many"),
        pytest.param(b"[a]: b", "a name was expected before a colon, and there is none", id="list as a key"),
        pytest.param(b"a: b\n---\nc: d", "it has more than one document", id="two documents"),
        pytest.param(b"", "an object was expected, not None", id="empty"),
        pytest.param(b"- a", "an object was expected, not a list", id="list"),
        pytest.param(b"#" * (2**24 + 1), "it is larger than 16 MiB", id="large"),
        pytest.param(session("[1]"), "an object was expected, not '1'", id="part"),
        pytest.param(session("[{type: image_url}]"), "an object was expected, not None", id="image without address"),
        pytest.param(b"messages: x", "a list was expected, not 'x'", id="text as messages"),
        pytest.param(b"messages: [{role: [], content: a}]", "a text was expected, not a list", id="role"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes, fault: str) -> None:
    with pytest.raises(FormatError) as caught:
        outcomes("aichat", data)
    assert caught.value.message == fault


@pytest.mark.parametrize(
    ("url", "content"),
    [
        ("data:image/png;base64,AAAA", "[image]"),
        ("data:image/png;base64,A", "[image]"),
        ("data:text/plain,hello", "[image]"),
        ("file:///etc/passwd", "[image: file:///etc/passwd]"),
    ],
)
def test_an_image_that_is_not_there_is_named(url: str, content: str) -> None:
    (found,) = conversations("aichat", session(f"[{{type: image_url, image_url: {{url: '{url}'}}}}]"))
    assert [(each.content, each.attachments) for each in found.messages] == [(content, ())]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (FILE, True),
        (SHORT, True),
        (b"model: m\n", False),
        (b"# Notes\n  model: a\n  messages: b\n", False),
        (b'{"model": "m", "messages": []}', False),
        (b"model: m\nmessages: []\n" + b"#" * 2**24, False),
    ],
)
def test_the_format_is_told_by_its_keys(data: bytes, expected: bool) -> None:
    assert is_one(Source("a", data)) is expected
