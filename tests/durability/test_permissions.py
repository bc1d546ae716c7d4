"""Yours alone: every file and folder that is made, whatever the umask says, lies in the way, or is asked for."""

import asyncio
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from chatllm_cli.config.places import Places
from chatllm_cli.errors import ChatllmError, ConversationNotFoundError, HistoryError
from chatllm_cli.models import ChatRequest, Completion, Endpoint, Message, Role
from chatllm_cli.services.history import HistoryService, OpenConversation, Query
from chatllm_cli.services.history.index import Index
from tests.caches import answer, disk_cache
from tests.conftest import Run
from tests.durability.helpers import NOON, chance, conversation_of, journal_of, turns
from tests.durability.odd_values import text
from tests.fake_openai import FakeOpenAI

REQUEST = ChatRequest(Endpoint("hub", "model", "https://host/v1"), ((Role.USER, "hi"),))
PROMPT, REPLY = turns(1)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids="{:03o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """The mode of everything below a folder, by its name, in which what is of chance is a star."""
    paths = {path: re.sub(r"\d{4}/\d\d(?=/|$)", "*", str(path.relative_to(folder))) for path in folder.rglob("*")}
    names = {path: re.sub(r"[0-9a-z]{16}\.|\d{10,}$", "*.", name) for path, name in paths.items()}
    return {name: stat.S_IMODE(path.lstat().st_mode) for path, name in names.items()}


async def test_all_that_is_made_for_history_index_and_cache_is_the_owners_alone(quick: Path, umask: int) -> None:
    root = quick / "chatllm"
    history = HistoryService(root / "data" / "conversations", root / "cache" / "index.db")
    opened = history.start("Hi", model="")
    await opened.add(PROMPT)
    (journal,) = root.glob("data/conversations/*/*/*.jsonl")
    journal.write_bytes(journal.read_bytes() + b"damaged\n")
    await history.upkeep.repair()
    cache = disk_cache(root / "cache" / "responses", mode="always")
    with closing(Index(root / "cache" / "index.db", root / "data" / "conversations").up_to_date()):
        await cache.put(REQUEST, Completion("hello"))
        found = modes(root)
    await cache.aclose()
    folders = {"data", "data/conversations", "data/conversations/*", "cache", "cache/responses"}
    assert {name for name, mode in found.items() if mode == 0o700} >= folders
    files = {name: mode for name, mode in found.items() if mode != 0o700}
    assert set(files) == {
        "data/conversations/*/*.jsonl",
        "data/conversations/*/*.jsonl.corrupt-*.",
        *(f"cache/index.db{suffix}" for suffix in ("", "-wal", "-shm")),
        *(f"cache/responses/cache.db{suffix}" for suffix in ("", "-wal", "-shm")),
    }
    assert set(files.values()) == {0o600}


def test_all_that_the_program_makes_is_the_owners_alone(
    run: Run, provider: FakeOpenAI, places: Places, umask: int
) -> None:
    root = places.data.parent
    commands = [
        ["config", "init"],
        ["ask", "--temperature", "0", "hi"],
        ["history", "list"],
        ["history", "fork", "@1"],
        ["history", "scrub", "hello", "--yes"],
        ["history", "export", "-o", str(root / "exported.md")],
        ["history", "export", "--format", "json", "-o", str(root / "exported.json")],
    ]
    assert [run(*command).exit_code for command in commands] == [0] * len(commands)
    found = modes(root)
    assert {"config.toml", "exported.md", "exported.json", "cache/index.db", "cache/responses/cache.db"} <= set(found)
    wrong = {name: oct(mode) for name, mode in found.items() if mode != (0o600 if "." in name else 0o700)}
    assert wrong == {}


class Place:
    """Where the journal of a conversation is to lie, and something else that must not be touched."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "data"
        self.path = self.folder / "2026" / "07" / "aaaabbbbccccdddd.jsonl"
        self.path.parent.mkdir(parents=True, mode=0o700)
        self.elsewhere = root / "elsewhere"
        self.elsewhere.write_bytes(b"not mine\n")
        self.opened = OpenConversation(conversation_of([]), self.path)


def symbolic_link(place: Place) -> None:
    place.path.symlink_to(place.elsewhere)


def link_to_nothing(place: Place) -> None:
    place.path.symlink_to(place.root / "nothing")


def link_to_itself(place: Place) -> None:
    place.path.symlink_to(place.path)


def link_to_a_device(place: Place) -> None:
    place.path.symlink_to("/dev/null")


def folder_in_the_way(place: Place) -> None:
    place.path.mkdir()


def file_for_a_folder(place: Place) -> None:
    place.path.parent.rmdir()
    place.path.parent.write_bytes(b"not mine\n")


def pipe(place: Place) -> None:
    os.mkfifo(place.path)


def unix_socket(place: Place) -> None:
    before = Path.cwd()
    os.chdir(place.path.parent)  # such a name may not be long
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(place.path.name)
    finally:
        os.chdir(before)


ODD = (
    symbolic_link,
    link_to_nothing,
    link_to_itself,
    link_to_a_device,
    folder_in_the_way,
    file_for_a_folder,
    pipe,
    unix_socket,
)


