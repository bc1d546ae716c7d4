"""The files that conversations are read from: one, those of a folder or an archive, or what comes on stdin.

Whatever is in them, no more is unpacked than `MOST_UNPACKED`, nothing is written but a nameless temporary file, and a
name within an archive is only ever shown.
"""

import lzma
import mmap
import os
import stat
import struct
import tempfile
import time
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import IO, BinaryIO, TypeVar

from chatllm_cli.errors import FormatError, UsageError
from chatllm_cli.formats.reading.source import LONG_AGO, Source

STDIN = Path("-")
MOST_LOOKED_AT = 4096  # bytes that tell an archive and a database
MOST_IN_MEMORY = 16 * 2**20  # bytes of a file; a larger one is mapped
MOST_UNPACKED = 4 * 2**30  # bytes of a file in an archive, of a large one, or of what comes on stdin
MOST_FILES = 100_000  # in one folder or archive
# What people write packs ten times smaller, perhaps. What packs better than this is made to burst.
MOST_TIMES, UNSUSPICIOUS = 100, 16 * 2**20
PIECE = 2**20
LARGEST_BESIDE = 64 * 2**20  # bytes of a file that goes with a conversation
ZIP = b"PK\x03\x04"
READ_WHERE_THEY_LIE = (ZIP, b"SQLite format 3\0")
# What reading an archive ends in: NotImplementedError, say for a way to pack that is not known, is a RuntimeError.
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, ValueError, RuntimeError, EOFError, struct.error)
Item = TypeVar("Item")
Found = Source | FormatError  # a file, or what is wrong with it: its message names it


def sources(path: Path, stdin: BinaryIO | None) -> Iterator[Found]:
    """Yield the files at `path`, each to be used before the next is asked for.

    Raises `UsageError` if nothing is there.
    """
    if path == STDIN and stdin is not None:
        yield from _spooled(stdin)
    elif _is_folder(path):
        yield from _in_folder(path)
    else:
        beside = _beside_in(path.parent)
        yield from _in_file(path, str(path), path.name, beside)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"there is no file {path}") from None
    except OSError as error:  # a name that is too long, say, or a folder that is not ours
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _spooled(stdin: BinaryIO) -> Iterator[Found]:
    with tempfile.TemporaryFile() as file:
        try:
            _copy(stdin, file, packed=None)
        except FormatError as error:
            yield FormatError(f"stdin: {error.message}")
            return
        except OSError as error:
            yield FormatError(f"stdin: it cannot be read: {error.strerror}")
            return
        with _contents(file) as data:
            if bytes(data[:4]) == ZIP:
                yield from _in_archive(file, "stdin")
            else:
                yield Source("stdin", data, at=_moment(time.time()))


def _in_folder(root: Path) -> Iterator[Found]:
    beside = _beside_in(root)
    unreadable: list[OSError] = []
    for number, path in enumerate(_walk(root, unreadable.append)):
        if number >= MOST_FILES:
            yield FormatError(f"{root}: there are more than {MOST_FILES:,} files in it; the others are left out")
            return
        yield from _in_file(path, str(path), str(path.relative_to(root.parent)), beside)
    for error in unreadable:
        yield FormatError(f"{error.filename}: it cannot be read: {error.strerror}")


def _walk(root: Path, unreadable: Callable[[OSError], object] | None = None) -> Iterator[Path]:
    """Yield the files in a folder and those below it, but for hidden ones; no link is followed."""
    for folder, names, files in os.walk(root, onerror=unreadable):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            if not name.startswith(".") and _may_be_file(path):
                yield path


def _may_be_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:  # whoever reads it tells why it cannot be
        return True


def _in_file(path: Path, shown: str, name: str, beside: Callable[[str], bytes | None]) -> Iterator[Found]:
    try:
        # Without waiting: a pipe has nothing to say to this.
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        yield FormatError(f"{shown}: it cannot be read: {error.strerror}")
        return
    with file, ExitStack() as stack:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            yield FormatError(f"{shown}: it is no file")
            return
        try:
            data = stack.enter_context(_safe_contents(file))
        except OSError as error:
            yield FormatError(f"{shown}: it cannot be read: {error.strerror}")
            return
        except FormatError as error:
            yield FormatError(f"{shown}: {error.message}")
            return
        if bytes(data[:4]) == ZIP:
            yield from _in_archive(file, shown)
        else:
            yield Source(name, data, path, beside, _moment(os.fstat(file.fileno()).st_mtime))


