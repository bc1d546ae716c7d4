import asyncio
import importlib.util
import time
import zlib

import pytest

from chatllm_cli.errors import UsageError
from chatllm_cli.services.attachments import extraction
from chatllm_cli.services.attachments.extraction import text_of_page, text_of_pdf
from tests.documents import a_locked_pdf, a_pdf

MOST = 1_000_000


async def fault_of(data: bytes, most: int = MOST) -> str:
    with pytest.raises(UsageError) as raised:
        await text_of_pdf("a.pdf", data, most)
    return raised.value.message


async def test_the_text_of_a_pdf_is_that_of_its_pages() -> None:
    assert await text_of_pdf("a.pdf", a_pdf("first page", "second"), MOST) == "first page\n\nsecond"


async def test_a_pdf_that_cannot_be_read_is_told_in_one_line() -> None:
    assert [
        await fault_of(data) for data in (a_locked_pdf(), a_pdf("hi")[:80], b"%PDF-1.4 and no more", a_pdf(""))
    ] == [
        "a.pdf is locked with a password",
        "a.pdf cannot be read as PDF: it is damaged, or takes too much memory",
        "a.pdf cannot be read as PDF: it is damaged, or takes too much memory",
        "a.pdf holds no text",
    ]


async def test_a_pdf_without_the_extra_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert (
        await fault_of(a_pdf("hi")) == "a.pdf is a PDF, and the extra pdf is missing: pip install 'chatllm-cli[pdf]'"
    )


async def test_more_text_than_may_be_is_refused() -> None:
    assert (
        await fault_of(a_pdf("a" * 500), most=400) == "a.pdf holds more than 0.0004 MB of text (limits.attachment_mb)"
    )


async def test_a_pdf_that_takes_more_memory_than_there_is_for_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    program = extraction.PROGRAM.replace(f"{extraction.MEMORY}", f"{200_000_000}")
    monkeypatch.setattr(extraction, "PROGRAM", program)
    assert await text_of_pdf("a.pdf", a_pdf("it is enough for this"), MOST) == "it is enough for this"
    bomb = a_pdf(stream=zlib.compress(b"BT (a) Tj ET " * 10_000_000, 1))
    assert await fault_of(bomb) == "a.pdf cannot be read as PDF: it is damaged, or takes too much memory"


async def test_what_takes_too_long_is_given_up_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "LONGEST", 0.1)
    monkeypatch.setattr(extraction, "PROGRAM", "import time; time.sleep(20)")
    begin = time.monotonic()
    with pytest.raises(UsageError, match=r"^page cannot be read: it takes longer than 0\.1 s$"):
        await text_of_page("page", "<p>", MOST)
    assert time.monotonic() - begin < 5


async def test_whoever_is_cancelled_leaves_no_process_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "PROGRAM", "import time; time.sleep(20)")
    begin = time.monotonic()
    work = asyncio.create_task(text_of_page("page", "<p>", MOST))
    await asyncio.sleep(0.2)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert time.monotonic() - begin < 5


async def test_a_page_whose_reader_dies_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "PROGRAM", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(UsageError, match=r"^page cannot be read: it takes more time or memory than there is for it$"):
        await text_of_page("page", "<p>", MOST)


async def test_the_text_of_a_page_comes_from_a_process_of_its_own() -> None:
    assert await text_of_page("page", "<h1>Grüße</h1><p>half \ud83d of it", MOST) == "# Grüße\n\nhalf ? of it"
