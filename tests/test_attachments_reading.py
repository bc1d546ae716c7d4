import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatllm_cli.config.sections import LimitSettings, TimeoutSettings
from chatllm_cli.errors import UsageError
from chatllm_cli.models import Attachment
from chatllm_cli.services.attachments.reading import KINDS, Attachments, Reading
from chatllm_cli.services.attachments.store import AttachmentStore
from tests.documents import IMAGES, PNG, a_pdf
from tests.page_server import PageServer


@pytest.fixture
def store(tmp_path: Path) -> AttachmentStore:
    return AttachmentStore(tmp_path / "attachments")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def attachments(store: AttachmentStore) -> Attachments:
    return reader(store)


def reader(store: AttachmentStore, *, mb: float = 0.01, files: int = 5) -> Attachments:
    return Attachments(store, LimitSettings(attachment_mb=mb, attachments=files), TimeoutSettings())


@pytest.fixture
def server() -> Iterator[PageServer]:
    with PageServer() as server:
        yield server


async def fault_of(attachments: Attachments, spec: str, stdin: bytes = b"") -> tuple[str, str | None]:
    with pytest.raises(UsageError) as raised:
        await attachments.read(spec, stdin=stdin)
    return raised.value.message, raised.value.hint


async def test_a_text_file_is_its_text(attachments: Attachments, folder: Path) -> None:
    (folder / "a.py").write_bytes("grüße\r\n".encode())
    assert await attachments.read("a.py") == Reading("a.py", (Attachment("a.py", "text/plain", 9, "grüße\r\n"),))


