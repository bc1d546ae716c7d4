import pytest

from chatllm_cli.errors import ChatllmError, ConfigError, UsageError
from chatllm_cli.services.local.sources import Source, fault_of_url, find_source, without_query

HUB = "https://hub.example"
FILE = "qwen2.5-0.5b-instruct-q4_k_m.gguf"
QWEN = f"hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF/{FILE}"


@pytest.mark.parametrize(
    ("wanted", "name", "url"),
    [
        ("qwen2.5-0.5b", "qwen2.5-0.5b", f"{HUB}/Qwen/Qwen2.5-0.5B-Instruct-GGUF/resolve/main/{FILE}"),
        (QWEN, "qwen2.5-0.5b-instruct-q4_k_m", f"{HUB}/Qwen/Qwen2.5-0.5B-Instruct-GGUF/resolve/main/{FILE}"),
        ("hf:a/b/Q4/My.GGUF", "my", f"{HUB}/a/b/resolve/main/Q4/My.GGUF"),
        ("https://host/x/Tiny%20Model.gguf", "tiny-model", "https://host/x/Tiny%20Model.gguf"),
        ("https://host/a.gguf?sig=s3cret", "a", "https://host/a.gguf?sig=s3cret"),
        ("http://127.0.0.1:8000/a.gguf", "a", "http://127.0.0.1:8000/a.gguf"),
        (f"{HUB}/a/b/blob/main/c.gguf", "c", f"{HUB}/a/b/resolve/main/c.gguf"),
        ("https://other.example/a/blob/main/c.gguf", "c", "https://other.example/a/blob/main/c.gguf"),
        ("https://host/..%2f..%2fetc%2fpasswd", "passwd", "https://host/..%2f..%2fetc%2fpasswd"),
        ("https://host/.hidden.gguf", "hidden", "https://host/.hidden.gguf"),
        ("https://host/" + "a" * 300, "a" * 100, "https://host/" + "a" * 300),
    ],
)
def test_what_a_person_writes_becomes_an_address_and_a_name(wanted: str, name: str, url: str) -> None:
    source = find_source(wanted, HUB)
    assert (source.name, source.url) == (name, url)


def test_a_name_of_ones_own_outweighs() -> None:
    assert find_source("qwen2.5-0.5b", HUB, "mine").name == "mine"
    assert find_source("https://host/a.gguf", HUB, "mine").name == "mine"


def test_a_signature_in_an_address_is_sent_but_never_told() -> None:
    source = find_source("https://host/a.gguf?sig=s3cret#part", HUB)
    assert source == Source("a", "https://host/a.gguf?sig=s3cret#part", "https://host/a.gguf")


@pytest.mark.parametrize(
    ("wanted", "name", "message"),
    [
        ("gpt-5", None, "there is no model 'gpt-5' in the catalogue"),
        ("", None, "there is no model '' in the catalogue"),
        ("hf:a/b", None, "'hf:a/b' is no file on the hub"),
        ("hf:a/b/c.bin", None, "'hf:a/b/c.bin' is no file on the hub"),
        ("hf:a/../../c.gguf", None, "'hf:a/../../c.gguf' is no file on the hub"),
        ("hf:a/b/c.gguf?x", None, "'hf:a/b/c.gguf?x' is no file on the hub"),
        ("http://host/a.gguf", None, "'http://host/a.gguf' cannot be fetched: it is not https"),
        ("ftp://host/a.gguf", None, "'ftp://host/a.gguf' cannot be fetched: it is not https"),
        ("file:///etc/passwd", None, "'file:///etc/passwd' cannot be fetched: it is no address"),
        ("https://host:x/a.gguf", None, "'https://host:x/a.gguf' cannot be fetched: it is no address"),
        (
            "https://me:s3cret@host/a.gguf",
            None,
            "'https://…@host/a.gguf' cannot be fetched: there is a user name or a password in it",
        ),
        ("https://host/", None, "the address has no file name that a model could get"),
        ("https://host/a.gguf", "../a", "'../a' cannot be the name of a model"),
        ("https://host/a.gguf", "", "'' cannot be the name of a model"),
        ("https://host/a.gguf", "A", "'A' cannot be the name of a model"),
        ("hf:a/b/c-00001-of-00003.gguf", None, "this file is one of several that make a model together"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(wanted: str, name: str | None, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        find_source(wanted, HUB, name)
    assert raised.value.message == message


def test_a_hub_that_cannot_be_one_is_told_by_its_setting() -> None:
    with pytest.raises(ConfigError) as raised:
        find_source(QWEN, "http://hub.example")
    assert raised.value.message == "local.hub_url: http://hub.example cannot be used: it is not https"
    assert find_source("https://host/a.gguf", "nonsense").name == "a"  # which needs no hub


@pytest.mark.parametrize("url", ["https://host/a", "https://host:1/a?b", "http://localhost:1/a", "http://[::1]:1/a"])
def test_https_and_this_machine_are_fetched_from(url: str) -> None:
    assert fault_of_url(url) is None


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/a", "http://localhost.example/a", "//host/a", "https://", "https://a b/"]
)
def test_nothing_else_is(url: str) -> None:
    assert fault_of_url(url) is not None


@pytest.mark.parametrize(
    ("url", "told"),
    [("https://h/a?b#c", "https://h/a"), ("https://u:p@h/a", "https://…@h/a"), ("https://h/a@b", "https://…@b")],
)
def test_an_address_is_told_without_what_may_be_a_secret(url: str, told: str) -> None:
    assert without_query(url) == told


def test_every_failure_is_of_a_foreseen_kind() -> None:
    for wanted in (
        "https://[/a.gguf",
        "https://\x00/a",
        "hf:",
        "https://host/%ff%fe.gguf",
        "https://host/\x1b[31m.gguf",
    ):
        try:
            name = find_source(wanted, HUB).name
        except ChatllmError:
            continue
        assert name.isascii()


def test_an_address_is_told_from_others_by_its_query_and_a_file_of_a_hub_by_its_name() -> None:
    first, second = (find_source(f"https://host/get.gguf?id={number}", HUB).address_sha256 for number in (1, 2))
    assert first != second
    here, there = (find_source("hf:a/b/c.gguf", hub).address_sha256 for hub in (HUB, "https://mirror.example"))
    assert here == there
