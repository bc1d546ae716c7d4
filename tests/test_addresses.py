import pytest

from chatllm_cli.config.addresses import (
    host_of,
    is_loopback,
    is_readable_on_the_way,
    passwords_in,
    shown_address,
)


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


@pytest.mark.parametrize(
    ("base_url", "host"),
    [
        ("https://api.openai.com/v1", "api.openai.com"),
        ("https://API.openai.com:443/v1", "api.openai.com"),
        ("http://host:80/v1", "host"),
        ("https://host:80/v1", "host:80"),
        ("http://127.0.0.1:8080/v1", "127.0.0.1:8080"),
        ("http://[::1]:8080/v1", "[::1]:8080"),
    ],
)
def test_a_host_is_named_with_its_port_unless_that_is_the_usual_one(base_url: str, host: str) -> None:
    assert host_of(base_url) == host


@pytest.mark.parametrize(
    ("base_url", "answer"),
    [
        ("http://host/v1", True),
        ("http://10.0.0.1/v1", True),
        ("https://host/v1", False),
        ("http://127.0.0.1:8080/v1", False),
        ("http://localhost/v1", False),
    ],
)
def test_plain_http_that_leaves_this_machine_can_be_read_on_the_way(base_url: str, answer: bool) -> None:
    assert is_readable_on_the_way(base_url) is answer


@pytest.mark.parametrize(
    ("url", "shown", "passwords"),
    [
        ("redis://host:6379/0", "redis://host:6379/0", []),
        ("redis://:hush@host:6379/0", "redis://host:6379/0", ["hush"]),
        ("redis://me:hu%40sh@host", "redis://host", ["hu%40sh", "hu@sh"]),
        ("rediss://me@host/1?password=hush&x=1", "rediss://host/1", ["hush"]),
        ("redis://a@b:hush@host", "redis://host", ["hush"]),
        ("unix://me:hush@/run/redis.sock?db=1", "unix:///run/redis.sock", ["hush"]),
        ("redis://[::1", "redis://[::1", []),
        ("", "", []),
    ],
)
def test_passwords_are_found_in_an_address_and_left_out_of_what_is_shown(
    url: str, shown: str, passwords: list[str]
) -> None:
    assert (shown_address(url), passwords_in(url)) == (shown, passwords)
