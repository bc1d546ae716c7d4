import time
from collections.abc import Iterator
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatllm_cli.services.llm.joined_chunks import LONGEST_HEAD, ChunkJoiner

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
TEN = b"".join(b"1\r\n%d\r\n" % number for number in range(10))
JOINED_TEN = b"a\r\n0123456789\r\n"


def joined(*reads: bytes) -> list[bytes]:
    """What is handed on of each read of one answer, and at its end."""
    joiner = ChunkJoiner()
    joiner.request_sent()
    return [*map(joiner.feed, reads), joiner.end()]


def test_chunks_that_came_in_one_read_become_one() -> None:
    assert joined(CHUNKED + TEN + LAST) == [CHUNKED + JOINED_TEN + LAST, b""]


def test_a_chunk_that_came_alone_stays_as_it_is() -> None:
    reads = [CHUNKED, b"1\r\na\r\n", b"0A\r\n0123456789\r\n", LAST]
    assert joined(*reads) == [*reads, b""]


def test_of_a_chunk_that_has_not_come_whole_all_that_has_is_handed_on() -> None:
    assert joined(CHUNKED + TEN + b"8\r\nab", b"cdef", b"gh\r", b"\n" + TEN) == [
        CHUNKED + JOINED_TEN + b"8\r\nab",
        b"cdef",
        b"gh\r",
        b"\n" + JOINED_TEN,
        b"",
    ]


@pytest.mark.parametrize("end", [b"", b"\r"])
def test_chunks_are_joined_after_one_of_which_only_the_line_end_was_missing(end: bytes) -> None:
    rest = b"\r\n".removeprefix(end)
    assert joined(CHUNKED + b"2\r\nab" + end, rest + TEN) == [CHUNKED + b"2\r\nab" + end, rest + JOINED_TEN, b""]


def test_a_line_that_is_not_whole_waits_for_its_rest() -> None:
    assert joined(CHUNKED + TEN + b"0000000", b"1\r", b"\nb\r\n0\r", b"\n\r", b"\n") == [
        CHUNKED + JOINED_TEN,
        b"",
        b"00000001\r\nb\r\n",
        b"",
        LAST,
        b"",
    ]


def test_what_waits_when_the_connection_ends_is_handed_on() -> None:
    assert joined(CHUNKED + b"1\r\na\r\n1f\r") == [CHUNKED + b"1\r\na\r\n", b"1f\r"]


@pytest.mark.parametrize(
    "odd",
    [
        b"1;name=value\r\nx\r\n",
        b"1 \r\nx\r\n",
        b"+1\r\nx\r\n",
        b"0x1\r\nx\r\n",
        b"1_0\r\nxxxxxxxxxxxxxxxx\r\n",
        b"0000000000000001\r\nx\r\n",
        b"100000000\r\nx\r\n",
        b"1\nx\n",
        b"\r\n",
        b"1\r\nx1\r\nx\r\n",
        b"0\r\nname: value\r\n\r\n",
        b"0;last\r\n\r\n",
        LAST + b"more",
    ],
)
def test_nothing_is_touched_from_what_is_not_plain_onwards(odd: bytes) -> None:
    assert joined(CHUNKED + TEN + odd + TEN, TEN) == [CHUNKED + JOINED_TEN + odd + TEN, TEN, b""]


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n",
        b"HTTP/1.1 200\r\nTransfer-Encoding:\tChunked \r\nX: y\r\n\r\n",
        b"HTTP/1.0 429 Too Many\r\nX: y\r\nTransfer-Encoding:chunked\r\n\r\n",
        b"HTTP/1.1 103 Early\r\ncontent-length: 9\r\n\r\nHTTP/1.1 100 \r\n\r\n" + CHUNKED,
    ],
)
def test_chunks_are_joined_after_every_head_that_announces_them(head: bytes) -> None:
    for cut in range(len(head)):
        assert b"".join(joined(head[:cut], head[cut:] + TEN)) == head + JOINED_TEN


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 60\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: %b\r\n\r\n" % (b"9" * 5000),
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 204 None\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 304 Same\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 Other\r\nupgrade: x\r\n\r\n" + CHUNKED,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 60\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: y\r\n transfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding:\r\n chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-transfer-encoding: chunked\r\n\r\n",
        b"\r\n\r\n" + CHUNKED,
        b"SSH-2.0\r\n\r\n" + CHUNKED,
    ],
)
def test_nothing_else_is_touched(head: bytes) -> None:
    for size in (len(head) + len(TEN), 1000):
        sent = head + TEN
        reads = [sent[at : at + size] for at in range(0, len(sent), size)]
        assert joined(*reads) == [*reads, b""]


