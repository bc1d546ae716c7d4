import base64
import hashlib

import pytest

from chatllm_cli.formats.reading import attached_files
from chatllm_cli.formats.reading.attached_files import AttachedFiles
from chatllm_cli.models import Attachment
from tests.documents import IMAGES, PNG


def data_url(data: bytes, head: str = "data:image/png;base64,") -> str:
    return head + base64.b64encode(data).decode()


@pytest.mark.parametrize(("kind", "data"), IMAGES.items())
def test_an_image_is_what_its_bytes_are_whatever_is_said_of_it(kind: str, data: bytes) -> None:
    attached, sha256 = AttachedFiles(), hashlib.sha256(data).hexdigest()
    assert attached.image_in(data_url(data), "x.bmp") == Attachment("x.bmp", kind, len(data), sha256=sha256)
    assert attached.files == {sha256: data}


@pytest.mark.parametrize(
    "head", ["data:;base64,", "data:image/png;charset=utf-8;base64,", "data:image/svg+xml;base64,"]
)
def test_every_form_of_a_data_url_is_read(head: str) -> None:
    assert AttachedFiles().image_in(data_url(PNG, head), "a") is not None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://example.org/a.png",
        "data:image/png,abc",
        "data:image/png;base64,A",
        data_url(b"text"),
        "data:ü;base64,",
    ],
)
def test_what_carries_no_image_is_none(url: str) -> None:
    attached = AttachedFiles()
    assert attached.image_in(url, "a") is None
    assert attached.files == {}


@pytest.mark.parametrize("data", [None, b"", b"<svg/>"])
def test_what_lies_beside_and_is_no_image_is_none(data: bytes | None) -> None:
    assert AttachedFiles().image_beside("file-1", "a", lambda _: data) is None


def test_the_same_image_is_kept_once_and_more_than_there_is_room_for_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attached_files, "MOST_BYTES", len(PNG))
    attached = AttachedFiles()
    assert attached.image("a", PNG)
    assert attached.image("b", PNG)
    assert attached.image("c", PNG + b"\0") is None
    assert list(attached.files.values()) == [PNG]