@contextmanager
def _safe_contents(file: IO[bytes]) -> "Iterator[bytes | mmap.mmap]":
    """Give all of somebody's file; the beginning of one that is read where it lies, an archive or a database.

    It is given as a copy: whoever cuts a file that is mapped would kill the process.
    """
    begin = file.read(MOST_LOOKED_AT)
    if os.fstat(file.fileno()).st_size > MOST_IN_MEMORY and begin.startswith(READ_WHERE_THEY_LIE):
        yield begin
        return
    with ExitStack() as stack:
        file.seek(0)
        if os.fstat(file.fileno()).st_size > MOST_IN_MEMORY:
            copy = stack.enter_context(tempfile.TemporaryFile())
            _copy(file, copy, packed=None)
            file = copy
        yield stack.enter_context(_contents(file))


@contextmanager
def _contents(file: IO[bytes]) -> "Iterator[bytes | mmap.mmap]":
    """Give all of a file that nobody else can change: what is small in memory."""
    file.flush()  # what was written last is in no file yet
    if os.fstat(file.fileno()).st_size <= MOST_IN_MEMORY:
        file.seek(0)
        yield file.read()
    else:
        with closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as mapped:
            yield mapped


def _in_archive(file: IO[bytes], shown: str) -> Iterator[Found]:
    try:
        archive = zipfile.ZipFile(file)
    except DAMAGED as error:
        yield FormatError(f"{shown}: it is no archive that can be read: {error}")
        return
    with archive:
        members = [each for each in archive.infolist() if each.filename and not each.is_dir()]
        if len(members) > MOST_FILES:
            yield FormatError(f"{shown}: there are more than {MOST_FILES:,} files in it")
            return
        beside = _beside_in_archive(archive, members)
        for member in members:
            with tempfile.TemporaryFile() as unpacked:
                try:
                    _unpack(archive, member, unpacked)
                except FormatError as error:
                    yield FormatError(f"{shown}, {member.filename}: {error.message}")
                    continue
                with _contents(unpacked) as data:
                    yield Source(member.filename, data, None, beside, _written_at(member))


def _written_at(member: zipfile.ZipInfo) -> datetime:
    """Return when a file in an archive was written, by the clock of whoever wrote it."""
    try:
        return datetime(*member.date_time).astimezone(UTC)
    except (ValueError, OverflowError):
        return LONG_AGO


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError):  # a file system may have anything
        return LONG_AGO


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, into: IO[bytes]) -> None:
    """Unpack one file. Raises `FormatError` if that cannot be, or it is too large."""
    if member.flag_bits & 0x1:
        raise FormatError("it is encrypted")
    try:
        with archive.open(member) as packed:
            begin = packed.read(64)
            if begin.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"[", b"{", b"-", b"m", b"S"}:  # as any format begins
                into.write(begin)
                _copy(packed, into, packed=member.compress_size)
    except DAMAGED as error:
        raise FormatError(f"it cannot be unpacked: {error}") from None


def _copy(source: IO[bytes] | BinaryIO, into: IO[bytes], *, packed: int | None) -> None:
    size = 0
    while piece := source.read(PIECE):
        size += len(piece)
        if size > MOST_UNPACKED:
            raise FormatError(f"it is larger than {MOST_UNPACKED // 2**30} GiB")
        if packed is not None and size > max(UNSUSPICIOUS, MOST_TIMES * packed):
            raise FormatError(f"it unpacks to more than {MOST_TIMES} times its size")
        into.write(piece)


def _beside_in_archive(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> Callable[[str], bytes | None]:
    found = _by_beginning(lambda: ((_last(each.filename), each) for each in members if not each.flag_bits & 0x1))

    def beside(beginning: str) -> bytes | None:
        if (member := found(beginning)) is None:
            return None
        try:
            with archive.open(member) as packed:
                data = packed.read(LARGEST_BESIDE + 1)
        except DAMAGED:
            return None
        return data if len(data) <= LARGEST_BESIDE else None

    return beside


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _beside_in(root: Path) -> Callable[[str], bytes | None]:
    found = _by_beginning(lambda: ((path.name, path) for path in islice(_walk(root), MOST_FILES)))

    def beside(beginning: str) -> bytes | None:
        if (path := found(beginning)) is None:
            return None
        try:
            return path.read_bytes() if path.stat().st_size <= LARGEST_BESIDE else None
        except OSError:
            return None

    return beside


def _by_beginning(listed: Callable[[], Iterable[tuple[str, Item]]]) -> Callable[[str], Item | None]:
    """Return what finds the first item whose name begins so; they are listed when one is looked for."""
    ordered: list[tuple[str, Item]] | None = None

    def found(beginning: str) -> Item | None:
        nonlocal ordered
        if ordered is None:
            ordered = sorted(listed(), key=itemgetter(0))
        place = bisect_left(ordered, beginning, key=itemgetter(0))
        name, item = ordered[place] if place < len(ordered) else ("", None)
        return item if name.startswith(beginning) else None

    return found
