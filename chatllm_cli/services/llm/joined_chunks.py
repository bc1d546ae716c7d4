"""HTTP chunks that arrived together, as one: a provider sends one for each event, and each costs h11 the same."""

import re
from collections.abc import Callable
from enum import Enum, auto

HEAD_END = re.compile(rb"\n\r?\n")  # as h11 has it
STATUS = re.compile(rb"HTTP/[0-9]\.[0-9] ([0-9]{3})[ \r\n]")
FRAMING = re.compile(rb"^(transfer-encoding|content-length):(.*)$", re.IGNORECASE | re.MULTILINE)
LONGEST_HEAD = 16_384  # bytes
LONGEST_LENGTH = 15  # digits
SIZE = re.compile(rb"(0{0,7}[1-9A-Fa-f][0-9A-Fa-f]{0,7})\r\n")
LAST = re.compile(rb"0{1,8}\r\n\r\n")
BEGUN = re.compile(rb"(?:[0-9A-Fa-f]{1,15}\r?|0{1,8}\r\n\r?)?")  # what may become a SIZE or the LAST
SWITCHING = 101
FIRST_FINAL = 200
WITHOUT_BODY = {204, 304}


class Part(Enum):
    """What comes next on a connection; `UNKNOWN` for good where that is not as plain as can be."""

    HEAD = auto()
    LENGTH = auto()
    CHUNKS = auto()
    END = auto()
    UNKNOWN = auto()


class ChunkJoiner:
    """Rewrites what a server sends on one connection: several whole chunks become one, all else stays as it is.

    Whatever is malformed, cut or merely unusual is handed on untouched, as is all that follows it, so that h11 judges
    it: it says the same of both. Nothing waits but a line that is not whole, of which nobody could make anything.
    """

    def __init__(self) -> None:
        self._part = Part.END
        self._head = b""  # as much of one as has come
        self._left = 0  # bytes of the body, or of a chunk and the line end behind it, that are still to come
        self._held = b""
        self._take: dict[Part, Callable[[bytes], tuple[bytes, bytes]]] = {
            Part.HEAD: self._take_head,
            Part.LENGTH: self._take_length,
            Part.CHUNKS: self._take_chunks,
        }

    def request_sent(self) -> None:
        """Expect an answer, unless the one before has not ended where it should have."""
        if self._part is Part.END:
            self._part = Part.HEAD
        elif self._part is not Part.HEAD or self._head:
            self._part = Part.UNKNOWN

    def feed(self, data: bytes) -> bytes:
        """Return what is to be handed on of what has come; nothing if it is the beginning of a line."""
        handed = []
        while data and (take := self._take.get(self._part)):
            piece, data = take(data)
            handed.append(piece)
        if data:  # which nobody has asked for
            self._part = Part.UNKNOWN
            handed.append(self.end() + data)
        return b"".join(handed)

    def end(self) -> bytes:
        """Return what was held back, as nothing more comes."""
        held, self._held = self._held, b""
        return held

    def _take_head(self, data: bytes) -> tuple[bytes, bytes]:
        self._head += data
        ended = HEAD_END.search(self._head)
        if ended:
            cut = len(data) - (len(self._head) - ended.end())
            self._part, self._left = _body_after(self._head[: ended.end()])
            self._head = b""
            return data[:cut], data[cut:]
        if len(self._head) > LONGEST_HEAD:
            self._part = Part.UNKNOWN
        return data, b""

    def _take_length(self, data: bytes) -> tuple[bytes, bytes]:
        taken, rest = self._take_left(data)
        if not self._left:
            self._part = Part.END
        return taken, rest

    def _take_left(self, data: bytes) -> tuple[bytes, bytes]:
        taken, rest = data[: self._left], data[self._left :]
        self._left -= len(taken)
        return taken, rest

    def _take_chunks(self, data: bytes) -> tuple[bytes, bytes]:
        if self._left:
            return self._take_left(data)
        data = self.end() + data
        joined, rest = _join(data)
        size = SIZE.match(rest)
        missing = size.end() + int(size[1], 16) + 2 - len(rest) if size else 0
        if missing > 0:
            self._left = missing
        elif BEGUN.fullmatch(rest):
            self._held, rest = rest, b""
        else:
            self._part = Part.END if LAST.fullmatch(rest) else Part.UNKNOWN
        return joined + rest, b""


def _body_after(head: bytes) -> tuple[Part, int]:
    """Return what comes after a head, and how many bytes of it if that is known."""
    status = STATUS.match(head)
    if not status:
        return Part.UNKNOWN, 0
    code = int(status[1])
    if code < FIRST_FINAL:
        return (Part.UNKNOWN if code == SWITCHING else Part.HEAD), 0
    if code in WITHOUT_BODY:
        return Part.END, 0
    # Stripped here: a pattern that leaves the spaces around a value out takes the square of how many are within it.
    match [(name.lower(), value.strip().lower()) for name, value in FRAMING.findall(head)]:
        case [(b"transfer-encoding", b"chunked")]:
            return Part.CHUNKS, 0
        case [(b"content-length", value)] if value.isdigit() and len(value) <= LONGEST_LENGTH:
            length = int(value)
            return (Part.LENGTH if length else Part.END), length
    return Part.UNKNOWN, 0


def _join(data: bytes) -> tuple[bytes, bytes]:
    """Return the whole chunks that `data` begins with, as one, and the rest."""
    texts, at = [], 0
    while size := SIZE.match(data, at):
        begin = size.end()
        end = begin + int(size[1], 16)
        if data[end : end + 2] != b"\r\n":
            break
        texts.append(data[begin:end])
        at = end + 2
    if len(texts) < 2:  # noqa: PLR2004  (one is as it should be)
        return data[:at], data[at:]
    text = b"".join(texts)
    return b"%x\r\n%b\r\n" % (len(text), text), data[at:]
