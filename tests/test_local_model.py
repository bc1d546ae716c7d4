import asyncio
from pathlib import Path

import pytest

from chatllm_cli.config.sections import LocalSettings, TimeoutSettings
from chatllm_cli.errors import AuthenticationError, ConfigError
from chatllm_cli.models import ChatOptions, ChatRequest, Endpoint, Role
from chatllm_cli.services import local_model
from chatllm_cli.services.llm import LLMService
from chatllm_cli.services.local_model import BUNDLED_SHA256, LocalModel, find_weights


def test_the_bundled_weights_are_found_without_importing_their_package() -> None:
    weights = find_weights(LocalSettings())
    assert (weights.name, weights.sha256, weights.path.suffix) == ("smollm2", BUNDLED_SHA256, ".gguf")
    assert weights.fingerprint == f"sha256:{BUNDLED_SHA256}"


def test_other_weights_are_told_apart_by_name_size_and_age(tmp_path: Path) -> None:
    path = tmp_path / "Tiny-Model.gguf"
    path.write_bytes(b"GGUF rest")
    weights = find_weights(LocalSettings(model_path=str(path)))
    assert (weights.name, weights.sha256) == ("tiny-model", None)
    before = weights.fingerprint
    path.write_bytes(b"GGUF another")
    assert weights.fingerprint != before


def test_a_file_that_is_no_gguf_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"hello")
    with pytest.raises(ConfigError, match=r"notes\.txt is not a GGUF file"):
        find_weights(LocalSettings(model_path=str(path)))


def test_an_installation_without_weights_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model, "BUNDLED_PACKAGE", "no_such_package")
    with pytest.raises(ConfigError, match="there is no embedded model in this installation") as raised:
        find_weights(LocalSettings())
    assert "OPENAI_API_KEY" in str(raised.value.hint)


async def test_a_damaged_model_file_is_never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model, "BUNDLED_SHA256", "0" * 64)
    with pytest.raises(ConfigError, match="is damaged"):
        await LocalModel(LocalSettings()).start()


async def test_a_file_that_llama_cpp_refuses_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + b"\xff" * 64)
    with pytest.raises(ConfigError, match=r"llama\.cpp cannot run .*broken\.gguf"):
        await LocalModel(LocalSettings(model_path=str(path))).start()


@pytest.mark.embedded
async def test_it_answers_as_a_provider_and_only_to_its_own_key() -> None:
    model = LocalModel(LocalSettings())
    llm = LLMService(model, TimeoutSettings())
    weights = find_weights(LocalSettings())
    endpoint = Endpoint("local", weights.name, "", weights=weights.fingerprint)
    options = ChatOptions(temperature=0, max_tokens=5)
    request = ChatRequest(endpoint, ((Role.USER, "Say hello."),), options)
    first = [chunk async for chunk in llm.stream(request)]
    second = [chunk async for chunk in llm.stream(request)]
    text = "".join(chunk.text for chunk in first)
    assert text.strip()
    assert text == "".join(chunk.text for chunk in second)
    assert [chunk.finish_reason for chunk in first if chunk.finish_reason] == ["length"]
    assert [chunk.usage.output_tokens for chunk in first if chunk.usage] == [5]
    base_url, key = await model.start()
    assert base_url.startswith("http://127.0.0.1:")
    assert len(key) >= 32
    stranger = ChatRequest(Endpoint("default", "smollm2", base_url, "guess"), ((Role.USER, "hi"),))
    with pytest.raises(AuthenticationError):
        [chunk async for chunk in llm.stream(stranger)]
    await llm.aclose()


@pytest.mark.embedded
async def test_a_start_that_was_given_up_is_not_done_twice() -> None:
    model = LocalModel(LocalSettings(context_size=256))
    impatient = asyncio.ensure_future(model.start())
    await asyncio.sleep(0)
    impatient.cancel()
    first, second = await asyncio.gather(model.start(), model.start())
    assert first == second
    assert impatient.cancelled()


async def test_a_start_that_failed_is_tried_again(tmp_path: Path) -> None:
    model = LocalModel(LocalSettings(model_path=str(tmp_path / "late.gguf")))
    for content in (b"GGUF one", b"GGUF two"):
        (tmp_path / "late.gguf").write_bytes(content)
        with pytest.raises(ConfigError):
            await model.start()
