import pytest

from chatllm_cli.services.attachments.kinds import decoded, is_binary, is_pdf, text_in
from tests.documents import a_pdf


def test_a_pdf_is_told_by_its_first_bytes() -> None:
    assert is_pdf(a_pdf("hi"))
    assert not is_pdf(b"a text about %PDF-1.4")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        ("grüße 日本\r\n".encode(), "grüße 日本\r\n"),
        ("grüße".encode("utf-8-sig"), "grüße"),
        ("grüße".encode("utf-16"), "grüße"),
        (b"\xfe\xff" + "grüße".encode("utf-16-be"), "grüße"),
    ],
)
def test_text_is_utf_8_or_has_a_mark_that_says_otherwise(data: bytes, text: str) -> None:
    assert text_in(data) == text
    assert not is_binary(data)


@pytest.mark.parametrize("data", ["grüße".encode("latin-1"), b"a\0b", b"\xff\xfea", b"\xef\xbb\xbfa\0", b"\x80"])
def test_what_is_no_such_text_is_none(data: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        text_in(data)


def test_a_nul_byte_near_the_beginning_makes_it_binary() -> None:
    assert [
        is_binary(data) for data in (b"\x7fELF\0", b"a" * 8000 + b"\0", b"a" * 9000 + b"\0", "a".encode("utf-16"))
    ] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("data", "charset", "text"),
    [
        ("é".encode(), "", "é"),
        ("é".encode(), "utf-8", "é"),
        ("é".encode("latin-1"), "iso-8859-1", "é"),
        ("я".encode("koi8-r"), "KOI8-R", "я"),
        ("é".encode("utf-8-sig"), "latin-1", "é"),  # a mark outweighs what the server says
        ("é".encode("latin-1"), "utf-8", "é"),  # which was wrong
        ("é".encode(), "no-such-charset", "é"),
        (b"6162", "hex", "6162"),  # an encoding of Python's that is none of text
        (b"a-", "punycode", "a-"),
        ('<meta charset="windows-1251">я'.encode("cp1251"), "", '<meta charset="windows-1251">я'),
        (
            '<meta http-equiv=x content="text/html; charset=koi8-r">я'.encode("koi8-r"),
            "",
            '<meta http-equiv=x content="text/html; charset=koi8-r">я',
        ),
        (
            "<?xml version='1.0' encoding='latin-1'?>é".encode("latin-1"),
            "",
            "<?xml version='1.0' encoding='latin-1'?>é",
        ),
        (
            "größer \xff".encode("latin-1").replace("öß".encode("latin-1"), "öß".encode()),
            "utf-8",
            "größer \N{REPLACEMENT CHARACTER}",
        ),
        (b'<meta charset="UTF-8">a\xff', "", '<meta charset="UTF-8">a\N{REPLACEMENT CHARACTER}'),
        (b"\x80 \x9d", "", "€ \N{REPLACEMENT CHARACTER}"),
    ],
)
def test_text_from_the_web_is_what_somebody_says_that_it_is(data: bytes, charset: str, text: str) -> None:
    assert decoded(data, charset) == text
