import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chatllm_cli.config.sections import RetrySettings, TimeoutSettings
from chatllm_cli.errors import (
    AuthenticationError,
    ChatllmError,
    InvalidReplyError,
    ModelNotFoundError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
)
from chatllm_cli.services.local import downloads as module
from chatllm_cli.services.local.downloads import Downloads
from chatllm_cli.services.local.pulled import PulledModel, PulledModels, locked, record_of
from chatllm_cli.services.local.sources import find_source
from tests.fakes import RecordingPull
from tests.model_server import ModelServer, a_model

QUICK = RetrySettings(first_delay=0.001, longest_delay=0.002, max_retries=3)
ONLY_THE_BEGINNING = 30_000


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def models(tmp_path: Path) -> PulledModels:
    return PulledModels(tmp_path / "models")


@pytest.fixture
def told() -> RecordingPull:
    return RecordingPull()


async def pull(
    models: PulledModels, url: str, told: RecordingPull | None = None, *, sha256: str | None = None, idle: float = 20
) -> PulledModel:
    timeouts = TimeoutSettings(connect=5, idle=idle)
    source = find_source(url, url.partition("/a/")[0] if url.startswith("http") else "", None)
    return await Downloads(models, timeouts, QUICK).pull(source, told or RecordingPull(), sha256)


def files(models: PulledModels) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in sorted(models.folder.iterdir())}


async def test_a_model_is_fetched_whole_and_written_down_for_its_owner_alone(
    server: ModelServer, models: PulledModels, told: RecordingPull
) -> None:
    model = await pull(models, f"{server.url}/whole/Tiny.gguf?token=s3cret", told)
    assert model.path.read_bytes() == server.content
    assert (model.name, model.sha256, model.source) == ("tiny", server.sha256, f"{server.url}/whole/Tiny.gguf")
    assert model.is_verified
    assert files(models) == {"tiny.gguf": 0o600, "tiny.gguf.json": 0o600}
    assert models.folder.stat().st_mode & 0o777 == 0o700
    assert "s3cret" not in record_of(model.path).read_text()
    assert (told.starts, told.done, told.waits, told.checks) == ([(0, 100_000)], 100_000, [], 1)


