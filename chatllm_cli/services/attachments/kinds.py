"""What a file is, told by its bytes and by nothing else: a picture, a PDF, text, or none of these."""

import codecs
import re
from contextlib import suppress

PDF = "application/pdf"
TEXT = "text/plain"
HEAD = 8192  # bytes that are looked at for what no text has
# A page, or an XML file, may name its encoding where it begins.
_NAMED = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([\w.:-]+)|<\?xml[^>]{0,100}?encoding=[\"']([\w.:-]+)", re.IGNORECASE
)
_NO_CHARSETS = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"}
LEGACY = "cp1252"  # what browsers take for text that is nothing else
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def is_pdf(data: bytes) -> bool:
    """Tell whether it is a PDF."""
    return data.startswith(b"%PDF-")


def marked_encoding(data: bytes) -> str | None:
    """Return the encoding that a byte order mark tells, if there is one."""
    return next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)


def is_binary(head: bytes) -> bool:
    """Tell from how a file begins whether it surely is no text."""
    return marked_encoding(head) in {None, "utf-8-sig"} and b"\0" in head[:HEAD]


def text_in(data: bytes) -> str:
    """Return what is spelled in UTF-8, or in UTF-16 with its mark. Raises UnicodeDecodeError, also for NUL bytes."""
    text = data.decode(marked_encoding(data) or "utf-8")
    if "\0" in text:
        raise UnicodeDecodeError("utf-8", b"\0", 0, 1, "no text has NUL in it")
    return text


def decoded(data: bytes, charset: str) -> str:
    """Return text from the web, in the encoding that a mark, the server or the text itself says, or that may be."""
    named = _NAMED.search(data[: HEAD // 2])
    said = (marked_encoding(data), charset, (named[1] or named[2]).decode() if named else None, "utf-8")
    for encoding in said:
        with suppress(LookupError, ValueError):
            if encoding and codecs.lookup(encoding).name not in _NO_CHARSETS:
                return data.decode(encoding)
    if _is_utf8(said[2]) or (_is_utf8(charset) and _is_mostly_utf8(data)):
        return data.decode("utf-8", "replace")
    return data.decode(LEGACY, "replace")


def _is_utf8(encoding: str | None) -> bool:
    with suppress(LookupError, ValueError):
        return bool(encoding) and codecs.lookup(encoding or "").name == "utf-8"
    return False


def _is_mostly_utf8(data: bytes) -> bool:
    """Tell whether more is spelled as UTF-8 has it than not, of what differs: servers call anything so."""
    signs = [sign for sign in data.decode("utf-8", "replace") if not sign.isascii()]
    return signs.count("\N{REPLACEMENT CHARACTER}") * 2 < len(signs)
