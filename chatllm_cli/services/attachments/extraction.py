"""Text out of pages and PDFs, in a process of its own: what is hostile in one cannot take all time and memory."""

import asyncio
import importlib.util
import sys
from contextlib import suppress

from chatllm_cli.errors import UsageError

LONGEST = 30.0  # seconds
MEMORY = 2 << 30  # bytes of addresses, which is more than it ever uses
LOCKED, TOO_LARGE = 3, 4
# Reads from stdin and writes to stdout, within its limits; it leaves no core file, and does not outlive whoever
# started it for long.
PROGRAM = f"""
import resource, signal, sys
for kind, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, {MEMORY}), (resource.RLIMIT_CPU, {LONGEST:.0f})):
    try:
        resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))
    except (OSError, ValueError):
        pass
signal.alarm({2 * LONGEST:.0f})
data = sys.stdin.buffer.read()
if sys.argv[1] == "pdf":
    from chatllm_cli.services.attachments import pdf_text
    try:
        text = pdf_text.text_of(data)
    except pdf_text.LockedError:
        sys.exit({LOCKED})
else:
    from chatllm_cli.services.attachments import html_text
    text = html_text.text_of(data.decode())
data = text.encode("utf-8", "replace")
if len(data) > int(sys.argv[2]):
    sys.exit({TOO_LARGE})
sys.stdout.buffer.write(data)
"""


async def text_of_page(name: str, page: str, most: int) -> str:
    """Return the text of a web page, of at most so many bytes. Raises `UsageError`."""
    return await _extract("html", name, page.encode("utf-8", "replace"), most)


async def text_of_pdf(name: str, data: bytes, most: int) -> str:
    """Return the text of a PDF, of at most so many bytes. Raises `UsageError`."""
    if importlib.util.find_spec("pypdf") is None:
        raise UsageError(
            f"{name} is a PDF, and the extra pdf is missing: pip install 'chatllm-cli[pdf]'",
        )
    text = await _extract("pdf", name, data, most)
    if not text.strip():
        raise UsageError(f"{name} holds no text", hint="its pages may be pictures; attach them as such")
    return text


async def _extract(kind: str, name: str, data: bytes, most: int) -> str:
    command = (sys.executable, "-P", "-c", PROGRAM, kind, str(most))  # -P: no module of this folder
    pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=nowhere, start_new_session=True
        )
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from error
    text = b""
    try:
        async with asyncio.timeout(LONGEST):
            text, _ = await process.communicate(data)
    except TimeoutError:
        raise UsageError(f"{name} cannot be read: it takes longer than {LONGEST:g} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode == 0:
        return text.decode()
    if process.returncode == TOO_LARGE:
        raise UsageError(f"{name} holds more than {most / 1e6:g} MB of text (limits.attachment_mb)")
    raise UsageError(f"{name} {_why(kind, process.returncode)}")


def _why(kind: str, ending: int | None) -> str:
    if ending == LOCKED:
        return "is locked with a password"
    if ending is None or ending < 0:
        return "cannot be read: it takes more time or memory than there is for it"
    return f"cannot be read as {kind.upper()}: it is damaged, or takes too much memory"
