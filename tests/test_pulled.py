from pathlib import Path

import pytest

from chatllm_cli.errors import ChatllmError, UsageError
from chatllm_cli.services.local.pulled import PulledModel, PulledModels, check_name, locked, record_of
from tests.model_server import a_model

HASH = "0" * 64


def one(tmp_path: Path, name: str = "tiny") -> PulledModels:
    models = PulledModels(tmp_path / "models")
    models.folder.mkdir()
    path = models.path(name)
    path.write_bytes(a_model(100))
    models.note(PulledModel(name, path, "hf:a/b/c.gguf", HASH, at="2026-11-26T00:00:00+00:00"), path)
    return models


def test_a_folder_that_is_not_there_holds_nothing_and_is_not_made(tmp_path: Path) -> None:
    models = PulledModels(tmp_path / "models")
    assert (models.names(), models.find("a"), models.size_of("a")) == ([], None, None)
    assert not models.folder.exists()


def test_what_is_known_of_a_model_is_read_again(tmp_path: Path) -> None:
    found = one(tmp_path).find("tiny")
    assert found
    assert (found.name, found.source, found.sha256, found.size) == ("tiny", "hf:a/b/c.gguf", HASH, 100)
    assert found.is_verified
    assert record_of(found.path).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "record", [b"", b"[]", b"\xff", b'{"sha256": 5, "size": []}', b"[" * 100_000, b'{"sha256": "x"}']
)
def test_a_damaged_record_is_as_good_as_none(tmp_path: Path, record: bytes) -> None:
    models = one(tmp_path)
    record_of(models.path("tiny")).write_bytes(record)
    found = models.find("tiny")
    assert found
    assert (found.sha256, found.is_verified) == (None, False)


def test_only_whole_models_with_proper_names_are_listed(tmp_path: Path) -> None:
    models = one(tmp_path)
    for name in ("half.gguf.part", "Upper.gguf", ".gguf", "notes.txt", "a b.gguf"):
        (models.folder / name).write_bytes(b"GGUF")
    (models.folder / "folder.gguf").mkdir()
    assert models.names() == ["tiny"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc/passwd", "A", "ä", "a\n", "-a", ".a", "a" * 101, "a\0"]
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        check_name(name)
    models = PulledModels(tmp_path / "models")
    assert models.find(name) is None
    with pytest.raises(UsageError):
        models.remove(name)


def test_what_is_removed_leaves_nothing(tmp_path: Path) -> None:
    models = one(tmp_path)
    models.part("tiny").write_bytes(b"half")
    record_of(models.part("tiny")).write_bytes(b"{}")
    assert models.size_of("tiny") == 104
    models.remove("tiny")
    assert list(models.folder.iterdir()) == []


def test_what_another_process_is_fetching_is_neither_fetched_nor_removed(tmp_path: Path) -> None:
    models = PulledModels(tmp_path)
    with locked(models.part("tiny")):
        with pytest.raises(ChatllmError, match=r"^local/tiny is being fetched by another process$"):
            models.remove("tiny")
        assert models.part("tiny").exists()
    models.remove("tiny")


def test_a_part_that_was_put_in_its_place_meanwhile_is_not_written_to(tmp_path: Path) -> None:
    models = PulledModels(tmp_path)
    with locked(models.part("tiny")) as first:
        models.part("tiny").replace(models.path("tiny"))
        with locked(models.part("tiny")) as second:
            assert first != second
            assert models.part("tiny").exists()