def test_a_head_is_not_kept_without_a_limit() -> None:
    begun = b"HTTP/1.1 200 OK\r\nx: " + b"y" * LONGEST_HEAD
    reads = [begun, b"\r\ntransfer-encoding: chunked\r\n\r\n" + TEN]
    assert joined(*reads) == [*reads, b""]


@pytest.mark.parametrize("name", [b"transfer-encoding", b"content-length"])
def test_a_head_full_of_spaces_takes_no_time(name: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + name + b": 1" + b" " * 60_000 + b"1\r\n\r\n"
    begin = time.process_time()
    assert joined(head + TEN) == [head + TEN, b""]
    assert time.process_time() - begin < 0.3  # it was 25 seconds


@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED + LAST,
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789",
        b"HTTP/1.1 204 None\r\n\r\n",
    ],
)
def test_the_next_answer_of_a_connection_is_looked_at_again(answer: bytes) -> None:
    joiner = ChunkJoiner()
    for _ in range(3):
        joiner.request_sent()
        joiner.request_sent()  # its body is another write
        assert joiner.feed(answer[:-1]) + joiner.feed(answer[-1:]) == answer
    joiner.request_sent()
    assert joiner.feed(CHUNKED + TEN) == CHUNKED + JOINED_TEN


@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED + LAST + b"x",
        CHUNKED + TEN,
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n012345678",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789x",
        b"HTTP/1.1 200 O",
    ],
)
def test_nothing_is_touched_once_an_answer_has_not_ended_where_it_should(answer: bytes) -> None:
    joiner = ChunkJoiner()
    joiner.request_sent()
    joiner.feed(answer)
    for _ in range(2):
        joiner.request_sent()
        assert joiner.feed(CHUNKED + TEN + LAST) == CHUNKED + TEN + LAST


# What h11 makes of it


class Joined:
    """Reads as they are handed on."""

    def __init__(self, reads: list[bytes]) -> None:
        self.reads = iter(reads)
        self.joiner = ChunkJoiner()

    def write(self) -> None:
        self.joiner.request_sent()

    def read(self) -> bytes:
        for data in self.reads:
            if given := self.joiner.feed(data):
                return given
        return self.joiner.end()


class Plain(Joined):
    """Reads as they come."""

    def write(self) -> None:
        pass

    def read(self) -> bytes:
        return next(self.reads, b"")


def made_of(source: Joined, requests: int) -> Iterator[object]:
    """Yield what h11 makes of the answers to so many requests: heads, bodies, and how each ends."""
    connection = h11.Connection(h11.CLIENT)
    for _ in range(requests):
        for event in (h11.Request(method="POST", target="/", headers=[("host", "x")]), h11.EndOfMessage()):
            connection.send(event)
            source.write()
        try:
            yield from answer_of(connection, source)
            connection.start_next_cycle()
        except h11.ProtocolError as error:
            yield str(error)
            return


def answer_of(connection: h11.Connection, source: Joined) -> Iterator[object]:
    body = b""
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
            if event is h11.NEED_DATA:
                connection.receive_data(source.read())
            elif event is h11.PAUSED:
                return
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                yield event
        yield event
    finally:
        yield body


def chunk(data: bytes, line: str) -> bytes:
    return line.format(size=len(data)).encode() + b"\r\n" + data + b"\r\n"