async def test_only_the_headers_that_are_needed_leave(
    server: ModelServer, models: PulledModels, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    (home / ".netrc").chmod(0o600)
    monkeypatch.setenv("HF_TOKEN", "hf_s3cret")
    await pull(models, f"{server.url}/cut-once-5000/a.gguf")
    headers = [set(asked.headers) for asked in server.asked]
    plain = {"Host", "Connection", "User-Agent", "Accept", "Accept-Encoding"}
    assert headers == [plain, plain | {"Range", "If-Range"}]
    assert server.asked[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("proxy", ["http_proxy", "all_proxy"])
async def test_no_proxy_is_asked_the_way_to_this_machine(
    server: ModelServer, models: PulledModels, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    assert (await pull(models, f"{server.url}/whole/a.gguf")).size == 100_000


async def test_a_proxy_is_asked_the_way_elsewhere(models: PulledModels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(ProviderUnavailableError, match=r"^no connection to host\.example: connection refused$"):
        await pull(models, "https://host.example/a.gguf")


async def test_a_connection_that_breaks_is_taken_up_where_it_stopped(
    server: ModelServer, models: PulledModels, told: RecordingPull
) -> None:
    model = await pull(models, f"{server.url}/cut-once-{ONLY_THE_BEGINNING}/a.gguf", told)
    assert model.path.read_bytes() == server.content
    assert server.ranges == ["", f"bytes={ONLY_THE_BEGINNING}-"]
    assert told.starts == [(0, 100_000), (ONLY_THE_BEGINNING, 100_000)]
    assert told.waits == [f"{server.url.partition('//')[2]} closed the connection too early"]


async def test_one_that_breaks_again_and_again_is_given_up_and_keeps_what_came(
    server: ModelServer, models: PulledModels
) -> None:
    with pytest.raises(ProviderUnavailableError) as raised:
        await pull(models, f"{server.url}/cut-10000/a.gguf")
    host = server.url.partition("//")[2]
    assert raised.value.message == f"a broke off at 0.0 MB of 0.1 MB: {host} closed the connection too early"
    assert raised.value.hint == "run it again: it goes on where it stopped"
    assert models.part("a").read_bytes() == server.content[:40_000]
    assert models.find("a") is None


async def test_the_next_run_goes_on(server: ModelServer, models: PulledModels, told: RecordingPull) -> None:
    for _ in range(2):
        with pytest.raises(ProviderUnavailableError):
            await pull(models, f"{server.url}/cut-10000/a.gguf")
    model = await pull(models, f"{server.url}/cut-10000/a.gguf", told)
    assert told.starts[0] == (80_000, 100_000)
    assert model.path.read_bytes() == server.content
    assert files(models) == {"a.gguf": 0o600, "a.gguf.json": 0o600}


@pytest.mark.parametrize("mode", ["no-ranges", "no-tag", "wrong-range", "unfit"])
async def test_a_server_that_cannot_go_on_begins_anew(
    server: ModelServer, models: PulledModels, told: RecordingPull, mode: str
) -> None:
    model = await pull(models, f"{server.url}/{mode}-{ONLY_THE_BEGINNING}/a.gguf", told)
    assert model.path.read_bytes() == server.content
    assert told.starts == [(0, 100_000), (0, 100_000)]


async def test_a_file_that_was_changed_meanwhile_begins_anew(server: ModelServer, models: PulledModels) -> None:
    model = await pull(models, f"{server.url}/changed-{ONLY_THE_BEGINNING}/a.gguf")
    assert model.path.read_bytes() == a_model(100_000, seed=1)


async def test_the_rest_of_another_file_is_not_joined_to_the_part(server: ModelServer, models: PulledModels) -> None:
    model = await pull(models, f"{server.url}/heedless-{ONLY_THE_BEGINNING}/a.gguf")
    assert model.path.read_bytes() == a_model(100_000, seed=1)
    assert server.ranges == ["", f"bytes={ONLY_THE_BEGINNING}-", ""]


async def test_the_same_bytes_again_are_no_progress(
    server: ModelServer, models: PulledModels, told: RecordingPull, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROGRESS", 10_000)
    with pytest.raises(ProviderUnavailableError):
        async with asyncio.timeout(10):
            await pull(models, f"{server.url}/stuck-{ONLY_THE_BEGINNING}/a.gguf", told)
    assert len(told.waits) == QUICK.max_retries


async def test_a_server_that_ends_after_some_progress_each_time_is_asked_on(
    server: ModelServer, models: PulledModels, told: RecordingPull, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROGRESS", 10_000)
    model = await pull(models, f"{server.url}/cut-10000/a.gguf", told)
    assert (model.sha256, len(told.waits)) == (server.sha256, 9)


async def test_what_is_left_of_another_file_gives_way(server: ModelServer, models: PulledModels) -> None:
    with pytest.raises(ProviderUnavailableError):
        await pull(models, f"{server.url}/cut-10000/a.gguf")
    with pytest.raises(ModelNotFoundError):
        await pull(models, f"{server.url}/status-404/a.gguf")
    assert models.part("a").stat().st_size == 40_000  # for it may have been a slip
    model = await pull(models, f"{server.url}/whole/a.gguf")
    assert (model.path.read_bytes(), server.ranges[-1]) == (server.content, "")


@pytest.mark.parametrize("record", [b"", b"{", b'{"url": 1}', b"[]"])
async def test_a_part_that_nothing_is_known_of_begins_anew(
    server: ModelServer, models: PulledModels, record: bytes
) -> None:
    models.folder.mkdir()
    models.part("a").write_bytes(b"x" * 500)
    record_of(models.part("a")).write_bytes(record)
    assert (await pull(models, f"{server.url}/whole/a.gguf")).path.read_bytes() == server.content


async def test_a_part_that_is_whole_already_is_only_checked(server: ModelServer, models: PulledModels) -> None:
    with pytest.raises(ProviderUnavailableError):
        await pull(models, f"{server.url}/cut-10000/a.gguf")
    models.part("a").write_bytes(server.content)
    requests = len(server.asked)
    model = await pull(models, f"{server.url}/cut-10000/a.gguf")
    assert (model.sha256, len(server.asked)) == (server.sha256, requests)


async def test_a_wrong_hash_removes_what_came(server: ModelServer, models: PulledModels) -> None:
    with pytest.raises(ChatllmError) as raised:
        await pull(models, f"{server.url}/whole/a.gguf", sha256="0" * 64)
    assert raised.value.message == (
        f"{server.url}/whole/a.gguf is not what was expected, and is removed: "
        f"its SHA-256 is {server.sha256[:12]}…, not 000000000000…"
    )
    assert raised.value.exit_code == 1
    assert files(models) == {}


async def test_the_hash_that_a_hub_tells_is_heeded(server: ModelServer, models: PulledModels) -> None:
    url = f"{server.url}/a/b/resolve/main/c.gguf"
    assert (await pull(models, url)).sha256 == server.sha256
    models.remove("c")
    server.linked_hash = "1" * 64
    with pytest.raises(ChatllmError, match="not 111111111111…"):
        await pull(models, url)
    assert (await pull(models, url, sha256=server.sha256)).size == 100_000


async def test_a_tag_of_a_hub_that_is_no_hash_is_none(server: ModelServer, models: PulledModels) -> None:
    server.linked_hash = "abc"
    assert (await pull(models, f"{server.url}/a/b/resolve/main/c.gguf")).sha256 == server.sha256


async def test_redirects_are_followed_on_this_machine(server: ModelServer, models: PulledModels) -> None:
    with ModelServer() as other:
        server.target = f"{other.url}/whole/b.gguf"
        assert (await pull(models, f"{server.url}/moved/a.gguf")).path.read_bytes() == other.content


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("http://host.example/a.gguf", "redirects to host.example, which is not followed: it is not https"),
        ("ftp://host.example/a.gguf", "redirects to host.example, which is not followed: it is not https"),
        (
            "https://me:s3cret@host.example/",
            "redirects to host.example, which is not followed: there is a user name or a password in it",
        ),
        ("file:///etc/passwd", "redirects to this address, which is not followed: it is no address"),
    ],
)
async def test_other_redirects_are_not(server: ModelServer, models: PulledModels, target: str, why: str) -> None:
    server.target = target
    with pytest.raises(InvalidReplyError) as raised:
        await pull(models, f"{server.url}/moved/a.gguf")
    assert raised.value.message == f"{server.url.partition('//')[2]} {why}"
    assert files(models) == {}


@pytest.mark.parametrize(
    ("mode", "kind", "message"),
    [
        ("status-404", ModelNotFoundError, "has no such file (HTTP 404)"),
        ("status-401", AuthenticationError, "does not give this file to everybody (HTTP 401)"),
        ("status-403", AuthenticationError, "does not give this file to everybody (HTTP 403)"),
        ("status-429", RateLimitError, "is asked too often (HTTP 429)"),
        ("status-503", ProviderUnavailableError, "did not send the file (HTTP 503)"),
        ("status-418", InvalidReplyError, "did not send the file (HTTP 418)"),
        ("around", InvalidReplyError, "redirects without an end"),
        ("gzip", InvalidReplyError, "compressed the file, though it was asked not to"),
        ("no-length", InvalidReplyError, "does not say how large the file is"),
    ],
)
async def test_what_a_server_does_not_give_is_one_line_and_leaves_nothing(
    server: ModelServer, models: PulledModels, mode: str, kind: type[ChatllmError], message: str
) -> None:
    with pytest.raises(kind) as raised:
        await pull(models, f"{server.url}/{mode}/a.gguf")
    assert type(raised.value) is kind
    assert raised.value.message == f"{server.url.partition('//')[2]} {message}"
    assert files(models) == {}


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 70}.example", "a_b.invalid", "xn--.example", "[::1", "-", "%41"])
async def test_a_host_that_is_none_is_one_line(models: PulledModels, host: str) -> None:
    with pytest.raises(ChatllmError) as raised:
        await pull(models, f"https://{host}/a.gguf")
    assert "\n" not in raised.value.message


async def test_a_page_is_no_model_and_is_left_at_once(server: ModelServer, models: PulledModels) -> None:
    with pytest.raises(ChatllmError) as raised:
        await pull(models, f"{server.url}/page/a.gguf")
    assert raised.value.message == f"what {server.url}/page/a.gguf leads to is not a GGUF file"
    assert files(models) == {}


async def test_a_server_that_falls_silent_is_asked_again_and_given_up(
    server: ModelServer, models: PulledModels, told: RecordingPull
) -> None:
    with pytest.raises(ProviderTimeoutError, match="did not answer in time"):
        await pull(models, f"{server.url}/slow-5000/a.gguf", told, idle=0.1)
    assert len(told.waits) == 3
    assert models.part("a").stat().st_size == 20_000


async def test_a_disk_without_room_is_told_before_the_first_byte(
    server: ModelServer, models: PulledModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESERVE", 2**60)
    with pytest.raises(ChatllmError, match=rf"^there is no room for a in {models.folder}: 0.1 MB to come, .* free$"):
        await pull(models, f"{server.url}/whole/a.gguf")
    assert files(models) == {}


async def test_a_folder_that_cannot_be_made_is_one_line(server: ModelServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    models = PulledModels(tmp_path / "file" / "models")
    with pytest.raises(ChatllmError, match=r"a\.gguf\.part cannot be written: File exists$"):
        await pull(models, f"{server.url}/whole/a.gguf")


async def test_what_is_there_already_is_not_fetched_again(
    server: ModelServer, models: PulledModels, told: RecordingPull
) -> None:
    first = await pull(models, f"{server.url}/whole/a.gguf")
    assert await pull(models, f"{server.url}/whole/a.gguf", told) == first
    assert (len(server.asked), told.starts) == (1, [])
    for url, sha256 in ((f"{server.url}/cut-5/a.gguf", None), (f"{server.url}/whole/a.gguf", "0" * 64)):
        with pytest.raises(ChatllmError, match=r"^there is another model local/a already$"):
            await pull(models, url, sha256=sha256)
    assert files(models) == {"a.gguf": 0o600, "a.gguf.json": 0o600}


async def test_another_query_is_another_model_unless_its_hash_is_told(
    server: ModelServer, models: PulledModels
) -> None:
    first = await pull(models, f"{server.url}/whole/a.gguf?id=1")
    with pytest.raises(ChatllmError, match=r"^there is another model local/a already$"):
        await pull(models, f"{server.url}/whole/a.gguf?id=2")
    assert await pull(models, f"{server.url}/whole/a.gguf?id=2", sha256=first.sha256) == first
    assert await pull(models, f"{server.url}/whole/a.gguf?id=1") == first


async def test_a_record_that_knows_no_query_is_compared_without_one(
    server: ModelServer, models: PulledModels
) -> None:
    first = await pull(models, f"{server.url}/whole/a.gguf?id=1")
    models.note(replace(first, address_sha256=""), first.path)
    assert (await pull(models, f"{server.url}/whole/a.gguf?id=2")).sha256 == first.sha256


async def test_two_that_fetch_the_same_do_not_get_in_each_others_way(
    server: ModelServer, models: PulledModels
) -> None:
    first = asyncio.ensure_future(pull(models, f"{server.url}/slow-5000/a.gguf"))
    while not models.part("a").exists() or models.part("a").stat().st_size < 5000:
        await asyncio.sleep(0.01)
    with pytest.raises(ChatllmError, match=r"^local/a is being fetched by another process$"):
        await pull(models, f"{server.url}/whole/a.gguf")
    server.go_on.set()
    assert (await first).path.read_bytes() == server.content


async def test_a_pull_that_is_stopped_keeps_what_came_and_gives_up_the_lock(
    server: ModelServer, models: PulledModels, told: RecordingPull
) -> None:
    task = asyncio.ensure_future(pull(models, f"{server.url}/slow-5000/a.gguf"))
    while not models.part("a").exists() or models.part("a").stat().st_size < 5000:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with locked(models.part("a")):
        pass
    server.go_on.set()
    await pull(models, f"{server.url}/slow-5000/a.gguf", told)
    assert told.starts == [(5000, 100_000)]


async def test_the_part_says_beside_it_what_it_is_of(server: ModelServer, models: PulledModels) -> None:
    with pytest.raises(ProviderUnavailableError):
        await pull(models, f"{server.url}/cut-10/a.gguf?token=s3cret")
    beside = json.loads(record_of(models.part("a")).read_text())
    assert (beside["url"], beside["total"], beside["sha256"]) == (f"{server.url}/cut-10/a.gguf", 100_000, None)
    assert files(models) == {"a.gguf.part": 0o600, "a.gguf.part.json": 0o600}