@pytest.mark.parametrize("odd", ODD)
async def test_what_is_no_file_of_ours_is_refused_and_not_touched(quick: Path, odd: Callable[[Place], None]) -> None:
    place = Place(quick)
    odd(place)
    with pytest.raises(HistoryError, match="could not be saved to"):
        await place.opened.add(PROMPT)
    assert place.elsewhere.read_bytes() == b"not mine\n"
    assert not (quick / "nothing").exists()
    assert not place.opened.is_kept


async def test_a_mark_is_not_written_to_a_pipe(quick: Path) -> None:
    place = Place(quick)
    await place.opened.add(PROMPT)
    place.path.unlink()
    pipe(place)
    with pytest.raises(HistoryError):
        await place.opened.mark(REPLY, "Hel")


async def test_a_long_message_does_not_wait_for_the_reader_of_a_pipe(quick: Path) -> None:
    place = Place(quick)
    pipe(place)
    long = Message("m1", Role.USER, "x" * 100_000, NOON)
    task = asyncio.ensure_future(place.opened.add(long))
    done, _ = await asyncio.wait([task], timeout=2)
    if not done:
        reader = os.open(place.path, os.O_RDONLY | os.O_NONBLOCK)
        while not task.done():
            with suppress(BlockingIOError):
                os.read(reader, 65536)
            await asyncio.sleep(0.01)
        os.close(reader)
    assert isinstance(task.exception(), HistoryError)
    assert done


async def test_what_was_there_keeps_its_mode(quick: Path) -> None:
    place = Place(quick)
    place.path.write_bytes(journal_of(conversation_of(turns(1))))
    place.path.chmod(0o644)
    place.path.parent.chmod(0o755)
    await place.opened.add(Message("m9", Role.USER, "Hi", NOON))
    assert [stat.S_IMODE(path.stat().st_mode) for path in (place.path, place.path.parent)] == [0o644, 0o755]


async def test_a_rewrite_takes_back_what_others_could_read(quick: Path) -> None:
    place = Place(quick)
    place.path.write_bytes(journal_of(conversation_of(turns(1))))
    place.path.chmod(0o644)
    await HistoryService(place.folder).upkeep.remove_message(place.path, "m000")
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o600


async def test_a_second_name_of_a_file_is_the_same_conversation(quick: Path) -> None:
    place = Place(quick)
    await place.opened.add(PROMPT)
    (quick / "second").hardlink_to(place.path)
    await place.opened.add(REPLY)
    assert (quick / "second").read_bytes() == place.path.read_bytes()
    history = HistoryService(place.folder)
    assert (await history.load("@1")).messages == (PROMPT, REPLY)


async def test_a_folder_may_be_a_link_of_its_owners(quick: Path) -> None:
    (quick / "dotfiles").mkdir()
    (quick / "data").symlink_to(quick / "dotfiles")
    history = HistoryService(quick / "data", quick / "index.db")
    await history.start("Hi", model="").add(PROMPT)
    assert [each.title for each in (await history.list()).conversations] == ["Hi"]
    assert len(list((quick / "dotfiles").glob("*/*/*.jsonl"))) == 1


async def test_what_is_no_file_is_passed_over_by_whoever_looks_at_all(quick: Path) -> None:
    for number, odd in enumerate(ODD):
        place = Place(quick / "all" if number < 0 else quick / f"{number}")
        (place.path.parent / "bbbbccccddddeeee.jsonl").write_bytes(journal_of(conversation_of(turns(1))))
        if odd is not file_for_a_folder:
            odd(place)
        history = HistoryService(place.folder, place.root / "index.db")
        listing = await history.list()
        assert ([each.id for each in listing.conversations][-1:], listing.faults) == (["bbbbccccddddeeee"], ()), odd
        await history.search(Query("message"))
        await history.upkeep.check()


@pytest.mark.parametrize(
    "odd", [symbolic_link, link_to_nothing, link_to_itself, folder_in_the_way, pipe, unix_socket]
)
async def test_what_lies_in_the_place_of_the_index_is_not_touched(quick: Path, odd: Callable[[Place], None]) -> None:
    place = Place(quick)
    odd(place)
    kind = place.path.lstat().st_mode
    journal = place.path.parent / "bbbbccccddddeeee.jsonl"
    journal.write_bytes(journal_of(conversation_of(turns(1))))
    listing = await HistoryService(place.folder, place.path).list()
    assert "bbbbccccddddeeee" in {each.id for each in listing.conversations}
    assert (place.path.lstat().st_mode, place.elsewhere.read_bytes()) == (kind, b"not mine\n")
    assert not (quick / "nothing").exists()


async def test_a_link_in_the_place_of_the_cache_is_not_followed(quick: Path) -> None:
    folder, elsewhere = quick / "responses", quick / "elsewhere"
    folder.mkdir()
    elsewhere.write_bytes(b"not mine\n")
    (folder / "cache.db").symlink_to(elsewhere)
    cache = disk_cache(folder, mode="always")
    await cache.put(REQUEST, Completion("hello"))
    assert await answer(cache, REQUEST) is None
    await cache.aclose()
    assert elsewhere.read_bytes() == b"not mine\n"


