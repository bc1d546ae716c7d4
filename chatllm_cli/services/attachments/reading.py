"""Attachments: what a person names, read whole before anything is sent."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from chatllm_cli.amounts import file_size
from chatllm_cli.errors import UsageError
from chatllm_cli.frozen import frozen
from chatllm_cli.image_types import image_type
from chatllm_cli.models import Attachment
from chatllm_cli.services.attachments import files, kinds
from chatllm_cli.services.attachments.store import AttachmentStore

if TYPE_CHECKING:
    from chatllm_cli.config.sections import LimitSettings, TimeoutSettings
    from chatllm_cli.services.attachments.listing import Found

STDIN = "-"
STDIN_NAME = "stdin"
SVG = "image/svg+xml"
MEGABYTE = 1_000_000
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
KINDS = "text, images (png, jpeg, webp, gif) and PDFs can be attached"


@frozen
class Reading:
    """What was read of one thing that a person named."""

    spec: str
    attachments: tuple[Attachment, ...]
    skipped: int = 0  # files of a folder, or of a glob, that cannot be attached


class NotTextError(Exception):
    """What was to be attached is neither text nor an image."""


class Attachments:
    """Reads what goes with a prompt; the bytes of images go into the store."""

    def __init__(self, store: AttachmentStore, limits: "LimitSettings", timeouts: "TimeoutSettings") -> None:
        self._store = store
        self._most = int(limits.attachment_mb * MEGABYTE)
        self._most_files = limits.attachments
        self._timeouts = timeouts

    async def read(self, spec: str, *, stdin: bytes = b"") -> Reading:
        """Return what a path, a folder, a glob or an address stands for, or `stdin` if it is -.

        Raises `UsageError` for what is not there, is neither text nor an image, or is too large, and
        `ProviderUnavailableError` and its like for a server that does not answer.
        """
        try:
            return await self._read(spec, stdin)
        except NotTextError as error:
            raise UsageError(str(error), hint=KINDS) from None

    async def take(self, name: str, data: bytes) -> Reading:
        """Return what is at hand as an attachment of that name. Raises `UsageError` as `read` does."""
        if len(data) > self._most:
            raise files.too_large(name, len(data), self._most)
        try:
            return Reading(name, (await self._attachment(name, data),))
        except NotTextError as error:
            raise UsageError(str(error), hint=KINDS) from None

    async def _read(self, spec: str, stdin: bytes) -> Reading:
        if spec == STDIN:
            if not stdin:
                raise UsageError("nothing came on stdin to be attached", hint="did the command before it fail?")
            if len(stdin) > self._most:
                raise files.too_large(STDIN_NAME, None, self._most)  # who reads it stops there
            return Reading(spec, (await self._attachment(STDIN_NAME, stdin),))
        if ADDRESS.match(spec):
            return Reading(spec, (await self._page(spec),))
        path = _expanded(spec)
        there = await asyncio.to_thread(files.kind_of, path)
        if there == "folder" or (there == "nothing" and files.is_glob(str(path))):
            return await self._several(spec, path, is_glob=there == "nothing")
        data = await asyncio.to_thread(_read, spec, path, self._most)
        return Reading(spec, (await self._attachment(spec, data),))

    async def _several(self, spec: str, path: Path, *, is_glob: bool) -> Reading:
        """Read a folder: all text in it; or a glob: whatever it names and can be sent."""
        from chatllm_cli.services.attachments import listing  # noqa: PLC0415  (one file does without)

        found = listing.files_matching(str(path), spec) if is_glob else listing.files_in(path, spec)
        attachments: list[Attachment] = []
        skipped = size = 0
        while (each := await asyncio.to_thread(_next, found, spec)) is not None:
            attachment = await self._one_of_several(each, is_named=is_glob)
            if attachment is None:
                skipped += 1
                continue
            attachments.append(attachment)
            size += _size_sent(attachment)
            self._check(spec, len(attachments), size)
        if not attachments:
            raise _nothing(spec, skipped, is_glob=is_glob)
        return Reading(spec, tuple(attachments), skipped)

    async def _one_of_several(self, found: "Found", *, is_named: bool) -> Attachment | None:
        data = await asyncio.to_thread(_read_text, found, self._most)
        if data is None and is_named:
            data = await asyncio.to_thread(_read, found.name, found.path, self._most)
            if not (image_type(data) or kinds.is_pdf(data)):
                return None
        if data is None:
            return None
        try:
            return await self._attachment(found.name, data)
        except NotTextError:
            return None

    def _check(self, spec: str, number: int, size: int) -> None:
        """Raise `UsageError` if these are too many, or too much, together."""
        if number > self._most_files:
            raise UsageError(
                f"{spec} has more than {self._most_files} files to attach (limits.attachments)",
                hint="name fewer, or raise the limit",
            )
        if size > self._most:
            raise UsageError(
                f"{spec} has more to attach than {file_size(self._most)} (limits.attachment_mb)",
                hint="name fewer files, or raise the limit",
            )

    async def _attachment(self, name: str, data: bytes) -> Attachment:
        if kind := image_type(data):
            return Attachment(name, kind, len(data), sha256=await asyncio.to_thread(self._store.hold, data))
        if kinds.is_pdf(data):
            from chatllm_cli.services.attachments.extraction import text_of_pdf  # noqa: PLC0415

            return Attachment(name, kinds.PDF, len(data), await text_of_pdf(name, data, self._most))
        try:
            return Attachment(name, kinds.TEXT, len(data), await asyncio.to_thread(kinds.text_in, data))
        except UnicodeDecodeError as error:
            raise NotTextError(f"{name} is neither text in UTF-8 nor an image (byte {error.start + 1})") from None

    async def _page(self, url: str) -> Attachment:
        from chatllm_cli.services.attachments import extraction, web  # noqa: PLC0415  (httpx2 takes 60 ms)

        page = await web.fetch(url, self._most, self._timeouts)
        if image_type(page.data) or kinds.is_pdf(page.data):
            return await self._attachment(url, page.data)
        if kinds.is_binary(page.data) or (page.media_type.startswith("image/") and page.media_type != SVG):
            raise UsageError(f"{url} is neither text nor an image that models take", hint=KINDS)
        text = await asyncio.to_thread(kinds.decoded, page.data, page.charset)
        if not page.is_html:
            return Attachment(url, page.media_type or kinds.TEXT, len(page.data), text)
        return Attachment(url, "text/html", len(page.data), await extraction.text_of_page(url, text, self._most))


def _size_sent(attachment: Attachment) -> int:
    """Return the bytes that go out: of an image, or of the text, which those of a PDF say nothing of."""
    return attachment.size if attachment.sha256 else len(attachment.text.encode("utf-8", "replace"))


def _expanded(spec: str) -> Path:
    if not spec.strip():
        raise UsageError("the name of what is to be attached is empty")
    try:
        return Path(spec).expanduser()
    except RuntimeError:
        raise UsageError(f"{spec} is not there: there is no such user") from None


def _read(name: str, path: Path, most: int) -> bytes:
    """Return all of a file. Raises `UsageError`."""
    try:
        return files.read_file(path, most)
    except files.TooLargeError as error:
        raise files.too_large(name, error.size, most) from None
    except files.NoFileError as error:
        raise UsageError(
            f"{name} cannot be attached: {error.strerror}", hint=f"pipe it in, with -f {STDIN}"
        ) from None
    except FileNotFoundError:
        raise UsageError(f"there is no file {name}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _read_text(found: "Found", most: int) -> bytes | None:
    """Return what may be text; None if it is surely none, or has gone. Raises `UsageError`."""
    try:
        return files.read_text_file(found.path, most)
    except files.TooLargeError as error:
        raise files.too_large(found.name, error.size, most) from None
    except (OSError, ValueError):
        return None


def _next(found: "Iterator[Found]", spec: str) -> "Found | None":
    try:
        return next(found, None)
    except OSError as error:
        raise UsageError(f"{spec} cannot be read: {error.strerror}") from None


def _nothing(spec: str, skipped: int, *, is_glob: bool) -> UsageError:
    what = f"no file matches {spec}" if is_glob else f"there is no text file in {spec}"
    if skipped and is_glob:
        what = f"no file that matches {spec} can be attached"
    left_out = "hidden files and those that .gitignore leaves out have to be named one by one"
    return UsageError(what, hint=KINDS if skipped else left_out)
