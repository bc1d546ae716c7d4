import pytest

from chatllm_cli.services.addresses import is_loopback


@pytest.mark.parametrize(
    ("base_url", "answer"),
    [
        ("http://localhost:1/v1", True),
        ("http://127.0.0.2/v1", True),
        ("http://[::1]:8/v1", True),
        ("https://api.openai.com/v1", False),
        ("http://127.0.0.1.evil.example/v1", False),
        ("http://10.0.0.1/v1", False),
    ],
)
def test_loopback_is_told_from_the_rest(base_url: str, answer: bool) -> None:
    assert is_loopback(base_url) is answer
