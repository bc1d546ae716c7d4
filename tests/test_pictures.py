import pytest

from chatllm_cli.pictures import image_type
from tests.documents import IMAGES


@pytest.mark.parametrize(("kind", "data"), IMAGES.items())
def test_an_image_is_told_by_its_first_bytes(kind: str, data: bytes) -> None:
    assert image_type(data) == kind
    assert image_type(b" " + data) is None


@pytest.mark.parametrize("data", [b"", b"RIFF\0\0\0\0WAVE", b"<svg/>", b"BM", b"\x89PNG"])
def test_what_no_model_takes_is_no_image(data: bytes) -> None:
    assert image_type(data) is None
