"""The text of a PDF: the only module that knows pypdf, which is an extra."""

import io
import logging

from pypdf import PdfReader
from pypdf.errors import DependencyError, FileNotDecryptedError


class LockedError(Exception):
    """It is locked with a password."""


def text_of(data: bytes) -> str:
    """Return what its pages say, a blank line between two. Raises `LockedError`, and whatever pypdf raises."""
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what is odd about it helps nobody
    reader = PdfReader(io.BytesIO(data))
    try:
        if reader.is_encrypted and not reader.decrypt(""):
            raise LockedError
        pages = [page.extract_text().strip() for page in reader.pages]
    except (DependencyError, FileNotDecryptedError):
        raise LockedError from None
    return "\n\n".join(page for page in pages if page)
