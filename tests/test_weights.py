import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chatllm_cli.config.sections import LocalSettings
from chatllm_cli.errors import ChatllmError, ConfigError, UsageError
from chatllm_cli.services.local import weights as module
from chatllm_cli.services.local.pulled import PulledModel, PulledModels
from chatllm_cli.services.local.weights import (
    BUNDLED_SHA256,
    check_hash,
    find_weights,
    hash_of,
    local_names,
)
from tests.model_server import a_model, a_model_that_says


def pulled(tmp_path: Path, name: str = "tiny", content: bytes = a_model(1000)) -> PulledModels:
    """A folder with one model in it, and its record."""
    models = PulledModels(tmp_path / "models")
    models.folder.mkdir(exist_ok=True)
    path = models.path(name)
    path.write_bytes(content)
    models.note(PulledModel(name, path, "https://host/tiny.gguf", hash_of(path)), path)
    return models


def test_the_bundled_weights_are_found_without_importing_their_package() -> None:
    weights = find_weights(LocalSettings())
    assert (weights.name, weights.sha256, weights.path.suffix) == ("smollm2", BUNDLED_SHA256, ".gguf")
    assert weights.fingerprint == f"sha256:{BUNDLED_SHA256}"


@pytest.mark.parametrize("length", [4096, None])
def test_a_window_is_what_the_header_says(tmp_path: Path, length: int | None) -> None:
    said: dict[str, Any] = {"general.architecture": "llama"} | ({"llama.context_length": length} if length else {})
    path = tmp_path / "tiny.gguf"
    path.write_bytes(a_model_that_says(said))
    assert find_weights(LocalSettings(model_path=str(path))).context_length == length
    assert (
        find_weights(LocalSettings(), pulled(tmp_path, content=a_model_that_says(said)), "tiny").context_length
        == length
    )


@pytest.mark.parametrize(("wanted", "window"), [(2048, 2048), (8192, 8192), (32768, 8192)])
def test_no_more_is_read_together_than_a_model_was_made_to_read(wanted: int, window: int) -> None:
    weights = find_weights(LocalSettings())
    assert weights.window(wanted) == window
    assert replace(weights, context_length=None).window(wanted) == wanted


def test_a_header_that_llama_cpp_would_die_of_is_refused_by_name(tmp_path: Path) -> None:
    content = a_model_that_says({"general.architecture": "llama", "llama.context_length": 0})
    with pytest.raises(ConfigError) as raised:
        find_weights(LocalSettings(), pulled(tmp_path, content=content), "tiny")
    assert raised.value.message == "tiny.gguf is damaged: its header says that context_length is 0"


def test_other_weights_are_told_apart_by_name_size_and_age(tmp_path: Path) -> None:
    path = tmp_path / "Tiny-Model.gguf"
    path.write_bytes(a_model(1000))
    weights = find_weights(LocalSettings(model_path=str(path)))
    assert (weights.name, weights.sha256) == ("tiny-model", None)
    before = weights.fingerprint
    path.write_bytes(a_model(1001))
    assert weights.fingerprint != before


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"hello", "is not a GGUF file"),
        (b"", "is not a GGUF file"),
        (b"GGUF rest", "is cut short"),
        (b"GGUF\x63\0\0\0" + b"\1" * 99, "is of GGUF version 99, which llama.cpp does not read here"),
        (b"GGUF\3\0\0\0" + b"\xff" * 99, "is damaged: its header cannot be true"),
    ],
)
def test_a_file_that_cannot_be_a_model_is_refused_by_name(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        find_weights(LocalSettings(model_path=str(path)))
    assert raised.value.message == f"local.model_path: {path} {fault}"


def test_an_installation_without_weights_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "BUNDLED_PACKAGE", "no_such_package")
    with pytest.raises(ConfigError, match="there is no embedded model in this installation") as raised:
        find_weights(LocalSettings())
    assert "OPENAI_API_KEY" in str(raised.value.hint)
    with pytest.raises(ConfigError) as raised:
        find_weights(LocalSettings(), pulled(tmp_path))
    assert raised.value.hint == "-m local/tiny asks a model that was pulled"
    assert find_weights(LocalSettings(), pulled(tmp_path), "tiny").name == "tiny"


def test_a_pulled_model_is_found_by_its_name_beside_the_one_that_comes_along(tmp_path: Path) -> None:
    models = pulled(tmp_path)
    assert local_names(LocalSettings(), models) == ["smollm2", "tiny"]
    found = find_weights(LocalSettings(), models, "tiny")
    assert (found.path, found.sha256) == (models.path("tiny"), hash_of(models.path("tiny")))
    assert found.fingerprint == f"sha256:{found.sha256}"
    assert find_weights(LocalSettings(), models).name == "smollm2"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nope", "the embedded models are local/smollm2, local/tiny"),
        ("../tiny", "the embedded models are local/smollm2, local/tiny"),
        ("qwen2.5-0.5b", "`chatllm models pull qwen2.5-0.5b` fetches it"),
    ],
)
def test_a_name_that_nothing_has_says_what_there_is(tmp_path: Path, name: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        find_weights(LocalSettings(), pulled(tmp_path), name)
    assert (raised.value.message, raised.value.hint) == (f"there is no embedded model '{name}'", hint)


def test_a_model_that_was_changed_after_it_was_pulled_is_damaged(tmp_path: Path) -> None:
    models = pulled(tmp_path)
    path = models.path("tiny")
    path.write_bytes(a_model(1000, seed=1))
    with pytest.raises(ChatllmError, match="is damaged: its SHA-256 is") as raised:
        check_hash(find_weights(LocalSettings(), models, "tiny"), models)
    assert raised.value.hint == "`chatllm models rm tiny`, and pull it again"


def test_a_model_is_read_whole_once_and_then_only_if_it_seems_another(tmp_path: Path) -> None:
    models = pulled(tmp_path)
    path = models.path("tiny")
    os.utime(path, (1, 1))
    touched = find_weights(LocalSettings(), models, "tiny")
    assert touched.pulled
    assert not touched.pulled.is_verified
    check_hash(touched, models)
    again = find_weights(LocalSettings(), models, "tiny")
    assert again.pulled
    assert again.pulled.is_verified


def test_a_file_that_was_put_there_by_hand_runs_without_a_record(tmp_path: Path) -> None:
    models = PulledModels(tmp_path)
    models.path("by-hand").write_bytes(a_model(1000))
    found = find_weights(LocalSettings(), models, "by-hand")
    assert (found.name, found.sha256) == ("by-hand", None)
    check_hash(found, models)