SIZES = ["{size:x}", "{size:X}", "{size:05x}", "{size:020x}", "{size:x};a=b", "{size:x} ", "0x{size:x}", "+{size:x}"]
TEXTS = st.one_of(st.binary(min_size=1, max_size=20), st.sampled_from([b"\r\n", b"1\r\na\r\n", LAST, CHUNKED]))
MALFORMED = [b"\r\n", b"\n", b"1\r\nab\r\n", b"2\na\n", b"3", b"00", b"x", b"-1\r\n", b"fffffffff\r\n", b"1\r\na\rb"]
ENDS = [b"00\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"0;a\r\n\r\n", b"0\r\n", b"0\n\n", b"", LAST + b"x", LAST + CHUNKED]
PLAIN_CHUNKS = st.lists(st.builds(chunk, TEXTS, st.sampled_from(SIZES[:3])), max_size=6).map(b"".join)
ODD_CHUNKS = st.one_of(st.builds(chunk, TEXTS, st.sampled_from(SIZES)), st.sampled_from(MALFORMED))
BODIES = st.one_of(
    PLAIN_CHUNKS.map(lambda chunks: chunks + LAST),
    st.tuples(PLAIN_CHUNKS, ODD_CHUNKS, PLAIN_CHUNKS, st.just(LAST)).map(b"".join),
    st.tuples(PLAIN_CHUNKS, st.sampled_from(ENDS)).map(b"".join),
)
INTERIM = [b"HTTP/1.1 100 \r\n\r\n", b"HTTP/1.1 103 Early\nx: y\n\n", b"HTTP/1.1 101 Other\r\n\r\n", b"\r\n", b"\n"]
FRAMINGS = [
    *(
        b"transfer-encoding: chunked",
        b"Transfer-Encoding:CHUNKED\t",
        b"TRANSFER-ENCODING: chunked\r\nconnection: close",
    ),
    *(b"transfer-encoding: gzip", b"transfer-encoding:\r\n chunked", b"x: y\r\n\ttransfer-encoding: chunked"),
    *(
        b"transfer-encoding: chunked\r\ncontent-length: 3",
        b"transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    ),
    *(b"content-length: 0", b"content-length: 12", b"content-length: 1, 1", b"content-length: x", b"x: y"),
]
STATUSES = [b"200 OK", b"200", b"429 Too Many", b"204 None", b"304 Same", b"2000 Odd", b"099 Odd"]
HEADS = st.builds(
    lambda interim, version, status, framing, end: interim + end.join([version + status, framing, b"", b""]),
    st.one_of(st.just(b""), st.sampled_from(INTERIM)),
    st.sampled_from([b"HTTP/1.1 ", b"HTTP/1.1 ", b"HTTP/1.0 ", b"http/1.1 "]),
    st.one_of(st.just(STATUSES[0]), st.sampled_from(STATUSES)),
    st.one_of(st.just(FRAMINGS[0]), st.sampled_from(FRAMINGS)),
    st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r\r\n"]),
)
PLAIN_HEADS = st.sampled_from([CHUNKED, CHUNKED.replace(b"\r", b""), INTERIM[0] + CHUNKED])
ANSWERS = st.one_of(
    st.tuples(PLAIN_HEADS, BODIES).map(b"".join),
    st.tuples(HEADS, st.one_of(BODIES, st.just(b""), st.just(b"twelve bytes"))).map(b"".join),
)


def split(answer: bytes, cuts: list[int]) -> list[bytes]:
    bounds = [0, *sorted(cut % (len(answer) + 1) for cut in cuts), len(answer)]
    return [answer[begin:end] for begin, end in pairwise(bounds) if begin < end]


READS = st.builds(split, ANSWERS, st.lists(st.integers(0, 1000), max_size=8))


@given(st.lists(READS, min_size=1, max_size=4), st.one_of(st.none(), st.integers(0, 300)))
def test_h11_makes_the_same_of_any_answers_in_any_reads(answers: list[list[bytes]], cut: int | None) -> None:
    reads = [read for answer in answers for read in answer]
    if cut is not None:  # the connection ends anywhere
        at = cut % len(reads)
        reads[at:] = filter(None, [reads[at][: cut // len(reads)]])
    requests = len(answers) + 1
    assert list(made_of(Joined(reads), requests)) == list(made_of(Plain(reads), requests))


@given(ANSWERS)
def test_h11_makes_the_same_of_answers_that_come_byte_by_byte(answer: bytes) -> None:
    reads = [bytes([byte]) for byte in answer]
    assert list(made_of(Joined(reads), 2)) == list(made_of(Plain(reads), 2))
