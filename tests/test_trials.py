import json
import os
import sys
from pathlib import Path

import pytest

from chatllm_cli.config.sections import LocalSettings
from chatllm_cli.errors import ConfigError
from chatllm_cli.services.local import trials as module
from chatllm_cli.services.local.trials import Trials
from chatllm_cli.services.local.weights import Weights, find_weights
from tests.model_server import a_model


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "tried.json"


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(a_model(1000))
    return Weights("tiny", path)


def check(record: Path | None, weights: Weights, engine: str = "1") -> None:
    Trials(record).check(weights, window=256, threads=1, engine=engine)


def remembered(record: Path) -> list[str]:
    return [str(key) for key in json.loads(record.read_bytes())] if record.exists() else []


def end_by(signal: str) -> str:
    """A trial that is ended by a signal."""
    no_core = "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))"
    return f"import os, resource, signal\n{no_core}\nos.kill(os.getpid(), signal.{signal})"


@pytest.mark.parametrize("signal", ["SIGABRT", "SIGSEGV", "SIGKILL"])
def test_a_file_that_ends_the_process_is_one_line_and_not_remembered(
    record: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch, signal: str
) -> None:
    monkeypatch.setattr(module, "TRIAL", end_by(signal))
    with pytest.raises(ConfigError) as raised:
        check(record, weights)
    assert raised.value.message == f"llama.cpp breaks down over {weights.path} ({signal})"
    assert raised.value.exit_code == 2
    assert not record.exists()


@pytest.mark.parametrize("program", [end_by("SIGTERM"), end_by("SIGALRM"), "raise SystemExit(1)"])
def test_a_trial_that_was_stopped_or_refused_says_nothing(
    record: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(module, "TRIAL", program)
    check(record, weights)
    assert not record.exists()


def test_a_file_that_does_well_is_tried_once(record: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIAL", "")
    check(record, weights)
    assert (len(remembered(record)), record.stat().st_mode & 0o777) == (1, 0o600)
    monkeypatch.setattr(module, "TRIAL", end_by("SIGABRT"))
    check(record, weights)
    with pytest.raises(ConfigError):  # by another llama.cpp
        check(record, weights, engine="2")
    os.utime(weights.path, (1, 1))
    with pytest.raises(ConfigError):  # it may be another file
        check(record, weights)


@pytest.mark.parametrize("content", [b"", b"\xff", b"{}", b"[1, null]", b"[" * 100_000])
def test_a_damaged_record_is_as_good_as_none(
    record: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(module, "TRIAL", "")
    record.parent.mkdir()
    record.write_bytes(content)
    check(record, weights)
    assert len(remembered(record)) == 1


def test_the_record_does_not_grow_for_ever(record: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIAL", "")
    monkeypatch.setattr(module, "MOST_REMEMBERED", 2)
    for engine in ("1", "2", "3"):
        check(record, weights, engine)
    assert [key.partition(":")[0] for key in remembered(record)] == ["2", "3"]


def test_what_cannot_be_remembered_or_tried_is_no_fault(
    tmp_path: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRIAL", "")
    (tmp_path / "file").write_text("")
    check(tmp_path / "file" / "tried.json", weights)
    check(None, weights)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    check(None, weights)


def test_the_model_that_comes_along_needs_no_trial(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIAL", end_by("SIGABRT"))
    check(record, find_weights(LocalSettings()))
    assert not record.exists()


def test_no_module_of_the_folder_one_stands_in_is_imported(
    tmp_path: Path, record: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "xllamacpp.py").write_text("import pathlib; pathlib.Path('taken').touch()")
    monkeypatch.chdir(tmp_path)
    check(record, weights)
    assert not (tmp_path / "taken").exists()


@pytest.mark.embedded
def test_a_model_that_answers_has_passed(record: Path, tmp_path: Path) -> None:
    path = tmp_path / "copy.gguf"
    path.symlink_to(find_weights(LocalSettings()).path)
    check(record, Weights("copy", path))
    assert len(remembered(record)) == 1