STEMS = (
    "..", "...", "/", "//", "\\", "/etc/passwd", "../../../../etc/passwd", "..\\..\\windows", "C:\\", "C:", "\\\\host\\share",
    "~", "~root", "~/x", "$HOME", "${HOME}", "`id`", "$(id)", "%2e%2e%2f", "..%2f", "%00", "..%c0%af", "....//", "..;/", "./x",
    "a/../b", "a/./b", "/dev/null", "/dev/zero", "/proc/self/mem", "file:///etc/passwd", "http://host/", "data:,x",
    "CON", "con", "PRN", "AUX", "NUL", "nul.txt", "COM1", "com9.log", "LPT1", "CLOCK$", "CONIN$", "aux.jsonl",
    ".", ".hidden", ".jsonl", "x.jsonl", "x.jsonl.corrupt-1", "x.", "x ", " x", "index.db", "config.toml",
    "-", "--", "-rf", "--help", "-c", "--conversation=x", "@", "@0", "@1", "@-1", "@1e9", "@@", "@٣", "@²", "@1/..", "@99999999999",
    "*", "?", "[a-z]", "{a,b}", "!x", "#x", "a|b", "a;b", "a&b", "a>b", "a<b", '"', "'", "''", '"; DROP TABLE conversations; --',
    "' OR 1=1 --", "%", "_", "a%b", "%s%s%n", "{0}", "{{7*7}}", "a\\'b",
    "\0", "a\0b", "\x01", "\x07", "\x08", "\x1b[2J", "\x1b]0;title\x07", "\x7f", "\x85", "\x9b", "\n", "a\nb", "\r\n", "\t", "\v", "\f",
    "\u2028", "\u2029", "\u200b", "\u202e", "\ufeff", "\ufffe", "\uffff", "\U0010ffff", "\u0301", "e\u0301", "é", "ﬁ", "İ", "ı", "ß", "ẞ",
    "Ａ", "．．", "／", "‥", "∕", "😀", "👩‍👩‍👧", "中文", "العربية", "हिन्दी", "\U000e0041",
    "nan", "inf", "null", "None", "true", "0", "-1", "1e999", "0x10", "",
    "x" * 255, "x" * 256, "x" * 4096, "x" * 70_000, "é" * 128, "😀" * 64, "../" * 1_000, "a/" * 2_000, "(" * 5_000,
)  # fmt: skip
NAMES = list(
    dict.fromkeys([*STEMS, *(f"aaaa{stem}" for stem in STEMS[:60]), *(f"{stem}/aaaabbbb" for stem in STEMS[:20])])
)
LONGEST = "\U0010ffff" * 16


def files_of(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def strange_files(root: Path) -> list[str]:
    """The files that have another name than one that this program makes."""
    usual = r"data/\d{4}/\d\d/[0-9a-hjkmnp-tv-z]{16}\.jsonl|index\.db(-wal|-shm)?"
    return [name for name in files_of(root) if not re.fullmatch(usual, name)]


async def test_no_listed_name_leads_out_of_the_folder_or_fails(quick: Path) -> None:
    root = quick / "root"
    history = HistoryService(root / "data", root / "index.db")
    cases = 0
    for name in NAMES:
        with suppress(ConversationNotFoundError):
            await history.load(name)
        opened = history.start(name, model=name, system_prompt=name)
        await opened.add(Message(f"m{cases}", Role.USER, name, NOON))
        await opened.set_title(name)
        await opened.set_tags([name])
        conversation = await history.load(opened.conversation.id)
        prompt_title = history.start(name, model="").conversation.title
        assert (conversation.title, conversation.tags) == (name or prompt_title, (name,))
        with suppress(ChatllmError):  # there may be several, or none for an empty one
            assert (await history.load(name)).title == name or name.startswith("@")
        cases += 1
    assert (len(NAMES) >= 200, cases) == (True, len(NAMES))
    listing = await history.list()
    assert (len(listing.conversations), listing.faults, strange_files(root)) == (cases, (), [])
    assert [path.name for path in quick.iterdir()] == ["root"]


@pytest.mark.slow
async def test_no_generated_name_leads_out_of_the_folder_or_fails(quick: Path) -> None:
    rounds, names = 50, 200
    for number in range(rounds):
        root = quick / f"{number}"
        history = HistoryService(root / "data", root / "index.db")
        titles = []
        for each in range(names):
            name = text(chance("name", number, each), 12)
            opened = history.start(name, model=name)
            await opened.add(Message("m1", Role.USER, name, NOON))
            titles.append(opened.conversation.title)
        listing = await history.list()
        assert sorted(summary.title for summary in listing.conversations) == sorted(titles), f"round {number}"
        for title in titles[::20]:
            with suppress(ConversationNotFoundError):
                assert (await history.load(title)).title == title or title.startswith("@"), f"round {number}"
        assert (listing.faults, strange_files(root)) == ((), [])
    assert rounds * names == 10_000
    assert sorted(path.name for path in quick.iterdir()) == sorted(map(str, range(rounds)))
