"""A disk that is really full, or may only be read: an answer is an answer all the same, and the next one is kept."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chatllm_cli.config.places import Places, find_places
from chatllm_cli.config.sections import RetrySettings, TimeoutSettings
from chatllm_cli.errors import ChatllmError, HistoryError
from chatllm_cli.services.history import HistoryService, Query
from chatllm_cli.services.local.downloads import Downloads
from chatllm_cli.services.local.pulled import PulledModels
from chatllm_cli.services.local.sources import find_source
from tests.conftest import Run
from tests.documents import PNG
from tests.durability.helpers import conversation_of, journal_of, turns
from tests.fake_openai import FakeOpenAI
from tests.fakes import RecordingPull
from tests.model_server import ModelServer, a_model

SECRET = "verysecretword"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")


class Disk:
    """A file system of one megabyte, and the home on it."""

    def __init__(self, mountpoint: Path) -> None:
        self.root = mountpoint
        self.filler = mountpoint / "filler"

    def mount(self, options: str) -> None:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.root], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")

    def unmount(self) -> None:
        subprocess.run(["umount", self.root], check=True)

    def fill(self, spare: int = 0) -> None:
        """Leave no room but for so many kilobytes."""
        with self.filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                file.truncate(file.tell() - spare * 1024)

    def make_room(self) -> None:
        self.filler.unlink()

    def let_it_only_be_read(self) -> None:
        self.mount("remount,ro,size=1m")

    def may_be_written_again(self) -> None:
        self.mount("remount,rw,size=1m")


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    disk.root.mkdir()
    disk.mount("size=1m,mode=0700")
    monkeypatch.setenv("CHATLLM_HOME", str(disk.root / "home"))
    yield disk
    disk.unmount()


def told(stderr: str) -> list[str]:
    """What is said to have gone wrong, without hints."""
    return [line for line in stderr.splitlines() if not line.startswith("  hint: ")]


def journals(places: Places) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in places.conversations.glob("*/*/*.jsonl")}


def everything(disk: Disk) -> bytes:
    return b"".join(path.read_bytes() for path in (disk.root / "home").rglob("*") if path.is_file())


def fill(disk: Disk) -> None:
    disk.fill()


def let_it_only_be_read(disk: Disk) -> None:
    disk.let_it_only_be_read()


Harm = Callable[[Disk], None]
HARMS = (fill, let_it_only_be_read)
REASONS: dict[Harm, str] = {fill: "No space left on device", let_it_only_be_read: "Read-only file system"}


@pytest.mark.parametrize("harm", HARMS)
def test_an_answer_is_given_though_it_cannot_be_kept(run: Run, provider: FakeOpenAI, disk: Disk, harm: Harm) -> None:
    harm(disk)
    result = run("ask", "hi")
    assert (result.exit_code, result.stdout) == (8, "hello there")
    (line,) = told(result.stderr)
    assert line.startswith("chatllm: the conversation could not be saved to ")
    assert line.endswith(REASONS[harm])


@pytest.mark.parametrize("harm", HARMS)
def test_an_answer_in_an_old_conversation_is_given_too_and_what_was_there_stays(
    run: Run, provider: FakeOpenAI, disk: Disk, harm: Harm
) -> None:
    run("ask", "first " * 400)  # so that what comes has no room in the file's last block
    before = journals(find_places())
    harm(disk)
    result = run("ask", "-c", "second " * 600)
    assert (result.exit_code, result.stdout, len(told(result.stderr))) == (8, "hello there", 1)
    (data,) = journals(find_places()).values()
    assert data.startswith(next(iter(before.values())))
    assert f"first {'first ' * 398}" in run("history", "show").stdout


def test_an_answer_to_an_image_that_has_no_room_is_given_and_the_next_one_is_kept(
    run: Run, provider: FakeOpenAI, disk: Disk, tmp_path: Path
) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(PNG + b"\0" * 400_000)
    disk.fill(spare=300)
    result = run("ask", "-f", str(image), "hi")
    assert (result.exit_code, result.stdout) == (8, "hello there")
    (line,) = told(result.stderr)
    assert line.endswith("No space left on device")
    assert list(find_places().attachments.iterdir()) == []
    disk.make_room()
    assert run("ask", "-f", str(image), "hi").exit_code == 0
    assert [path.stat().st_size for path in find_places().attachments.iterdir()] == [image.stat().st_size]


def test_a_script_is_told_by_one_object_and_gets_its_answer(run: Run, provider: FakeOpenAI, disk: Disk) -> None:
    disk.fill()
    result = run("ask", "--json", "hi")
    assert (result.exit_code, result.stdout.count("\n"), result.stderr.count("\n")) == (8, 1, 1)
    assert '"text": "hello there"' in result.stdout
    assert '"exit_code": 8' in result.stderr


def test_a_reply_that_has_no_room_costs_neither_the_prompt_nor_what_comes_later(
    run: Run, provider: FakeOpenAI, disk: Disk
) -> None:
    run("ask", "first")
    disk.fill(spare=8)
    result = run("ask", "-c", "-m", "tokens-3000", "second")
    assert (result.exit_code, len(result.stdout.split()), len(told(result.stderr))) == (8, 3000, 1)
    disk.make_room()
    result = run("ask", "-c", "-m", "says-hello-there", "third")
    assert (result.exit_code, result.stdout) == (0, "hello there")
    assert result.stderr in {"", "damaged lines in this conversation, skipped: 1 (`history check`)\n"}
    assert [content for role, content in provider.last_messages() if role == "user"] == ["first", "second", "third"]
    checked = run("history", "check")
    assert checked.exit_code in {0, 8}
    assert checked.stdout.count("\n") <= 1  # the reply that was torn


@pytest.mark.parametrize("harm", HARMS)
def test_the_response_cache_costs_no_answer(run: Run, provider: FakeOpenAI, disk: Disk, harm: Harm) -> None:
    harm(disk)
    result = run("ask", "--temperature", "0", "hi")
    assert (result.exit_code, result.stdout, len(told(result.stderr))) == (8, "hello there", 1)


@pytest.mark.parametrize("harm", HARMS)
def test_without_a_history_nothing_is_amiss(run: Run, provider: FakeOpenAI, disk: Disk, harm: Harm) -> None:
    harm(disk)
    result = run("ask", "--no-history", "hi")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "hello there", "")


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("has_index", [False, True])
def test_the_history_is_listed_searched_shown_and_checked(
    run: Run, provider: FakeOpenAI, disk: Disk, harm: Harm, has_index: bool
) -> None:
    run("ask", "first")
    run("ask", "second")
    commands = (["list"], ["search", "hello"], ["show", "@2"], ["stats"], ["check"])
    if has_index:
        run("history", "list")
    harm(disk)
    results = [run("history", *command) for command in commands]
    assert [result.exit_code for result in results] == [0] * 5
    assert [result.stderr for result in results[:4]] == [""] * 4
    listed, found, shown = (result.stdout for result in results[:3])
    assert (listed.count("\n"), found.count("\n"), "first" in shown) == (2, 2, True)


@pytest.mark.parametrize(
    "command",
    [["scrub", "hello", "--yes"], ["rm", "@1", "--yes"], ["rename", "@1", "Other"], ["fork", "@1"], ["repair"]],
)
def test_a_change_on_a_disk_that_may_only_be_read_is_refused_in_one_line(
    run: Run, provider: FakeOpenAI, disk: Disk, command: list[str]
) -> None:
    run("ask", "first")
    (path,) = find_places().conversations.glob("*/*/*.jsonl")
    with path.open("ab") as file:
        file.write(b"damaged")
    before = journals(find_places())
    disk.let_it_only_be_read()
    result = run("history", *command)
    assert (result.exit_code, result.stdout) == (8, "")
    (line,) = told(result.stderr)
    assert line.endswith("Read-only file system")
    assert journals(find_places()) == before
    disk.may_be_written_again()
    assert run("history", *command).exit_code == 0


def test_a_scrub_that_has_no_room_changes_nothing_and_works_later(run: Run, provider: FakeOpenAI, disk: Disk) -> None:
    run("ask", f"tell me {SECRET} " * 200)
    before = journals(find_places())
    disk.fill()
    result = run("history", "scrub", SECRET, "--yes")
    assert (result.exit_code, len(told(result.stderr)), journals(find_places())) == (8, 1, before)
    assert [path.name for path in disk.root.rglob(".*")] == []
    disk.make_room()
    assert run("history", "scrub", SECRET, "--yes").exit_code == 0
    assert SECRET.encode() not in everything(disk)


def test_what_is_removed_from_a_full_disk_is_gone(run: Run, provider: FakeOpenAI, disk: Disk) -> None:
    run("ask", "-m", f"says-{SECRET}", f"tell me {SECRET} " * 300)
    run("ask", "other")
    run("history", "search", SECRET)
    disk.fill()
    result = run("history", "rm", "@2", "--yes")
    assert (result.exit_code, result.stdout, result.stderr[:9]) == (0, "", "removed: ")
    assert [name for name, data in journals(find_places()).items() if SECRET.encode() in data] == []
    assert run("history", "search", SECRET).exit_code == 1


def test_what_is_removed_from_a_full_disk_leaves_no_trace_in_the_index(
    run: Run, provider: FakeOpenAI, disk: Disk
) -> None:
    run("ask", f"tell me {SECRET} " * 300)
    run("ask", "other")
    run("history", "search", SECRET)
    disk.fill()
    run("history", "rm", "@2", "--yes")
    assert SECRET.encode() not in everything(disk)


def store(history: Path) -> Path:
    """Store a conversation that says the secret, and another, and return the first one's file."""
    month = history / "2026" / "07"
    month.mkdir(parents=True)
    for name, text in (("bbbb", "other " * 400), ("aaaa", f"{SECRET} hello " * 200)):
        messages = [replace(message, content=text + message.content) for message in turns(6)]
        path = month / f"{name}000000000000.jsonl"
        path.write_bytes(journal_of(conversation_of(messages, path.stem)))
    return path