async def test_a_file_is_named_as_the_person_wrote_it(
    attachments: Attachments, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    (folder / "x").write_text("hi")
    for spec in ("~/x", f"{folder}/x", "./x", f"../{folder.name}/x"):
        assert (await attachments.read(spec)).attachments == (Attachment(spec, "text/plain", 2, "hi"),)


@pytest.mark.parametrize(("kind", "data"), IMAGES.items())
async def test_an_image_is_told_by_its_bytes_which_the_store_holds(
    attachments: Attachments, store: AttachmentStore, folder: Path, kind: str, data: bytes
) -> None:
    (folder / "photo.txt").write_bytes(data)
    ((attachment,), skipped) = ((reading := await attachments.read("photo.txt")).attachments, reading.skipped)
    assert (attachment.media_type, attachment.size, attachment.text, skipped) == (kind, len(data), "", 0)
    assert store.load(attachment.sha256) == data


async def test_a_pdf_is_its_text(attachments: Attachments, folder: Path) -> None:
    data = a_pdf("what it says")
    (folder / "a").write_bytes(data)
    expected = Attachment("a", "application/pdf", len(data), "what it says")
    assert (await attachments.read("a")).attachments == (expected,)


async def test_stdin_is_what_came_there(attachments: Attachments) -> None:
    reading = await attachments.read("-", stdin=b"hi\n")
    assert reading.attachments == (Attachment("stdin", "text/plain", 3, "hi\n"),)
    assert (await fault_of(attachments, "-"))[0] == "nothing came on stdin to be attached"
    assert await fault_of(attachments, "-", stdin=b"a" * 10_001) == (
        "stdin is larger than one attachment may be: 10 kB (limits.attachment_mb)",
        None,
    )


@pytest.mark.parametrize(
    ("spec", "told", "hint"),
    [
        ("latin", "latin is neither text in UTF-8 nor an image (byte 3)", KINDS),
        ("prog", "prog is neither text in UTF-8 nor an image (byte 1)", KINDS),
        ("big", "big is 20 kB, and one attachment may be 10 kB (limits.attachment_mb)", None),
        ("fifo", "fifo cannot be attached: it is a named pipe", "pipe it in, with -f -"),
        ("/dev/zero", "/dev/zero cannot be attached: it is a device", "pipe it in, with -f -"),
        ("gone", "there is no file gone", None),
        ("gone/too", "there is no file gone/too", None),
        ("big/x", "big/x cannot be read: Not a directory", None),
        ("", "the name of what is to be attached is empty", None),
        ("a\0b", "a\0b cannot be read: embedded null byte", None),
        ("~nobody-here/x", "~nobody-here/x is not there: there is no such user", None),
        ("a" * 300, f"{'a' * 300} cannot be read: File name too long", None),
        ("ftp://host/x", "ftp://host/x is no address that can be read", "write https://host/path"),
    ],
)
async def test_what_cannot_be_attached_is_told_in_one_line(
    attachments: Attachments, folder: Path, spec: str, told: str, hint: str | None
) -> None:
    (folder / "latin").write_bytes("grüße".encode("latin-1"))
    (folder / "prog").write_bytes(b"\x7fELF\0\0")
    (folder / "big").write_bytes(b"a" * 20_000)
    os.mkfifo(folder / "fifo")
    assert await asyncio.wait_for(fault_of(attachments, spec), 5) == (told, hint)


async def test_a_folder_is_its_text_files_and_the_others_are_counted(attachments: Attachments, folder: Path) -> None:
    (folder / "src").mkdir()
    (folder / "src" / "b.py").write_text("b")
    (folder / "src" / "a.py").write_text("a")
    (folder / "src" / "empty").touch()
    (folder / "src" / "logo.png").write_bytes(PNG)
    (folder / "src" / "a.pdf").write_bytes(a_pdf("x"))
    (folder / "src" / "movie").write_bytes(b"\0" * 50_000)
    (folder / "src" / "latin").write_bytes(b"\xe9")
    reading = await attachments.read("src/")
    assert [(each.name, each.text) for each in reading.attachments] == [
        ("src/a.py", "a"),
        ("src/b.py", "b"),
        ("src/empty", ""),
    ]
    assert reading.skipped == 4


async def test_a_pattern_takes_images_and_pdfs_too(attachments: Attachments, folder: Path) -> None:
    (folder / "a.png").write_bytes(PNG)
    (folder / "a.pdf").write_bytes(a_pdf("x"))
    (folder / "a.txt").write_text("text")
    (folder / "a.bin").write_bytes(b"\0")
    reading = await attachments.read("a.*")
    assert [(each.name, each.media_type) for each in reading.attachments] == [
        ("a.pdf", "application/pdf"),
        ("a.png", "image/png"),
        ("a.txt", "text/plain"),
    ]
    assert reading.skipped == 1


async def test_a_file_whose_name_looks_like_a_pattern_is_that_file(attachments: Attachments, folder: Path) -> None:
    (folder / "a[1].txt").write_text("one")
    (folder / "a1.txt").write_text("other")
    assert [each.text for each in (await attachments.read("a[1].txt")).attachments] == ["one"]


async def test_a_folder_or_a_pattern_that_has_nothing_is_told(attachments: Attachments, folder: Path) -> None:
    left_out = "hidden files and those that .gitignore leaves out have to be named one by one"
    (folder / "empty").mkdir()
    (folder / "images").mkdir()
    (folder / "images" / "a").write_bytes(b"\0")
    assert [await fault_of(attachments, spec) for spec in ("empty", "images", "*.md", "images/*")] == [
        ("there is no text file in empty", left_out),
        ("there is no text file in images", KINDS),
        ("no file matches *.md", left_out),
        ("no file that matches images/* can be attached", KINDS),
    ]


@pytest.mark.parametrize("kind", ["pdf", "png"])
async def test_images_and_the_text_of_pdfs_are_part_of_what_is_too_much(
    store: AttachmentStore, folder: Path, kind: str
) -> None:
    for number in range(3):
        data = {"pdf": a_pdf(*[f"word{number} " * 20] * 30), "png": PNG + bytes([number]) * 4000}[kind]
        (folder / f"{number}.{kind}").write_bytes(data)
    assert (await fault_of(reader(store), f"*.{kind}"))[0] == (
        f"*.{kind} has more to attach than 10 kB (limits.attachment_mb)"
    )
    assert len((await reader(store).read(f"[01].{kind}")).attachments) == 2


async def test_a_folder_that_is_too_much_is_refused_with_the_limits_name(
    store: AttachmentStore, folder: Path
) -> None:
    for number in range(5):
        (folder / f"{number}").write_text("a" * 3000)
    assert await fault_of(reader(store), ".") == (
        ". has more to attach than 10 kB (limits.attachment_mb)",
        "name fewer files, or raise the limit",
    )
    assert await fault_of(reader(store, files=4, mb=1), "*") == (
        "* has more than 4 files to attach (limits.attachments)",
        "name fewer, or raise the limit",
    )
    assert len((await reader(store, mb=1).read(".")).attachments) == 5
    (folder / "big").write_text("a" * 20_000)
    assert (await fault_of(reader(store), "."))[0] == ". has more to attach than 10 kB (limits.attachment_mb)"
    assert (await fault_of(reader(store), "b*"))[
        0
    ] == "big is 20 kB, and one attachment may be 10 kB (limits.attachment_mb)"


async def test_a_page_from_the_web_is_its_text(attachments: Attachments, server: PageServer) -> None:
    server.pages["/html"] = ("text/html; charset=latin-1", "<h1>Grüße</h1><script>x</script>".encode("latin-1"))
    server.pages["/plain"] = ("text/x-python", b"<h1>print</h1>")
    server.pages["/json"] = ("application/json", b"{}")
    server.pages["/pdf"] = ("application/octet-stream", a_pdf("paper"))
    server.pages["/nameless"] = ("", b"text")
    server.pages["/svg"] = ("image/svg+xml", b"<svg/>")
    read = [(await attachments.read(server.url + path)).attachments[0] for path in server.pages]
    assert [(each.name.removeprefix(server.url), each.media_type, each.text) for each in read] == [
        ("/html", "text/html", "# Grüße"),
        ("/plain", "text/x-python", "<h1>print</h1>"),
        ("/json", "application/json", "{}"),
        ("/pdf", "application/pdf", "paper"),
        ("/nameless", "text/plain", "text"),
        ("/svg", "image/svg+xml", "<svg/>"),
    ]


async def test_an_image_from_the_web_is_told_by_its_bytes_whatever_the_server_says(
    attachments: Attachments, store: AttachmentStore, server: PageServer
) -> None:
    server.pages["/a"] = ("text/html", PNG)
    server.pages["/b"] = ("image/png", b"<html>no picture</html>")
    server.pages["/c"] = ("application/octet-stream", b"\0\1\2")
    ((image,),) = ((await attachments.read(f"{server.url}/a")).attachments,)
    assert (image.media_type, store.load(image.sha256)) == ("image/png", PNG)
    for path in "bc":
        message, _ = await fault_of(attachments, f"{server.url}/{path}")
        assert message == f"{server.url}/{path} is neither text nor an image that models take"
