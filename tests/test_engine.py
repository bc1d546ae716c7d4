import asyncio
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest

from chatllm_cli.config.sections import LimitSettings, LocalSettings, TimeoutSettings
from chatllm_cli.errors import AuthenticationError, ConfigError
from chatllm_cli.models import ChatOptions, ChatRequest, Endpoint, Role
from chatllm_cli.services.llm import LLMService
from chatllm_cli.services.local import weights
from chatllm_cli.services.local.engine import LocalModel
from chatllm_cli.services.local.gguf import HEADER
from chatllm_cli.services.local.pulled import PulledModels
from chatllm_cli.services.local.weights import find_weights
from tests.model_server import a_model


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, if there is such a place: hundreds of megabytes are written there."""
    if not os.access("/dev/shm", os.W_OK):  # noqa: S108  (what is made there has a name of chance)
        yield tmp_path
        return
    with TemporaryDirectory(prefix="chatllm-test-", dir="/dev/shm") as folder:
        yield Path(folder)


async def test_a_damaged_model_file_is_never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "BUNDLED_SHA256", "0" * 64)
    with pytest.raises(ConfigError, match="is damaged"):
        await LocalModel(LocalSettings()).start()


async def test_a_file_that_llama_cpp_refuses_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(a_model(1000))
    with pytest.raises(ConfigError, match=r"llama\.cpp cannot run .*broken\.gguf"):
        await LocalModel(LocalSettings(model_path=str(path))).start()


@pytest.mark.embedded
async def test_it_answers_as_a_provider_and_only_to_its_own_key() -> None:
    model = LocalModel(LocalSettings())
    llm = LLMService(model, TimeoutSettings(), LimitSettings())
    found = find_weights(LocalSettings())
    endpoint = Endpoint("local", found.name, "", weights=found.fingerprint)
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
async def test_two_models_run_side_by_side(tmp_path: Path) -> None:
    models = PulledModels(tmp_path)
    models.path("other").symlink_to(find_weights(LocalSettings()).path)
    model = LocalModel(LocalSettings(context_size=256), models)
    first, second = await asyncio.gather(model.start("smollm2"), model.start("other"))
    assert first[0] != second[0]
    assert await model.start("other") == second


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
    for content in (a_model(1000), a_model(1001)):
        (tmp_path / "late.gguf").write_bytes(content)
        with pytest.raises(ConfigError):
            await model.start()


LOAD = """
import asyncio, os, sys
from pathlib import Path
from chatllm_cli.config.sections import LimitSettings, LocalSettings
from chatllm_cli.errors import ConfigError
from chatllm_cli.services.local.engine import LocalModel

async def load():
    for path in sys.argv[1:]:
        try:
            await LocalModel(LocalSettings(model_path=path, context_size=256)).start()
            print("runs")
        except ConfigError as error:
            print(error.message.replace(path, "FILE"))

asyncio.run(load())
sys.stdout.flush()
os._exit(0)
"""
REFUSED = "llama.cpp cannot run FILE: Failed to init server, please check the input params."
END_OF_FACTS = 1_700_000  # before it, the bundled file says what it is; behind it are its numbers


def load(*contents: bytes, folder: Path) -> list[str]:
    """Load model files in a process of their own, and return what became of each."""
    paths = [folder / f"{number}.gguf" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *paths], capture_output=True, text=True, check=False, timeout=50
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.embedded
def test_a_file_that_is_cut_short_is_one_line_and_no_crash(quick: Path) -> None:
    whole = find_weights(LocalSettings()).path.read_bytes()
    ends = [5000, 100_000, END_OF_FACTS, len(whole) // 2, len(whole) - 1]
    assert load(*(whole[:end] for end in ends), folder=quick) == [REFUSED] * len(ends)


def deadly(whole: bytes) -> bytes:
    """Return the bundled model with a window of 0, of which llama.cpp dies, behind a list too long to look behind."""
    listed = struct.pack("<Q6sIIQ", 6, b"a.list", 9, 0, 1026) + bytes(1026)
    assert len(listed) % 32 == 0  # what follows stays in line
    place = whole.index(b"llama.context_length") + len(b"llama.context_length") + 4
    content = whole[:place] + struct.pack("<I", 0) + whole[place + 4 :]
    (facts,) = struct.unpack_from("<Q", content, 16)
    return content[:16] + struct.pack("<Q", facts + 1) + listed + content[HEADER.size :]


@pytest.mark.embedded
def test_a_file_that_llama_cpp_dies_of_is_one_line_and_no_crash(quick: Path) -> None:
    whole = find_weights(LocalSettings()).path.read_bytes()
    assert load(deadly(whole), folder=quick) == ["llama.cpp breaks down over FILE (SIGABRT)"]


@pytest.mark.embedded
@pytest.mark.slow
def test_no_file_that_was_changed_anywhere_crashes_the_process(quick: Path) -> None:
    whole = find_weights(LocalSettings()).path.read_bytes()
    chance = Random(4)  # noqa: S311  (it keeps no secrets)
    mutated = []
    for reach in (200, 3000, 100_000, END_OF_FACTS):
        for flips in (1, 8, 64):
            content = bytearray(whole)
            for _ in range(flips):
                content[chance.randrange(HEADER.size, reach)] = chance.randrange(256)
            mutated.append(bytes(content))
    mutated.append(whole[:END_OF_FACTS] + chance.randbytes(len(whole) - END_OF_FACTS))
    ends = load(*mutated, folder=quick)
    assert set(ends) <= {REFUSED, "runs"}
    assert (len(ends), ends.count(REFUSED) > 5) == (len(mutated), True)