async def listed_and_removed(disk: Disk, spare: int) -> str:
    """List, then remove a conversation with so many kilobytes free, and return what is wrong with it."""
    path = store(disk.root / "data")
    history = HistoryService(disk.root / "data", disk.root / "cache" / "index.db")
    await history.list()
    disk.fill(spare)
    try:
        path.touch()  # so that the index has something to do
        assert len((await history.list()).conversations) == 2
        await history.upkeep.remove([path.stem])
        assert len((await history.list()).conversations) == 1
    except HistoryError:
        pass
    except Exception as error:  # noqa: BLE001  (any is told)
        return f"{spare} kB: {error!r}"
    finally:
        for folder in ("data", "cache"):
            shutil.rmtree(disk.root / folder)
        disk.make_room()
    return ""


async def test_a_conversation_is_removed_however_little_room_there_is(disk: Disk) -> None:
    spares = range(0, 240, 12)
    assert [wrong for spare in spares if (wrong := await listed_and_removed(disk, spare))] == []


async def test_the_history_is_listed_however_little_room_there_is(disk: Disk) -> None:
    cases = 0
    for spare in range(0, 240, 12):
        path = store(disk.root / "data")
        history = HistoryService(disk.root / "data", disk.root / "cache" / "index.db")
        if spare % 24:
            await history.list()
        disk.fill(spare)
        path.touch()
        listing = await history.list()
        assert ({each.messages for each in listing.conversations}, listing.faults) == ({12}, ())
        assert len(await history.search(Query(SECRET))) == 12
        for folder in ("data", "cache"):
            shutil.rmtree(disk.root / folder)
        disk.make_room()
        cases += 1
    assert cases == 20


