"""What of a conversation may leave: the service, without the command."""

from dataclasses import replace
from pathlib import Path

import pytest

from chatllm_cli.formats import json
from chatllm_cli.models import Attachment, Filter, Message, Role
from chatllm_cli.services.exporting import Exported, Exporter
from chatllm_cli.services.history import HistoryService
from chatllm_cli.services.history.service import FORK
from tests.documents import GIF, PNG
from tests.trees import AT, CONVERSATION

OWN_KEY = "my.own.key-0042"
IMAGES = {"a" * 64: PNG, "b" * 64: GIF}


@pytest.fixture
def exporter(tmp_path: Path) -> Exporter:
    return Exporter(HistoryService(tmp_path), IMAGES.get, lambda: frozenset({OWN_KEY}))


def asked(*hashes: str) -> Message:
    attached = tuple(Attachment("a.png", "image/png", 3, sha256=each) for each in hashes)
    return Message("u1", Role.USER, "What?", AT, attachments=attached)


def test_what_has_no_secret_leaves_as_it_is(exporter: Exporter) -> None:
    assert exporter.prepared(CONVERSATION) == Exported(CONVERSATION)


def test_a_key_of_ones_own_is_replaced_wherever_it_stands(exporter: Exporter) -> None:
    leaks = replace(CONVERSATION, title=f"on {OWN_KEY}", system_prompt=OWN_KEY, tags=("fine", OWN_KEY))
    found = exporter.prepared(leaks)
    assert found.conversation == replace(
        CONVERSATION, title="on [key of yours]", system_prompt="[key of yours]", tags=("fine", "[key of yours]")
    )
    assert found.secrets == {"key of yours": 3}


@pytest.mark.parametrize("end", ["", FORK])
def test_a_title_that_was_cut_within_a_secret_has_not_the_half_of_it(exporter: Exporter, end: str) -> None:
    asked = Message("u1", Role.USER, f"Explain this: the key {OWN_KEY}", AT)
    cut = replace(CONVERSATION, messages=(asked,), title=f"explain: the key {OWN_KEY[:-2]}…{end}")
    found = exporter.prepared(cut)
    assert found.conversation.title == f"explain: the key [key of yours]…{end}"
    assert found.secrets == {"key of yours": 2}
    fine = replace(cut, title="explain: the key m…")
    assert exporter.prepared(fine).conversation.title == fine.title


def test_a_key_that_was_given_as_a_models_name_is_replaced_too(exporter: Exporter) -> None:
    key = "sk-proj-" + "a1B2" * 10
    attached = (Attachment("a.txt", f"text/{key}", 3, "hi"),)
    reply = Message(
        "a1",
        Role.ASSISTANT,
        "",
        AT,
        model=f"hub/{key}",
        instead_of=key,
        finish_reason=key,
        error=key,
        attachments=attached,
    )
    found = exporter.prepared(replace(CONVERSATION, model=f"hub/{key}", messages=(reply,)))
    assert key not in json.dump(found.conversation)
    assert found.secrets == {"OpenAI key": 6}


def test_nobody_is_asked_for_keys_where_secrets_stay(tmp_path: Path) -> None:
    def keys() -> frozenset[str]:
        raise AssertionError

    exporter = Exporter(HistoryService(tmp_path), IMAGES.get, keys)
    leaks = replace(CONVERSATION, system_prompt=OWN_KEY)
    assert exporter.prepared(leaks, redacts=False) == Exported(leaks)


def test_the_bytes_of_images_go_along_as_far_as_they_are_there(exporter: Exporter) -> None:
    shown = replace(CONVERSATION, messages=(asked("a" * 64, "c" * 64, "a" * 64),))
    assert exporter.prepared(shown).files == {"a" * 64: PNG}
    assert exporter.prepared(shown, with_files=False).files == {}


async def test_a_history_without_a_conversation_has_none_to_choose(exporter: Exporter) -> None:
    assert (await exporter.select([], Filter())).places == ()