def test_an_export_that_has_no_room_leaves_no_file(run: Run, provider: FakeOpenAI, disk: Disk) -> None:
    run("ask", "first " * 2000)
    disk.fill()
    target = disk.root / "exported.md"
    result = run("history", "export", "-o", str(target))
    assert (result.exit_code, result.stderr) == (2, f"chatllm: {target} cannot be written: No space left on device\n")
    assert not target.exists()
    assert [path.name for path in disk.root.rglob(".*")] == []


def test_an_output_that_is_full_costs_no_history(provider: FakeOpenAI, disk: Disk) -> None:
    program = Path(sys.executable).with_name("chatllm")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [program, "ask", "hi"], stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, text=True,
            timeout=50, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        1,
        "chatllm: the output could not be written: No space left on device\n",
    )
    (data,) = journals(find_places()).values()
    assert b'"role":"user","content":"hi"' in data


def test_once_there_is_room_again_everything_that_was_said_is_kept(
    run: Run, provider: FakeOpenAI, disk: Disk
) -> None:
    assert run("ask", "one").exit_code == 0
    disk.fill()
    for number in range(20):  # until the last block of the file is full, too
        run("ask", "-c", f"{number} " * 100)
    disk.make_room()
    assert run("ask", "-c", "last").exit_code == 0
    shown = run("history", "show").stdout
    assert "one" in shown
    assert "last" in shown
    assert len(journals(find_places())) == 1


@pytest.fixture
def larger_disk(tmp_path: Path) -> Iterator[Disk]:
    """One that holds the model, and what has to stay free."""
    disk = Disk(tmp_path / "larger")
    disk.root.mkdir()
    disk.mount("size=70m,mode=0700")
    yield disk
    disk.unmount()


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(run: Run, disk: Disk) -> None:
    with ModelServer(a_model(2_000_000)) as server:
        result = run("models", "pull", f"{server.url}/whole/tiny.gguf")
    folder = find_places().models
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"chatllm: there is no room for tiny in {folder}: 2.0 MB to come, 1.0 MB free\n"
        "  hint: make room; 64 MB have to stay free\n"
    )
    assert list(folder.iterdir()) == []


async def test_a_disk_that_fills_up_meanwhile_keeps_what_came(larger_disk: Disk) -> None:
    models = PulledModels(larger_disk.root / "models")
    downloads = Downloads(models, TimeoutSettings(), RetrySettings(max_retries=0))
    with ModelServer(a_model(3_000_000)) as server:
        source = find_source(f"{server.url}/slow-1000000/tiny.gguf", "")
        task = asyncio.ensure_future(downloads.pull(source, RecordingPull()))
        part = models.part("tiny")
        while not part.exists() or part.stat().st_size < 1_000_000:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(larger_disk.fill, 100)
        server.go_on.set()
        with pytest.raises(
            ChatllmError, match=r"^the disk is full: .*tiny\.gguf\.part could not be written further$"
        ):
            await task
        assert 1_000_000 <= part.stat().st_size < 3_000_000
        larger_disk.make_room()
        told = RecordingPull()
        model = await downloads.pull(source, told)
        assert told.starts[0][0] >= 1_000_000
        assert model.path.read_bytes() == server.content
